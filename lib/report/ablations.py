"""Records become comparisons: what one setting does to the scores while all others stay (the paper's ablations).

`scores` lays records out, one row a score, with the settings behind it and those of them that are not the study's own. `sweep`
takes the rows in which one setting differs and nothing else, and sets each of its values beside the study's own, seed by seed.

Two things that are no setting of a step are compared like one: `teacher` ("adapted", or "plain" where the step adapt was left out)
and `order` (the cuts in the order they were made).
"""

import math

import numpy
import pandas

from lib import facts
from lib.errors import StudyError
from lib.measure.metrics import mean_and_deviation
from lib.study import studies

MEASURES = {
    "mlm_loss": "MLM loss on held-out text (nats)",
    "bits_per_character": "pseudo-perplexity (bits a character)",
}  # lower is better
PLAIN, ADAPTED = "plain", "adapted"
_KEYS = ["language", "teacher", "step", "value", "what"]
_COLUMNS = [
    "id",
    "model",
    "language",
    "teacher",
    "step",
    "what",
    "seed",
    "score",
    "low",
    "high",
    "parameters",
    "compression_rate",
    "hidden_size",
    "vocab_size",
    "paired",
    "settings",
    "changed",
]


def scores(runs: pandas.DataFrame, study: str) -> pandas.DataFrame:
    """One row a score of a finished run of the study's teachers and languages; `runs` is what `records.load` returns.

    `what`: the task, scored in percent by its measure, or a key of MEASURES; `low`, `high`: the interval over test examples, where
    the record has one; `paired`: the same of the difference to other runs on the same examples, by their ids. `step`: of the model that
    was scored. `settings`: everything the model and the score were made with, by names such as layers.layer_choice; `changed`: those
    that are not the study's own. Where no record has the study's own value of a setting (the study file was changed since), the most
    frequent value counts as its own. Records of other steps are passed over.
    """
    rows = [row for record in runs.to_dict("records") for row in _rows(record)]
    of_study = {
        (pair["teacher"], language)
        for pair in studies.study(study).pairs
        for language in pair["languages"]
    }
    rows = [row for row in rows if (row["teacher"], row["language"]) in of_study]
    steps = dict(zip(runs["id"], runs["step"], strict=True)) if len(runs) else {}
    groups: dict[tuple, list] = {}
    for row in rows:
        row["settings"] |= _way([steps.get(each, "?") for each in row.pop("chain")])
        groups.setdefault((row["language"], row["teacher"]), []).append(row)
    for (language, teacher), group in groups.items():
        for what in {row["what"] for row in group}:
            own = _own(study, language, teacher, what)
            part = [row for row in group if row["what"] == what]
            usual = {
                key: _usual(value, [row["settings"][key] for row in part if key in row["settings"]])
                for key, value in own.items()
            }
            for row in part:
                here = usual | {
                    "teacher": own["teacher"],
                    "order": _on_the_way(row["settings"]["order"], own["order"]),
                }
                row["changed"] = {
                    key: value
                    for key, value in row["settings"].items()
                    if key in here and here[key] != value
                }
    return pandas.DataFrame(rows, columns=_COLUMNS)


def sweep(
    scores: pandas.DataFrame,
    setting: str,
    at: str | list[str],
    what: list[str] | None = None,
    given: dict | None = None,
    whole: str = "",
) -> pandas.DataFrame:
    """One row a value of `setting` and measure `what`: mean, deviation, runs, and the difference to the study's own value.

    `at`: the step, or steps, whose models are compared. `given`: settings that all of them share though they are not the study's,
    such as {"layers.distillation_loss": "kl"}. A measure of which
    a language has one value only is left out. `whole`: the step before the cut; its models stand in the sweep as the value that
    cuts nothing, and differences are to them. `difference` is the mean over the `pairs` seeds that both have, without such
    seeds that of the means; `own` marks the study's value, `reference` the one that differences are to.
    `test_deviation`: deviation of the score over test examples.
    """
    given = given or {}
    what = what or [*dict.fromkeys(scores["what"])]
    fits = [
        not set(row["changed"]) - {setting} - set(given)
        and setting in row["settings"]
        and all(row["settings"].get(key) == value for key, value in given.items())
        for row in scores.to_dict("records")
    ]
    part = scores[numpy.array(fits, dtype=bool)]
    part = part[
        part["step"].isin([at] if isinstance(at, str) else at) & part["what"].isin(what)
    ].copy()
    part["value"] = [settings[setting] for settings in part["settings"]]
    if setting == "order":  # models that were cut as often as any, whatever the last cut was
        part = part[part["value"].str.count(">") == part["value"].str.count(">").max()].assign(
            step="all cuts"
        )
    part["own"] = numpy.array([setting not in changed for changed in part["changed"]], dtype=bool)
    part["reference"] = part["own"] & (whole == "")
    if whole:
        size = {"hidden.hidden_size": "hidden_size", "vocabulary.kept_tokens": "vocab_size"}[
            setting
        ]
        uncut = scores[numpy.array([not each for each in scores["changed"]], dtype=bool)]
        uncut = uncut[
            (uncut["step"] == whole)
            & uncut["what"].isin(what)
            & uncut["language"].isin(part["language"])
        ]
        part = pandas.concat(
            [uncut.assign(value=uncut[size].astype(int), own=False, reference=True), part]
        )
    part = part.sort_values(
        "value", key=lambda column: column.map(lambda value: rank(setting, value)), kind="stable"
    )
    alone = ["language", "teacher", "what", *([] if whole else ["step"])]
    return compare(part[part.groupby(alone)["value"].transform("nunique") > 1], bool(whole))


def drops(scores: pandas.DataFrame, setting: str = "") -> pandas.DataFrame:
    """What the whole chain costs: each finished student beside the adapted teacher of its own chain, in the rows of `sweep`.

    Without a `setting`, the study's own chains, `value` empty. With one, all that differ in it alone, languages that have one value
    only left out: `difference` is then to the teacher that shares the value, not to the study's own.
    """
    ends = scores[
        scores["step"].isin(["adapt", studies.STEPS[-1]])
        & scores["what"].isin([*studies.TASKS, "mlm_loss"])
    ]
    ends = ends[
        numpy.array(
            [
                not set(changed) - {setting} and (not setting or setting in settings)
                for changed, settings in zip(ends["changed"], ends["settings"], strict=True)
            ],
            dtype=bool,
        )
    ]
    ends = ends.assign(
        value=[settings.get(setting, "") for settings in ends["settings"]],
        reference=ends["step"] == "adapt",
        own=[not changed for changed in ends["changed"]],
    )
    values = sorted(dict.fromkeys(ends["value"]), key=lambda value: rank(setting, value))
    found = pandas.concat(
        [compare(ends[ends["value"] == value], across=True) for value in values] or [compare(ends)]
    )
    found = found[(found["step"] != "adapt") & found["difference"].notna()].reset_index(drop=True)
    return (
        found[found.groupby(["language", "teacher"])["value"].transform("nunique") > 1]
        if setting
        else found
    )


def compare(part: pandas.DataFrame, across: bool = False) -> pandas.DataFrame:
    """What `sweep` returns, of scores that have a `value` and say whether they are `own` and the `reference`.

    A difference is between models of one step, unless `across` takes the reference from any.
    """
    rows = []
    place = {what: number for number, what in enumerate((*studies.TASKS, *MEASURES))}
    part = part.sort_values("what", key=lambda column: column.map(place), kind="stable")
    for key, values in part.groupby(_KEYS, sort=False, dropna=False):
        of = dict(zip(_KEYS, key, strict=True))
        base = part[
            part["reference"]
            & (part["language"] == of["language"])
            & (part["teacher"] == of["teacher"])
            & (part["what"] == of["what"])
            & ((part["step"] == of["step"]) | across)
        ]
        rows.append(
            of
            | {
                "own": bool(values["own"].any()),
                "reference": bool(values["reference"].any()),
                "parameters": values["parameters"].iloc[0],
                "test_deviation": _test_deviation(values),
            }
            | statistics(values, base)
        )
    columns = [
        *_KEYS,
        "own",
        "reference",
        "parameters",
        "test_deviation",
        *statistics(part.iloc[:0], part.iloc[:0]),
    ]
    return pandas.DataFrame(rows, columns=columns)


def rank(setting: str, value) -> float | int:
    """Where a value stands among those of its setting: numbers by size, words in the order in which they are declared."""
    step, _, name = setting.partition(".")
    declared = studies.SETTINGS.get(step, {}).get(name)
    return (
        value
        if isinstance(value, int | float)
        else declared.index(value)
        if isinstance(declared, tuple)
        else 0
    )


def statistics(values: pandas.DataFrame, base: pandas.DataFrame) -> dict:
    """Mean, deviation and number of the scores `values`, and their difference to the scores `base`, paired by seed where both have it."""
    blank = dict.fromkeys(("mean", "deviation", "difference", "difference_deviation"), math.nan) | {
        "runs": 0,
        "pairs": 0,
    }
    if values.empty:
        return blank
    by_seed, base_by_seed = (frame.groupby("seed")["score"].mean() for frame in (values, base))
    result = blank | dict(
        zip(("mean", "deviation", "runs"), mean_and_deviation(by_seed), strict=True)
    )
    gaps = (by_seed - base_by_seed).dropna()
    if len(gaps):
        return result | dict(
            zip(
                ("difference", "difference_deviation", "pairs"),
                mean_and_deviation(gaps),
                strict=True,
            )
        )
    return result | {"difference": result["mean"] - base_by_seed.mean()}


def _rows(record: dict) -> list[dict]:
    """The scores of one record, not yet compared."""
    step = record["step"]
    shared = {
        "id": record["id"],
        "language": record.get("language"),
        "teacher": record.get("teacher"),
        "seed": record.get("seed"),
        "model": record.get("model.id"),
        "step": record.get("model.step"),
        "low": math.nan,
        "high": math.nan,
        "parameters": record.get("model.parameters"),
        "compression_rate": record.get("model.compression_rate"),
        "hidden_size": record.get("model.config.hidden_size"),
        "vocab_size": record.get("model.config.vocab_size"),
        "chain": _listed(record.get("chain")),
        "paired": {},
    }
    if step == "finetune":
        metric = facts.fact("tasks", record["task"])["metric"]
        if pandas.isna(record.get(f"scores.{metric}")):
            raise StudyError(
                f"the record {record['id']} has no {metric}, by which {record['task']} is judged: run it again"
            )
        low, high = _listed(record.get("interval")) or (math.nan, math.nan)
        found = {
            record["task"]: {
                "score": 100 * record[f"scores.{metric}"],
                "low": 100 * low,
                "high": 100 * high,
                "paired": _paired(record),
            }
        }
    elif step in (*studies.STEPS, "perplexity"):
        name = "bits_per_character" if step == "perplexity" else "mlm_loss"
        found = {name: {"score": record.get(f"scores.{name}")}}
    else:
        return []
    settings = {
        key.removeprefix("settings."): value
        for key, value in record.items()
        if key.startswith("settings.") and not _missing(value)
    }
    settings = _left_out(settings) | settings
    return [
        shared | {"what": what, "settings": dict(settings)} | numbers
        for what, numbers in found.items()
        if not _missing(numbers["score"]) and not _missing(shared["language"])
    ]


def _paired(record: dict) -> dict:
    """Id of another run -> the ends of the interval of this one's score minus that one's, in percent."""
    found = {
        name.removesuffix(".to"): to
        for name, to in record.items()
        if name.startswith("paired.") and name.endswith(".to")
    }
    return {
        to: tuple(100 * end for end in record[f"{name}.interval"])
        for name, to in found.items()
        if not _missing(to)
    }


def _way(steps: list[str]) -> dict:
    """How a model came about, as two settings."""
    cuts = [step for step in steps if step in studies.CUTS]
    return {
        "teacher": ADAPTED if "adapt" in steps or not cuts else PLAIN,
        "order": " > ".join(cuts),
    }


def _own(study: str, language: str, teacher: str, what: str) -> dict:
    """The study's own settings for a language and teacher, by the names of `scores`."""
    chain = studies.chain(study, language, teacher)
    runs = list(chain)
    if what in studies.TASKS and what in studies.study(study).tasks:
        runs.append(studies.scoring(chain[-1], language, what, 1))
    own = {f"{run.step}.{key}": value for run in runs for key, value in run.settings.items()}
    return _left_out(own) | own | _way([run.step for run in chain])


def _left_out(settings: dict) -> dict:
    """The optional settings of the steps that `settings` names, at what leaving them out means."""
    steps = {name.partition(".")[0] for name in settings}
    return {
        f"{step}.{key}": value
        for step, names in studies.OPTIONAL.items()
        if step in steps
        for key, value in names.items()
    }


def _on_the_way(order: str, own: str) -> str:
    """The study's own order of cuts, as far as a model that has come this far must have followed it."""
    steps = order.split(" > ")
    return order if own.split(" > ")[: len(steps)] == steps or not order else own


def _usual(own, found: list):
    """The study's own value, or the most frequent one where no record has it."""
    return own if own in found or not found else pandas.Series(found, dtype=object).mode()[0]


def _listed(value) -> list:
    return list(value) if isinstance(value, list | tuple) else []


def _missing(value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _test_deviation(values: pandas.DataFrame) -> float:
    """Deviation of a score over test examples, from the 95 % intervals of its runs; all runs share the test set."""
    return float(((values["high"] - values["low"]) / (2 * 1.96)).mean())
