"""What stands beside finished students, on records that are made up so that the answer is known."""

import math

import pytest
import toys
from test_ablations import frame, record

from lib.report import ablations, floors, tables

SCRATCH = {"hidden.hidden_start": "random", "hidden.mlm_weight": 1.0, "hidden.steps": 9}


@pytest.fixture(autouse=True)
def places(tmp_path, data, monkeypatch):
    """The study `toy` only."""
    toys.facts_in(tmp_path, monkeypatch)


def baseline(kind, score):
    return {
        "id": f"mlt.{kind}",
        "step": "baseline",
        "language": "mlt",
        "task": "tc",
        "chain": [],
        "scores": {"macro_f1": score},
        "settings": {"baseline": {"kind": kind}},
        "model": {"parameters": 70_000},
    }


def model(step, seconds=0.0, changed=None):
    """A trained model under the id that the scorings of `record` name in their chain."""
    made = record(step, changed=changed)
    made |= {"id": made["model"]["id"] + ("!" if changed else "")}
    return made | ({"seconds": {"history": [1.0, seconds]}} if seconds else {})


def scored(step, score, seed=1, gap=None, changed=None):
    made = record(step, "tc", seed, score, changed=changed)
    if changed:
        made["chain"][-1] += "!"
    ends = (
        {"to": "mlt.ngrams", "difference": gap, "interval": [gap - 0.1, gap + 0.2]}
        if gap is not None
        else None
    )
    return made | ({"paired": {"ngrams": ends}} if ends else {})


def test_each_model_stands_beside_the_classifier_without_an_encoder():
    entries = [
        baseline("majority", 0.1),
        baseline("ngrams", 0.7),
        model("pretrain"),
        model("adapt", 60.0),
        model("layers", 30.0),
        model("ffn"),
        model("vocabulary"),
        model("hidden", 20.0),
        model("hidden", 120.0, SCRATCH),
        scored("hidden", 0.2, changed=SCRATCH),
        scored("vocabulary", 0.5, 1, -0.2),
        scored("vocabulary", 0.6, 2, -0.1),
        scored("adapt", 0.65),
        scored("pretrain", 0.3),
        scored("layers", 0.9),
        scored("hidden", 0.9, changed={"hidden.hidden_start": "random"}),
    ]  # random, but distilled: not from scratch
    runs = frame(entries)
    rows = floors.rows(ablations.scores(runs, "toy"), runs)
    assert rows.set_index("model")["mean"].to_dict() == pytest.approx(
        {"majority": 10, "ngrams": 70, "scratch": 20, "student": 55, "adapted": 65, "plain": 30}
    )
    student = rows.set_index("model").loc["student"]
    assert (
        student[["difference", "low", "high"]].tolist() == pytest.approx([-15, -25, 5])
        and student["runs"] == 2
    )
    seconds = rows.set_index("model")["seconds"].to_dict()
    assert (seconds["student"], seconds["adapted"], seconds["scratch"]) == (
        110.0,
        60.0,
        120.0,
    ) and math.isnan(seconds["plain"])


def test_students_from_scratch_of_other_lengths_are_other_models():
    longer = SCRATCH | {"hidden.steps": 1900}
    runs = frame(
        [
            baseline("ngrams", 0.7),
            scored("hidden", 0.3, changed=longer),
            scored("hidden", 0.2, changed=SCRATCH),
            scored("vocabulary", 0.6),
        ]
    )
    rows = floors.rows(ablations.scores(runs, "toy"), runs)
    assert rows[rows["model"] == "scratch"].set_index("steps")["mean"].to_dict() == pytest.approx(
        {9: 20, 1900: 30}
    )
    assert floors.points(rows)["value"].tolist() == [
        "n-grams",
        "scratch\n9",
        "scratch\n1,900",
        "student",
    ]
    shape = "student's shape from scratch"
    assert floors.table(rows)["model"].tolist() == [
        "character n-grams",
        f"{shape}, 9 steps",
        f"{shape}, 1,900 steps",
        "finished student",
    ]


def test_the_tables_say_what_is_not_there():
    runs = frame(
        [
            baseline("majority", 0.1),
            baseline("ngrams", 0.7),
            scored("vocabulary", 0.5, 1, -0.2),
            scored("adapt", 0.65),
            record("adapt", "pos", score=0.9),
        ]
    )
    rows = floors.rows(ablations.scores(runs, "toy"), runs)
    laid = floors.table(rows).set_index("model")
    assert laid.loc["character n-grams", ["parameters (M)", "minutes", "tc", "pos"]].tolist() == [
        "0.07",
        "",
        "70.0",
        tables.NOT_RUN,
    ]
    assert laid.loc["adapted teacher", "pos"] == "90.0 (1)"
    gaps = floors.gaps(rows).set_index("model")["tc"].to_dict()
    assert gaps == {
        "finished student": "\N{MINUS SIGN}20.0 (\N{MINUS SIGN}30.0 to +0.0)",
        "adapted teacher": tables.NOT_AVAILABLE,
    }
    assert floors.points(rows)["value"].tolist()[:3] == ["majority", "n-grams", "student"]
    empty = floors.rows(ablations.scores(runs[:0], "toy"), runs[:0])
    assert (
        empty.empty
        and floors.table(empty).empty
        and floors.gaps(empty).empty
        and floors.points(empty).empty
    )
