"""Finished students beside cheaper ways, on records that are made up for it."""

import math

import pytest
from made_up import PLAIN, STEPS, baseline, only, record, scores

from lib.report import baselines, words

ENDS = [(0, "pretrain"), (1, "vocabulary"), (3, "layers"), (2, "hidden")]
SCRATCH = {"hidden.hidden_start": "random", "hidden.mlm_weight": 1.0, "hidden.steps": 9}


def model(step, seconds=0.0, changed=None):
    """A trained model, which the task runs of `record` name in their chain."""
    return record(step, changed=changed, made={"seconds": {"history": [1.0, seconds]}})


def scored(step, score, seed=1, gap=None, changed=None):
    """A task run, perhaps with its difference to the n-grams."""
    entry = record(step, "tc", seed, score, changed=changed)
    if gap is None:
        return entry
    ends = {"to": "mlt.ngrams", "difference": gap, "interval": [gap - 0.1, gap + 0.2]}
    return entry | {"paired": {"ngrams": ends}}


def test_each_model_stands_beside_the_classifier_without_an_encoder():
    seconds = {"adapt": 60.0, "layers": 30.0, "hidden": 20.0}
    entries = [
        baseline("majority", 0.1),
        baseline("ngrams", 0.7),
        baseline("ngrams", 0.9, changed={"train_limit": 0}),
        *(model(step, seconds.get(step, 0.0)) for step in STEPS),
        model("hidden", 120.0, SCRATCH),
        scored("hidden", 0.2, changed=SCRATCH),
        scored("vocabulary", 0.5, 1, -0.2),
        scored("vocabulary", 0.6, 2, -0.1),
        scored("adapt", 0.65),
        scored("pretrain", 0.3),
        scored("layers", 0.9),
        scored("hidden", 0.9, changed={"hidden.hidden_start": "random"}),
    ]  # the last one is random, but distilled: not from scratch
    rows = baselines.rows(scores(*entries)).set_index("model")
    assert rows["mean"].to_dict() == pytest.approx(
        {"majority": 10, "ngrams": 70, "scratch": 20, "student": 55, "adapted": 65, "plain": 30}
    )
    student = rows.loc["student"]
    assert student[["difference", "low", "high"]].tolist() == pytest.approx([-15, -25, 5])
    assert student["runs"] == 2
    taken = rows["seconds"].to_dict()
    assert (taken["student"], taken["adapted"], taken["scratch"]) == (110.0, 60.0, 120.0)
    assert math.isnan(taken["plain"])


def test_the_models_of_a_study_that_adapts_nothing():
    entries = [record(step, "tc", way=PLAIN, score=0.5 + 0.1 * place) for place, step in ENDS]
    entries.append(record("vocabulary", "tc", way=PLAIN, changed={"teacher": "adapted"}))
    rows = baselines.rows(scores(baseline("majority", 0.1), *entries)).set_index("model")
    assert rows["mean"].to_dict() == pytest.approx(
        {"majority": 10, "student": 70, "teacher": 60, "plain": 50}
    )
    assert "adapted teacher" not in baselines.table(rows.reset_index())["model"].tolist()


def test_students_from_scratch_of_other_lengths_are_other_models():
    longer = SCRATCH | {"hidden.steps": 1900}
    rows = baselines.rows(
        scores(
            baseline("ngrams", 0.7),
            scored("hidden", 0.3, changed=longer),
            scored("hidden", 0.2, changed=SCRATCH),
            scored("vocabulary", 0.6),
        )
    )
    lengths = rows[rows["model"] == "scratch"].set_index("steps")["mean"].to_dict()
    assert lengths == pytest.approx({9: 20, 1900: 30})
    names = baselines.points(rows)["value"].tolist()
    assert names == ["n-grams", "scratch\n9", "scratch\n1,900", "student"]
    shape = "student's shape from scratch"
    expected = [
        "character n-grams",
        f"{shape}, 9 steps",
        f"{shape}, 1,900 steps",
        "finished student",
    ]
    assert baselines.table(rows)["model"].tolist() == expected


def test_the_tables_say_what_is_not_there():
    rows = baselines.rows(
        scores(
            baseline("majority", 0.1),
            baseline("ngrams", 0.7),
            scored("vocabulary", 0.5, 1, -0.2),
            scored("adapt", 0.65),
            record("adapt", "pos", score=0.9),
        )
    )
    laid = baselines.table(rows)
    ngrams = only(laid, model="character n-grams")
    assert ngrams.tolist()[3:] == ["0.07", "", "70.0", words.NOT_RUN]
    assert only(laid, model="adapted teacher")["pos"] == "90.0 (1)"
    assert baselines.gaps(rows).set_index("model")["tc"].to_dict() == {
        "finished student": "\N{MINUS SIGN}20.0 (\N{MINUS SIGN}30.0 to +0.0)",
        "adapted teacher": words.NOT_AVAILABLE,
    }
    assert baselines.points(rows)["value"].tolist()[:3] == ["majority", "n-grams", "student"]
    empty = baselines.rows(scores())
    made = (baselines.table(empty), baselines.gaps(empty), baselines.points(empty))
    assert empty.empty and all(frame.empty for frame in made)
