"""Comparisons (the paper's ablations): what one setting does to the scores while all others stay.

A comparison has one row a language, teacher, step, value of the setting, and measure `what`; beside
these, the `frame.STATISTICS`. `own` marks the study's own value. `reference` marks the value that
differences are to.
"""

import pandas

from lib import facts
from lib.report import words
from lib.report.frame import SIZE_OF, TEACHER, setting, statistics
from lib.report.words import NOT_AVAILABLE, NOT_RUN, gap, spread, word
from lib.study import steps, studies

MEASURES = {  # lower is better, but for the similarity
    "mlm_loss": "MLM loss on held-out text (nats)",
    "similarity": "similarity to the teacher",
    "bits_per_character": "pseudo-perplexity (bits a character)",
}
_KEYS = ["language", "teacher", "step", "value", "what"]


def sweep(
    scores: pandas.DataFrame, name: str, at: list[str], given: dict | None = None, whole: str = ""
) -> pandas.DataFrame:
    """The comparison of all values of the setting `name` at the steps or roles `at`, to the study's
    own.

    `given` are settings that all models share though they are not the study's. `whole` is the step
    or role before the cut: its models stand for the value that cuts nothing, and differences are to
    them. Where a study makes this cut earlier there are none, and differences are to its own value.
    A measure of which a language has one value only is left out.
    """
    part = _with_value(scores[scores["step"].isin(at) | scores["role"].isin(at)], name, given)
    if name == "order":  # models that went through all cuts, whatever the last one was
        cuts = part["value"].map(lambda order: order.count(">")).astype(int)
        part = part[cuts == cuts.max()].assign(step="all cuts")
    cut = name.partition(".")[0]
    before = scores["chain"].map(lambda way: cut not in way).astype(bool)
    before &= scores["default"] & (scores["step"].eq(whole) | scores["role"].eq(whole))
    uncut = scores[before & scores["language"].isin(part["language"]) & (whole != "")]
    part = part.assign(reference=part["own"] & uncut.empty)
    if len(uncut):
        uncut = uncut.assign(value=uncut[SIZE_OF[name]].astype(int), own=False, reference=True)
        part = _sorted(pandas.concat([uncut, part]), name)
    alone = ["language", "teacher", "what", *([] if len(uncut) else ["step"])]
    several = part.groupby(alone)["value"].transform("nunique") > 1
    return _compare(part[several], across=len(uncut) > 0)


def teachers(scores: pandas.DataFrame) -> pandas.DataFrame:
    """The plain teacher beside the adapted one, before the first cut that changes an output."""
    whole = [
        way[-1:] == [step] == [studies.reference(way)]
        for way, step in zip(scores["chain"], scores["step"], strict=True)
    ]
    part = _with_value(scores[pandas.Series(whole, scores.index, dtype=bool)], "teacher")
    length = part["chain"].map(len).astype(int)
    last = length.groupby([part[key] for key in ("language", "teacher", "value")]).transform("max")
    part = part[length == last].assign(step="teacher")
    part["own"] &= part["role"] == TEACHER
    return _compare(part.assign(reference=part["value"] == "adapted"))


def drops(scores: pandas.DataFrame) -> pandas.DataFrame:
    """The cost of the whole chain: each finished student beside its teacher."""
    ends = scores[scores["role"].ne("") & scores["default"]]
    ends = ends[ends["what"].isin([*facts.facts("tasks"), "mlm_loss"])]
    ends = ends.assign(value="", own=True, reference=ends["role"] == TEACHER)
    result = _compare(ends, across=True)
    return result[~result["reference"] & result["difference"].notna()].reset_index(drop=True)


def average(comparison: pandas.DataFrame) -> pandas.DataFrame:
    """The comparison with the mean over its tasks as one more measure, where all were scored."""
    measures = comparison["what"].isin(MEASURES)
    tasks, count = comparison[~measures], comparison.loc[~measures, "what"].nunique()
    how = {"own": "first", "reference": "first", "mean": "mean", "difference": "mean"}
    how |= {"runs": "min", "pairs": "min", "what": "count"}
    means = tasks.groupby(_KEYS[:-1], sort=False).agg(how).reset_index()
    means = means[(means["what"] == count) & (count > 1)].assign(what="average")
    return pandas.concat([tasks, means, comparison[measures]], ignore_index=True)


def table(comparison: pandas.DataFrame, name: str, values=(), published=None) -> pandas.DataFrame:
    """A comparison in words, one row a model and value: each measure and its difference Δ.

    `name` heads the column of values; the study's own is marked *. `values` names those that could
    have been run, and are "not run" without records. `published` has the columns `language` and
    `value`, and further columns of text that are added; without it, nothing is published.
    """
    nothing = pandas.DataFrame(columns=["language", "value", "published"])
    theirs = (nothing if published is None else published).set_index(["language", "value"])
    blank, theirs = dict.fromkeys(theirs, NOT_AVAILABLE), theirs.to_dict("index")
    measures, rows = comparison["what"].unique(), []
    groups = comparison.groupby(["language", "teacher", "step"], sort=False)
    for (language, teacher, step), part in groups:
        for value in dict.fromkeys([*part["value"], *values]):
            here = part[part["value"] == value].set_index("what").to_dict("index")
            own = any(cell["own"] for cell in here.values())
            row = {"language": language, "teacher": teacher, "model": step}
            row |= {name: word(value) + " *" * own} | blank
            row |= theirs.get((language, value), {})
            for what in measures:
                heading, digits = what.replace("_", " "), 2 if what in MEASURES else 1
                row |= {heading: NOT_RUN, f"Δ {heading}": NOT_RUN}
                if cell := here.get(what):
                    row[heading] = spread(cell, digits=digits)
                    row[f"Δ {heading}"] = gap(cell, cell["reference"], digits=digits)
            rows.append(row)
    return pandas.DataFrame(rows)


def points(comparison: pandas.DataFrame, lines: pandas.Series | None = None) -> pandas.DataFrame:
    """A comparison as `compare_plots.sweep` draws it: panel, line and its
    language, value, mean, deviation, own.

    Without the names of `lines`, they are the languages.
    """
    tasks = {task: f"{entry['name']} (%)" for task, entry in facts.facts("tasks").items()}
    panels = comparison["what"].replace(tasks | MEASURES | {"average": "average (%)"})
    lines = _languages(comparison) if lines is None else lines
    own = comparison["own"] | comparison["reference"]
    result = comparison[["language", "value", "mean", "deviation"]]
    return result.assign(panel=panels, line=lines, own=own).reset_index(drop=True)


def curves(scores: pandas.DataFrame, name: str, step: str, given=None) -> pandas.DataFrame:
    """The MLM loss on dev during the trainings of a comparison: panel, line, step, seconds, loss.

    A language of which one value only was run is left out.
    """
    rows = []
    models = scores[(scores["what"] == "mlm_loss") & (scores["step"] == step)]
    models = _with_value(models, name, given).sort_values("language", kind="stable")
    for panel, model in zip(_languages(models), models.to_dict("records"), strict=True):
        record, line = model["record"], word(model["value"])
        seconds = record["made"]["seconds"]["history"]
        rows += [
            [panel, line, entry["step"], second, entry["dev_mlm_loss"]]
            for entry, second in zip(record["history"], seconds, strict=True)
            if "dev_mlm_loss" in entry
        ]
    frame = pandas.DataFrame(rows, columns=["panel", "line", "step", "seconds", "loss"])
    return frame[frame.groupby("panel")["line"].transform("nunique") > 1].reset_index(drop=True)


def _compare(part: pandas.DataFrame, across: bool = False) -> pandas.DataFrame:
    """A comparison of scores that have the columns `value`, `own` and `reference`.

    Differences are between models of one step; with `across` the reference is of another step.
    """
    place = {what: number for number, what in enumerate((*facts.facts("tasks"), *MEASURES))}
    part = part.sort_values("what", key=lambda names: names.map(place), kind="stable")
    match = ["language", "teacher", "what", *([] if across else ["step"])]
    marks = part.groupby(_KEYS, sort=False)[["own", "reference"]].any().reset_index()
    return marks.merge(statistics(part, _KEYS, part[part["reference"]], match), on=_KEYS)


def _with_value(scores: pandas.DataFrame, name: str, given: dict | None = None) -> pandas.DataFrame:
    """The scores that differ at most in one setting, with its `value` and whether it is `own`.

    A name without a step, such as distillation_target, is that setting in all steps. All have the
    values of the settings in `given`.
    """
    given, found = given or {}, []
    for row in scores.to_dict("records"):
        value, changed = setting(row, name), row["changed"].items()
        said = {key for key, to in changed if name in (key, key.partition(".")[2]) and to == value}
        alone = row["changed"].keys() <= {*given, *said}
        same = all(setting(row, key) == wanted for key, wanted in given.items())
        found.append((value, not said, value is not None and alone and same))
    found = pandas.DataFrame(found, scores.index, ["value", "own", "fits"])
    found = found.astype({"own": bool, "fits": bool})
    part = scores.assign(value=found["value"], own=found["own"])[found["fits"]]
    return _sorted(part.assign(value=part["value"].infer_objects()), name)


def _sorted(part: pandas.DataFrame, name: str) -> pandas.DataFrame:
    """Sorted by value: numbers by size, words in the order in which they are declared."""
    words = steps.choices(*name.split(".")) if "." in name else ()
    numbers = {word: place for place, word in enumerate(words)}
    numeric = pandas.api.types.is_numeric_dtype(part["value"])
    key = (lambda column: column) if numeric else (lambda column: column.map(numbers).fillna(0))
    return part.sort_values("value", key=key, kind="stable")


def _languages(frame: pandas.DataFrame) -> pandas.Series:
    """The names of the languages, with the teacher where there are several."""
    languages = frame["language"].map(words.language)
    return languages + ", " + frame["teacher"] if frame["teacher"].nunique() > 1 else languages
