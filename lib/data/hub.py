"""Published data: tables of the Hugging Face hub and files at fixed addresses.

No code of a data set is run. Revisions are pinned in params/, or by their first use.
HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT (a mirror) are respected.
"""

import gzip
import http.client
import json
import re
import urllib.request
from pathlib import Path

from lib import checks, files
from lib.errors import StudyError


class Unavailable(StudyError):
    """Published data is absent, gated, unreachable or not cached. Another origin may serve it."""


def rows(
    name: str, config: str | None, split: str, revision: str | None, columns: list, limit: int = 0
) -> list[list]:
    """Return the values of `columns` for each row of a split, as `commit` serves it.

    Class numbers become class names. With a `limit` the first rows are streamed and kept under
    data/raw; without, the split is fetched whole into the library's cache. Raises Unavailable with
    the way to get access, and StudyError for a missing column.
    """
    served = commit(name, config, revision)
    file = f"{split}.{served[:12]}.first{limit}.{'-'.join(columns)}.json.gz"
    kept = _folder(name, config) / file
    if limit and kept.exists():
        return json.loads(gzip.decompress(kept.read_bytes()))

    def read(builder):
        if limit:
            data = builder.as_streaming_dataset(split=split).take(limit)
        else:
            builder.download_and_prepare()
            data = builder.as_dataset(split=split)
        return list(data), data.features or {}

    table, features = _with_builder(name, config, served, read)
    for column in columns if table else ():
        checks.entry_of(table[0], column, "column", name, "correct params/: it has changed")
    values = [[_named(row[column], features.get(column)) for column in columns] for row in table]
    if limit:
        text = json.dumps(values, ensure_ascii=False)
        files.write_whole(kept, gzip.compress(text.encode(), 1, mtime=0))
    return values


def commit(name: str, config: str | None, revision: str | None = None) -> str:
    """Return the commit of a data set, 40 hexadecimal digits.

    It is `revision` where that is a commit. Anything else is pinned by its first use, in
    data/raw/hub, so that all runs of a study read one version.
    """
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    note = _folder(name, None) / f"commit.{revision or 'main'}.txt"
    if not note.exists():
        files.write_whole(note, _with_builder(name, config, revision, lambda builder: builder.hash))
    return note.read_text(encoding="utf-8")


def weights(entry: dict, models_root: Path | None = None) -> dict:
    """Return the origin of weights that are read: `entry` is one of params/models.yaml."""
    if entry["make"] == "local":
        digest = files.sha256(models_root / entry["folder"])
        return {"folder": entry["folder"], "sha256": digest}
    if entry["make"] == "package":
        names = ("package", "version", "file", "sha256", "licence")
        return {name: entry[name] for name in names}
    repository, revision = entry["repository"], entry["revision"]
    commit = _model_commit(repository, revision) or revision
    return {"repository": repository, "revision": commit, "licence": entry["licence"]}


def place(url: str) -> Path:
    """Return the file under data/raw for the content of `url`, fetched or not."""
    return files.raw() / re.sub(r"^https?://", "", url).replace(":", "_")


def download(url: str, sha256: str | None = None) -> Path:
    """Return the file under data/raw with the content of `url`, fetched if it is not there.

    Raises Unavailable if it cannot be fetched, and StudyError if its checksum is not `sha256`.
    """
    file = place(url)
    if not re.match(r"https?://", url) or ".." in file.parts or files.raw() not in file.parents:
        raise StudyError(f"{url} is not the address of a file on the web; correct it in params/")
    if not file.exists():
        with files.alone(file.with_name(f".{file.name}.lock"), f"fetching {url}"):
            if not file.exists():
                files.write_whole(file, _fetch(url, file))
    if sha256:
        files.check_sha256(file, sha256, f"{file} from {url}")
    return file


def reason(what: str, page: str, error: Exception) -> str:
    """Return a sentence: why data or a model at `page` of the hub is unavailable, and a remedy."""
    import huggingface_hub.constants as constants

    text, page = str(error).strip(), f"{constants.ENDPOINT}/{page}"
    if re.search(r"\bgated\b|\b40[13]\b", text):
        return (
            f"{what} is gated or private: accept its terms at {page}, log in with `hf auth login` "
            "(or set HF_TOKEN) and run again"
        )
    if constants.HF_HUB_OFFLINE:
        return (
            f"{what} is not in the cache and HF_HUB_OFFLINE forbids fetching it; unset it and run "
            "once with a network"
        )
    first_line = text.split("\n")[0][:200]
    return (
        f"{what} could not be read from {page} ({first_line}); check the network and its name, "
        "config and revision in params/, or use the local source"
    )


def _model_commit(repository: str, revision: str | None = None) -> str | None:
    """Return the commit of a model in the library's cache; None if it is not there.

    A folder of sentence-transformers may have its config.json in a subfolder.
    """
    import huggingface_hub

    for name in ("config.json", "modules.json"):
        file = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(file, str):
            return Path(file).parent.name
    return None


def _folder(name: str, config: str | None) -> Path:
    return files.raw() / "hub" / name / (config or "")


def _fetch(url: str, file: Path) -> bytes:
    import huggingface_hub.constants as constants

    try:
        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE forbids it")
        with urllib.request.urlopen(url, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"{url} could not be fetched ({error}); check the network and the address, or copy "
            f"the file to {file}"
        ) from error


def _with_builder(name: str, config: str | None, revision: str | None, use):
    """`use` of the data set's builder; the libraries' errors become one sentence."""
    import datasets  # here: the import takes seconds, and the embedded study never needs it
    import huggingface_hub

    known = (datasets.exceptions.DatasetsError, huggingface_hub.errors.HTTPError)
    try:
        return use(datasets.load_dataset_builder(name, config, revision=revision))
    except (*known, OSError, RuntimeError, ValueError) as error:
        what = f"{name} ({config})" if config else name
        raise Unavailable(reason(what, f"datasets/{name}", error)) from error


def _named(value, feature):
    """A class number, or a list of them, as names; any other value as it is."""
    feature = getattr(feature, "feature", feature)
    return feature.int2str(value) if hasattr(feature, "int2str") else value
