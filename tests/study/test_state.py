"""Done, to do or stale: decided by content, never by the time of a file."""

import dataclasses
import json
import os

import pytest
import toy_study

from lib import facts, files
from lib.data import hub
from lib.study import notebook, records, state, studies
from lib.study.plan import chain, scoring
from lib.study.state import DONE, STALE, TO_DO

STUDY = toy_study.STUDY
PARAMS = files.PARAMS


@pytest.fixture
def recorded(toy, tmp_path):
    """A finished chain of the toy study on local text; each record names the text. And the text."""
    text = tmp_path / "own" / "corpora" / "mlt.txt"
    text.parent.mkdir(parents=True)
    text.write_text("wieħed\n", encoding="utf-8")
    toy_study.write_study(STUDY | {"source": "local", "data_root": str(tmp_path / "own")})
    runs = chain(studies.load("toy"), "mlt")
    for run in runs:
        source = {"kind": "local", "file": "corpora/mlt.txt", "sha256": files.sha256(text)}
        toy_study.finish(run, data={"mlt": source} if run.step == "pretrain" else source)
    return runs, text


def states(runs) -> list[str]:
    return [state.state(run) for run in runs]


def rewrite(run, **changes):
    """Write a run's record again, with other values."""
    files.write_json(run.record, records.read(run) | changes)


def test_a_run_is_done_with_its_record_and_its_model(recorded):
    runs, _ = recorded
    assert states(runs) == [DONE] * 6
    score = scoring(runs[-1], "mlt", "tc", 1)
    assert state.state(score) == TO_DO
    toy_study.finish(score)
    assert state.state(score) == DONE  # it makes no model
    (runs[4].folder / "config.json").unlink()
    assert states([*runs, score]) == [DONE] * 4 + [TO_DO] + [STALE] * 2
    assert not any(state.outdated(run) for run in runs)  # records do not depend on models
    runs[2].record.unlink()
    assert states(runs) == [DONE] * 2 + [TO_DO, STALE, TO_DO, STALE]


def test_a_changed_text_makes_all_stale_and_a_touched_one_nothing(recorded):
    runs, text = recorded
    for moment in (5e8, 4e9):
        os.utime(text, (moment, moment))
        assert states(runs) == [DONE] * 6
    text.write_text("tnejn!\n", encoding="utf-8")
    assert states(runs) == [STALE] * 6 and all(state.outdated(run) for run in runs)
    assert state.changed(runs[1], records.read(runs[1])) == str(text)
    text.unlink()  # what is not there cannot be compared
    assert states(runs) == [DONE] * 6
    text.write_text("wieħed\n", encoding="utf-8")
    assert states(runs) == [DONE] * 6


@pytest.mark.parametrize("other", ["mlt.txt.gz", "mlt/train.txt"])
def test_another_file_that_serves_a_language_is_another_text(recorded, other):
    runs, text = recorded
    place = text.parent / other
    place.parent.mkdir(exist_ok=True)
    for part in ("train", "dev", "test") if place.parent != text.parent else ():
        (place.parent / f"{part}.txt").write_text("tnejn\n", encoding="utf-8")
    if place.parent == text.parent:
        text.rename(place)  # the folder has precedence, so there the file stays
    assert states(runs[1:]) == [STALE] * 5
    assert state.changed(runs[1], records.read(runs[1])) == str(place)


def test_another_file_of_labels_is_another_task(recorded, tmp_path):
    runs, _ = recorded
    folder = tmp_path / "own" / "tasks" / "ner" / "mlt"
    folder.mkdir(parents=True)
    score = scoring(runs[-1], "mlt", "tc", 1)
    named = {}
    for part in ("train", "dev", "test"):
        (folder / f"{part}.txt").write_text("a O\n")
    score = dataclasses.replace(score, task="ner")
    for part in ("train", "dev", "test"):
        file = folder / f"{part}.txt"
        named[part] = {"file": f"tasks/ner/mlt/{part}.txt", "sha256": files.sha256(file)}
    assert state.changed(score, {"data": {"files": named}}) is None
    (folder / "dev.txt").rename(folder / "dev.conll")
    assert state.changed(score, {"data": {"files": named}}) is not None


def test_a_changed_text_of_a_task_makes_its_score_stale(recorded, tmp_path):
    runs, _ = recorded
    labels = tmp_path / "own" / "tasks" / "train.tsv"
    labels.parent.mkdir()
    labels.write_text("a\tb")
    score = scoring(runs[-1], "mlt", "tc", 1)
    source = {"kind": "local", "file": "tasks/train.tsv", "sha256": files.sha256(labels)}
    toy_study.finish(score, data={"files": {"train": source}})
    assert state.state(score) == DONE
    labels.write_text("a\tc!")
    assert state.state(score) == STALE and states(runs) == [DONE] * 6


def test_another_record_of_a_parent_makes_what_follows_stale(recorded):
    runs, _ = recorded
    rewrite(runs[2], scores={"mlm_loss": 3.5})
    assert states(runs) == [DONE] * 3 + [STALE] * 3
    assert [state.outdated(run) for run in runs] == [False] * 3 + [True] * 3
    rewrite(runs[3], made=records.read(runs[3])["made"] | {"parent": "0" * 64})
    rewrite(runs[2], scores={})
    assert states(runs) == [DONE] * 3 + [STALE] * 3
    toy_study.finish(runs[3], data=records.read(runs[3])["data"])
    assert states(runs) == [DONE] * 6


def test_an_equal_record_of_a_parent_changes_nothing_whenever_it_was_written(recorded, monkeypatch):
    runs, _ = recorded
    monkeypatch.setattr(records, "environment", lambda: {"commit": "another", "cores": 64})
    for run, moment in zip(runs, (9e8, 4e9, 1e8, 2e9, 5e8, 3e9), strict=True):
        parts = {key: value for key, value in records.read(run).items() if key == "data"}
        toy_study.finish(run, **parts)
        os.utime(run.record, (moment, moment))
        assert states(runs) == [DONE] * 6
    record = records.read(runs[2])
    runs[2].record.write_text(json.dumps(dict(reversed(record.items()))))  # another order of keys
    rewrite(runs[1], paired={"ngrams": {"difference": 0.1}})  # said when it is published
    assert states(runs) == [DONE] * 6


def test_a_record_that_does_not_name_its_parents_record_is_stale(recorded):
    """Such records were written before parents were named."""
    runs, _ = recorded
    made = {key: value for key, value in records.read(runs[2])["made"].items() if key != "parent"}
    rewrite(runs[2], made=made)
    assert states(runs) == [DONE] * 2 + [STALE] * 4


def test_a_record_without_its_parents_is_not_outdated(recorded):
    """So published records can be read on a machine that has none of the models."""
    runs, _ = recorded
    for run in runs[:3]:
        run.record.unlink()
    assert not state.outdated(runs[3]) and state.state(runs[3]) == STALE


def test_answers_to_earlier_questions_are_kept(recorded, monkeypatch):
    runs, text = recorded
    known = {}
    assert state.state(runs[-1], known) == DONE
    text.write_text("tnejn!\n", encoding="utf-8")
    monkeypatch.setattr(records, "read", None)
    assert state.state(runs[-1], known) == DONE and state.outdated(runs[-1], known) is False


def test_a_changed_folder_of_a_teacher_makes_all_stale(toy, tmp_path):
    folder = tmp_path / "teachers" / "my-encoder"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    pair = {"teacher": "my-encoder", "languages": ["mlt"]}
    root = {"models_root": str(tmp_path / "teachers")}
    toy_study.write_study(STUDY | root | {"pairs": [pair]})
    runs = chain(studies.load("toy"), "mlt")
    for run in runs:
        toy_study.finish(run, **notebook._weights(run))
    weights = records.read(runs[0])["weights"]
    assert weights["folder"] == "my-encoder" and "weights" not in records.read(runs[1])
    assert states(runs) == [DONE] * 6
    (folder / "model.safetensors").write_text("{ }")
    assert states(runs) == [STALE] * 6
    assert state.changed(runs[0], records.read(runs[0])) == str(folder)
    (folder / "model.safetensors").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    assert states(runs) == [STALE] * 6
    toy_study.write_study(STUDY | {"pairs": [pair]})  # nobody says where teachers are
    assert states(chain(studies.load("toy"), "mlt")) == [DONE] * 6


@pytest.mark.parametrize("step", ["pretrain", "finetune"])
def test_a_moved_pin_makes_a_record_stale(toy, tmp_path, monkeypatch, step):
    """The pin of a teacher is part of its id; that of a data set is not."""
    (tmp_path / "params").mkdir()
    folder = toy_study.facts_in(tmp_path / "params", monkeypatch)
    pair = {"teacher": "mbert", "languages": ["slk"]}
    toy_study.write_study(STUDY | {"source": "hub", "pairs": [pair]})
    model = chain(studies.load("toy"), "slk")[0]
    score = scoring(model, "slk", "tc", 1)
    entry = facts.fact("tasks", "tc")["origins"][0]
    toy_study.finish(model)
    toy_study.finish(score, data={"data_set": entry["data_set"], "revision": entry["revision"]})
    assert states([model, score]) == [DONE, DONE]
    if step == "finetune":
        tasks = toy_study.changed(facts.facts("tasks"), "tc.origins.0.revision", "f" * 40)
        toy_study.write_yaml(folder / "tasks.yaml", tasks)
        assert states([model, score]) == [DONE, STALE]
    else:
        models = toy_study.changed(facts.facts("models"), "mbert.revision", "f" * 40)
        toy_study.write_yaml(folder / "models.yaml", models)
        moved = chain(studies.load("toy"), "slk")[0]
        assert moved.id != model.id and state.state(moved) == TO_DO


@pytest.mark.parametrize(
    ("entry", "changed"),
    [
        ({"data_set": "Davlan/sib200", "revision": "{tc}"}, False),
        ({"data_set": "Davlan/sib200", "revision": "0" * 40}, True),
        ({"data_set": "DGurgurov/slovak_sa", "revision": "0" * 40}, True),
        ({"data_set": "cis-lmu/GlotCC-V1", "revision": "0" * 40}, False),
        ({"data_set": "another/set", "revision": "0" * 40}, False),
        ({"repository": "google-bert/bert-base-multilingual-cased", "revision": "0" * 40}, False),
        ({"repository": "DGurgurov/mbert_slk-latn", "revision": "0" * 40}, False),
        ({"origin": "https://host/text.conllu", "sha256": "{file}"}, False),
        ({"origin": "https://host/text.conllu", "sha256": "0" * 64}, True),
        ({"origin": "https://host/absent.conllu", "sha256": "0" * 64}, False),
        ({"origin": "{flores}", "sha256": "0" * 64}, True),
        ({"origin": "{flores}", "sha256": "{pin}"}, False),
        ({"licence": "none"}, False),
        ({"data_set": "Davlan/sib200", "revision": None}, False),
    ],
)
def test_sources_of_the_hub_are_compared_with_pins_and_downloads(toy, monkeypatch, entry, changed):
    """A source that is neither pinned nor downloaded cannot be compared; the pin of a teacher is
    part of the id.
    """
    monkeypatch.setattr(files, "PARAMS", PARAMS)
    file = hub.place("https://host/text.conllu")
    file.parent.mkdir(parents=True)
    file.write_text("1\tDar")
    now = {
        "{tc}": facts.fact("tasks", "tc")["origins"][0]["revision"],
        "{file}": files.sha256(file),
        "{flores}": facts.fact("corpora", "flores")["url"],
        "{pin}": facts.fact("corpora", "flores")["sha256"],
    }
    entry = {key: now.get(value, value) for key, value in entry.items()}
    run = chain(studies.load("paper"), "slk", "mbert")[1]
    for data in (entry, {"train": entry}, {"files": [{"kind": "x"}, {"dev": entry}]}):
        for section in ("data", "weights"):
            assert (state.changed(run, {section: data}) is not None) is changed


@pytest.mark.parametrize(
    ("name", "digest", "changed"),
    [
        ("corpora/mlt/train.txt", None, False),
        ("corpora/mlt/train.txt", "0" * 64, True),
        ("corpora/mlt.txt", "0" * 64, True),  # the folder corpora/mlt serves
    ],
)
def test_files_of_the_embedded_data_are_compared(toy, name, digest, changed):
    run = chain(studies.load("toy"), "mlt")[1]
    entry = {"file": name, "sha256": digest or files.sha256(files.SAMPLE / name)}
    assert bool(state.changed(run, {"data": entry})) is changed


def test_a_change_of_the_code_makes_nothing_stale(recorded, monkeypatch, tmp_path):
    runs, _ = recorded
    monkeypatch.setattr(records, "environment", lambda: {"commit": "0" * 12, "torch": "9.9"})
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert states(runs) == [DONE] * 6


def test_a_model_is_usable_when_models_before_it_are_gone(recorded):
    """A notebook starts from it; the study as a whole is not done, since its chain has a gap."""
    runs, _ = recorded
    (runs[1].folder / "config.json").unlink()
    assert states(runs)[:3] == [DONE, TO_DO, STALE]
    assert state.usable(runs[2]) and not state.usable(runs[1])
    record = records.read(runs[1]) | {"scores": {"mlm_loss": -1.0}}
    files.write_json(runs[1].record, record)
    assert not state.usable(runs[2])  # it was made from another parent
