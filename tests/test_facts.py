"""YAML read strictly, entry by name, and the rules for values from outside."""

import math
import os
from pathlib import Path

import pytest

from lib import facts, files
from lib.errors import StudyError


def written(folder, text):
    file = folder / "a.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_mapping_is_read_as_it_stands(tmp_path):
    found = facts.read_yaml(
        written(tmp_path, "b: 1\na: {x: [1, 2.5, ħ], y: no}\nc: 1.0e-4\nd: 5e-5\n")
    )
    assert found == {
        "b": 1,
        "a": {"x": [1, 2.5, "ħ"], "y": False},
        "c": 1e-4,
        "d": "5e-5",
    } and list(found) == ["b", "a", "c", "d"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands twice; keep one"),
        ("a:\n  x: 1\n  y: {z: 1, z: 1}\n", 3, "the key 'z' stands twice"),
        ("a: 1\n? [x, y]\n: 2\n", 2, "is no plain word"),
        ("a:\n\tb: 1\n", 2, "found character '\\t' that cannot start any token"),
        ("a: {b: 1\n", 2, "not valid YAML"),
        ("a: 'open\n", 2, "not valid YAML"),
        ("a: 1\n b: 2\n", 2, "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", 1, "could not determine a constructor"),
        ("a: *b\n", 1, "the alias *b is not taken; write out what it stands for"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 2, "the alias *a is not taken"),
        ("a: &a [*a]\n", 1, "the alias *a is not taken"),
        (
            "a: {<<: {b: 1}}\n",
            1,
            "not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:merge'",
        ),
        ("? {x: 1}\n: 2\n", 1, "the key {'x': 1} is no plain word"),
        ("? !!set {x}\n: 2\n", 1, "is no plain word"),
        ("a: " + 9999 * "[" + "\n", None, "too many brackets inside each other"),
        (
            "b: 1\na: 2026-13-45\n",
            2,
            "'2026-13-45' cannot be read (month must be in 1..12); put quotes around a text",
        ),
        (f"a: {'9' * 5000}\n", 1, "cannot be read (Exceeds the limit"),
        ("a: 1\n--- \nb: 2\n", 2, "not valid YAML: but found another document"),
        ("a: \x00\n", "?", "not valid YAML"),
        ("- a\n- b\n", None, "holds a list, expected `key: value` lines"),
        ("", None, "holds nothing, expected"),
        ("just text\n", None, "holds plain text, expected"),
        (
            b"a: caf\xe9\n",
            None,
            "not UTF-8 text (invalid continuation byte at byte 6); save it as UTF-8",
        ),
    ],
)
def test_malformed_files_are_refused_with_their_line(tmp_path, text, line, said):
    file = written(tmp_path, text)
    with pytest.raises(StudyError) as caught:
        facts.read_yaml(file)
    assert str(caught.value).startswith(
        f"{file}:{line}: " if line else f"{file}: "
    ) and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_read_again(tmp_path):
    file = written(tmp_path, "a: 1\n")
    assert facts.read_yaml(file) == {"a": 1}
    written(tmp_path, "a: 2\n")
    os.utime(file, ns=(1, 1))
    assert facts.read_yaml(file) == {"a": 2}


@pytest.mark.parametrize("name", ["languages", "models", "tasks", "training", "corpora"])
def test_the_facts_are_there(name):
    assert facts.facts(name)
    assert facts.facts(name) == facts.read_yaml(files.PARAMS / f"{name}.yaml")


def test_a_fact_that_is_not_there_names_those_that_are():
    assert facts.fact("languages", "mlt")["name"] == "Maltese"
    for key in ("xxx", "", None, ["mlt"], {"a": 1}):
        with pytest.raises(
            StudyError,
            match=r"no language called .*; params/languages\.yaml has mlt, slk, .*: take one of these or add",
        ):
            facts.fact("languages", key)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0, int),
        (7, int),
        (10**11, int),
        (0.0, float),
        (3, float),
        (1e-9, float),
        ("", str),
        (True, bool),
        ({}, dict),
        ([], list),
        ("b", ("a", "b")),
    ],
)
def test_values_that_pass(value, kind):
    facts.check_value(value, kind, "here")


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (1.5, int, "1.5 is not a whole number"),
        (1.0, int, "1.0 is not a whole number"),
        ("7", int, "'7' is not a whole number"),
        (True, int, "True is not a whole number"),
        (None, int, "None is not a whole number"),
        (False, float, "False is not a number"),
        ("5e-5", float, "'5e-5' is not a number (YAML reads 5e-5 as text: write 5.0e-5)"),
        ([1], float, "[1] is not a number"),
        (7, str, "7 is not text"),
        (1, bool, "1 is not true or false"),
        ("no", bool, "'no' is not true or false"),
        ([], dict, "[] is not a mapping"),
        ("a", list, "'a' is not a list"),
        ("c", ("a", "b"), "'c' is none of a, b; take one of these"),
        (-1, int, "-1 is out of range; give a number of 0 or more"),
        (10**12, int, "is out of range"),
        (-1e-9, float, "out of range"),
        (math.inf, float, "inf is out of range"),
        (math.nan, float, "nan is out of range"),
        (1e300, float, "out of range"),
    ],
)
def test_values_that_do_not(value, kind, said):
    with pytest.raises(StudyError) as caught:
        facts.check_value(value, kind, "here")
    assert str(caught.value).startswith("here: ") and said in str(caught.value)


def test_zero_where_nothing_makes_no_sense():
    for value, kind in ((0, int), (0, float), (0.0, float)):
        with pytest.raises(StudyError, match="is out of range; give a number above 0"):
            facts.check_value(value, kind, "here", zero=False)


def test_seeds():
    for seed in (0, 1, 2**32 - 1):
        facts.check_seed(seed, "here")
    for seed in (-1, 2**32, 1.0, "1", True, None):
        with pytest.raises(StudyError, match=r"^here: "):
            facts.check_seed(seed, "here")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": 1, "c": 3}, "unknown key 'c'; it takes a, b"),
        ({"b": 1}, "a is missing; add it"),
        ([], "expected `key: value` pairs, got []"),
        (None, "expected `key: value` pairs, got None"),
        ({1: 2}, "unknown key 1"),
    ],
)
def test_keys(given, said):
    facts.check_keys({"a": 1}, {"a", "b"}, {"b"}, "here")
    with pytest.raises(StudyError) as caught:
        facts.check_keys(given, {"a", "b"}, {"b"}, "here")
    assert str(caught.value).startswith("here: ") and said in str(caught.value)


def test_roots_are_seen_from_the_repository_and_the_environment_wins(monkeypatch, tmp_path):
    monkeypatch.delenv("A_ROOT", raising=False)
    assert facts.root(None, "A_ROOT") is None and facts.root("", "A_ROOT") is None
    assert facts.root("../x", "A_ROOT") == files.ROOT.parent / "x" and facts.root(
        "/y", "A_ROOT"
    ) == Path("/y")
    monkeypatch.setenv("A_ROOT", str(tmp_path))
    assert facts.root("../x", "A_ROOT") == tmp_path.resolve() == facts.root(None, "A_ROOT")
