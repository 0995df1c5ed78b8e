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
from dataclasses import dataclass, replace

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
    """(language, teacher) -> task -> model -> mean score, its variances, runs and sizes.

    A model with a role stands below its role too.
    """
    scores = scores[scores["what"].isin(facts.facts("tasks"))].dropna(subset="teacher")
    scores = scores.assign(settings=[tuple(sorted(c.items())) for c in scores["changed"]])
    keys = ["language", "teacher", "step", "settings"]
    result: dict = {}
    for task, of_task in scores.groupby("what"):
        groups = of_task.groupby(keys)
        free = groups["score"].count() - 1
        pooled = (groups["score"].var() * free).sum() / max(free.sum(), 1)
        for (*of, step, settings), part in groups:
            cell = {
                "mean": part["score"].mean(),
                "seeds": pooled / len(part),
                "test": _variance(zip(part["low"], part["high"], strict=True)),
                "records": list(part["record"]),
                "runs": len(part),
            } | {size: part[size].iloc[0] for size in ("vocab_size", "hidden_size")}
            models = result.setdefault(tuple(of), {}).setdefault(task, {})
            models |= {(name, settings): cell for name in {step, part["role"].iloc[0]} - {""}}
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

    def beaten(task, models):
        cell = models.get(TAUGHT_BY)
        guess = cell and majority.get((cell["records"][0]["language"], task))
        low = cell and cell["mean"] - 1.96 * math.sqrt(cell["seeds"] + cell["test"])
        return guess is None or low > guess

    return {
        (language, teacher): {
            task: models for task, models in tasks.items() if beaten(task, models)
        }
        for (language, teacher), tasks in cells.items()
    }


def gap(tasks: dict, left: tuple, right: tuple, task: str = "") -> Effect | None:
    """Mean over the tasks that both models have (or of one) of the left score minus the right."""
    effects = []
    for name, models in tasks.items():
        if task in ("", name) and left in models and right in models:
            one, other = models[left], models[right]
            variance = one["seeds"] + other["seeds"] + _between(one, other)
            runs = one["runs"], other["runs"]
            value = one["mean"] - other["mean"]
            effects.append(Effect(value, variance, "", 1, sum(runs), min(runs)))
    mean = average(effects, "")
    return mean and replace(mean, groups=1)


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
