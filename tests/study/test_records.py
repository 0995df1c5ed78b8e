"""Records: what stands in them, what of it lasts, and files of many."""

import json
import os
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import toy_study

from lib import files
from lib.errors import StudyError
from lib.study import records, studies
from lib.study.plan import chain, scoring

MODEL = {"id": "x", "step": "layers", "parameters": 10, "config": {"hidden_size": 8}}
PARTS = {"scores": {"macro_f1": 0.5}, "history": [{"loss": 0.25}], "data": {"kind": "sample"}}


@pytest.fixture
def run(toy):
    """A scoring run of the toy study whose model has a record."""
    overrides = {"layers": {"layer_choice": "stride"}}
    model = chain(studies.load("toy"), "mlt", overrides=overrides)[2]
    for each in model.lineage():
        toy_study.finish(each)
    return scoring(model, "mlt", "tc", 2)


def test_a_record_says_what_its_run_was(run):
    record = records.compose(run, MODEL, {"total": 2.5}, **PARTS)
    assert record["id"] == run.id and record["source"] == "sample"
    names = ("step", "study", "language", "teacher", "task", "seed")
    assert [record[name] for name in names] == ["finetune", "toy", "mlt", "toy-bert", "tc", 2]
    assert list(record["settings"]) == ["pretrain", "adapt", "layers", "finetune"]
    assert record["settings"] == {each.step: each.stated for each in run.lineage()}
    assert record["changed"] == {"layers.layer_choice": "stride"}
    assert record["chain"] == [each.id for each in run.lineage()[:-1]]
    assert record["model"] == MODEL and record["history"] == PARTS["history"]
    assert set(record["made"]) == {"at", "seconds", "parent", "environment"}
    assert record["made"]["seconds"] == {"total": 2.5} and record["made"]["at"][4] == "-"
    assert record["made"]["parent"] == records.digest(records.read(run.parent))
    first = run.lineage()[0]
    assert records.compose(first, MODEL, {})["made"]["parent"] is None
    files.write_json(run.record, record)
    assert records.read(run) == record


def test_what_may_differ_does_not_last(run, monkeypatch):
    first = records.compose(run, MODEL, {"total": 2.5}, **PARTS)
    monkeypatch.setattr(records, "environment", lambda: {"commit": "other", "cores": 64})
    second = records.compose(run, MODEL, {"total": 9.0}, **PARTS)
    assert {key for key in first if first[key] != second[key]} <= {"made"}
    assert records.lasting(first) == records.lasting(second) == records.lasting(second | PARTS)
    assert records.digest(first) == records.digest(second | {"paired": {"ngrams": {}}})
    assert records.digest(first) == records.digest(dict(reversed(first.items())))
    for key in set(first) - {"made"}:
        assert records.digest(first | {key: "another"}) != records.digest(first), key


def test_reasons_why_a_source_did_not_serve_are_part_of_the_making(run):
    plain = {"mlt": {"kind": "hub", "files": {"train": {"file": "a"}}}}
    files_of = {"train": {"file": "a", "passed_over": ["the first", "the second"]}}
    offline = {"mlt": {"kind": "hub", "files": files_of, "passed_over": ["no network"]}}
    record = records.compose(run, MODEL, {}, data=offline)
    assert record["data"] == plain and "passed_over" in offline["mlt"]
    assert sorted(record["made"]["passed_over"]) == ["no network", "the first", "the second"]
    assert records.digest(record) == records.digest(records.compose(run, MODEL, {}, data=plain))


def test_a_run_without_a_record(run, toy):
    with pytest.raises(
        StudyError, match=f"{run.id} has not been run; run the notebook 60_finetune_task.ipynb"
    ):
        records.read(run)
    assert not run.record.parent.exists()


def test_the_environment_that_a_number_was_made_in(monkeypatch, tmp_path):
    no_gpu = SimpleNamespace(is_available=lambda: False)
    library = SimpleNamespace(get_num_threads=lambda: 5, cuda=no_gpu)
    monkeypatch.setitem(sys.modules, "torch", library)
    assert records.environment()["threads"] == 5
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = records.environment()
    assert found["torch"] == version("torch") and found["cores"] == os.cpu_count()
    assert found["threads"] == 3 and all(found[name] for name in ("python", "processor", "commit"))
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert records.environment()["commit"] == "not a checkout"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert records.environment()["commit"] == "git is not installed"


LONG = {"name": "x" * 60, "inner": {"a": 1, "text": "y" * 60}}
MANY = [
    {"id": "a", "data": LONG, "scores": {"f1": 0.5}, "history": [LONG]},
    {"id": "b", "data": LONG, "scores": {"f1": 0.25}, "other": {"mine": LONG["inner"]}},
    {"id": "c", "data": {"both": LONG, "more": 1}, "nothing": None, "text": "ħ\u2028"},
    {"id": "d", "data": {"both": LONG, "more": 1}, "empty": {}, "short": {"a": 1}},
]


@pytest.mark.parametrize("content", [MANY, MANY[:1], [], MANY * 2, [{"a": {}}, {"a": {}}]])
def test_records_read_back_as_they_were_written(tmp_path, data, content):
    file = tmp_path / "inner" / "study.jsonl"
    records.write_lines(file, content)
    assert records.read_lines(file) == content
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    assert len(lines) == 1 + len(content) and set(lines[0]) == {"shared"}
    again = tmp_path / "again.jsonl"
    records.write_lines(again, records.read_lines(file))
    assert again.read_bytes() == file.read_bytes()


def test_a_section_that_records_share_is_written_once(tmp_path, data):
    file = tmp_path / "study.jsonl"
    records.write_lines(file, MANY)
    first, *lines = file.read_text(encoding="utf-8").split("\n")
    for record, line in zip(MANY, lines[:4], strict=True):
        assert json.loads(line)["id"] == record["id"]
    assert "x" * 60 not in "".join(lines[1:])  # the list of the first record stays as it is
    assert first.count('"same"') <= first.count("x" * 60) <= 2
    written = json.loads(lines[1])
    assert list(written["data"]) == ["same"]
    assert list(written["other"]["mine"]) == ["same"] and written["scores"] == {"f1": 0.25}


def test_nan_is_refused_and_the_old_file_stays(tmp_path, data):
    file = tmp_path / "study.jsonl"
    records.write_lines(file, MANY)
    before = file.read_bytes()
    for wrong, error in ((float("nan"), ValueError), (float("inf"), ValueError), ({1}, TypeError)):
        with pytest.raises(error):
            records.write_lines(file, [*MANY, {"id": "e", "scores": {"f1": wrong}}])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "{}\n",
        "[]\n",
        "null\n",
        '{"shared": 3}\n{"id": {"same": "00000000"}}\n',
        '{"shared": {}}\n{"id": "a"',
        '{"shared": {}}\n{"id": {"same": "00000000"}}\n',
        "id,study\na,b\n",
        b"\xff\xfe",
    ],
)
def test_a_broken_file_is_refused_with_its_name(tmp_path, text):
    file = tmp_path / "study.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StudyError, match=r"study\.jsonl: not a file of records .*; publish the st"):
        records.read_lines(file)


def test_a_missing_file_says_what_makes_it(tmp_path):
    with pytest.raises(StudyError, match=r"there are no records; run `make study` or `make publis"):
        records.read_lines(tmp_path / "study.jsonl")
