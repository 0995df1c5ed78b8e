"""The main result: every model of the paper's steps 0 to 4, scored on the tasks of step 5.

A model that was made or trained on a task with other settings than the study's has its own row; the
row's name ends with these settings.
"""

import pandas

from lib import facts
from lib.report import frame, tables, words
from lib.report.frame import FINISHED, TEACHER, statistics
from lib.report.words import NOT_AVAILABLE, NOT_RUN, REFERENCE, gap, number, spread, word
from lib.study import steps
from lib.study.publish import SIZES

NOT_MEASURED = "not measured"
WORSE = "worse than unigram"  # marks a model that token frequencies beat: its scores say nothing
MEASURED = {"mlm_loss": "MLM loss", "similarity": "similarity"}  # of models, on held-out text
_MODEL = ["language", "teacher", "step", "hidden_size", "vocab_size", "variant", "tuning"]
_NUMBERS = ["model", "role", "parameters", "compression_rate", *MEASURED, "published"]
_NUMBERS += ["published_rate"]


def cells(scores: pandas.DataFrame) -> pandas.DataFrame:
    """One row a model and task: `frame.STATISTICS`, to the teacher trained in the same way.

    The teacher is the study's own model of the role `frame.TEACHER`. Every step of the study's
    chain and every published size has rows for each language and teacher, without runs where there
    are none.
    `variant` and `tuning` name the changed settings of the model and of the task's training.
    """
    order, scores = _order(scores), _described(scores)
    models = _models(scores, order)
    tasks = facts.facts("tasks")
    metrics = {"task": [*tasks], "metric": [entry["metric"] for entry in tasks.values()]}
    scores = scores.rename(columns={"what": "task"})
    keys, match = [*_MODEL, "task"], ["language", "teacher", "tuning", "task"]
    taught_by = scores[(scores["role"] == TEACHER) & (scores["variant"] == "")]
    numbers = statistics(scores.dropna(subset="score"), keys, taught_by, match)
    rows = models.merge(pandas.DataFrame(metrics), how="cross").merge(numbers, "left", keys)
    return rows.fillna({"runs": 0, "pairs": 0}).astype({"runs": int, "pairs": int})


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
        sizes = {
            "parameters (M)": number(model["parameters"] / 1e6, 2, missing=NOT_RUN),
            "published (M)": number(model["published"] / 1e6, 2, missing=NOT_AVAILABLE),
            "compression (%)": number(100 * model["compression_rate"], missing=NOT_RUN),
            "published (%)": number(100 * model["published_rate"], missing=NOT_AVAILABLE),
        }
        reference = model["role"] == TEACHER and not model["variant"]
        scores = {cell["task"]: spread(cell) if cell["runs"] else NOT_RUN for cell in tasks}
        scores["average"] = number(part["mean"].mean(skipna=False), missing=NOT_RUN)
        gaps = {
            f"Δ {cell['task']}": gap(cell, reference, "no teacher") if cell["runs"] else NOT_RUN
            for cell in tasks
        }
        mean = number(part["difference"].mean(skipna=False), signed=True, missing=NOT_RUN)
        gaps["Δ average"] = REFERENCE if set(gaps.values()) == {REFERENCE} else mean
        if WORSE in model["variant"]:
            scores, gaps = (dict.fromkeys(texts, WORSE) for texts in (scores, gaps))
        rows.append(names | sizes | losses | scores | gaps)
    return pandas.DataFrame(rows)


def baselines(scores: pandas.DataFrame) -> pandas.DataFrame:
    """The scores without an encoder in words, one row a language and kind of baseline."""
    scores = scores[scores["step"] == "baseline"]
    names = []
    for record in scores["record"]:
        changed = [f"{key[9:]} {word(value)}" for key, value in record["changed"].items()]
        names.append("; ".join([record["settings"]["baseline"]["kind"], *changed]))
    scores = scores.assign(baseline=names, text=scores["score"].map(number))
    return tables.by_task(scores, ["language", "baseline"]).reset_index()


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
    worse = [bool(record["model"].get("worse_than_unigram")) for record in scores["record"]]
    settings = list(zip(scores["changed"], scores["step"], worse, strict=True))
    own = [all(name.startswith("finetune.") for name in changed) for changed in scores["changed"]]
    texts = {
        "variant": ["; ".join(_words(c, step, False) + [WORSE] * low) for c, step, low in settings],
        "tuning": ["; ".join(_words(changed, "", True)) for changed in scores["changed"]],
    }
    return scores.assign(
        **{name: scores["score"].where(scores["what"] == name) for name in MEASURED},
        **pandas.DataFrame(texts, scores.index, dtype=object),
        role=scores["role"].where(pandas.Series(own, scores.index, dtype=bool), ""),
        whole=[record["model"]["teacher_parameters"] for record in scores["record"]],
        score=scores["score"].mask(pandas.Series(worse, scores.index, dtype=bool)),
    )


def _words(changed: dict, step: str, of_task: bool) -> list[str]:
    """The changed settings, without those that the name of the step's model shows."""
    row = steps.step(step).row if step else ""
    shown = {name for name, size in frame.SIZE_OF.items() if f"{{{size}" in row}
    names = [name for name in changed if name.startswith("finetune.") == of_task]
    return [f"{name} {word(changed[name])}" for name in sorted(set(names) - shown)]


def _models(scores: pandas.DataFrame, order: list) -> pandas.DataFrame:
    """One row a model, run or not, by the `order` of their steps and by size."""
    paper = tables.published("parameters").rename(columns={"parameters": "published"})
    pairs = scores.groupby(["language", "teacher"], as_index=False)["whole"].max()
    rows = scores.groupby(_MODEL, as_index=False).first()
    sizes = pairs.merge(paper[["teacher", "step", *SIZES]])
    steps_of_study = pairs.merge(pandas.DataFrame({"step": order}), how="cross")
    for added, names in ((sizes, ["step", "hidden_size"]), (steps_of_study, ["step"])):
        rows = pandas.concat([rows, added], ignore_index=True)
        run = rows["variant"].notna() | ~rows.duplicated(["language", "teacher", *names])
        rows = rows[run].fillna(dict.fromkeys(("variant", "tuning", "role"), ""))
    rows = rows.merge(paper[["teacher", "step", *SIZES, "published"]], how="left")
    whole = rows["teacher"].map(
        paper[paper["step"] == "pretrain"].set_index("teacher")["published"]
    )
    teacher = rows["step"].isin(steps.names("teacher"))
    unknown = teacher & rows["parameters"].isna()
    rows.loc[unknown, "parameters"], rows.loc[unknown, "compression_rate"] = rows["whole"], 0.0
    rows["published"] = rows["published"].fillna(whole.where(teacher))
    rows["published_rate"] = 1 - rows["published"] / whole
    rows["model"] = [_name(model) for model in rows.to_dict("records")]
    place = rows["step"].map([*order, *steps.names("teacher", "cut")].index)
    by = ["language", "teacher", "place", "hidden_size", "vocab_size", "variant", "tuning"]
    up = [key not in ("hidden_size", "vocab_size") for key in by]
    rows = rows.assign(place=place).sort_values(by, ascending=up, ignore_index=True)
    return rows[[*_MODEL, *_NUMBERS]]


def _order(scores: pandas.DataFrame) -> list[str]:
    """The steps of the study's own chain in their order, and the cuts that were not run."""
    own = scores[scores["default"] & (scores["role"] == FINISHED)]
    done = [*steps.names("teacher")] if own.empty else own["chain"].iloc[0]
    return [*done, *(step for step in steps.names("cut") if step not in done)]


def _name(model: dict) -> str:
    step = steps.step(model["step"])
    known = step.kind == "teacher" or all(pandas.notna(model[size]) for size in SIZES)
    name = step.row.format(**model) if known else step.name
    return "; ".join(filter(None, [name, model["variant"], model["tuning"]]))


def _sections(cells: pandas.DataFrame, before: str = "") -> list[str]:
    """Two tables a language and teacher, scores and differences, each below its heading."""
    table, text = main_table(cells), []
    for (language, teacher), part in table.groupby(["language", "teacher"]) if len(table) else ():
        name = words.language(language)
        gaps = [column for column in part if column.startswith("Δ")]
        scores = part.drop(columns=["language", "teacher", *gaps])
        text.append(f"## {before}{name}, {teacher}\n")
        text += [tables.to_markdown(scores), tables.to_markdown(part[["model", *gaps]])]
    return text
