"""Text of a language for masked-language-model training and its measures (the paper's steps 0 to 4 and 6).

Three sources behind one call: `sample` (the embedded grammar), `local` (a folder of plain text) and `hub` (the paper's: GlotCC
documents to train on, FLORES-200 dev to choose checkpoints, devtest to measure).
"""

import random
import tarfile
from functools import lru_cache
from pathlib import Path

from lib import hub, params, paths, readers, sample
from lib.errors import StudyError
from lib.params import Source

PARTS = ("train", "dev", "test")
_SEED = 20250516  # of the shuffle of a local file; fixed, so that dev and test never move into train
_HELD_OUT = 1000  # lines for dev and as many for test, or a twentieth of a small file
_LEAST = 200  # different lines of a file: ten to choose checkpoints by, and ten to measure on
_SAMPLE_SIZES = {"train": 2000, "dev": 200, "test": 200}


def load(language: str, source: Source, part: str, limit: int = 0) -> list[str]:
    """Return the sentences (hub train: documents, which may hold line feeds) of one part; the first `limit` if it is above 0.

    The order is fixed (sample and local text is shuffled), so a smaller limit is a subset of a larger one. `train`, `dev` and
    `test` of the sample and of a local file are disjoint; those of the hub are different data sets.
    Without a limit: all, or for hub train as many as the paper used, or for the sample 2,000 (200 for dev and test).
    Raises StudyError for an unknown part, source or language, and for files that cannot be read.
    """
    if part not in PARTS:
        raise StudyError(f"no part called {part!r}; a corpus has {', '.join(PARTS)}: take one of these")
    if limit < 0:
        raise StudyError(f"a limit of {limit} sentences; give 0 for all, or a number above")
    _known_source(source)
    if source.kind == "sample":
        return sample.sentences(language, limit or _SAMPLE_SIZES[part], _SEED, part=part)
    if source.kind == "local":
        file = _local_file(language, source.root)
        return _held_out(file, file.stat().st_mtime_ns)[part][:limit or None]
    if part == "train":
        return _glotcc(language, limit)
    return _flores(language, part)[0][:limit or None]


def describe(language: str, source: Source) -> dict:
    """Return where the text comes from, for the record: kind, and for what serves it the checksum or commit, licence and origin."""
    _known_source(source)
    if source.kind == "sample":
        return {"kind": "sample", "sha256": paths.sha256(paths.SAMPLE), "licence": "as this repository",
                "origin": "data/sample, written for this project"}
    if source.kind == "local":
        return {"kind": "local", **readers.fingerprint(source.root, _local_file(language, source.root))}
    facts = params.fact("corpora", "glotcc")
    config = _config(language, "glotcc")
    train = {"data_set": facts["data_set"], "config": config, "revision": hub.commit(facts["data_set"], config, facts["revision"]),
             "licence": facts["licence"], "origin": facts["origin"]}
    return {"kind": "hub", "train": train, "dev": _flores(language, "dev")[1], "test": _flores(language, "test")[1]}


def _local_file(language: str, root: Path | None) -> Path:
    """The one corpus file of a language; chosen from what lies there, never built from the name."""
    if root is None:
        raise StudyError("the local source needs a folder; give it as data_root in the study file or as STUDY_DATA_ROOT")
    folder = root / "corpora"
    names = {language + ending for ending in (".txt", ".txt.xz", ".txt.gz")}
    present = sorted(file for file in folder.glob("*.txt*") if file.is_file()) if folder.is_dir() else []
    found = [file for file in present if file.name in names]
    if not found:
        known = ", ".join(sorted({file.name.split(".")[0] for file in present})) or "nothing"
        raise StudyError(f"{folder} has no text of {language!r}; it has {known}: add {language}.txt (or .txt.xz, .txt.gz), one "
                         "sentence a line")
    if len(found) > 1:
        raise StudyError(f"{folder} has {' and '.join(file.name for file in found)}; keep one")
    return found[0]


@lru_cache(maxsize=1)
def _held_out(file: Path, _changed: int) -> dict[str, list[str]]:
    """The parts of a file: repeated lines dropped, all shuffled, test and dev cut from the front."""
    lines = list(dict.fromkeys(readers.lines(file)))
    random.Random(_SEED).shuffle(lines)
    if len(lines) < _LEAST:
        raise StudyError(f"{file}: {len(lines)} different lines of text, of which a twentieth each is held out as dev and test; {_LEAST} "
                         "are the least: add text")
    held = min(_HELD_OUT, len(lines) // 20)
    return {"test": lines[:held], "dev": lines[held:2 * held], "train": lines[2 * held:]}


def _glotcc(language: str, limit: int) -> list[str]:
    facts = params.fact("corpora", "glotcc")
    limit = limit or params.fact("languages", language).get("glotcc_documents") or 0
    return hub.rows(facts["data_set"], _config(language, "glotcc"), "train", facts["revision"], limit, facts["column"])[0]


def _flores(language: str, part: str) -> tuple[list[str], dict]:
    """Sentences and their origin: the official archive; where it cannot be had, FLORES+, and the record says why."""
    code, archive = _config(language, "flores"), params.fact("corpora", "flores")
    split = {"dev": "dev", "test": "devtest"}[part]
    try:
        file = hub.download(archive["url"], archive["sha256"])
        origin = {"origin": archive["url"], "sha256": archive["sha256"], "licence": archive["licence"]}
        return _member(file, f"{archive['folder']}/{split}/{code}.{split}"), origin
    except hub.Unavailable as error:
        plus = params.fact("corpora", "flores_plus")
        try:
            sentences, revision = hub.rows(plus["data_set"], code, split, plus["revision"], 0, plus["column"])
        except hub.Unavailable as second:
            raise StudyError(f"FLORES-200 cannot be had: {error}; nor FLORES+ in its place: {second}") from second
        origin = {"data_set": plus["data_set"], "config": code, "revision": revision, "licence": plus["licence"],
                  "origin": plus["origin"], "passed_over": [str(error)]}
        return sentences, origin


def _member(archive: Path, name: str) -> list[str]:
    """The lines of one text file of a tar archive."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.removeprefix("./") == name:
                return tar.extractfile(member).read().decode("utf-8").rstrip("\n").split("\n")
    raise StudyError(f"{archive}: has no file {name}; correct the language's `flores` code in params/languages.yaml")


def _config(language: str, key: str) -> str:
    config = params.fact("languages", language).get(key)
    if not config:
        raise StudyError(f"params/languages.yaml states no `{key}` for {language!r}; add the name that data set uses for the language, "
                         "or use the local source")
    return config


def _known_source(source: Source) -> None:
    if source.kind not in params.SOURCES:
        raise StudyError(f"no source called {source.kind!r}; there are {', '.join(params.SOURCES)}: take one of these")
