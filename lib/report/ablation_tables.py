"""Comparisons in words and as points: what `ablations.sweep` found, ready for a page or for `ablation_plots`."""

import math

import pandas

from lib import facts
from lib.report import tables
from lib.report.ablations import MEASURES, rank
from lib.report.tables import NOT_AVAILABLE, NOT_RUN, REFERENCE


def table(
    swept: pandas.DataFrame,
    name: str,
    values: list | tuple = (),
    published: pandas.DataFrame | None = None,
) -> pandas.DataFrame:
    """A sweep as text, one row a model and value: each measure and its difference Δ, ready for `tables.to_markdown`.

    `name` heads the column of values; the study's own is marked *. `values` names those that could have been run: without records they
    read "not run", for each language, teacher and step that has any. `published` has a column `value`, perhaps `language` or
    `teacher`, and further columns of text that are added; without it a column says that nothing is published.
    """
    rows = []
    published = pandas.DataFrame(columns=["value", "published"]) if published is None else published
    match = [key for key in ("value", "language", "teacher") if key in published]
    for (language, teacher, step), part in swept.groupby(
        ["language", "teacher", "step"], sort=False
    ):
        found = [*dict.fromkeys(part["value"])]
        for value in [*found, *(each for each in values if each not in found)]:
            here = part[part["value"] == value]
            row = {
                "language": language,
                "teacher": teacher,
                "model": step,
                name: word(value) + " *" * bool(here["own"].any()),
            }
            of = {"value": value, "language": language, "teacher": teacher}
            theirs = published[
                [
                    all(each[key] == of[key] for key in match)
                    for each in published.to_dict("records")
                ]
            ]
            row |= {
                column: theirs[column].iloc[0] if len(theirs) else NOT_AVAILABLE
                for column in published
                if column not in match
            }
            for what in dict.fromkeys(swept["what"]):
                cell = here[here["what"] == what]
                row |= {
                    what.replace("_", " "): _mean(cell),
                    f"Δ {what.replace('_', ' ')}": _difference(cell),
                }
            rows.append(row)
    return pandas.DataFrame(rows)


def average(swept: pandas.DataFrame) -> pandas.DataFrame:
    """The sweep with the mean over its tasks added, as the measure `average`, wherever every task of the sweep was scored."""
    tasks = swept[~swept["what"].isin(MEASURES)]
    rows = []
    for _, part in tasks.groupby(["language", "teacher", "step", "value"], sort=False):
        if len(part) == tasks["what"].nunique() > 1:
            nothing = dict.fromkeys(
                ("deviation", "difference_deviation", "test_deviation"), math.nan
            )
            rows.append(
                part.iloc[0].to_dict()
                | nothing
                | {"what": "average", "runs": part["runs"].min(), "pairs": part["pairs"].min()}
                | {name: part[name].mean() for name in ("mean", "difference")}
            )
    return (
        pandas.concat(
            [tasks, pandas.DataFrame(rows), swept[swept["what"].isin(MEASURES)]], ignore_index=True
        )
        if rows
        else swept
    )


def points(
    swept: pandas.DataFrame, line: str = "language", panel: str = "what"
) -> pandas.DataFrame:
    """A sweep as `ablation_plots.sweep` draws it: columns panel, line, value, mean, deviation and own."""
    names = {
        "what": {key: f"{entry['name']} (%)" for key, entry in facts.facts("tasks").items()}
        | MEASURES
        | {"average": "average (%)"},
        "language": {
            key: entry.get("name", key) for key, entry in facts.facts("languages").items()
        },
    }
    laid = pandas.DataFrame(
        {
            "panel": swept[panel].map(lambda each: names.get(panel, {}).get(each, each)),
            "line": swept[line].map(lambda each: names.get(line, {}).get(each, each)),
            "value": swept["value"],
            "mean": swept["mean"],
            "deviation": swept["deviation"],
            "own": swept["own"] | swept["reference"],
        }
    )
    return laid.reset_index(drop=True)


def curves(
    runs: pandas.DataFrame, scores: pandas.DataFrame, setting: str, step: str
) -> pandas.DataFrame:
    """The MLM loss on dev during the trainings of a sweep, as `ablation_plots.convergence` draws it: panel, line, step, seconds, loss.

    A language of which one value only was run is left out.
    """
    names, rows = facts.facts("languages"), []
    models = scores[(scores["what"] == "mlm_loss") & (scores["step"] == step)].to_dict("records")
    models = [model for model in models if not set(model["changed"]) - {setting}]
    for model in sorted(
        models, key=lambda model: (model["language"], rank(setting, model["settings"][setting]))
    ):
        record = runs[runs["id"] == model["id"]].iloc[0]
        rows += [
            {
                "panel": names[model["language"]]["name"],
                "line": word(model["settings"][setting]),
                "step": entry["step"],
                "seconds": seconds,
                "loss": entry["dev_mlm_loss"],
            }
            for entry, seconds in zip(record["history"], record["seconds.history"], strict=True)
            if "dev_mlm_loss" in entry
        ]
    frame = pandas.DataFrame(rows, columns=["panel", "line", "step", "seconds", "loss"])
    return frame[frame.groupby("panel")["line"].transform("nunique") > 1].reset_index(drop=True)


def text_seen(teacher: str) -> dict[str, float]:
    """Language -> amount of its text in the teacher's pre-training: published, in GB, or ours, in sentences (inf: all there are)."""
    entry = facts.fact("models", teacher)
    if "text" in entry:
        return {language: float(amount) or math.inf for language, amount in entry["text"].items()}
    seen = tables.published("pretraining_text")
    seen = seen[(seen["stage"] == "pre-training") & (seen["teacher"] == teacher)]
    return dict(zip(seen["language"], seen["amount"].astype(float), strict=True))


def word(value) -> str:
    """A setting as a reader meets it: 40,000 and 0.25 and last_k."""
    return (
        f"{value:,.10g}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value)
    )


def _mean(cell: pandas.DataFrame) -> str:
    return NOT_RUN if cell.empty else _spread(cell.iloc[0], "mean", "deviation", "runs")


def _difference(cell: pandas.DataFrame) -> str:
    if cell.empty or pandas.isna(cell["difference"].iloc[0]):
        return NOT_RUN if cell.empty else "no reference"
    if cell["reference"].iloc[0]:
        return REFERENCE
    return _spread(cell.iloc[0], "difference", "difference_deviation", "pairs")


def _spread(of: pandas.Series, value: str, deviation: str, count: str) -> str:
    """A number, its deviation, and how many it is the mean of; losses have two digits, percentages one."""
    digits = 2 if of["what"] in MEASURES else 1
    text = f"{of[value]:{'+' if value == 'difference' else ''}.{digits}f}".replace(
        "-", "\N{MINUS SIGN}"
    )
    text += "" if pandas.isna(of[deviation]) else f" ± {of[deviation]:.{digits}f}"
    return text + (f" ({of[count]})" if of[count] else " (unpaired)")
