"""Kept answers, and the difference of two runs on the same examples."""

import json

import pytest
import toy_study

from lib import files
from lib.measure import metrics
from lib.study import answers, studies
from lib.study.plan import baseline, chain, scoring

GOLD = [("NOUN", "VERB"), ("ADP", "NOUN", "NOUN"), ("VERB",), ("DET", "NOUN")] * 5
WORSE = [("NOUN", "NOUN"), ("ADP", "NOUN", "VERB"), ("VERB",), ("DET", "")] * 5
WORST = [tuple("X" for _ in tags) for tags in GOLD]
FIRST_K = {"overrides": {"layers": {"layer_choice": "first_k"}}}


@pytest.fixture(autouse=True)
def _with_baselines(toy):
    toy_study.write_study(toy_study.STUDY | {"baselines": ["majority", "ngrams"]})


def scored(step, seed=1, task="pos", tuning=None, **given):
    """The scoring of the model that a step of the study makes."""
    models = chain(studies.load("toy"), "mlt", **given)
    model = next(run for run in models if run.step == step)
    return scoring(model, "mlt", task, seed, tuning or given.get("overrides"))


def references(run) -> dict:
    """Name -> id of the runs that a run is compared with."""
    return {name: comparison["to"] for name, comparison in answers.paired(run).items()}


def test_answers_are_kept_beside_the_records():
    run = scored("adapt")
    answers.keep(run, GOLD, WORSE)
    kept = json.loads((files.runs() / "answers" / f"{run.id}.json").read_text(encoding="utf-8"))
    assert kept == json.loads(json.dumps({"gold": GOLD, "predictions": WORSE}))


def test_the_difference_to_the_teacher_and_to_the_baselines():
    run, teacher = scored("layers"), scored("adapt")
    majority = baseline(run.study, "mlt", "pos", "majority")
    for other, predictions in ((run, WORSE), (teacher, GOLD), (majority, WORST)):
        answers.keep(other, GOLD, predictions)
    found = answers.paired(run)
    assert set(found) == {"teacher", "majority"}  # ngrams has kept nothing
    score = metrics.score("accuracy", GOLD, WORSE)["accuracy"]
    for name, other, predictions in (
        ("teacher", teacher, GOLD),
        ("majority", majority, WORST),
    ):
        assert found[name] == {
            "to": other.id,
            "difference": score - metrics.score("accuracy", GOLD, predictions)["accuracy"],
            "interval": list(metrics.interval("accuracy", GOLD, WORSE, predictions)),
        }
    assert set(answers.paired(teacher)) == {"majority"} and answers.paired(majority) == {}
    assert answers.paired(scored("vocabulary")) == {} and answers.paired(run.parent) == {}


def test_only_the_same_training_on_the_same_examples_is_compared():
    run = scored("layers")
    answers.keep(run, GOLD, WORSE)
    for other in (
        scored("adapt", seed=2),
        scored("adapt", overrides={"adapt": {"steps": 5}}),
        scored("adapt", task="tc"),
        scored("adapt", tuning={"finetune": {"token": {"epochs": 9}}}),
    ):
        answers.keep(other, GOLD, GOLD)
    assert answers.paired(run) == {}
    answers.keep(scored("adapt"), GOLD[1:], GOLD[1:])  # the data have changed since
    assert answers.paired(run) == {}


def test_a_variant_of_training_is_compared_with_models_trained_in_the_same_way():
    tuning = {"finetune": {"token": {"epochs": 9}, "train_limit": 5}}
    run, teacher = scored("layers", tuning=tuning), scored("adapt", tuning=tuning)
    limited = baseline(run.study, "mlt", "pos", "ngrams", "", {"finetune": {"train_limit": 5}})
    for other in (run, teacher, limited, scored("adapt")):
        answers.keep(other, GOLD, WORSE)
    assert references(run) == {"teacher": teacher.id, "ngrams": limited.id}


def test_a_variant_is_compared_with_the_teacher_of_the_main_chain():
    variant = {"adapt": {"steps": 5}, "layers": {"layer_choice": "first_k"}}
    run = scored("layers", overrides=variant)
    answers.keep(run, GOLD, WORSE)
    answers.keep(scored("adapt"), GOLD, GOLD)
    assert references(run) == {"teacher": scored("adapt").id}


def test_a_variant_is_compared_with_the_studys_own_model_and_a_cut_with_its_input():
    expected = {
        "teacher": scored("adapt"),
        "study's own": scored("ffn"),
        "before the cut": scored("layers", **FIRST_K),
    }
    variant = scored("ffn", **FIRST_K)
    for run in (variant, *expected.values(), scored("hidden"), scored("vocabulary")):
        answers.keep(run, GOLD, WORSE)
    assert references(variant) == {name: run.id for name, run in expected.items()}
    assert references(scored("vocabulary")) == {
        "teacher": scored("adapt").id,
        "before the cut": scored("hidden").id,
    }
    # the teacher is also the input of this cut, and nobody scored the study's own layers
    assert set(answers.paired(scored("layers", **FIRST_K))) == {"teacher"}


def test_a_study_that_adapts_nothing_is_compared_with_its_trimmed_teacher():
    toy_study.write_study(toy_study.PLAIN)
    order = ("pretrain", "adapt", *toy_study.PLAIN["order"][1:])
    adapted = scored("hidden", order=order)
    others = [scored(step) for step in ("vocabulary", "hidden", "pretrain")]
    for run in (adapted, scored("ffn", order=order), *others):
        answers.keep(run, GOLD, WORSE)
    assert references(adapted) == {
        "teacher": scored("vocabulary").id,
        "study's own": scored("hidden").id,
        "before the cut": scored("ffn", order=order).id,
    }
    assert references(scored("hidden")) == {"teacher": scored("vocabulary").id}
    # also the teacher is the result of a cut
    assert references(scored("vocabulary")) == {"before the cut": scored("pretrain").id}
