"""Effects with their variance: differences between models, averaged over tasks and languages.

The variance of a difference between two models on a task has two parts. That of the seeds is taken
from both sides, each divided by the number of its seeds; it is pooled over all models of a task
that were trained with two seeds or more, and left out where none was. That of the test examples is
not reduced by more seeds: it is that of the paired bootstrap, in which both sides answer the same
drawn examples. Where no record compares two runs, the variances of both are added, as if their test
sets were different ones, which is rather too much. Only the seed of task training varies; another
seed of a distillation is in no interval.
"""

import math
from dataclasses import dataclass

import pandas

from lib import facts
from lib.report.frame import FINISHED, TEACHER
from lib.report.words import number

# models: a step or a role, and the changed settings
TAUGHT_BY, FINAL = (TEACHER, ()), (FINISHED, ())


@dataclass(frozen=True)
class Effect:
    """An effect with its variance (nan: there is nothing to take it from) and what it rests on."""

    value: float
    variance: float
    measured: str
    groups: int = 0
    runs: int = 0
    seeds: int = 0
    unit: str = "points"

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the effect."""
        half = 1.96 * math.sqrt(self.variance)
        return self.value - half, self.value + half

    def minus(self, other: "Effect") -> "Effect":
        """This effect minus another one."""
        counts = (
            max(self.groups, other.groups),
            self.runs + other.runs,
            min(self.seeds, other.seeds),
        )
        return Effect(self.value - other.value, self.variance + other.variance, "", *counts)


def cells(scores: pandas.DataFrame) -> dict:
    """(language, teacher) -> model -> task -> mean score, its variances, runs and sizes.

    A model with a role stands below its role too.
    """
    scores = scores[scores["what"].isin(facts.facts("tasks"))].dropna(subset="teacher")
    scores = scores.assign(settings=[tuple(sorted(c.items())) for c in scores["changed"]])
    keys = ["what", "language", "teacher", "step", "settings"]
    result: dict = {}
    for task, of_task in scores.groupby("what"):
        groups = of_task.groupby(keys[1:])["score"]
        free = (groups.count() - 1).sum()
        spread = groups.apply(lambda values: ((values - values.mean()) ** 2).sum()).sum()
        for (language, teacher, step, settings), part in of_task.groupby(keys[1:]):
            cell = {
                "mean": part["score"].mean(),
                "seeds": spread / free / len(part) if free else 0.0,
                "test": _variance(zip(part["low"], part["high"], strict=True)),
                "records": list(part["record"]),
                "runs": len(part),
                "vocab_size": part["vocab_size"].iloc[0],
                "hidden_size": part["hidden_size"].iloc[0],
            }
            models = result.setdefault((language, teacher), {})
            for name in filter(None, (step, part["role"].iloc[0])):
                models.setdefault((name, settings), {})[task] = cell
    return result


def learned(cells: dict, scores: pandas.DataFrame) -> dict:
    """The cells of the tasks in which the teacher beats the most frequent answer, or where
    that baseline is not known.
    """
    majority = {
        (row["language"], row["what"]): row["score"]
        for row in scores[scores["default"] & (scores["step"] == "baseline")].to_dict("records")
        if row["record"]["settings"]["baseline"]["kind"] == "majority"
    }
    result = {}
    for (language, teacher), models in cells.items():
        failed = {
            task
            for task, cell in models.get(TAUGHT_BY, {}).items()
            if cell["mean"] - 1.96 * math.sqrt(cell["seeds"] + cell["test"])
            <= majority.get((language, task), -math.inf)
        }
        result[language, teacher] = {
            model: {task: cell for task, cell in tasks.items() if task not in failed}
            for model, tasks in models.items()
        }
    return result


def gap(models: dict, left: tuple, right: tuple, task: str = "") -> Effect | None:
    """Mean over the tasks that both models have (or of one) of the left score minus the right."""
    here, there = models.get(left, {}), models.get(right, {})
    pairs = [(here[t], there[t]) for t in sorted(here.keys() & there.keys()) if task in ("", t)]
    if not pairs:
        return None
    variances = [one["seeds"] + other["seeds"] + _between(one, other) for one, other in pairs]
    value = sum(one["mean"] - other["mean"] for one, other in pairs) / len(pairs)
    runs = [cell["runs"] for pair in pairs for cell in pair]
    return Effect(value, sum(variances) / len(pairs) ** 2, "", 1, sum(runs), min(runs))


def average(effects: list, measured: str, sign: int = 1, offset: float = 0.0) -> Effect | None:
    """offset + sign * the mean of the effects there are; `measured` has a place for the mean."""
    effects = [effect for effect in effects if effect is not None]
    if not effects:
        return None
    value = sum(effect.value for effect in effects) / len(effects)
    variance = sum(effect.variance for effect in effects) / len(effects) ** 2
    runs, seeds = sum(e.runs for e in effects), min(e.seeds for e in effects)
    words = measured.format(number(value))
    return Effect(offset + sign * value, variance, words, len(effects), runs, seeds)


def _variance(ends) -> float:
    """Variance over test examples from the 95 % intervals of all seeds; 0 where there is none."""
    halves = [(high - low) / 2 for low, high in ends if not math.isnan(low)]
    return (sum(halves) / len(halves) / 1.96) ** 2 if halves else 0.0


def _between(left: dict, right: dict) -> float:
    """Variance over test examples of the difference between two cells."""
    ends = []
    for one, other in ((left, right), (right, left)):
        ids = {record["id"] for record in other["records"]}
        for record in one["records"]:
            pairs = record.get("paired", {}).values()
            ends += [[100 * end for end in pair["interval"]] for pair in pairs if pair["to"] in ids]
    return _variance(ends) if ends else left["test"] + right["test"]
