"""Kept answers: what is said of two runs is what their answers say, and labels stay where they are."""

import json

import pytest
import toys

from lib.measure import metrics
from lib.study import answers, plan, studies

GOLD = [("NOUN", "VERB"), ("ADP", "NOUN", "NOUN"), ("VERB",), ("DET", "NOUN")] * 5
WORSE = [("NOUN", "NOUN"), ("ADP", "NOUN", "VERB"), ("VERB",), ("DET", "")] * 5
WORST = [tuple("X" for _ in tags) for tags in GOLD]


@pytest.fixture(autouse=True)
def places(tmp_path, data, monkeypatch):
    toys.facts_in(tmp_path, monkeypatch)
    toys.write_study(toys.STUDY | {"baselines": ["majority", "ngrams"]})


def scored(step, seed=1, task="pos", **given):
    """The scoring of the model that a step of the study makes."""
    run = next(each for each in studies.chain("toy", "mlt", **given) if each.step == step)
    return studies.scoring(run, "mlt", task, seed)


def test_the_difference_to_the_adapted_teacher_and_to_the_baselines():
    run, teacher, floor = (
        scored("layers"),
        scored("adapt"),
        studies.baseline("toy", "mlt", "pos", "majority"),
    )
    for each, given in ((run, WORSE), (teacher, GOLD), (floor, WORST)):
        answers.keep(each, GOLD, given)
    found = answers.paired(run)  # ngrams has kept nothing
    for name, other, given in (("adapted teacher", teacher, GOLD), ("majority", floor, WORST)):
        gap = (
            metrics.score("accuracy", GOLD, WORSE)["accuracy"]
            - metrics.score("accuracy", GOLD, given)["accuracy"]
        )
        assert found.pop(name) == {
            "to": other.id,
            "difference": gap,
            "interval": list(metrics.paired_interval("accuracy", GOLD, WORSE, given)),
        }
    assert not found
    assert set(answers.paired(teacher)) == {"majority"} and answers.paired(floor) == {}
    assert answers.paired(scored("vocabulary")) == {} and answers.paired(run.parent) == {}


def test_only_the_same_training_on_the_same_examples_is_compared():
    run = scored("layers")
    answers.keep(run, GOLD, WORSE)
    for other in (
        scored("adapt", seed=2),
        scored("adapt", overrides={"adapt": {"sentences": 5}}),
        scored("adapt", task="tc"),
    ):
        answers.keep(other, GOLD, GOLD)
    assert answers.paired(run) == {}
    answers.keep(scored("adapt"), GOLD[1:], GOLD[1:])  # the data have changed since
    assert answers.paired(run) == {}


def test_a_variant_is_compared_with_the_adapted_teacher_of_the_main_chain():
    run = scored(
        "layers", overrides={"adapt": {"sentences": 5}, "layers": {"layer_choice": "first_k"}}
    )
    answers.keep(run, GOLD, WORSE)
    answers.keep(scored("adapt"), GOLD, GOLD)
    assert answers.paired(run)["adapted teacher"]["to"] == scored("adapt").id


def test_a_variant_is_compared_with_the_studys_own_model_and_a_cut_with_what_it_cut():
    variant = {"overrides": {"layers": {"layer_choice": "first_k"}}}
    names = {
        "adapted teacher": scored("adapt"),
        "study's own": scored("ffn"),
        "before the cut": scored("layers", **variant),
    }
    for each in (scored("ffn", **variant), *names.values(), scored("hidden"), scored("vocabulary")):
        answers.keep(each, GOLD, WORSE)
    found = answers.paired(scored("ffn", **variant))
    assert {name: gap["to"] for name, gap in found.items()} == {
        name: run.id for name, run in names.items()
    }
    assert {name: gap["to"] for name, gap in answers.paired(scored("vocabulary")).items()} == {
        "adapted teacher": scored("adapt").id,
        "before the cut": scored("hidden").id,
    }
    assert set(answers.paired(scored("layers", **variant))) == {
        "adapted teacher"
    }  # which is also what was cut; no own layers were scored


def test_collected_records_hold_the_interval_and_no_label(tmp_path):
    run, teacher = scored("vocabulary"), scored("adapt")
    for each, given in ((run, WORSE), (teacher, GOLD)):
        answers.keep(each, GOLD, given)
        each.record.parent.mkdir(parents=True, exist_ok=True)
        each.record.write_text(json.dumps({"id": each.id}))
    plan.collect("toy", tmp_path / "kept", partial=True)
    assert {file.stem for file in (tmp_path / "kept").iterdir()} == {run.id, teacher.id}
    assert json.loads((tmp_path / "kept" / f"{teacher.id}.json").read_text()) == {"id": teacher.id}
    text = (tmp_path / "kept" / f"{run.id}.json").read_text()
    assert json.loads(text) == {"id": run.id, "paired": answers.paired(run)} and json.loads(
        run.record.read_text()
    ) == {"id": run.id}
    assert not any(tag in text for tag in ("NOUN", "VERB", "ADP", "DET"))
