"""Comparisons (the paper's ablations): what one setting does to the scores while all others stay.

A comparison has one row a language, teacher, step, value of the setting, and measure `what`; beside
these, the `frame.STATISTICS`. `own` marks the study's own value. `reference` marks the value that
differences are to.
"""

import math

import pandas

from lib import facts
from lib.report.frame import STATISTICS, TEACHER, setting, statistics
from lib.study import steps

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
    """The comparison of all values of the setting `name` at the steps `at`, to the study's own.

    `given` are settings that all models share though they are not the study's. `whole` is the step
    before the cut: its models stand for the value that cuts nothing, and differences are to them;
    where a study makes this cut earlier, there are none.
    A measure of which a language has one value only is left out.
    """
    part = with_value(scores[scores["step"].isin(at)], name, given)
    if name == "order":  # models that went through all cuts, whatever the last one was
        cuts = part["value"].map(lambda order: order.count(">")).astype(int)
        part = part[cuts == cuts.max()].assign(step="all cuts")
    part = part.assign(reference=part["own"] & (not whole))
    if whole:
        cut = name.partition(".")[0]
        before = scores["chain"].map(lambda way: cut not in way).astype(bool)
        chosen = scores["default"] & (scores["step"] == whole) & before
        uncut = scores[chosen & scores["language"].isin(part["language"])]
        uncut = uncut.assign(value=uncut[_SIZES[name]].astype(int), own=False, reference=True)
        part = _sorted(pandas.concat([uncut, part]), name)
    alone = ["language", "teacher", "what", *([] if whole else ["step"])]
    several = part.groupby(alone)["value"].transform("nunique") > 1
    return compare(part[several], across=bool(whole))


def drops(scores: pandas.DataFrame, name: str = "") -> pandas.DataFrame:
    """The cost of the whole chain: each finished student beside the teacher of its chain.

    With the name of a setting, one comparison for each of its values, where a language has several.
    """
    ends = scores[scores["role"].ne("")]
    ends = ends[ends["what"].isin([*facts.facts("tasks"), "mlm_loss"])]
    ends = with_value(ends, name) if name else ends[ends["default"]].assign(value="", own=True)
    ends = ends.assign(reference=ends["role"] == TEACHER)
    parts = [compare(part, across=True) for _, part in ends.groupby("value", sort=False)]
    result = pandas.concat(parts) if parts else compare(ends)
    teachers = ends.loc[ends["reference"], "step"]
    result = result[~result["step"].isin(teachers) & result["difference"].notna()]
    if name:
        result = result[result.groupby(["language", "teacher"])["value"].transform("nunique") > 1]
    return result.reset_index(drop=True)


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

    All have the values of the settings in `given`.
    """
    given, rows = given or {}, scores.to_dict("records")
    values = pandas.Series([setting(row, name) for row in rows], scores.index, dtype=object)
    changed = scores["changed"].map(lambda changed: not changed.keys() - {name, *given})
    fits = values.notna() & changed.astype(bool)
    for key, value in given.items():
        fits &= pandas.Series(
            [setting(row, key) == value for row in rows], scores.index, dtype=bool
        )
    own = scores["changed"].map(lambda changed: name not in changed).astype(bool)
    part = scores[fits].assign(value=values[fits].infer_objects(), own=own[fits])
    return _sorted(part, name)


def _sorted(part: pandas.DataFrame, name: str) -> pandas.DataFrame:
    """Sorted by value: numbers by size, words in the order in which they are declared."""
    words = steps.choices(*name.split(".")) if "." in name else ()
    numbers = {word: place for place, word in enumerate(words)}
    numeric = pandas.api.types.is_numeric_dtype(part["value"])
    key = (lambda column: column) if numeric else (lambda column: column.map(numbers).fillna(0))
    return part.sort_values("value", key=key, kind="stable")
