"""Comparisons in words and as points: what `compare` returns, for a page or for `compare_plots`."""

import pandas

from lib import facts
from lib.report.compare import MEASURES, with_value
from lib.report.words import NOT_AVAILABLE, NOT_RUN, REFERENCE, spread, word


def table(comparison: pandas.DataFrame, name: str, values=(), published=None) -> pandas.DataFrame:
    """A comparison in words, one row a model and value: each measure and its difference Δ.

    `name` heads the column of values; the study's own is marked *. `values` names those that could
    have been run, and are "not run" without records. `published` has a column `value`, perhaps
    `language`, and further columns of text that are added; without it, nothing is published.
    """
    columns = ["value", "published"]
    published = pandas.DataFrame(columns=columns) if published is None else published
    match = [key for key in ("value", "language") if key in published]
    by_key = {tuple(row[key] for key in match): row for row in published.to_dict("records")}
    keys, rows = ["language", "teacher", "step"], []
    for (language, teacher, step), part in comparison.groupby(keys, sort=False):
        for value in dict.fromkeys([*part["value"], *values]):
            here = part[part["value"] == value]
            row = {"language": language, "teacher": teacher, "model": step}
            row[name] = word(value) + " *" * bool(here["own"].any())
            of = {"value": value, "language": language}
            theirs = by_key.get(tuple(of[key] for key in match), {})
            added = [column for column in published if column not in match]
            row |= {column: theirs.get(column, NOT_AVAILABLE) for column in added}
            for what in dict.fromkeys(comparison["what"]):
                cell = here[here["what"] == what].to_dict("records")
                row |= _cell(what, cell[0] if cell else None)
            rows.append(row)
    return pandas.DataFrame(rows)


def points(comparison: pandas.DataFrame, line: str = "language") -> pandas.DataFrame:
    """A comparison as `compare_plots.sweep` draws it: panel, line, value, mean, deviation, own."""
    tasks = {task: f"{entry['name']} (%)" for task, entry in facts.facts("tasks").items()}
    names = tasks | MEASURES | {"average": "average (%)"}
    names |= {key: entry["name"] for key, entry in facts.facts("languages").items()}
    panels, lines = (comparison[of].replace(names) for of in ("what", line))
    if line == "language" and comparison["teacher"].nunique() > 1:
        lines = lines + ", " + comparison["teacher"]
    own = comparison["own"] | comparison["reference"]
    result = comparison[["value", "mean", "deviation"]].assign(panel=panels, line=lines, own=own)
    return result.reset_index(drop=True)


def curves(scores: pandas.DataFrame, name: str, step: str, given=None) -> pandas.DataFrame:
    """The MLM loss on dev during the trainings of a comparison: panel, line, step, seconds, loss.

    A language of which one value only was run is left out.
    """
    rows = []
    models = scores[(scores["what"] == "mlm_loss") & (scores["step"] == step)]
    models = with_value(models, name, given).sort_values("language", kind="stable")
    several = models["teacher"].nunique() > 1
    for model in models.to_dict("records"):
        record = model["record"]
        language = facts.fact("languages", model["language"])["name"]
        line = {"panel": language + (f", {model['teacher']}" if several else "")}
        line["line"] = word(model["value"])
        seconds = record["made"]["seconds"]["history"]
        rows += [
            line | {"step": entry["step"], "seconds": second, "loss": entry["dev_mlm_loss"]}
            for entry, second in zip(record["history"], seconds, strict=True)
            if "dev_mlm_loss" in entry
        ]
    frame = pandas.DataFrame(rows, columns=["panel", "line", "step", "seconds", "loss"])
    return frame[frame.groupby("panel")["line"].transform("nunique") > 1].reset_index(drop=True)


def _cell(what: str, cell: dict | None) -> dict[str, str]:
    """A measure and its difference; losses have two digits, percentages one."""
    if cell is None:
        score = difference = NOT_RUN
    else:
        digits = 2 if what in MEASURES else 1
        score = spread(cell, digits=digits)
        difference = "no reference"
        if pandas.notna(cell["difference"]):
            difference = REFERENCE if cell["reference"] else spread(cell, "difference", digits)
    heading = what.replace("_", " ")
    return {heading: score, f"Δ {heading}": difference}
