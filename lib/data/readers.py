"""Readers of lines and tables: from a file to sentences, or to texts with their labels.

They read local data and the published files of the paper's step 5. An error names file and line.
Text is UTF-8, plain or compressed (.xz, .gz), and comes back in NFC: one letter, one character.
Only a line feed ends a line, since tweets contain other Unicode line ends; a carriage return does
in a file without any.
"""

import csv
import functools
import gzip
import io
import lzma
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path

from lib.errors import StudyError

_OPEN = {".xz": lzma.open, ".gz": gzip.open}
_ALIKE = (  # names that published tables have for one column
    ("text", "sentence", "tweet", "review", "comment", "content"),
    ("label", "category", "sentiment", "topic", "class", "polarity"),
)
nfc = functools.partial(unicodedata.normalize, "NFC")


def lines(file: Path) -> list[str]:
    """Return the lines that are not blank, one sentence or paragraph each, stripped.

    Raises StudyError for a file that is missing, empty, damaged or not UTF-8.
    """
    return [line.strip() for line in text(file).split("\n") if line.strip()]


def table(
    file: Path, columns: tuple[str, ...], header: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """Return the named columns of a table whose first line is the header, or that has `header`.

    Tabs separate the fields, and a `"` is a character. In a .csv commas do (or semicolons, if the
    first line has no comma), and fields may be quoted and span lines. Where a name is missing, the
    one column with a name of the same meaning is read, and a printed line says so.
    Raises StudyError for a column that is missing or could be two, for a row with too few or too
    many fields or an empty one in the columns, and for broken quotes.
    """
    rows = _rows(file)
    where, header = (str(file), header) if header else next(rows)
    places = [_place(name, header, where) for name in columns]
    others = {name: header[at] for name, at in zip(columns, places, strict=True)}
    if said := [f"{other!r} as {name!r}" for name, other in others.items() if name != other]:
        print(f"{file}: reads the column {' and '.join(said)}", flush=True)
    return [_fields(fields, header, places, where) for where, fields in rows]


def text(file: Path) -> str:
    """Return the whole text of a file in NFC, without a byte order mark.

    Raises StudyError as `lines` does.
    """
    try:
        with _OPEN.get(file.suffix, open)(file, "rb") as handle:
            content = handle.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise StudyError(f"{file}: cannot be read ({reason}); correct or replace it") from error
    wrong, result = content.find(b"\0"), ""  # UTF-16 is full of zero bytes
    try:
        result = nfc(content.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = content.count(b"\n", 0, wrong) + 1
        raise StudyError(
            f"{file}:{line}: not UTF-8 text (byte {content[wrong]:#04x}); save the file as UTF-8"
        )
    if not result.strip():
        raise StudyError(f"{file}: the file is empty")
    return result if "\n" in result else result.replace("\r", "\n")  # of an old Mac


def _rows(file: Path) -> Iterator[tuple[str, list[str]]]:
    """(file:line, fields) of each row that is not blank."""
    content = text(file)
    if file.suffix != ".csv":
        for number, line in enumerate(content.split("\n"), start=1):
            if line.removesuffix("\r"):
                yield f"{file}:{number}", line.removesuffix("\r").split("\t")
        return
    first = content.lstrip().split("\n")[0]
    separator = ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    try:
        yield from ((f"{file}:{reader.line_num}", fields) for fields in reader if fields)
    except csv.Error as error:
        raise StudyError(f"{file}:{reader.line_num}: not well-formed CSV ({error})") from error


def _place(name: str, header, where: str) -> int:
    """The place of the one column that is called `name`, or else that means the same."""
    alike = next((names for names in _ALIKE if name in names), (name,))
    exact = [at for at, title in enumerate(header) if title == name]
    found = exact or [at for at, title in enumerate(header) if title.strip().lower() in alike]
    if len(found) != 1:
        raise StudyError(
            f"{where}: the header needs the column {name!r} once, or one of {', '.join(alike)}; it "
            f"has {', '.join(map(repr, header))}: rename one (a .tsv has tabs between its columns, "
            "a .csv commas)"
        )
    return found[0]


def _fields(fields: list[str], header, places: list[int], where: str) -> tuple[str, ...]:
    """The fields of one row at `places`."""
    if len(fields) != len(header):
        raise StudyError(
            f"{where}: {len(fields)} fields where the header has {len(header)}; a separator inside "
            "a text would split it"
        )
    for at in places:
        if not fields[at].strip():
            raise StudyError(
                f"{where}: the column {header[at]!r} is empty; fill it or delete the row"
            )
    return tuple(fields[at].strip() for at in places)
