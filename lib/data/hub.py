"""Published data as it is offered: tables of the Hugging Face hub and files at fixed addresses. No code of a data set is run.

Revisions are pinned in params/; the commit that served the data is returned with it, for the record. HF_HUB_OFFLINE and HF_TOKEN
are respected, and HF_ENDPOINT points to a mirror.
"""

import contextlib
import gzip
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
from pathlib import Path

from lib import files
from lib.errors import StudyError


class Unavailable(StudyError):
    """Published data cannot be had from here: absent, gated, unreachable or offline. Another origin may still serve."""


def rows(
    name: str,
    config: str | None,
    split: str,
    revision: str | None = None,
    limit: int = 0,
    column: str = "",
) -> tuple[list, str]:
    """Return the rows of one split, class numbers turned into their names, and the commit that served them.

    With a `limit` the first rows are streamed, and kept under data/raw; without, the split is fetched whole and kept in the
    library's cache. With a `column` the values of that column come instead of rows. Raises Unavailable with the way to get access,
    StudyError for a column that is not there.
    """
    served = commit(name, config, revision)
    kept = _folder(name, config) / f"{split}.{served[:12]}.{column or 'rows'}.first{limit}.json.gz"
    if limit and kept.exists():
        return json.loads(gzip.decompress(kept.read_bytes())), served

    def read(builder):
        if limit:
            data = builder.as_streaming_dataset(split=split).take(limit)
        else:
            builder.download_and_prepare()
            data = builder.as_dataset(split=split)
        return [_named(row, data.features or {}) for row in data]

    found = _with_builder(name, config, served, read)
    if column:
        if found and column not in found[0]:
            raise StudyError(
                f"{name} has no column {column!r}; it has {', '.join(found[0])}: the data set has changed, correct "
                "params/corpora.yaml"
            )
        found = [row[column] for row in found]
    if limit:
        files.write_whole(
            kept, gzip.compress(json.dumps(found, ensure_ascii=False).encode(), 1, mtime=0)
        )
    return found, served


def commit(name: str, config: str | None, revision: str | None = None) -> str:
    """Return the commit of a data set, 40 hexadecimal digits: the pinned one itself, or what the name stood for when it was first used.

    What is not pinned in params/ is pinned by its first use, in data/raw/hub, so that all runs of a study read one version.
    """
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    note = _folder(name, None) / f"commit.{revision or 'main'}.txt"
    if not note.exists():
        files.write_whole(note, _with_builder(name, config, revision, lambda builder: builder.hash))
    return note.read_text(encoding="utf-8")


def model_commit(repository: str, revision: str | None = None) -> str | None:
    """The commit of a model that was loaded: the one its files are kept under in the library's cache; None if they are not there."""
    import huggingface_hub

    file = huggingface_hub.try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(file).parent.name if isinstance(file, str) else None


def _folder(name: str, config: str | None) -> Path:
    return files.raw() / "hub" / name / (config or "")


def place(url: str) -> Path:
    """The file under data/raw that holds, or will hold, what `url` serves."""
    return files.raw() / re.sub(r"^https?://", "", url).replace(":", "_")


def download(url: str, sha256: str | None = None) -> Path:
    """Return the file under data/raw that holds what `url` serves, fetching it if it is not there.

    Raises Unavailable if it cannot be fetched, StudyError if it is not the file that `sha256` names.
    """
    file = place(url)
    if (
        not re.match(r"https?://", url)
        or ".." in file.parts
        or not file.is_relative_to(files.raw())
    ):
        raise StudyError(f"{url} is no address of a file on the web; correct it in params/")
    with (
        contextlib.nullcontext()
        if file.exists()
        else files.alone(file.with_name(f".{file.name}.lock"), f"fetching {url}")
    ):
        content = file.read_bytes() if file.exists() else _fetch(url, file)
        found = hashlib.sha256(content).hexdigest()
        if sha256 and found != sha256:
            raise StudyError(
                f"{file.name} from {url} has the sha256 {found}, expected {sha256}; if {file} is there, delete it and run "
                "again; if it happens again, the published file has changed"
            )
        if not file.exists():
            files.write_whole(file, content)
    return file


def _fetch(url: str, file: Path) -> bytes:
    import huggingface_hub.constants

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise Unavailable(
            f"{url} was never fetched and HF_HUB_OFFLINE forbids it; unset it once, or copy the file to {file}"
        )
    try:
        with urllib.request.urlopen(
            url, timeout=huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT
        ) as response:
            return response.read()
    except (
        urllib.error.URLError,
        TimeoutError,
        ConnectionError,
        http.client.HTTPException,
    ) as error:
        raise Unavailable(
            f"{url} could not be fetched ({error}); check the network and the address, or copy the file to "
            f"{file}"
        ) from error


def _with_builder(name: str, config: str | None, revision: str | None, use):
    """What `use` makes of the data set's builder; the libraries' errors become one sentence."""
    import datasets  # here: it takes seconds to import, and the embedded study never needs it
    import huggingface_hub

    known = (
        datasets.exceptions.DatasetsError,
        huggingface_hub.errors.HTTPError,
        OSError,
        RuntimeError,
        ValueError,
    )
    try:
        return use(datasets.load_dataset_builder(name, config, revision=revision))
    except known as error:
        raise Unavailable(
            reason(f"{name}{f' ({config})' if config else ''}", f"datasets/{name}", error)
        ) from error


def reason(what: str, page: str, error: Exception) -> str:
    """One sentence on why a data set or model of the hub, there under `page`, cannot be had, and what to do next."""
    import huggingface_hub.constants as constants

    text, page = str(error), f"{constants.ENDPOINT}/{page}"
    if re.search(r"\bgated\b|\b40[13]\b", text):
        return (
            f"{what} is gated or private: accept its terms at {page}, log in with `hf auth login` (or set HF_TOKEN) and "
            "run again"
        )
    if constants.HF_HUB_OFFLINE:
        return f"{what} is not in the cache and HF_HUB_OFFLINE forbids fetching it; unset it and run once with a network"
    if "scripts are no longer supported" in text:
        return f"{what} is published as a loading script, which is never run; use another revision or the local source"
    if re.search(r"not found|doesn't exist|not a valid model identifier|\b404\b", text):
        return f"{what} was not found at {page} ({_first(text)}); check its name, config and revision in params/"
    return f"{what} could not be read from {page} ({_first(text)}); check the network and params/, or use the local source"


def _first(text: str) -> str:
    return text.strip().split("\n")[0][:200]


def _named(row: dict, features) -> dict:
    """The row with class numbers, single or in lists, turned into their names."""
    result = dict(row)
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature)
        if hasattr(inner, "int2str"):
            value = row[column]
            result[column] = (
                [inner.int2str(each) for each in value]
                if isinstance(value, list)
                else inner.int2str(value)
            )
    return result
