"""Published data as it is offered: tables of the Hugging Face hub and files at fixed addresses. No code of a data set is run.

Revisions are pinned in params/; the commit that served the data is returned with it, for the record. HF_HUB_OFFLINE and HF_TOKEN
are respected, and HF_ENDPOINT points to a mirror.
"""

import contextlib
import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path

from lib import paths
from lib.errors import StudyError


class Unavailable(StudyError):
    """Published data cannot be had from here: absent, gated, unreachable or offline. Another origin may still serve."""


def rows(name: str, config: str | None, split: str, revision: str | None = None, limit: int = 0) -> tuple[list[dict], str]:
    """Return the rows of one split, class numbers turned into their names, and the commit that served them.

    With a `limit` the first rows are streamed; without, the split is fetched whole and kept in the library's cache.
    Raises Unavailable with the way to get access.
    """
    def read(builder):
        if limit:
            data = builder.as_streaming_dataset(split=split).take(limit)
        else:
            builder.download_and_prepare()
            data = builder.as_dataset(split=split)
        return [_named(row, data.features or {}) for row in data], builder.hash
    return _with_builder(name, config, revision, read)


def commit(name: str, config: str | None, revision: str | None = None) -> str:
    """Return the commit of a data set, 40 hexadecimal digits: the pinned one itself, or what the name stands for today."""
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    return _with_builder(name, config, revision, lambda builder: builder.hash)


def place(url: str) -> Path:
    """The file under data/raw that holds, or will hold, what `url` serves."""
    return paths.raw() / re.sub(r"^https?://", "", url).replace(":", "_")


def download(url: str, sha256: str | None = None) -> Path:
    """Return the file under data/raw that holds what `url` serves, fetching it if it is not there.

    Raises Unavailable if it cannot be fetched, StudyError if it is not the file that `sha256` names.
    """
    file = place(url)
    if not re.match(r"https?://", url) or ".." in file.parts or not file.is_relative_to(paths.raw()):
        raise StudyError(f"{url} is no address of a file on the web; correct it in params/")
    with contextlib.nullcontext() if file.exists() else paths.alone(file.with_name(f".{file.name}.lock"), f"fetching {url}"):
        content = file.read_bytes() if file.exists() else _fetch(url, file)
        found = hashlib.sha256(content).hexdigest()
        if sha256 and found != sha256:
            raise StudyError(f"{file.name} from {url} has the sha256 {found}, expected {sha256}; if {file} is there, delete it and run "
                             "again; if it happens again, the published file has changed")
        if not file.exists():
            paths.write_whole(file, content)
    return file


def _fetch(url: str, file: Path) -> bytes:
    import huggingface_hub.constants

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise Unavailable(f"{url} was never fetched and HF_HUB_OFFLINE forbids it; unset it once, or copy the file to {file}")
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise Unavailable(f"{url} could not be fetched ({error}); check the network and the address, or copy the file to "
                          f"{file}") from error


def _with_builder(name: str, config: str | None, revision: str | None, use):
    """What `use` makes of the data set's builder; the libraries' errors become one sentence."""
    import datasets  # here: it takes seconds to import, and the embedded study never needs it
    import huggingface_hub

    known = (datasets.exceptions.DatasetsError, huggingface_hub.errors.HTTPError, OSError, RuntimeError, ValueError)
    try:
        return use(datasets.load_dataset_builder(name, config, revision=revision))
    except known as error:
        raise Unavailable(_sentence(f"{name}{f' ({config})' if config else ''}", name, error)) from error


def _sentence(what: str, name: str, error: Exception) -> str:
    """One sentence on why a data set cannot be had, and what to do next."""
    import huggingface_hub.constants as constants

    text, page = str(error), f"{constants.ENDPOINT}/datasets/{name}"
    if re.search(r"\bgated\b|\b40[13]\b", text):
        return (f"{what} is gated or private: accept its terms at {page}, log in with `hf auth login` (or set HF_TOKEN) and "
                "run again")
    if constants.HF_HUB_OFFLINE:
        return f"{what} is not in the cache and HF_HUB_OFFLINE forbids fetching it; unset it and run once with a network"
    if "scripts are no longer supported" in text:
        return f"{what} is published as a loading script, which is never run; use another revision or the local source"
    if re.search(r"not found|doesn't exist|\b404\b", text):
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
            result[column] = [inner.int2str(each) for each in value] if isinstance(value, list) else inner.int2str(value)
    return result
