"""Readers of file formats: pure functions from a file to sentences, labels and tags.

They read local data and the published files of the paper's step 5. An error names file and line.
Text is UTF-8, plain or compressed (.xz, .gz). Only a line feed ends a line, since tweets contain
other Unicode line ends.
"""

import csv
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from lib.errors import StudyError

_UPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
_OPEN = {".xz": lzma.open, ".gz": gzip.open}
_Sentence = tuple[tuple[str, ...], tuple[str, ...]]  # words and tags


def lines(file: Path) -> list[str]:
    """Return the lines that are not blank, one sentence or paragraph each, stripped.

    Raises StudyError for a file that is missing, empty, damaged or not UTF-8.
    """
    return [line.strip() for line in _text(file).split("\n") if line.strip()]


def table(file: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the named columns of a tab-separated file whose first line is the header.

    There is no quoting: a `"` is a character. Raises StudyError for a missing column, a row with
    too few or too many fields, or an empty field in one of the columns.
    """
    header, *rows = (line.removesuffix("\r").split("\t") for line in _text(file).split("\n"))
    for name in columns:
        if header.count(name) != 1:
            raise StudyError(
                f"{file}:1: the header needs the column {name!r} once; "
                f"it has {', '.join(map(repr, header))}"
            )
    return [
        _fields(fields, header, columns, "tab", f"{file}:{number}")
        for number, fields in enumerate(rows, start=2)
        if fields != [""]
    ]


def quoted(file: Path, header: tuple[str, ...], columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the named columns of a comma-separated file without a header line.

    Fields may be quoted and span lines; `header` names them. Raises StudyError for another number
    of fields, an empty one, or broken quotes.
    """
    reader = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    try:
        return [
            _fields(fields, header, columns, "comma", f"{file}:{reader.line_num}")
            for fields in reader
        ]
    except csv.Error as error:
        raise StudyError(f"{file}:{reader.line_num}: not well-formed CSV ({error})") from error


def conll(file: Path, bio: bool = True) -> list[_Sentence]:
    """Return words and tags of each sentence of a file with `word tag` lines.

    A blank line ends a sentence. With `bio` the tags must be O, B-TYPE or I-TYPE, and I- must
    continue the entity of the word before. Raises StudyError with the line.
    """

    def word_and_tag(line: str, tags: list[str], where: str) -> list[str]:
        fields = re.split(r"[ \t]", line)
        if len(fields) != 2 or not all(fields):
            raise StudyError(
                f"{where}: expected `word tag` with one space or tab between, got {line!r}"
            )
        if bio:
            _check_bio(tags[-1] if tags else "O", fields[1], where)
        return fields

    return _sentences(file, word_and_tag)


def conllu(file: Path) -> list[_Sentence]:
    """Return forms and universal part-of-speech tags of each sentence of a CoNLL-U file.

    Multiword tokens (`3-4`) and empty nodes (`3.1`) are left out, as in the authors' scripts.
    Raises StudyError for another number of columns, ids that do not count 1, 2, 3, an empty form
    or an unknown tag.
    """

    def form_and_tag(line: str, tags: list[str], where: str) -> list[str] | None:
        fields = line.split("\t")
        if line.startswith("#"):
            return None
        if len(fields) != 10:
            raise StudyError(f"{where}: {len(fields)} tab-separated columns, CoNLL-U has 10")
        number, form, tag = fields[0], fields[1], fields[3]
        if re.fullmatch(r"\d+[-.]\d+", number):
            return None
        if number != str(len(tags) + 1):
            raise StudyError(
                f"{where}: the id is {number!r}, expected {len(tags) + 1}; ids count 1, 2, 3 in "
                "a sentence, and a blank line ends it"
            )
        if not form.strip():
            raise StudyError(f"{where}: the FORM column is empty")
        if tag not in _UPOS.split():
            raise StudyError(
                f"{where}: {tag!r} is not a universal part-of-speech tag; the tags are {_UPOS}"
            )
        return [form, tag]

    return _sentences(file, form_and_tag)


def _sentences(file: Path, parse: Callable) -> list[_Sentence]:
    """The sentences of a file with a word on a line; `parse` gives word and tag, or None."""
    sentences, words, tags = [], [], []
    for number, line in enumerate([*_text(file).split("\n"), ""], start=1):
        line = line.removesuffix("\r")
        if line.strip(" \t"):
            pair = parse(line, tags, f"{file}:{number}")
            if pair:
                words.append(pair[0])
                tags.append(pair[1])
        elif words:
            sentences.append((tuple(words), tuple(tags)))
            words, tags = [], []
    return sentences


def _text(file: Path) -> str:
    """The whole text of a file, without a byte order mark."""
    try:
        with _OPEN.get(file.suffix, open)(file, "rb") as handle:
            content = handle.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise StudyError(f"{file}: cannot be read ({error}); correct or replace it") from error
    wrong, text = content.find(b"\0"), ""  # UTF-16 is full of zero bytes
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = content.count(b"\n", 0, wrong) + 1
        raise StudyError(
            f"{file}:{line}: not UTF-8 text (byte {content[wrong]:#04x}); save the file as UTF-8"
        )
    if not text.strip():
        raise StudyError(f"{file}: the file is empty")
    return text


def _check_bio(before: str, tag: str, where: str) -> None:
    if tag != "O" and not re.fullmatch(r"[BI]-\S+", tag):
        raise StudyError(f"{where}: {tag!r} is not a BIO tag; tags are O, B-TYPE and I-TYPE")
    if tag.startswith("I-") and before[2:] != tag[2:]:
        raise StudyError(
            f"{where}: {tag} continues an entity, but the tag before it is {before}; "
            f"begin the entity with B-{tag[2:]}"
        )


def _fields(fields: list[str], header, columns, separator: str, where: str) -> tuple[str, ...]:
    """The fields of one row under `columns`."""
    if len(fields) != len(header):
        raise StudyError(
            f"{where}: {len(fields)} {separator}-separated fields where the header has "
            f"{len(header)}; a {separator} inside a text would split it"
        )
    row = dict(zip(header, map(str.strip, fields), strict=True))
    for name in columns:
        if not row[name]:
            raise StudyError(f"{where}: the column {name!r} is empty; fill it or delete the row")
    return tuple(row[name] for name in columns)
