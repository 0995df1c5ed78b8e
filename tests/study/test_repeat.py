"""A run made again elsewhere is compared with its record, and nothing of the study is touched."""

import os
import shutil
from contextlib import contextmanager

import pytest
import toy_study

from lib import files
from lib.errors import StudyError
from lib.study import make, records, repeat, studies
from lib.study.plan import chain, resolve, scoring


@pytest.fixture
def run(toy):
    """A finished scoring of a finished chain."""
    models = chain(studies.load("toy"), "mlt")
    score = scoring(models[2], "mlt", "tc", 1)
    for each in score.lineage():
        toy_study.finish(each, scores={"macro_f1": 0.5})
        if each is not score:
            (each.folder / "README.md").write_text("a card")
    return score


def kernel(monkeypatch, work):
    """In place of a warm kernel: `work(parameters)`, with the kernel's environment."""

    @contextmanager
    def warm_kernel(environment):
        def execute(notebook, copy, parameters):
            assert copy.is_relative_to(environment["STUDY_DATA"])
            with monkeypatch.context() as there:
                for name in ("STUDY_DATA", "OMP_NUM_THREADS"):
                    there.delenv(name, raising=False)
                    if name in environment:
                        there.setenv(name, environment[name])
                work(parameters)

        yield execute

    monkeypatch.setattr(make, "warm_kernel", warm_kernel)


@pytest.fixture
def scored(monkeypatch):
    """What the repeated notebook will score, and what it saw: {"macro_f1": ..., "places": [...]}.

    The notebook rewrites the card of the model, as a scoring does. "fails": it stops early or late.
    """
    found = {"macro_f1": 0.5, "places": [], "fails": None}

    def work(parameters):
        run = resolve("finetune", parameters)
        found["places"].append(files.data())
        found["threads"] = os.environ.get("OMP_NUM_THREADS")
        assert [each.record.exists() for each in run.lineage()] == [True, True, True, False]
        assert records.read(run.parent)["id"] == run.parent.id
        files.write_whole(run.parent.folder / "README.md", "another card")
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        if found["fails"] == "early":
            raise KeyboardInterrupt
        toy_study.finish(run, scores={"macro_f1": found["macro_f1"]})
        if found["fails"] == "late":
            raise KeyboardInterrupt

    kernel(monkeypatch, work)
    return found


def content(folder) -> dict:
    """Every file of a folder with its content and its time, but for locks."""
    return {
        file: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".lock"
    }


def test_the_same_record_again_touches_nothing(run, scored):
    before, place = content(files.data()), os.environ["STUDY_DATA"]
    assert repeat.repeat(run) == []
    assert scored["places"] == [files.data() / "repeat" / run.id]
    assert content(files.data()) == before and os.environ["STUDY_DATA"] == place
    assert not [*(files.data() / "repeat").iterdir()]


@pytest.mark.parametrize("threads", [2, 0, None])
def test_a_repeat_takes_the_threads_of_the_record(run, scored, monkeypatch, threads):
    """So its sums are rounded in the same order."""
    record = records.read(run)
    record["made"]["environment"] = {} if threads is None else {"threads": threads}
    files.write_json(run.record, record)
    for now in ("7", None):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if now:
            monkeypatch.setenv("OMP_NUM_THREADS", now)
        assert repeat.repeat(run) == [] and scored["threads"] == (str(threads) if threads else None)


def test_a_difference_is_named(run, scored):
    before = content(files.data())
    scored["macro_f1"] = 0.25
    assert repeat.repeat(run) == ["scores.macro_f1: 0.5 then, 0.25 now"]
    assert content(files.data()) == before


def test_the_comparison_is_with_the_published_record_where_there_is_no_other(run, scored, tmp_path):
    former = records.read(run) | {"scores": {"macro_f1": 2.0}, "paired": {"ngrams": {}}}
    records.write_lines(tmp_path / "toy.jsonl", [former])
    assert repeat.repeat(run, tmp_path / "toy.jsonl") == []  # with its own record
    run.record.unlink()
    assert repeat.repeat(run, tmp_path / "toy.jsonl") == ["scores.macro_f1: 2.0 then, 0.5 now"]
    records.write_lines(tmp_path / "toy.jsonl", [])
    for published in (None, tmp_path / "toy.jsonl"):
        with pytest.raises(StudyError, match=f"no record of {run.id} to compare with: `python -m"):
            repeat.repeat(run, published)


def test_a_run_starts_from_the_model_before_it(run, scored):
    (run.lineage()[0].folder / "config.json").unlink()  # only the last model is read
    assert repeat.repeat(run) == []
    first = run.lineage()[0]
    kept = first.record.read_bytes()
    first.record.unlink()
    with pytest.raises(StudyError, match=f"{run.id} starts from {first.id}, which is not here: `p"):
        repeat.repeat(run)
    first.record.write_bytes(kept)
    shutil.rmtree(run.parent.folder)
    with pytest.raises(StudyError, match=f"{run.id} starts from {run.parent.id}, which is not her"):
        repeat.repeat(run)
    assert len(scored["places"]) == 1


@pytest.mark.parametrize("taught_by", ["before", "teacher"])
def test_a_repeated_cut_finds_every_model_that_its_notebook_reads(toy, monkeypatch, taught_by):
    """The model before, the teacher before any step, and the model that teaches."""
    way = {"hidden": {"taught_by": taught_by}}
    models = chain(studies.load("toy"), "mlt", overrides=way)
    for each in models:
        toy_study.finish(each)
    run, found = models[4], []

    def work(parameters):
        again = resolve("hidden", parameters)
        wanted = (again.parent, again.lineage()[0], again.taught_by)
        found.extend((each.id, (each.folder / "config.json").exists()) for each in wanted)
        toy_study.finish(again)

    kernel(monkeypatch, work)
    assert repeat.repeat(run) == []
    teaches = models[3] if taught_by == "before" else models[1]
    assert found == [(each.id, True) for each in (models[3], models[0], teaches)]


@pytest.mark.parametrize("moment", ["early", "late"])
def test_an_interrupted_repeat_goes_on_where_it_stopped(run, scored, moment):
    before, place = content(files.data()), os.environ["STUDY_DATA"]
    scored["fails"] = moment
    with pytest.raises(KeyboardInterrupt):
        repeat.repeat(run)
    folder = files.data() / "repeat" / run.id
    assert os.environ["STUDY_DATA"] == place
    assert (folder / "models" / run.checkpoints.name).exists()
    now = content(files.data())
    assert {file: now[file] for file in before} == before
    scored["fails"] = None
    assert repeat.repeat(run) == [] and not folder.exists()
    assert len(scored["places"]) == (2 if moment == "early" else 1)  # a record is not made twice
    assert content(files.data()) == before


def test_downloads_are_shared(run, scored):
    (files.raw() / "host").mkdir(parents=True)
    (files.raw() / "host" / "text").write_text("x")
    scored["fails"] = "early"
    with pytest.raises(KeyboardInterrupt):
        repeat.repeat(run)
    folder = files.data() / "repeat" / run.id
    assert (folder / "raw" / "host" / "text").read_text() == "x"
    scored["fails"] = None
    repeat.repeat(run)
    assert (files.raw() / "host" / "text").exists() and not folder.exists()


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b.1: 2 then, 3 now"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a.1: absent then, 2 now"]),
        ({"a": {"b": 1}, "c": 1}, {"c": 1}, ["a.b: 1 then, absent now"]),
        ({"a": {}}, {"a": None}, ["a: {} then, None now"]),
        ({"made": {"at": 1}, "paired": 1}, {"made": {"at": 2}}, []),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2, "c": 3}, ["b: 1", "a: 1", "c: absent"]),
    ],
)
def test_differences(old, new, lines):
    found = repeat.differences(old, new)
    assert len(found) == len(lines)
    assert all(line.startswith(said) for line, said in zip(found, lines, strict=True))
