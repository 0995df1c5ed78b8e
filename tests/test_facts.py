"""YAML is read strictly, and each entry of params/ has the keys and types of its kind."""

import os

import pytest
import toy_study

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
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' appears twice; keep one"),
        ("a:\n  x: 1\n  y: {z: 1, z: 1}\n", 3, "the key 'z' appears twice"),
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
            "not valid YAML: could not determine a constructor for the tag",
        ),
        ("? {x: 1}\n: 2\n", 1, "the key {'x': 1} is no plain word"),
        ("? !!set {x}\n: 2\n", 1, "is no plain word"),
        ("a: " + 999 * "[" + "\n", None, "too many brackets inside each other"),
        (
            "b: 1\na: 2026-13-45\n",
            2,
            "'2026-13-45' cannot be read (month must be in 1..12); put quotes around a text",
        ),
        (f"a: {'9' * 5000}\n", 1, "cannot be read (Exceeds the limit"),
        ("a: 1\n--- \nb: 2\n", 2, "not valid YAML: but found another document"),
        ("a: \x00\n", "?", "not valid YAML"),
        ("- a\n- b\n", None, "holds ['a', 'b'], expected `key: value` lines"),
        ("", None, "holds nothing, expected"),
        ("just text\n", None, "holds 'just text', expected"),
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


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path, monkeypatch):
    file = written(tmp_path, "a: 1\n")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    said = r"a\.yaml: cannot be read \(Permission denied\); correct its rights$"
    with pytest.raises(StudyError, match=said):
        facts.read_yaml(file)


@pytest.mark.parametrize("name", ["languages", "models", "tasks", "training", "corpora", "card"])
def test_the_facts_are_there(name):
    assert facts.facts(name)
    assert facts.facts(name) == facts.read_yaml(files.PARAMS / f"{name}.yaml")


def test_a_fact_that_is_not_there_names_those_that_are():
    assert facts.fact("languages", "mlt")["name"] == "Maltese"
    for key in ("xxx", "", None, ["mlt"], {"a": 1}):
        with pytest.raises(
            StudyError,
            match=r"no language called .*; params/languages\.yaml has mlt, slk, .*: take one",
        ):
            facts.fact("languages", key)


def test_the_folder_of_a_source(tmp_path):
    assert facts.Source("sample").folder == files.SAMPLE
    assert facts.Source("local", tmp_path).folder == tmp_path
    with pytest.raises(StudyError, match=r"the local source needs a folder; .* STUDY_DATA_ROOT"):
        _ = facts.Source("local").folder


MODEL = "toy-bert"
SIZES = {"model_type": "bert", "hidden_size": 0}


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("languages", "mlt.name", 7, "mlt: name: 7 is not text"),
        ("languages", "mlt.script", None, "mlt: script is missing; add it"),
        ("languages", "mlt.flores", "../x", "mlt: flores: '../x' cannot name published data"),
        ("languages", "mlt", "Maltese", "mlt: expected `key: value` pairs, got 'Maltese'"),
        ("languages", "a/b", {}, "'a/b' cannot be a name"),
        ("languages", False, {}, "False is not text (YAML reads a bare no"),
        ("tasks", "tc.kind", "text", "tc: kind: 'text' is none of sequence, token; take one"),
        ("tasks", "tc.folder", "..", "tc: folder: '..' cannot be a name"),
        ("tasks", "tc.extensions", "tsv", "tc: extensions: 'tsv' is not a list"),
        (
            "models",
            f"{MODEL}.make",
            "buy",
            f"{MODEL}: make: 'buy' is none of new, local, hub, package; take one",
        ),
        ("models", f"{MODEL}.make", None, f"{MODEL}: make is missing; add it"),
        ("models", f"{MODEL}.text", {"mlt": -1}, f"{MODEL}: text: mlt: -1 is out of range"),
        ("models", f"{MODEL}.revision", "x", f"{MODEL}: unknown key 'revision'"),
        ("models", f"{MODEL}.configuration", SIZES, f"{MODEL}: configuration: hidden_size: 0 is"),
        ("models", "my-encoder.folder", "../x", "my-encoder: folder: '../x' is not a path below"),
        ("models", "my-encoder.hidden_size", 8, "my-encoder: unknown key 'hidden_size'; it takes"),
        (
            "models",
            "mbert.intermediate_size",
            8,
            "mbert: unknown key 'intermediate_size'; it takes",
        ),
        ("models", "e5-small.num_hidden_layers", 6, "e5-small: unknown key 'num_hidden_layers'"),
        ("models", "mbert.repository", "a b", "mbert: repository: 'a b' is not an id of the hub"),
        ("models", "mbert.licence", None, "mbert: licence is missing; add it"),
        ("models", "e5-small.sha256", None, "e5-small: sha256 is missing; add it"),
        ("models", "e5-small.file", None, "e5-small: file is missing; add it"),
        ("models", "e5-small.licence", None, "e5-small: licence is missing; add it"),
        ("models", "e5-small.sha256", "A" * 64, f"e5-small: sha256: '{'A' * 64}' is no sha256; wr"),
        (
            "models",
            "e5-small.sha256",
            "f4b8",
            "e5-small: sha256: 'f4b8' is no sha256; write its 64",
        ),
        ("models", "e5-small.file", "/x.bin", "e5-small: file: '/x.bin' is not a p"),
        (
            "models",
            "e5-small.version",
            "1/../../x",
            "e5-small: version: '1/../../x' cannot be a na",
        ),
        ("models", "e5-small.version", 0.3, "e5-small: version: 0.3 is not text; put it"),
        ("models", "e5-small.package", "-r", "e5-small: package: '-r' cannot be a name"),
        ("models", "e5-small.revision", "x", "e5-small: unknown key 'revision'; it takes adapted"),
        ("models", "mbert.adapted", {"mlt": {}}, "mbert: adapted: mlt: licence, repository, rev"),
        ("training", "warmup", 1.5, "warmup: 1.5 is out of range; it is a share, 0 to 1"),
        ("training", "mlm_probability", 0, "mlm_probability: 0 is out of range"),
        ("training", "weight_decay", "1e-2", "weight_decay: '1e-2' is not a number (YAML reads"),
        ("training", "evaluations", None, "evaluations is missing; add it"),
        ("training", "epochs", 3, "unknown key 'epochs'"),
        ("card", "head", 7, "head: 7 is not text; put it in quotes"),
        ("card", "head", "$name for 5 $", "head: '$name for 5 $' has a $ without a name; write $$"),
        ("card", "a b", "text", "'a b' cannot be a name"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_file_and_key(
    name, place, value, said, tmp_path, monkeypatch
):
    entries = facts.facts(name)
    folder = toy_study.facts_in(tmp_path, monkeypatch)
    wrong = toy_study.changed(entries, place, value) if place else entries | {place: value}
    toy_study.write_yaml(folder / f"{name}.yaml", wrong)
    with pytest.raises(StudyError) as caught:
        facts.facts(name)
    assert str(caught.value).startswith(f"params/{name}.yaml: {said}")
