"""Comparisons (the paper's ablations): what one setting does to the scores while all others stay.

A comparison has one row a language, teacher, step, value of the setting, and measure `what`; beside
these, the `frame.STATISTICS`. `own` marks the study's own value. `reference` marks the value that
differences are to.
"""

import math

import pandas

from lib import facts
from lib.report.frame import STATISTICS, TEACHER, setting, statistics
from lib.study import steps, studies

MEASURES = {  # lower is better, but for the similarity
    "mlm_loss": "MLM loss on held-out text (nats)",
    "similarity": "similarity to the teacher",
    "bits_per_character": "pseudo-perplexity (bits a character)",
}
_KEYS = ["language", "teacher", "step", "value", "what"]
_SIZES = {"hidden.hidden_size": "hidden_size", "vocabulary.kept_tokens": "vocab_size"}


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
    part = with_value(scores[scores["step"].isin(at) | scores["role"].isin(at)], name, given)
    if name == "order":  # models that went through all cuts, whatever the last one was
        cuts = part["value"].map(lambda order: order.count(">")).astype(int)
        part = part[cuts == cuts.max()].assign(step="all cuts")
    cut = name.partition(".")[0]
    before = scores["chain"].map(lambda way: cut not in way).astype(bool)
    before &= scores["default"] & (scores["step"].eq(whole) | scores["role"].eq(whole))
    uncut = scores[before & scores["language"].isin(part["language"]) & (whole != "")]
    part = part.assign(reference=part["own"] & uncut.empty)
    if len(uncut):
        uncut = uncut.assign(value=uncut[_SIZES[name]].astype(int), own=False, reference=True)
        part = _sorted(pandas.concat([uncut, part]), name)
    alone = ["language", "teacher", "what", *([] if len(uncut) else ["step"])]
    several = part.groupby(alone)["value"].transform("nunique") > 1
    return compare(part[several], across=len(uncut) > 0)


def teachers(scores: pandas.DataFrame) -> pandas.DataFrame:
    """The plain teacher beside the adapted one, before the first cut that changes an output."""
    whole = [
        way[-1:] == [step] == [studies.reference(way)]
        for way, step in zip(scores["chain"], scores["step"], strict=True)
    ]
    part = with_value(scores[pandas.Series(whole, scores.index, dtype=bool)], "teacher")
    length = part["chain"].map(len).astype(int)
    last = length.groupby([part[key] for key in ("language", "teacher", "value")]).transform("max")
    part = part[length == last].assign(step="teacher")
    part["own"] &= part["role"] == TEACHER
    return compare(part.assign(reference=part["value"] == "adapted"))


def drops(scores: pandas.DataFrame) -> pandas.DataFrame:
    """The cost of the whole chain: each finished student beside its teacher."""
    ends = scores[scores["role"].ne("") & scores["default"]]
    ends = ends[ends["what"].isin([*facts.facts("tasks"), "mlm_loss"])]
    ends = ends.assign(value="", own=True, reference=ends["role"] == TEACHER)
    result = compare(ends, across=True)
    teachers = ends.loc[ends["reference"], "step"]
    keep = ~result["step"].isin(teachers) & result["difference"].notna()
    return result[keep].reset_index(drop=True)


def compare(part: pandas.DataFrame, across: bool = False) -> pandas.DataFrame:
    """A comparison of scores that have the columns `value`, `own` and `reference`.

    Differences are between models of one step; with `across` the reference is of another step.
    """
    place = {what: number for number, what in enumerate((*facts.facts("tasks"), *MEASURES))}
    part = part.sort_values("what", key=lambda names: names.map(place), kind="stable")
    match = ["language", "teacher", "what", *([] if across else ["step"])]
    references = dict(iter(part[part["reference"]].groupby(match)))
    rows = []
    for key, values in part.groupby(_KEYS, sort=False):
        row = dict(zip(_KEYS, key, strict=True))
        reference = references.get(tuple(row[column] for column in match), part[:0])
        marks = {mark: bool(values[mark].any()) for mark in ("own", "reference")}
        rows.append(row | marks | statistics(values, reference))
    return pandas.DataFrame(rows, columns=[*_KEYS, "own", "reference", *STATISTICS])


def average(comparison: pandas.DataFrame) -> pandas.DataFrame:
    """The comparison with the mean over its tasks as one more measure, where all were scored."""
    tasks = comparison[~comparison["what"].isin(MEASURES)]
    count, rows = tasks["what"].nunique(), []
    for _, part in tasks.groupby(_KEYS[:-1], sort=False):
        if len(part) == count > 1:
            means = {**part[["mean", "difference"]].mean(), **part[["runs", "pairs"]].min()}
            unknown = {"what": "average", "deviation": math.nan, "difference_deviation": math.nan}
            rows.append(part.iloc[0].to_dict() | unknown | means)
    if not rows:
        return comparison
    others = comparison[comparison["what"].isin(MEASURES)]
    return pandas.concat([tasks, pandas.DataFrame(rows), others], ignore_index=True)


def with_value(scores: pandas.DataFrame, name: str, given: dict | None = None) -> pandas.DataFrame:
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
