"""Finished students beside cheaper ways: no encoder at all, the same shape trained without a
teacher, the teacher itself.
"""

import math

import pandas

from lib import facts
from lib.report import compare, tables
from lib.report.frame import FINISHED, TEACHER, statistics
from lib.report.words import NOT_AVAILABLE, number, spread

MODELS = {
    "majority": "most frequent answer",
    "ngrams": "character n-grams",
    "static": "teacher's input vectors",
    "scratch": "student's shape from scratch",
    "whole": "student, all tokens",
    "student": "finished student",
    "teacher": "teacher",
    "adapted": "adapted teacher",
    "plain": "plain teacher",
}
WITHOUT_ENCODER = ("majority", "ngrams", "static")
_OWN = {"pretrain": "plain", "hidden": "whole"}  # of models without a role
_SHORT = {"ngrams": "n-grams", "whole": "all tokens"}  # on an axis; others have their keys
_SCRATCH = {"hidden.hidden_start": "random", "hidden.mlm_weight": 1}
_LENGTH = {"teacher", "hidden.steps", "hidden.learning_rate"} | {
    f"{step}.distillation_target" for step in ("layers", "hidden")
}  # what may differ for a student from scratch: its training, and steps that give it nothing
_ABOVE = ("difference", "low", "high")
_KEYS = ["language", "teacher", "model", "steps", "what"]


def rows(scores: pandas.DataFrame) -> pandas.DataFrame:
    """One row a language, teacher, model (a key of MODELS), number of steps and task.

    Mean, deviation and runs of its scores; parameters; seconds of training on text from the
    teacher's adaptation on; `difference`, `low`, `high`: how far it is above the n-grams, with the
    95 % interval over test examples, means over the seeds. `steps` is 0 but for students from
    scratch that were trained for another number of steps than the study's.
    """
    records = {record["id"]: record for record in scores["record"]}
    scores = scores[scores["what"].isin(facts.facts("tasks"))]
    named = [_named(row) for row in scores.to_dict("records")]
    named = pandas.DataFrame(named, scores.index, ["model", "steps"])
    named["model"] = pandas.Categorical(named["model"], [*MODELS])
    seconds = [_seconds(record, records) for record in scores["record"]]
    above = pandas.DataFrame(map(_above, scores["record"]), scores.index, _ABOVE, dtype=float)
    scores = scores.assign(**named, **above, seconds=seconds, seed=scores["seed"].fillna(0))
    scores = scores.dropna(subset="model")
    scores["labels"] = [record["language"] for record in scores["record"]]
    teachers = scores[["labels", "language", "teacher"]].dropna().drop_duplicates()
    alone = scores[scores["teacher"].isna()].drop(columns=["language", "teacher"])
    alone = alone.merge(teachers, on="labels")
    scores = pandas.concat([scores.dropna(subset="teacher"), alone]).sort_values(_KEYS)
    more = {"parameters": "first", "seconds": "first"} | dict.fromkeys(_ABOVE, "mean")
    numbers = statistics(scores, _KEYS, scores[:0], ["what"]).drop(columns="difference")
    return numbers.merge(scores.groupby(_KEYS).agg(more).reset_index(), on=_KEYS)


def table(rows: pandas.DataFrame) -> pandas.DataFrame:
    """`rows` in words, one row a model: parameters in millions, minutes of training, scores."""
    millions = (rows["parameters"] / 1e6).mask(rows["model"] == "majority")
    sizes = {
        "parameters (M)": [number(value, 2) for value in millions],
        "minutes": [number(value, 0) for value in rows["seconds"] / 60],
    }
    texts = [
        number(row["mean"]) if row["model"] in WITHOUT_ENCODER else spread(row)
        for row in rows.to_dict("records")
    ]
    return _laid_out(rows.assign(text=texts, **sizes), [*sizes])


def gaps(rows: pandas.DataFrame) -> pandas.DataFrame:
    """The models with an encoder in words: how far each score is above the n-grams."""
    rows = rows[~rows["model"].isin(WITHOUT_ENCODER)]
    ends = rows[[*_ABOVE]].map(number, signed=True).to_numpy()
    texts = [f"{gap} ({low} to {high})" if gap else NOT_AVAILABLE for gap, low, high in ends]
    return _laid_out(rows.assign(text=texts), [])


def points(rows: pandas.DataFrame) -> pandas.DataFrame:
    """`rows` as `compare_plots.sweep` draws them, the models in the order of MODELS."""
    names = [
        _SHORT.get(row["model"], row["model"]) + (f"\n{row['steps']:,}" if row["steps"] else "")
        for row in rows.to_dict("records")
    ]
    tasks = [*facts.facts("tasks")]
    laid = rows.assign(value=names, own=True, reference=False, task=rows["what"].map(tasks.index))
    return compare.points(laid.sort_values(["task", "model", "steps"], kind="stable"))


def _named(row: dict) -> tuple[str | None, int]:
    """Key in MODELS of the scored model (None if none), and its steps."""
    changed, steps, kind = row["changed"], 0, None
    if row["step"] == "baseline":
        kind = None if changed else row["record"]["settings"]["baseline"]["kind"]
    elif not changed:
        teacher = "adapted" if row["adapted"] else "teacher"
        kinds = {TEACHER: teacher, FINISHED: "student"}
        kind = kinds.get(row["role"], _OWN.get(row["step"]))
    elif (
        row["step"] == "hidden"
        and _SCRATCH.items() <= changed.items()
        and not (changed.keys() - _SCRATCH.keys() - _LENGTH)
    ):
        kind, steps = "scratch", changed.get("hidden.steps", 0)
    return kind, steps


def _seconds(record: dict, records: dict) -> float:
    """Seconds of the trainings on text behind a scored model, without its teacher's pre-training.

    A student from scratch uses no weights of the steps before its own, so theirs do not count.
    """
    chain = [records[name] for name in record["chain"] if name in records]
    trained = [made for made in chain if made["step"] in ("adapt", "layers", "hidden")]
    if trained and trained[-1]["settings"].get("hidden", {}).get("hidden_start") == "random":
        trained = trained[-1:]
    seconds = [made["made"]["seconds"].get("history", [])[-1:] for made in trained]
    return sum(sum(last) for last in seconds) if any(seconds) else math.nan


def _above(record: dict) -> list[float]:
    """Difference to the n-grams and the ends of its interval, in points; nan if unknown."""
    pair = record.get("paired", {}).get("ngrams")
    return [100 * v for v in (pair["difference"], *pair["interval"])] if pair else [math.nan] * 3


def _laid_out(rows: pandas.DataFrame, sizes: list[str]) -> pandas.DataFrame:
    """One row a model: its names, its `sizes` for the first task, and the `text` of each task."""
    keys = _KEYS[:-1]
    texts = tables.by_task(rows, keys)
    laid = rows.drop_duplicates(keys).set_index(keys)[sizes].join(texts).reset_index()
    names = zip(laid["model"], laid.pop("steps"), strict=True)
    names = [MODELS[kind] + (f", {steps:,} steps" if steps else "") for kind, steps in names]
    return laid.assign(model=names)
