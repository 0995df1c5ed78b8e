"""Readers: what they give for well-formed files, and which line they blame for malformed ones."""

import gzip
import lzma
import re

import pytest

from lib.data import readers
from lib.errors import StudyError


def written(folder, name, content):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def conllu(*rows):
    """CoNLL-U lines from (id, form, tag); a str stands as it is."""
    return "".join(
        row if isinstance(row, str) else "\t".join([row[0], row[1], "_", row[2], *"______"]) + "\n"
        for row in rows
    )


def table(file):
    return readers.table(file, ("text", "label"))


def quoted(file):
    return readers.quoted(file, ("label", "text"), ("text", "label"))


def plain_conll(file):
    return readers.conll(file, bio=False)


def test_lines(tmp_path):
    text = "L-ewwel waħda.\r\n\n  It-tieni\u2028waħda.  \nlast"
    expected = ["L-ewwel waħda.", "It-tieni\u2028waħda.", "last"]  # only a line feed ends a line
    assert readers.lines(written(tmp_path, "a.txt", text)) == expected
    assert readers.lines(written(tmp_path, "a.txt.xz", lzma.compress(text.encode()))) == expected
    assert readers.lines(written(tmp_path, "a.txt.gz", gzip.compress(text.encode()))) == expected
    assert (
        readers.lines(written(tmp_path, "b.txt", b"\xef\xbb\xbf" + text.encode())) == expected
    )  # a byte order mark goes


def test_table(tmp_path):
    file = written(
        tmp_path, "a.tsv", 'id\tlabel\ttext\r\n1\tgood\t"He said "yes"\r\n\n2\tbad\t no \n'
    )
    assert table(file) == [('"He said "yes"', "good"), ("no", "bad")]


def test_quoted(tmp_path):
    assert quoted(written(tmp_path, "a.csv", '0,"two\nlines, ""both"""\n1,plain\n')) == [
        ('two\nlines, "both"', "0"),
        ("plain", "1"),
    ]


def test_conll(tmp_path):
    file = written(tmp_path, "a.conll", "\n# O\nJohn B-PER\nSmith\tI-PER\n\n \nMt B-LOC\nX B-LOC")
    assert readers.conll(file) == [
        (("#", "John", "Smith"), ("O", "B-PER", "I-PER")),
        (("Mt", "X"), ("B-LOC", "B-LOC")),
    ]
    assert plain_conll(written(tmp_path, "b.conll", "10\xa0000 NUM\n")) == [
        (("10\xa0000",), ("NUM",))
    ]


def test_conllu(tmp_path):
    file = written(
        tmp_path,
        "a.conllu",
        conllu(
            "# text = x\n",
            ("1-2", "zum", "_"),
            ("1", "zu", "ADP"),
            ("2", "dem", "DET"),
            ("2.1", "void", "VERB"),
            ("3", "10 000", "NUM"),
            "\n\n",
            ("1", "Ja", "INTJ"),
        ),
    )
    assert readers.conllu(file) == [
        (("zu", "dem", "10 000"), ("ADP", "DET", "NUM")),
        (("Ja",), ("INTJ",)),
    ]


MALFORMED = {
    "missing file": (readers.lines, "a.txt", None, None, "No such file"),
    "empty": (readers.lines, "a.txt", "", None, "is empty"),
    "only blank": (readers.lines, "a.txt", " \n\n", None, "is empty"),
    "latin-1": (readers.lines, "a.txt", b"one\ntwo\ncaf\xe9\nfour\n", 3, "not UTF-8"),
    "UTF-16": (readers.lines, "a.txt", "one\n".encode("utf-16"), 1, "not UTF-8"),
    "latin-1, compressed": (
        readers.lines,
        "a.txt.gz",
        gzip.compress(b"one\ncaf\xe9"),
        2,
        "not UTF-8",
    ),
    "cut xz": (
        readers.lines,
        "a.txt.xz",
        lzma.compress(b"one\n" * 999)[:-9],
        None,
        "cannot be read",
    ),
    "no xz": (readers.lines, "a.txt.xz", b"one\n", None, "cannot be read"),
    "cut gz": (readers.lines, "a.txt.gz", gzip.compress(b"one\n")[:-5], None, "cannot be read"),
    "no gz": (readers.lines, "a.txt.gz", b"one\n", None, "cannot be read"),
    "no header": (table, "a.tsv", "good\thello\n", 1, "'text'"),
    "column twice": (table, "a.tsv", "text\tlabel\ttext\n", 1, "'text' once"),
    "tab in text": (table, "a.tsv", "label\ttext\na\tb\na\tb\tc\n", 3, "3 tab-separated fields"),
    "no tab": (table, "a.tsv", "label\ttext\na b\n", 2, "1 tab-separated fields"),
    "empty text": (table, "a.tsv", "label\ttext\na\tb\na\t\n", 3, "'text' is empty"),
    "empty label": (table, "a.tsv", "label\ttext\n \tb\n", 2, "'label' is empty"),
    "three cells": (quoted, "a.csv", "0,a\n1,b,c\n", 2, "3 comma-separated"),
    "open quote": (quoted, "a.csv", '0,a\n1,"b\n', 2, "well-formed"),
    "text after quote": (quoted, "a.csv", '0,"a"b\n', 1, "well-formed"),
    "empty cell": (quoted, "a.csv", "0,a\n1,\n", 2, "'text' is empty"),
    "one column": (readers.conll, "a.conll", "a O\nb\n", 2, "expected `word tag`"),
    "three columns": (readers.conll, "a.conll", "a x O\n", 1, "expected `word tag`"),
    "two spaces": (readers.conll, "a.conll", "a  O\n", 1, "expected `word tag`"),
    "no BIO": (readers.conll, "a.conll", "a O\n\nb PER\n", 3, "not a BIO tag"),
    "no type": (readers.conll, "a.conll", "a B-\n", 1, "not a BIO tag"),
    "other scheme": (readers.conll, "a.conll", "a S-PER\n", 1, "not a BIO tag"),
    "I after O": (readers.conll, "a.conll", "a O\nb I-PER\n", 2, "before it is O"),
    "I after another type": (
        readers.conll,
        "a.conll",
        "a B-LOC\nb I-PER\n",
        2,
        "before it is B-LOC",
    ),
    "I begins a sentence": (readers.conll, "a.conll", "a B-PER\n\nb I-PER\n", 3, "before it is O"),
    "nine columns": (
        readers.conllu,
        "a.conllu",
        conllu(("1", "a", "X")) + "2\tb\t_\tX\t_\t_\t_\t_\t_\n",
        2,
        "9 tab-separated",
    ),
    "spaces for tabs": (readers.conllu, "a.conllu", "1 a _ X _ _ _ _ _ _\n", 1, "1 tab-separated"),
    "id skipped": (
        readers.conllu,
        "a.conllu",
        conllu(("1", "a", "X"), ("3", "b", "X")),
        2,
        "'3', expected 2",
    ),
    "no blank line": (
        readers.conllu,
        "a.conllu",
        conllu("# x\n", ("1", "a", "X"), ("1", "b", "X")),
        3,
        "a blank line ends",
    ),
    "id no number": (readers.conllu, "a.conllu", conllu(("x", "a", "X")), 1, "'x', expected 1"),
    "no tag": (readers.conllu, "a.conllu", conllu(("1", "a", "_")), 1, "'_' is not a universal"),
    "other tags": (
        readers.conllu,
        "a.conllu",
        conllu(("1", "a", "NN")),
        1,
        "'NN' is not a universal",
    ),
    "no form": (readers.conllu, "a.conllu", conllu(("1", "", "X")), 1, "FORM column is empty"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(tmp_path, case):
    reader, name, content, line, said = MALFORMED[case]
    file = written(tmp_path, name, content) if content is not None else tmp_path / name
    with pytest.raises(StudyError, match=re.escape(said)) as caught:
        reader(file)
    assert str(caught.value).startswith(
        f"{file}:{line}: " if line else f"{file}: "
    ) and "\n" not in str(caught.value)


def test_files_without_examples(tmp_path):
    """The task that needs examples says that there are none, see test_tasks."""
    assert table(written(tmp_path, "a.tsv", "text\tlabel\n")) == []
    assert readers.conllu(written(tmp_path, "a.conllu", "# text = x\n\n")) == []
