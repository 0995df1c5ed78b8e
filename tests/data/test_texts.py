"""Text files by their paths: parts without leaks, languages in balance, and refusals."""

import gzip
import hashlib

import pytest

from lib.data import texts
from lib.errors import StudyError
from lib.facts import Source


@pytest.fixture(autouse=True)
def notes(data):
    """Checksums are noted in a folder of the test's own."""


def write(file, *lines):
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


def test_several_files_of_one_language(tmp_path):
    first = write(tmp_path / "a.txt", *(f"line {n}" for n in range(300)))
    second = tmp_path / "b.txt.gz"
    content = gzip.compress("\n".join(f"line {n}" for n in range(200, 500)).encode())
    second.write_bytes(content)
    (parts,) = texts.read([first, str(second)]).values()
    assert {name: len(parts[name]) for name in ("train", "dev", "test")} == {
        "train": 450,
        "dev": 25,
        "test": 25,
    }
    together = {line for name in ("train", "dev", "test") for line in parts[name]}
    assert together == {f"line {n}" for n in range(500)}
    assert parts["files"][1] == {"file": "b.txt.gz", "sha256": hashlib.sha256(content).hexdigest()}


def test_no_test_line_of_a_language_is_in_train_of_another(tmp_path):
    common = [f"common {n}" for n in range(100)]
    a = write(tmp_path / "a.txt", *common, *(f"a {n}" for n in range(300)))
    b = write(tmp_path / "b.txt", *common, *(f"b {n}" for n in range(250)))
    read = texts.read({"slk": a, "ces": [b]})
    held = {line for parts in read.values() for name in ("dev", "test") for line in parts[name]}
    assert not held & {line for parts in read.values() for line in parts["train"]}
    assert sum(len(read["ces"][name]) for name in ("train", "dev", "test")) == 250


def test_each_language_gives_as_many_sentences_as_the_longest():
    read = {"a": {"train": ["a1", "a2", "a3", "a4", "a5"]}, "b": {"train": ["b1", "b2"]}}
    assert texts.balanced(read, "train") == [
        *("a1", "b1", "a2", "b2", "a3"),
        *("b1", "a4", "b2", "a5", "b1"),
    ]
    assert texts.balanced({"a": read["a"]}, "train") == read["a"]["train"]


def test_a_group_trains_on_no_line_that_one_of_its_languages_holds_out(tmp_path):
    own = {
        "slk": {"train": ["s1", "c test", "c dev", "s2"], "dev": ["s dev", "c test"]},
        "ces": {"train": ["c1", "s test"], "dev": ["c dev"]},
    }
    for language, parts in own.items():
        folder = tmp_path / "corpora" / language
        folder.mkdir(parents=True)
        for part, lines in (parts | {"test": [f"{language[0]} test"]}).items():
            (folder / f"{part}.txt").write_text("\n".join(lines), encoding="utf-8")
    source = Source("local", tmp_path)

    def both(part, limit=0):
        return texts.load(["slk", "ces"], source, part, limit)

    assert both("train") == ["s1", "c1", "s2", "c1"]
    assert both("train", 1) == ["s1", "c1"]
    assert both("dev") == ["s dev", "c dev"]
    assert both("test") == ["s test", "c test"]
    assert texts.load(["slk"], source, "train") == own["slk"]["train"]
    assert [*texts.describe(["slk", "ces"], source)] == ["slk", "ces"]
    assert texts.describe(["slk"], source) == texts.describe(["slk", "ces"], source)["slk"]
    with pytest.raises(StudyError, match="tset"):
        texts.load(["slk"], source, "tset")
    with pytest.raises(StudyError, match="tset"):
        texts.load(["slk", "ces"], source, "tset")


def test_a_measure_of_a_text_of_several_languages_is_also_that_of_each():
    def length(lines, least):
        return {"lines": max(len(lines), least), "letters": len("".join(lines))}

    text = ["a", "dd", "b", "ee", "c", "dd"]
    assert texts.by_language(["slk"], text, length, 1) == {"lines": 6, "letters": 9}
    assert texts.by_language(["slk", "swh"], text, length, 1) == {
        **{"lines": 6, "letters": 9},
        **{"lines (slk)": 3, "letters (slk)": 3, "lines (swh)": 2, "letters (swh)": 4},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no path; give a file"),
        (7, "7 is no path"),
        ([], r"\[\] is no path"),
        ({}, "no language is named"),
        ({"slk": ["a.txt", 3]}, "is no path"),
        ({False: "a.txt"}, "False is not text .YAML reads a bare no"),
        ("nowhere.txt", "nowhere.txt: cannot be read"),
    ],
)
def test_refusals(text, said):
    with pytest.raises(StudyError, match=said):
        texts.read(text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF\0\0\1", "not UTF-8 text"),
        ("ž\n".encode("cp1250") * 300, "not UTF-8 text"),
        (b"one line\n" * 300, "1 different lines of text; at least 200 are needed"),
    ],
)
def test_files_that_are_no_text(tmp_path, content, said):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(StudyError, match=f"a.txt.*{said}"):
        texts.read(str(tmp_path / "a.txt"))
