"""The main result: every model of the paper's steps 0 to 4, scored on the tasks of step 5.

A model that was made or trained on a task with other settings than the study's has its own row; the
row's name ends with these settings.
"""

import math

import pandas

from lib import facts
from lib.report import tables
from lib.report.frame import FINISHED, STATISTICS, TEACHER, statistics
from lib.report.words import NOT_AVAILABLE, NOT_RUN, REFERENCE, number, spread, word
from lib.study import steps
from lib.study.publish import SIZES

NOT_MEASURED = "not measured"
WORSE = "worse than unigram"  # marks a model that token frequencies beat: its scores say nothing
MEASURED = {"mlm_loss": "MLM loss", "similarity": "similarity"}  # of models, on held-out text
_MODEL = ["language", "teacher", "step", "hidden_size", "vocab_size", "variant", "tuning"]
_NUMBERS = ["model", "role", "parameters", "compression_rate", *MEASURED, "published"]
_NUMBERS += ["published_rate"]
_TEXTS = ("variant", "tuning", "role")
_IN_NAME = {"{hidden_size": "hidden.hidden_size", "{vocab_size": "vocabulary.kept_tokens"}


def cells(scores: pandas.DataFrame) -> pandas.DataFrame:
    """One row a model and task: `frame.STATISTICS`, to the teacher trained in the same way.

    The teacher is the model of the role `frame.TEACHER`. Every step of the study's chain and every
    published size has rows for each language and teacher, without runs where there are none.
    `variant` and `tuning` name the changed settings of the model and of the task's training.
    """
    scores, rows = _described(scores), []
    order = _order(scores)
    for (language, teacher), part in scores.groupby(["language", "teacher"]):
        own = dict(iter(part.dropna(subset="score").groupby([*_MODEL, "what"])))
        taught_by = part[(part["role"] == TEACHER) & (part["variant"] == "")]
        references = dict(iter(taught_by.groupby(["tuning", "what"])))
        for model in _models(part, language, teacher, order):
            for task, entry in facts.facts("tasks").items():
                key = (*(model[name] for name in _MODEL), task)
                reference = references.get((model["tuning"], task), part[:0])
                numbers = statistics(own.get(key, part[:0]), reference)
                rows.append(model | {"task": task, "metric": entry["metric"]} | numbers)
    return pandas.DataFrame(rows, columns=[*_MODEL, *_NUMBERS, "task", "metric", *STATISTICS])


def main_table(cells: pandas.DataFrame) -> pandas.DataFrame:
    """The cells in words, one row a model: parameters in millions, scores, differences Δ.

    An average needs every task. The MLM loss is that on held-out text of the language, in nats a
    masked token; a teacher before its adaptation was measured on all its languages together only.
    Models without an MLM head have their `similarity` to the teacher instead.
    """
    measured = [name for name in MEASURED if cells[name].notna().any()] or ["mlm_loss"]
    rows = []
    for _, part in cells.groupby(_MODEL, dropna=False, sort=False):
        model, tasks = part.iloc[0], part.to_dict("records")
        unmeasured = model["step"] == "pretrain" or model["tuning"]
        missing = NOT_MEASURED if unmeasured else NOT_RUN
        losses = {MEASURED[name]: number(model[name], 2, missing=missing) for name in measured}
        names = {name: model[name] for name in ("language", "teacher", "model")}
        scores = {cell["task"]: spread(cell) if cell["runs"] else NOT_RUN for cell in tasks}
        scores["average"] = number(part["mean"].mean(skipna=False), missing=NOT_RUN)
        gaps = {f"Δ {cell['task']}": _difference(cell) for cell in tasks}
        mean = number(part["difference"].mean(skipna=False), signed=True, missing=NOT_RUN)
        gaps["Δ average"] = REFERENCE if set(gaps.values()) == {REFERENCE} else mean
        if WORSE in model["variant"]:
            scores, gaps = (dict.fromkeys(texts, WORSE) for texts in (scores, gaps))
        rows.append(names | _sizes(model) | losses | scores | gaps)
    return pandas.DataFrame(rows)


def baselines(scores: pandas.DataFrame) -> pandas.DataFrame:
    """The scores without an encoder in words, one row a language and kind of baseline."""
    rows: dict[tuple, dict] = {}
    for row in scores[scores["step"] == "baseline"].to_dict("records"):
        kind = row["record"]["settings"]["baseline"]["kind"]
        changed = "".join(f"; {name[9:]} {word(value)}" for name, value in row["changed"].items())
        rows.setdefault((row["language"], kind + changed), {})[row["what"]] = number(row["score"])
    tasks = [task for task in facts.facts("tasks") if any(task in row for row in rows.values())]
    table = [
        {"language": language, "baseline": kind} | {task: row.get(task, NOT_RUN) for task in tasks}
        for (language, kind), row in sorted(rows.items())
    ]
    return pandas.DataFrame(table)


def page(study: str, cells: pandas.DataFrame, baselines: pandas.DataFrame) -> str:
    """The page of the main table: the study's own models, the baselines, then the variants."""
    measures = ", ".join(dict.fromkeys(cells["task"] + " " + cells["metric"])) or "none"
    own = is_own(cells)
    made = "Made by `notebooks/paper/main_table.ipynb`, which explains the columns.\n"
    text = [f"# Main table of the study {study}\n", made, f"Measures, in percent: {measures}.\n"]
    text += _sections(cells[own]) or ["No records yet.\n"]
    if len(baselines):
        text += ["## Without an encoder\n", tables.to_markdown(baselines, left=2)]
    return "\n".join([*text, *_sections(cells[~own], "Variants: ")])


def is_own(cells: pandas.DataFrame) -> pandas.Series:
    """Which cells are of the study's own settings."""
    return cells["variant"].isin(["", WORSE]) & (cells["tuning"] == "")


def _described(scores: pandas.DataFrame) -> pandas.DataFrame:
    """The task scores and measures of models, with the words for the changed settings."""
    tasks = facts.facts("tasks")
    wanted = scores["step"].isin(steps.names("teacher", "cut"))
    scores = scores[wanted & scores["what"].isin([*tasks, *MEASURED])]
    models = [record["model"] for record in scores["record"]]
    worse = [bool(model.get("worse_than_unigram")) for model in models]
    parts = zip(scores["changed"], scores["step"], worse, strict=True)
    return scores.assign(
        **{name: scores["score"].where(scores["what"] == name) for name in MEASURED},
        whole=[model["teacher_parameters"] for model in models],
        variant=["; ".join(_words(c, step, False) + [WORSE] * low) for c, step, low in parts],
        tuning=["; ".join(_words(changed, "", True)) for changed in scores["changed"]],
        score=scores["score"].mask(pandas.Series(worse, scores.index, dtype=bool)),
    )


def _words(changed: dict, step: str, of_task: bool) -> list[str]:
    """The changed settings, without those that the name of the step's model shows."""
    shown = {name for size, name in _IN_NAME.items() if step and size in steps.step(step).row}
    names = [name for name in changed if name.startswith("finetune.") == of_task]
    return [f"{name} {word(changed[name])}" for name in sorted(set(names) - shown)]


def _models(part: pandas.DataFrame, language: str, teacher: str, order: list) -> list[dict]:
    """The models of a language and teacher, run or not, by the `order` of their steps."""
    paper = tables.published("parameters")
    paper = paper[paper["teacher"] == teacher].to_dict("records")
    models = part.groupby(_MODEL).first().reset_index().to_dict("records")
    blank = dict.fromkeys([*SIZES, *_NUMBERS], math.nan) | dict.fromkeys(_TEXTS, "")
    blank |= {"language": language, "teacher": teacher}
    run = {(model["step"], model["hidden_size"]) for model in models}
    sizes = ({name: row[name] for name in ("step", *SIZES)} for row in paper)
    models += [blank | row for row in sizes if (row["step"], row["hidden_size"]) not in run]
    missing = [step for step in order if step not in {model["step"] for model in models}]
    models += [blank | {"step": step} for step in missing]
    for model in models:
        if steps.step(model["step"]).kind == "teacher" and pandas.isna(model["parameters"]):
            model |= {"parameters": part["whole"].max(), "compression_rate": 0.0}
        model |= _published_size(model, paper) | {"model": _name(model)}

    every = steps.names("teacher", "cut")

    def place(model):
        sizes = [-model[size] if model[size] > 0 else 0 for size in ("hidden_size", "vocab_size")]
        return [[*order, *every].index(model["step"]), *sizes, model["variant"], model["tuning"]]

    return sorted(models, key=place)


def _order(scores: pandas.DataFrame) -> list[str]:
    """The steps of the study's own chain in their order, and the cuts that were not run."""
    own = scores[scores["default"] & (scores["role"] == FINISHED)]
    done = [*steps.names("teacher")] if own.empty else own["chain"].iloc[0]
    return [*done, *(step for step in steps.names("cut") if step not in done)]


def _published_size(model: dict, paper: list[dict]) -> dict:
    """Published parameters and compression rate of these sizes; nan where the paper has none."""
    counts = {(row["step"], *(row[size] for size in SIZES)): row["parameters"] for row in paper}
    whole = next((row["parameters"] for row in paper if row["step"] == "pretrain"), math.nan)
    other = whole if steps.step(model["step"]).kind == "teacher" else math.nan
    count = counts.get((model["step"], *(model[size] for size in SIZES)), other)
    return {"published": count, "published_rate": 1 - count / whole}


def _name(model: dict) -> str:
    step = steps.step(model["step"])
    known = step.kind == "teacher" or all(pandas.notna(model[size]) for size in SIZES)
    name = step.row.format(**model) if known else step.name
    return "; ".join(filter(None, [name, model["variant"], model["tuning"]]))


def _sizes(model: pandas.Series) -> dict[str, str]:
    count, rate = model["parameters"] / 1e6, 100 * model["compression_rate"]
    paper, paper_rate = model["published"] / 1e6, 100 * model["published_rate"]
    return {
        "parameters (M)": number(count, 2, missing=NOT_RUN),
        "published (M)": number(paper, 2, missing=NOT_AVAILABLE),
        "compression (%)": number(rate, missing=NOT_RUN),
        "published (%)": number(paper_rate, missing=NOT_AVAILABLE),
    }


def _difference(cell: dict) -> str:
    if not cell["runs"]:
        return NOT_RUN
    if cell["role"] == TEACHER and not cell["variant"]:
        return REFERENCE
    return "no teacher" if pandas.isna(cell["difference"]) else spread(cell, "difference")


def _sections(cells: pandas.DataFrame, before: str = "") -> list[str]:
    """Two tables a language and teacher, scores and differences, each below its heading."""
    table, text = main_table(cells), []
    for (language, teacher), part in table.groupby(["language", "teacher"]) if len(table) else ():
        name = facts.fact("languages", language)["name"]
        gaps = [column for column in part if column.startswith("Δ")]
        scores = part.drop(columns=["language", "teacher", *gaps])
        text.append(f"## {before}{name}, {teacher}\n")
        text += [tables.to_markdown(scores), tables.to_markdown(part[["model", *gaps]])]
    return text
