"""Readers: what they give for well-formed files, and which line they blame for malformed ones."""

import gzip
import lzma
import re

import pytest

from lib.data import conll, readers
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
    return readers.table(file, ("text", "label"), ("label", "text"))


def plain_conll(file):
    return conll.conll(file, bio=False)


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
    assert conll.conll(file) == [
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
    assert conll.conllu(file) == [
        (("zu", "dem", "10 000"), ("ADP", "DET", "NUM")),
        (("Ja",), ("INTJ",)),
    ]


TABLES = {  # name, content -> texts with labels, and the columns that the printed line names
    "a tweet": ("a.tsv", "tweet\tlabel\nno\t0\n", [("no", "0")], "'tweet' as 'text'"),
    "other names": (
        "a.tsv",
        "id\tSentence\tSentiment\n1\tno\tbad\n",
        [("no", "bad")],
        "'Sentence' as 'text' and 'Sentiment' as 'label'",
    ),
    "its own name first": (
        "a.tsv",
        "text\tcomment\tlabel\nno\tbah\tbad\n",
        [("no", "bad")],
        None,
    ),
    "commas": (
        "a.csv",
        'label,text\n0,"no, ""no"""\n\n1,yes\n',
        [('no, "no"', "0"), ("yes", "1")],
        None,
    ),
    "a text of two lines": ("a.csv", 'text,label\r\n"no\nno",0\r\n', [("no\nno", "0")], None),
    "semicolons": (
        "a.csv",
        "review;class\nno, no;0\n",
        [("no, no", "0")],
        "'review' as 'text' and 'class' as 'label'",
    ),
    "letters and their accents apart": (
        "a.tsv",
        "text\tlabel\nc\u030cas\tc\u030c\n",
        [("\u010das", "\u010d")],
        None,
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_other_projects(tmp_path, capsys, case):
    name, content, expected, said = TABLES[case]
    file = written(tmp_path, name, content)
    assert table(file) == expected
    said = f"{file}: reads the column {said}\n" if said else ""
    assert capsys.readouterr().out == said


def test_text_is_in_nfc(tmp_path):
    """As one character a letter: so the vocabularies of the teachers hold it."""
    assert readers.lines(written(tmp_path, "a.txt", "z\u0307ebbug\u0307\n")) == ["\u017cebbu\u0121"]


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
    "two texts": (
        table,
        "a.tsv",
        "tweet\tcomment\tlabel\n",
        1,
        "has 'tweet', 'comment', 'label': re",
    ),
    "two labels": (
        table,
        "a.csv",
        "text,topic,class\n",
        1,
        "needs the column 'label' once, or one of",
    ),
    "commas in a .tsv": (table, "a.tsv", "text,label\nno,0\n", 1, "has 'text,label': rename one"),
    "no header": (table, "a.tsv", "good\thello\n", 1, "'text'"),
    "column twice": (table, "a.tsv", "text\tlabel\ttext\n", 1, "'text' once"),
    "tab in text": (
        table,
        "a.tsv",
        "label\ttext\na\tb\na\tb\tc\n",
        3,
        "3 fields where the header has 2",
    ),
    "no tab": (table, "a.tsv", "label\ttext\na b\n", 2, "1 fields where the header has 2"),
    "empty text": (table, "a.tsv", "label\ttext\na\tb\na\t\n", 3, "'text' is empty"),
    "empty label": (table, "a.tsv", "label\ttext\n \tb\n", 2, "'label' is empty"),
    "three cells": (quoted, "a.csv", "0,a\n1,b,c\n", 2, "3 fields where the header has 2"),
    "open quote": (quoted, "a.csv", '0,a\n1,"b\n', 2, "well-formed"),
    "text after quote": (quoted, "a.csv", '0,"a"b\n', 1, "well-formed"),
    "empty cell": (quoted, "a.csv", "0,a\n1,\n", 2, "'text' is empty"),
    "one column": (
        conll.conll,
        "a.conll",
        "a O\nb\n",
        2,
        "expected a word and its tag in 2 columns",
    ),
    "another column": (conll.conll, "a.conll", "a O\nb x O\n", 2, "got 'b x O'"),
    "no word": (conll.conll, "a.conll", "a\tO\n\tO\n", 2, "got ' O'"),
    "no BIO": (conll.conll, "a.conll", "a O\n\nb PER\n", 3, "not an entity tag"),
    "no type": (conll.conll, "a.conll", "a B-\n", 1, "not an entity tag"),
    "other scheme": (conll.conll, "a.conll", "a PER-B\n", 1, "not an entity tag"),
    "I after O": (conll.conll, "a.conll", "a O\nb I-PER\nc B-LOC\n", 2, "before it is O"),
    "I after another type": (
        conll.conll,
        "a.conll",
        "a B-LOC\nb I-PER\n",
        2,
        "before it is B-LOC",
    ),
    "I begins a sentence": (conll.conll, "a.conll", "a B-PER\n\nb I-PER\n", 3, "before it is O"),
    "nine columns": (
        conll.conllu,
        "a.conllu",
        conllu(("1", "a", "X")) + "2\tb\t_\tX\t_\t_\t_\t_\t_\n",
        2,
        "9 tab-separated",
    ),
    "spaces for tabs": (conll.conllu, "a.conllu", "1 a _ X _ _ _ _ _ _\n", 1, "1 tab-separated"),
    "id skipped": (
        conll.conllu,
        "a.conllu",
        conllu(("1", "a", "X"), ("3", "b", "X")),
        2,
        "'3', expected 2",
    ),
    "no blank line": (
        conll.conllu,
        "a.conllu",
        conllu("# x\n", ("1", "a", "X"), ("1", "b", "X")),
        3,
        "a blank line ends",
    ),
    "id no number": (conll.conllu, "a.conllu", conllu(("x", "a", "X")), 1, "'x', expected 1"),
    "no tag": (conll.conllu, "a.conllu", conllu(("1", "a", "_")), 1, "'_' is not a universal"),
    "other tags": (
        conll.conllu,
        "a.conllu",
        conllu(("1", "a", "NN")),
        1,
        "'NN' is not a universal",
    ),
    "no form": (conll.conllu, "a.conllu", conllu(("1", "", "X")), 1, "FORM column is empty"),
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
    assert conll.conllu(written(tmp_path, "a.conllu", "# text = x\n\n")) == []
