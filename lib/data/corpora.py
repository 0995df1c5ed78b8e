"""Text of a language for masked-language-model training and its measures (the paper's steps 0 to 4 and 6).

Three sources behind one call: `sample` (the embedded grammar), `local` (a folder of plain text) and `hub` (the paper's: GlotCC
documents to train on, FLORES-200 dev to choose checkpoints, devtest to measure).
"""

import random
import tarfile
from functools import lru_cache
from pathlib import Path

from lib import facts
from lib.data import hub, readers
from lib.errors import StudyError
from lib.facts import Source

PARTS = ("train", "dev", "test")
_SEED = (
    20250516  # of the shuffle of a local file; fixed, so that dev and test never move into train
)
_HELD_OUT = 1000  # lines for dev and as many for test, or a twentieth of a small file
_LEAST = 200  # different lines of a file: ten to choose checkpoints by, and ten to measure on


def load(language: str, source: Source, part: str, limit: int = 0) -> list[str]:
    """Return the sentences (hub train: documents, which may hold line feeds) of one part; the first `limit` if it is above 0.

    The order is fixed (sample and local text is shuffled), so a smaller limit is a subset of a larger one. `train`, `dev` and
    `test` of the sample and of a local file are disjoint; those of the hub are different data sets.
    Without a limit: all, or for hub train as many as the paper used, or for the sample 2,000 (200 for dev and test).
    Raises StudyError for an unknown part, source or language, and for files that cannot be read.
    """
    if part not in PARTS:
        raise StudyError(
            f"no part called {part!r}; a corpus has {', '.join(PARTS)}: take one of these"
        )
    if limit < 0:
        raise StudyError(f"a limit of {limit} sentences; give 0 for all, or a number above")
    _known_source(source)
    if source.kind != "hub":
        place = _local(language, source.folder)
        if part in place:
            return readers.lines(place[part])[: limit or None]
        (file,) = place.values()
        return _held_out(file, file.stat().st_mtime_ns)[part][: limit or None]
    if part == "train":
        return _glotcc(language, limit)
    return _flores(language, part)[0][: limit or None]


def describe(language: str, source: Source) -> dict:
    """Return where the text comes from, for the record: kind, and for what serves it the checksum or commit, licence and origin."""
    _known_source(source)
    if source.kind != "hub":
        found = {
            part: readers.fingerprint(source.folder, file)
            for part, file in _local(language, source.folder).items()
        }
        return {"kind": source.kind} | (found.get("text") or found)
    entry = facts.fact("corpora", "glotcc")
    config = _config(language, "glotcc")
    train = {
        "data_set": entry["data_set"],
        "config": config,
        "revision": hub.commit(entry["data_set"], config, entry["revision"]),
        "licence": entry["licence"],
        "origin": entry["origin"],
    }
    return {
        "kind": "hub",
        "train": train,
        "dev": _flores(language, "dev")[1],
        "test": _flores(language, "test")[1],
    }


def _local(language: str, root: Path) -> dict[str, Path]:
    """The files of a language below `root`/corpora: {"text": file}, or a folder's {"train": file, "dev": file, "test": file}.

    They are chosen from what lies there, never built from the name.
    """
    folder, endings = root / "corpora", (".txt", ".txt.xz", ".txt.gz")
    present = sorted(folder.iterdir()) if folder.is_dir() else []
    own = [
        each for each in present if each.name in {language, *(language + end for end in endings)}
    ]
    if not own:
        known = ", ".join(sorted({each.name.split(".")[0] for each in present})) or "nothing"
        raise StudyError(
            f"{folder} has no text of {language!r}; it has {known}: add {language}.txt (or .txt.xz, .txt.gz), one "
            "sentence a line"
        )
    if len(own) > 1:
        raise StudyError(f"{folder} has {' and '.join(each.name for each in own)}; keep one")
    if own[0].is_file():
        return {"text": own[0]}
    parts = {
        part: [own[0] / f"{part}{end}" for end in endings if (own[0] / f"{part}{end}").is_file()]
        for part in PARTS
    }
    for part, there in parts.items():
        if len(there) != 1:
            has = " and ".join(file.name for file in there) or "none"
            raise StudyError(
                f"{own[0]} needs one file {part}.txt (or .txt.xz, .txt.gz); it has {has}"
            )
    return {part: there[0] for part, there in parts.items()}


@lru_cache(maxsize=1)
def _held_out(file: Path, _changed: int) -> dict[str, list[str]]:
    """The parts of a file: repeated lines dropped, all shuffled, test and dev cut from the front."""
    lines = list(dict.fromkeys(readers.lines(file)))
    random.Random(_SEED).shuffle(lines)
    if len(lines) < _LEAST:
        raise StudyError(
            f"{file}: {len(lines)} different lines of text, of which a twentieth each is held out as dev and test; {_LEAST} "
            "are the least: add text"
        )
    held = min(_HELD_OUT, len(lines) // 20)
    return {"test": lines[:held], "dev": lines[held : 2 * held], "train": lines[2 * held :]}


def _glotcc(language: str, limit: int) -> list[str]:
    entry = facts.fact("corpora", "glotcc")
    limit = limit or facts.fact("languages", language).get("glotcc_documents") or 0
    return hub.rows(
        entry["data_set"],
        _config(language, "glotcc"),
        "train",
        entry["revision"],
        limit,
        entry["column"],
    )[0]


def _flores(language: str, part: str) -> tuple[list[str], dict]:
    """Sentences and their origin: the official archive; where it cannot be had, FLORES+, and the record says why."""
    code, archive = _config(language, "flores"), facts.fact("corpora", "flores")
    split = {"dev": "dev", "test": "devtest"}[part]
    try:
        file = hub.download(archive["url"], archive["sha256"])
        origin = {
            "origin": archive["url"],
            "sha256": archive["sha256"],
            "licence": archive["licence"],
        }
        return _member(file, f"{archive['folder']}/{split}/{code}.{split}"), origin
    except hub.Unavailable as error:
        plus = facts.fact("corpora", "flores_plus")
        try:
            sentences, revision = hub.rows(
                plus["data_set"], code, split, plus["revision"], 0, plus["column"]
            )
        except hub.Unavailable as second:
            raise StudyError(
                f"FLORES-200 cannot be had: {error}; nor FLORES+ in its place: {second}"
            ) from second
        origin = {
            "data_set": plus["data_set"],
            "config": code,
            "revision": revision,
            "licence": plus["licence"],
            "origin": plus["origin"],
            "passed_over": [str(error)],
        }
        return sentences, origin


def _member(archive: Path, name: str) -> list[str]:
    """The lines of one text file of a tar archive."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.removeprefix("./") == name:
                return tar.extractfile(member).read().decode("utf-8").rstrip("\n").split("\n")
    raise StudyError(
        f"{archive}: has no file {name}; correct the language's `flores` code in params/languages.yaml"
    )


def _config(language: str, key: str) -> str:
    config = facts.fact("languages", language).get(key)
    if not config:
        raise StudyError(
            f"params/languages.yaml states no `{key}` for {language!r}; add the name that data set uses for the language, "
            "or use the local source"
        )
    return config


def _known_source(source: Source) -> None:
    if source.kind not in facts.SOURCES:
        raise StudyError(
            f"no source called {source.kind!r}; there are {', '.join(facts.SOURCES)}: take one of these"
        )
