"""Readers of the file formats a study takes: pure functions from a file to sentences, labels and tags.

They serve the `local` source and the published files behind the paper's step 5. A malformed file is refused with its name and line.
Text is UTF-8, plain or compressed (.xz, .gz); lines end at a line feed only, since tweets hold other Unicode line ends.
"""

import csv
import gzip
import io
import json
import lzma
import re
import zlib
from pathlib import Path

from lib import files
from lib.errors import StudyError

UPOS = frozenset(
    {
        "ADJ",
        "ADP",
        "ADV",
        "AUX",
        "CCONJ",
        "DET",
        "INTJ",
        "NOUN",
        "NUM",
        "PART",
        "PRON",
        "PROPN",
        "PUNCT",
        "SCONJ",
        "SYM",
        "VERB",
        "X",
    }
)
LONGEST = 100_000  # characters of a line of text; a file without line ends is no list of sentences
_OPEN = {".xz": lzma.open, ".gz": gzip.open}


def lines(file: Path) -> list[str]:
    """Return the lines that hold text, one sentence or paragraph each, without surrounding white space.

    Raises StudyError for a file that is missing, empty, damaged or not UTF-8 (with the line of the first bad byte), or a line of more
    than `LONGEST` characters.
    """
    found = _text(file).split("\n")
    for number, line in enumerate(found, start=1):
        if len(line) > LONGEST:
            raise StudyError(
                f"{file}:{number}: a line of {len(line):,} characters; put one sentence or paragraph on a line, {LONGEST:,} "
                "characters at most"
            )
    return [line.strip() for line in found if line.strip()]


def line_with(file: Path, field: str) -> int:
    """Return the number of the first line of a table or CoNLL file that has `field` among its fields; 0 if none has."""
    separator = r"\t" if file.suffix in (".tsv", ".conllu") else r"[ \t]"
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if field in (cell.strip() for cell in re.split(separator, line)) and (
            number > 1 or file.suffix != ".tsv"
        ):
            return number
    return 0


def table(file: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the named columns of every row of a tab-separated file whose first line is the header.

    There is no quoting: a `"` is a character. Raises StudyError for a missing column, a row with too few or too many fields,
    or an empty cell in one of the columns.
    """
    first, *rest = (line.removesuffix("\r") for line in _text(file).split("\n"))
    header = first.split("\t")
    for name in columns:
        if header.count(name) != 1:
            raise StudyError(
                f"{file}:1: the header needs the column {name!r} once; it has {', '.join(map(repr, header))}"
            )
    rows = []
    for number, line in enumerate(rest, start=2):
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise StudyError(
                f"{file}:{number}: {len(cells)} tab-separated fields where the header has {len(header)}; "
                "tabs inside a text must become spaces"
            )
        rows.append(_picked(dict(zip(header, cells, strict=True)), columns, f"{file}:{number}"))
    return _filled(rows, file)


def quoted(file: Path, header: tuple[str, ...], columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the named columns of a comma-separated file without header line, whose cells may be quoted and span lines.

    `header` names the cells of a row. Raises StudyError for another number of cells, an empty one or broken quotes.
    """
    reader, rows = csv.reader(io.StringIO(_text(file), newline=""), strict=True), []
    try:
        for cells in reader:
            if len(cells) != len(header):
                raise StudyError(
                    f"{file}:{reader.line_num}: {len(cells)} comma-separated fields, expected {len(header)}: "
                    f"{', '.join(header)}"
                )
            rows.append(
                _picked(dict(zip(header, cells, strict=True)), columns, f"{file}:{reader.line_num}")
            )
    except csv.Error as error:
        raise StudyError(
            f"{file}:{reader.line_num}: not a well-formed CSV row ({error})"
        ) from error
    return _filled(rows, file)


def conll(file: Path, bio: bool = True) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return (words, tags) of every sentence of a file with `word tag` on a line and a blank line between sentences.

    One space or tab stands between the two. With `bio` the tags must be O, B-TYPE or I-TYPE, and an I- must go on with the entity
    of the word before it. Raises StudyError naming the line.
    """
    sentences, words, tags = [], [], []
    for number, line in enumerate([*_text(file).split("\n"), ""], start=1):
        line = line.removesuffix("\r")
        if line.strip(" \t"):
            cells = re.split(r"[ \t]", line)
            if len(cells) != 2 or not all(cells):
                raise StudyError(
                    f"{file}:{number}: expected `word tag` with one space or tab between, got {line!r}"
                )
            if bio:
                _check_bio(tags[-1] if tags else "O", cells[1], f"{file}:{number}")
            words.append(cells[0])
            tags.append(cells[1])
        elif words:
            sentences.append((tuple(words), tuple(tags)))
            words, tags = [], []
    return _filled(sentences, file)


def conllu(file: Path) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return (FORM, UPOS) of the words with integer ids of every sentence of a CoNLL-U file.

    Ranges (multiword tokens, `3-4`) and empty nodes (`3.1`) are left out, as in the authors' scripts.
    Raises StudyError for another number of columns, ids that do not count 1, 2, 3, ..., an empty form or an unknown tag.
    """
    sentences, words, tags = [], [], []
    for number, line in enumerate([*_text(file).split("\n"), ""], start=1):
        line, say = line.removesuffix("\r"), f"{file}:{number}"
        if not line.strip():
            if words:
                sentences.append((tuple(words), tuple(tags)))
            words, tags = [], []
        elif not line.startswith("#"):
            cells = line.split("\t")
            if len(cells) != 10:
                raise StudyError(f"{say}: {len(cells)} tab-separated columns, CoNLL-U has 10")
            if re.fullmatch(r"\d+[-.]\d+", cells[0]):
                continue
            if cells[0] != str(len(words) + 1):
                raise StudyError(
                    f"{say}: the id {cells[0]!r} stands where {len(words) + 1} is due; ids count 1, 2, 3 in a "
                    "sentence and a blank line ends it"
                )
            if not cells[1].strip():
                raise StudyError(f"{say}: the FORM column is empty")
            if cells[3] not in UPOS:
                raise StudyError(
                    f"{say}: {cells[3]!r} is no universal part-of-speech tag; the tags are {', '.join(sorted(UPOS))}"
                )
            words.append(cells[1])
            tags.append(cells[3])
    return _filled(sentences, file)


def fingerprint(root: Path, file: Path) -> dict:
    """Return what a record says of a file under `root`: its name from there, sha256, licence and origin.

    Licence and origin come from `root`/MANIFEST.json where it lists the file, and are "not stated" otherwise.
    """
    name, manifest = file.relative_to(root).as_posix(), root / "MANIFEST.json"
    stated = {"licence": "not stated", "origin": "not stated"}
    if manifest.is_file():
        try:
            entries = json.loads(_text(manifest))["files"]
            for source in (
                source for entry in entries if entry["file"] == name for source in entry["sources"]
            ):
                new = {
                    "licence": source["licence"],
                    "origin": f"{source['repository']}@{source['commit']}",
                }
                stated = {key: _joined(stated[key], new[key]) for key in stated}
        except json.JSONDecodeError as error:
            raise StudyError(
                f"{manifest}:{error.lineno}: not valid JSON ({error.msg}); correct it or take it away"
            ) from None
        except (KeyError, TypeError) as error:
            raise StudyError(
                f"{manifest}: not a list of files and their sources ({type(error).__name__}: {error}); it needs `files`, each "
                "with `file` and `sources`, each of these with licence, repository and commit"
            ) from None
    return {"file": name, "sha256": files.sha256(file), **stated}


def _text(file: Path) -> str:
    """The whole text of a file, without a byte order mark."""
    try:
        with _OPEN.get(file.suffix, open)(file, "rb") as handle:
            content = handle.read()
    except FileNotFoundError:
        raise StudyError(f"{file}: there is no such file") from None
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise StudyError(
            f"{file}: not a whole {file.suffix} file ({error}); compress or copy it again"
        ) from error
    except OSError as error:
        raise StudyError(
            f"{file}: cannot be read ({error.strerror}); it must be a file that you may read"
        ) from error
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        looks = "it looks like UTF-16; " if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise StudyError(
            f"{file}:{line}: not UTF-8 text ({error.reason} {content[error.start]:#04x}); {looks}save the file as "
            "UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise StudyError(
            f"{file}:{line}: not plain text (a NUL character stands there); save the file as UTF-8 text"
        )
    if not text.strip():
        raise StudyError(f"{file}: the file is empty")
    return text


def _check_bio(before: str, tag: str, say: str) -> None:
    if tag != "O" and not re.fullmatch(r"[BI]-\S+", tag):
        raise StudyError(f"{say}: {tag!r} is no BIO tag; tags are O, B-TYPE and I-TYPE")
    if tag.startswith("I-") and before[2:] != tag[2:]:
        raise StudyError(
            f"{say}: {tag} goes on with an entity, but the tag before it is {before}; begin the entity with B-{tag[2:]}"
        )


def _picked(row: dict[str, str], columns: tuple[str, ...], say: str) -> tuple[str, ...]:
    for name in columns:
        if not row[name].strip():
            raise StudyError(f"{say}: the column {name!r} is empty; fill it or delete the row")
    return tuple(row[name].strip() for name in columns)


def _filled(items: list, file: Path) -> list:
    if not items:
        raise StudyError(f"{file}: holds no example, only a header, comments or blank lines")
    return items


def _joined(old: str, new: str) -> str:
    return new if old == "not stated" else old if new in old.split("; ") else f"{old}; {new}"
