"""Finished students beside what is to be had more cheaply: no encoder at all, the same shape without a teacher, the teacher as it was.

`rows` collects these models and their differences to the character n-gram classifier, on the same test examples; `table`, `gaps` and
`points` lay them out for a page and for `ablation_plots`.
"""

import math

import pandas

from lib import facts
from lib.report import ablation_tables, ablations, tables
from lib.study import studies

MODELS = {
    "majority": "most frequent answer",
    "ngrams": "character n-grams",
    "scratch": "student's shape from scratch",
    "whole": "student, all pieces",
    "student": "finished student",
    "adapted": "adapted teacher",
    "plain": "plain teacher",
}
FLOOR = "ngrams"
_SHORT = {"ngrams": "n-grams", "whole": "all pieces"}  # on an axis; the others by their keys


def rows(scores: pandas.DataFrame, runs: pandas.DataFrame) -> pandas.DataFrame:
    """One row a language, teacher, model (a key of MODELS), its `steps` and task: mean, deviation and runs of its scores in percent;
    parameters; seconds of training on text, from the teacher's adaptation on; and, as `difference`, `low` and `high`, how far it is above
    the n-grams, with the ends of the paired 95 % interval over test examples, in points. `steps` tells students from scratch that were
    trained for other numbers of steps than the study's apart; of all others it is 0.

    `scores` is what `ablations.scores` makes of `runs`. Differences and ends are means over the seeds, nan where no record has them.
    """
    found = []
    models = scores.assign(model=[_kind(row) for row in scores.to_dict("records")])
    models = models[models["what"].isin(studies.TASKS)]
    models["steps"] = [
        int(row["changed"].get("hidden.steps", 0)) if row["model"] == "scratch" else 0
        for row in models.to_dict("records")
    ]
    for (language, teacher), part in models.groupby(["language", "teacher"]):
        for kind in MODELS:
            if kind in ("majority", "ngrams"):
                found += [_baseline(record, teacher) for record in _baselines(runs, language, kind)]
            for (steps, what), cell in part[part["model"] == kind].groupby(["steps", "what"]):
                statistics = ablations.statistics(cell, cell.iloc[:0])
                found.append(
                    {
                        "language": language,
                        "teacher": teacher,
                        "model": kind,
                        "steps": steps,
                        "what": what,
                        "parameters": cell["parameters"].iloc[0],
                        "seconds": _seconds(runs, cell["id"].iloc[0]),
                    }
                    | {name: statistics[name] for name in ("mean", "deviation", "runs")}
                    | _above(runs, cell["id"])
                )
    return pandas.DataFrame(
        found,
        columns=[
            "language",
            "teacher",
            "model",
            "steps",
            "what",
            "parameters",
            "seconds",
            "mean",
            "deviation",
            "runs",
            "difference",
            "low",
            "high",
        ],
    )


def table(rows: pandas.DataFrame) -> pandas.DataFrame:
    """`rows` as text, one row a model: parameters in millions, minutes of training, scores as mean ± deviation (runs)."""
    return _laid(
        rows,
        lambda first: {
            "parameters (M)": ""
            if first["model"] == "majority"
            else f"{first['parameters'] / 1e6:.2f}",
            "minutes": "" if math.isnan(first["seconds"]) else f"{first['seconds'] / 60:.0f}",
        },
        _score,
    )


def gaps(rows: pandas.DataFrame) -> pandas.DataFrame:
    """`rows` as text, one row a model with an encoder: how far each score is above the n-grams, and the ends of its interval."""
    return _laid(rows[~rows["model"].isin(("majority", FLOOR))], lambda first: {}, _gap)


def points(rows: pandas.DataFrame) -> pandas.DataFrame:
    """`rows` as `ablation_plots.sweep` draws them, the models side by side in the order of MODELS."""
    names = [
        _SHORT.get(row["model"], row["model"]) + (f"\n{row['steps']:,}" if row["steps"] else "")
        for row in rows.to_dict("records")
    ]
    laid = rows.assign(value=names, own=True, reference=False).sort_values("steps", kind="stable")
    for column, order in (("model", list(MODELS)), ("what", studies.TASKS)):
        laid = laid.sort_values(
            column, key=lambda names, order=order: names.map(order.index), kind="stable"
        )
    return ablation_tables.points(laid)


def _kind(score: dict) -> str:
    """Which of MODELS a score is of; "" if of none."""
    usual = {
        ("pretrain", ()): "plain",
        ("adapt", ()): "adapted",
        ("hidden", ()): "whole",
        (studies.STEPS[-1], ()): "student",
    }
    changed = score["changed"]
    if (
        changed.get("hidden.hidden_start") == "random"
        and changed.get("hidden.mlm_weight") == 1
        and score["step"] == "hidden"
    ):
        return (
            "scratch"
            if set(changed)
            <= {"hidden.hidden_start", "hidden.mlm_weight", "hidden.steps", "hidden.learning_rate"}
            else ""
        )
    return usual.get((score["step"], tuple(changed)), "")


def _baselines(runs: pandas.DataFrame, language: str, kind: str) -> list[dict]:
    return [
        record
        for record, more in zip(*tables.usual_baselines(runs), strict=True)
        if (record["language"], record["settings.baseline.kind"], more) == (language, kind, "")
    ]


def _baseline(record: dict, teacher: str) -> dict:
    return {
        "language": record["language"],
        "teacher": teacher,
        "model": record["settings.baseline.kind"],
        "steps": 0,
        "what": record["task"],
        "parameters": record["model.parameters"],
        "seconds": math.nan,
        "deviation": math.nan,
        "runs": 1,
        "mean": 100 * record[f"scores.{facts.fact('tasks', record['task'])['metric']}"],
    }


def _above(runs: pandas.DataFrame, ids: pandas.Series) -> dict:
    """Mean difference to the n-grams, and mean ends of its interval, over the runs `ids` whose records have them."""
    columns = [f"paired.{FLOOR}.difference", f"paired.{FLOOR}.interval"]
    known = runs[runs["id"].isin(ids)].reindex(columns=columns).dropna()
    gaps = 100 * pandas.DataFrame(
        [[gap, *ends] for gap, ends in known.to_numpy()],
        columns=["difference", "low", "high"],
        dtype=float,
    )
    return gaps.mean().to_dict()


def _seconds(runs: pandas.DataFrame, scored: str) -> float:
    """Seconds of the trainings on text behind a scored model, its teacher's pre-training left out; nan where nothing was trained.

    A student from scratch uses no weights of the steps before its own, so theirs do not count.
    """
    chain = runs.set_index("id")["chain"][scored]
    trained = runs[runs["id"].isin(chain) & runs["step"].isin(["adapt", "layers", "hidden"])]
    drawn = trained[
        (trained["step"] == "hidden")
        & trained.reindex(columns=["settings.hidden.hidden_start"]).eq("random").any(axis=1)
    ]
    trained = drawn if len(drawn) else trained
    return sum(seconds[-1] for seconds in trained["seconds.history"]) if len(trained) else math.nan


def _laid(rows: pandas.DataFrame, head, cell) -> pandas.DataFrame:
    laid, tasks = [], [task for task in studies.TASKS if task in set(rows["what"])]
    for (language, teacher, kind, steps), part in rows.groupby(
        ["language", "teacher", "model", "steps"], sort=False
    ):
        found = {row["what"]: cell(row) for row in part.to_dict("records")}
        name = MODELS[kind] + (f", {steps:,} steps" if steps else "")
        laid.append(
            {"language": language, "teacher": teacher, "model": name}
            | head(part.iloc[0])
            | {task: found.get(task, tables.NOT_RUN) for task in tasks}
        )
    return pandas.DataFrame(laid)


def _score(row: dict) -> str:
    deviation = "" if math.isnan(row["deviation"]) else f" ± {row['deviation']:.1f}"
    return f"{row['mean']:.1f}{deviation}" + (
        f" ({row['runs']})" if row["model"] not in ("majority", FLOOR) else ""
    )


def _gap(row: dict) -> str:
    if math.isnan(row["difference"]):
        return tables.NOT_AVAILABLE
    return f"{row['difference']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})".replace(
        "-", "\N{MINUS SIGN}"
    )
