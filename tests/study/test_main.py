"""The commands of a study: what they print, what they write, and how they fail."""

import sys

import pytest
import toy_study

from lib import files
from lib.errors import StudyError
from lib.study import __main__ as commands
from lib.study import plan, records, studies
from lib.study.plan import chain


@pytest.fixture
def command(toy, monkeypatch, capsys, tmp_path):
    """A function that runs one command and returns what it printed, line by line."""
    monkeypatch.setattr(files, "RESULTS", tmp_path / "results")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["lib.study", *words])
        commands.main()
        return capsys.readouterr().out.splitlines()

    return run


def test_status_lists_the_runs_and_their_states(command):
    runs = plan.runs("toy")
    first, second, *_ = chain(studies.load("toy"), "mlt")
    for run in (first, second):
        toy_study.finish(run)
    lines = command("status", "toy")
    assert len(lines) == len(runs) + 1 and lines[-1] == f"2 of {len(runs)} runs done"
    assert lines[0] == f"done  00_pretrain_teacher {first.id}"
    assert lines[2].startswith("to do 20_distil_layers mlt.")
    toy_study.finish(first, scores={"mlm_loss": 3.0})
    assert command("status", "toy", second.id) == [
        f"stale 10_adapt_teacher {second.id}",
        "0 of 1 runs done",
    ]


def test_runs_are_made_all_or_some(command, executed):
    runs = plan.runs("toy")
    command("make", "toy", runs[0].id, runs[1].id)
    assert executed == runs[:2]
    command("make", "toy")
    assert executed == runs


def test_a_study_is_collected_whole_and_published_in_part(command, executed):
    runs = plan.runs("toy")
    command("make", "toy", *(run.id for run in runs[:4]))
    with pytest.raises(SystemExit, match="the study 'toy' is not finished"):
        command("collect", "toy")
    assert command("publish", "toy") == [f"4 records of toy in {files.RESULTS}"]
    assert len(records.read_lines(files.RESULTS / "toy.jsonl")) == 4
    command("make", "toy")


def test_a_finished_study_is_collected(command, monkeypatch):
    monkeypatch.setattr(commands.publish, "collect", lambda study, partial: [{"id": study}])
    written = []
    monkeypatch.setattr(commands.publish, "write", lambda *given: written.append(given))
    assert command("collect", "toy") == [f"1 records of toy in {files.runs() / 'studies'}"]
    assert written == [("toy", files.runs() / "studies", [{"id": "toy"}])]


def test_published_records_are_restored(command, monkeypatch):
    monkeypatch.setattr(commands.publish, "restore", lambda study: {"toy": 3}[study])
    assert command("restore", "toy") == [f"3 records of toy were taken from {files.RESULTS}"]


def test_a_repeat_says_the_same_or_each_difference(command, monkeypatch):
    run = plan.runs("toy")[0]
    asked = []

    def fake(run, published):
        asked.append((run.id, published))
        return differences

    monkeypatch.setattr(commands.repeat, "repeat", fake)
    differences = []
    assert command("repeat", "toy", run.id) == [f"{run.id}: the same record again"]
    assert asked == [(run.id, None)]
    files.RESULTS.mkdir()
    (files.RESULTS / "toy.jsonl").touch()
    differences = ["scores.f1: 1 then, 2 now", "scores.f2: 1 then, 2 now"]
    said = f"2 numbers of {run.id} differ:\nscores.f1: 1 then, 2 now\n"
    with pytest.raises(SystemExit, match=said):
        command("repeat", "toy", run.id)
    assert asked[1:] == [(run.id, files.RESULTS / "toy.jsonl")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "nothing"], "no study called 'nothing'; params/studies has toy"),
        (["collect", "toy"], "is not finished"),
        (["publish", "toy"], "is not finished"),
        (["make", "toy", "absent"], "has no run absent; `python -m lib.study status toy` lists th"),
        (["repeat", "toy", "absent"], "has no run absent"),
    ],
)
def test_a_mistake_is_one_sentence(command, words, said):
    with pytest.raises(SystemExit, match=said) as caught:
        command(*words)
    assert "\n" not in caught.value.code


def test_another_error_keeps_its_trace(command, monkeypatch):
    def fails(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(commands.make, "make", fails)
    with pytest.raises(ValueError, match="a bug"):
        command("make", "toy")
    monkeypatch.setattr(commands.make, "make", lambda runs: (_ for _ in ()).throw(StudyError("x")))
    with pytest.raises(SystemExit, match="x"):
        command("make", "toy")
