"""Effects with their variance: differences between models, averaged over tasks and languages.

The variance of a difference between two models on a task has two parts. That of the seeds is taken
from both sides, each divided by the number of its seeds; it is pooled over all models of a task
that were trained with two seeds or more, and left out where none was. That of the test examples is
not reduced by more seeds: it is that of the paired bootstrap, in which both sides answer the same
drawn examples. Where no record compares two runs, the variances of both are added, as if their test
sets were different ones, which is rather too much. Only the seed of task training varies; another
seed of a distillation is in no interval.
"""

import pandas

from lib import facts
from lib.report.frame import TEACHER

PAIR = ["language", "teacher"]
NORMAL = 1.96  # standard deviations on each side of a 95 % interval


def models(scores: pandas.DataFrame) -> pandas.DataFrame:
    """One row a model and task: the `mean` score in percent, its variances `of_seeds` and `of_test`
    examples, its `runs` and their `records`, its sizes, and the changed `settings`.
    """
    scores = scores[scores["what"].isin(facts.facts("tasks"))].dropna(subset="teacher")
    scores = scores.assign(
        settings=[tuple(sorted(changed.items())) for changed in scores["changed"]],
        half=(scores["high"] - scores["low"]) / 2,
    )
    groups = scores.groupby([*PAIR, "what", "step", "settings"])
    result = groups[["role", "adapted", "record", "vocab_size", "hidden_size"]].first()
    result["records"], result["runs"] = groups["record"].agg(list), groups.size()
    result["mean"], result["half"] = groups["score"].mean(), groups["half"].mean().fillna(0)
    free = result["runs"] - 1
    squares = (groups["score"].var() * free).groupby("what").transform("sum")
    pooled = (squares / free.groupby("what").transform("sum")).fillna(0)
    result["of_seeds"] = pooled / result["runs"]
    result["of_test"] = (result["half"] / NORMAL) ** 2
    return result.reset_index()


def learned(models: pandas.DataFrame, scores: pandas.DataFrame) -> pandas.DataFrame:
    """The models of the tasks in which the teacher beats the most frequent answer, or where that
    baseline is not known.
    """
    guesses = {
        (row["language"], row["what"]): row["score"]
        for row in scores[scores["default"] & (scores["step"] == "baseline")].to_dict("records")
        if row["record"]["settings"]["baseline"]["kind"] == "majority"
    }
    taught_by = own(models, TEACHER)
    low = taught_by["mean"] - NORMAL * (taught_by["of_seeds"] + taught_by["of_test"]) ** 0.5
    languages = [record["language"] for record in taught_by["record"]]
    tasks = zip(languages, taught_by["what"], low, strict=True)
    beaten = [end <= guesses.get((language, task), -1) for language, task, end in tasks]
    keys = [*PAIR, "what"]
    left_out = taught_by[pandas.Series(beaten, taught_by.index, dtype=bool)].set_index(keys).index
    return models[~models.set_index(keys).index.isin(left_out)]


def own(models: pandas.DataFrame, step: str) -> pandas.DataFrame:
    """The models of a step or role that have no setting changed."""
    return of(models, step)[lambda found: found["settings"].map(len) == 0]


def of(models: pandas.DataFrame, step: str) -> pandas.DataFrame:
    """The models of a step or role."""
    return models[(models["step"] == step) | (models["role"] == step)]


def gaps(left: pandas.DataFrame, right: pandas.DataFrame, *on: str) -> pandas.DataFrame:
    """One row a language, teacher and task that models of both sides have, equal in the columns
    `on`: the left score minus the right one, its variance, the runs, and the fewer `seeds`.
    """
    both = left.merge(right, on=[*PAIR, "what", *on], suffixes=("", "_right"))
    rows = both.to_dict("records")
    return both.assign(
        value=both["mean"] - both["mean_right"],
        variance=[row["of_seeds"] + row["of_seeds_right"] + _between(row) for row in rows],
        seeds=both[["runs", "runs_right"]].min(axis=1),
        runs=both["runs"] + both["runs_right"],
    )


def average(effects: pandas.DataFrame, by: list[str]) -> pandas.DataFrame:
    """One row a group of `by`: the mean effect, its variance, and what it rests on."""
    how = {"value": "mean", "variance": "sum", "runs": "sum", "seeds": "min"}
    groups = effects.groupby(by, sort=False)
    result = groups.agg(how).assign(groups=groups.size())
    return result.assign(variance=result["variance"] / result["groups"] ** 2).reset_index()


def _between(row: dict) -> float:
    """Variance over test examples of the difference between the two sides of a row of `gaps`."""
    halves = []
    for one, other in (("records", "records_right"), ("records_right", "records")):
        ids = {record["id"] for record in row[other]}
        pairs = [pair for record in row[one] for pair in record.get("paired", {}).values()]
        ends = [pair["interval"] for pair in pairs if pair["to"] in ids]
        halves += [100 * (high - low) / 2 for low, high in ends]
    if not halves:
        return row["of_test"] + row["of_test_right"]
    return (sum(halves) / len(halves) / NORMAL) ** 2
