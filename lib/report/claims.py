"""The paper's claims, each against the records of a study, and a verdict by one rule.

Every claim becomes one number, its *effect*, which is above 0 exactly if the claim is true here: a bound minus a drop, or the score
of what the paper prefers minus that of the alternative. The effect has a 95 % interval, and the interval decides:

- HOLDS: the interval lies above 0. FAILS: it lies below 0.
- UNSEEN: it covers 0, or there is only one pair to compare and nothing to take an interval from.
- UNLEARNED: the claim is about a task that the adapted teacher has not learned: where the study has the baseline of the most frequent
  answer, a task whose interval for that teacher reaches down to it is left out of everything.
- tables.NOT_RUN: a run that the claim is about is missing.

The variance of a difference between two models on a task is that of the seeds, of both sides, each divided by the number of its seeds,
plus that over test examples, which more seeds on one test set do not reduce. The seed variance is pooled over all models of a task
that were trained with two seeds or more; where none was, it is left out, and `seeds` says 1. The variance over test examples is that
of the paired bootstrap, in which both sides answer the same drawn examples (mean over the seeds that have one); of two runs that no
record compares, the variances of both are added, as if their test sets were different ones, which is rather too much. Only the seed
of task training varies; chains were made once, so what another seed of a distillation would give is in no interval.
Drops are percentage points; the paper does not say whether its are points or shares.
"""

import math
from dataclasses import dataclass

import pandas

from lib import facts
from lib.report import ablation_tables, ablations, tables
from lib.report.tables import NOT_RUN

HOLDS, FAILS, UNSEEN, UNLEARNED = (
    "holds",
    "does not hold",
    "cannot be seen at this size",
    "not learned by the teacher",
)
MARGIN = 1.0  # points: a drop below this is "costs nothing"
SMALL_SHARE, THIRD = (
    10000 / 119547,
    40000 / 119547,
)  # of mBERT's vocabulary: what 10k and 40k are for a teacher of another size
_POINTS = "points"


@dataclass(frozen=True)
class Effect:
    """An effect with its variance (nan: there is nothing to take it from) and what it rests on."""

    value: float
    variance: float
    measured: str
    groups: int = 0
    runs: int = 0
    seeds: int = 0
    unit: str = _POINTS

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the effect."""
        half = 1.96 * math.sqrt(self.variance) if not math.isnan(self.variance) else math.nan
        return self.value - half, self.value + half


def verdict(effect: Effect | None) -> str:
    """HOLDS, FAILS, UNSEEN or NOT_RUN, by the rule at the head of this module."""
    if effect is None:
        return NOT_RUN
    low, high = effect.interval
    return HOLDS if low > 0 else FAILS if high < 0 else UNSEEN


def judge(scores: pandas.DataFrame, runs: pandas.DataFrame) -> pandas.DataFrame:
    """One row a claim of data/paper/claims.csv: key, claim, published, measured, effect, low, high, unit, groups, runs, seeds, verdict.

    `scores` is what `ablations.scores` makes of `runs`. `groups` counts the pairs of language and teacher behind a number.
    """
    cells = _cells(scores)
    found, every = (_effects(each, scores, runs) for each in (_learned(cells, runs), cells))
    rows = []
    for row in tables.published("claims").to_dict("records"):
        effect = found[row["key"]]
        low, high = effect.interval if effect else (math.nan, math.nan)
        limits = [
            f"{row[end]:g}" for end in ("from_percent", "to_percent") if not pandas.isna(row[end])
        ]
        rows.append(
            {
                "key": row["key"],
                "claim": row["claim"],
                "published": "–".join(limits) + " %" if limits else "in words",
                "measured": effect.measured if effect else NOT_RUN,
                "effect": effect.value if effect else math.nan,
                "low": low,
                "high": high,
                "unit": effect.unit if effect else "",
                "groups": effect.groups if effect else 0,
                "runs": effect.runs if effect else 0,
                "seeds": effect.seeds if effect else 0,
                "verdict": verdict(effect) if effect or not every[row["key"]] else UNLEARNED,
            }
        )
    return pandas.DataFrame(rows)


def _effects(
    cells: dict, scores: pandas.DataFrame, runs: pandas.DataFrame
) -> dict[str, Effect | None]:
    """Key of a claim -> its effect, None where a run is missing."""
    return {
        "size_removed": _size_removed(scores),
        "drop_moderate": _drop(cells, "moderate"),
        "drop_maximum": _drop(cells, "maximum"),
        "text_shrinks_drop": _text(cells),
        "pos_robust": _task(cells, "pos", -1),
        "ner_sensitive": _task(cells, "ner", 1),
        "maltese_ner_worst": _worst(cells, "mlt", "ner"),
        "mse_faster": _faster(runs, scores),
        "mse_better": _against(cells, "layers", "layers.distillation_loss", "kl", "MSE", "KL"),
        "teacher_weights": _against(
            cells, "layers", "layers.layer_choice", "random", "teacher's layers", "random"
        ),
        "adapted_beats_plain": _against(
            cells, "vocabulary", "teacher", ablations.PLAIN, "adapted", "plain"
        ),
        "truncation_beats_svd": _against(
            cells, "hidden", "hidden.hidden_start", "svd", "truncation", "SVD"
        ),
        "vocabulary_free": _vocabulary(
            cells, lambda share: abs(share - THIRD) < THIRD / 3, free=True
        ),
        "vocabulary_hurts": _vocabulary(cells, lambda share: share < SMALL_SHARE, free=False),
    }


def table(judged: pandas.DataFrame) -> pandas.DataFrame:
    """The verdicts as text, ready for `tables.to_markdown`."""
    rows = []
    for row in judged.to_dict("records"):
        known = row["verdict"] not in (NOT_RUN, UNLEARNED)
        ends = (
            "exact"
            if known and row["low"] == row["high"]
            else "none"
            if math.isnan(row["low"])
            else f"{_signed(row['low'])} to {_signed(row['high'])}"
        )
        rows.append(
            {
                "claim": row["claim"],
                "published": row["published"],
                "measured": row["measured"] if known else row["verdict"],
                "effect": f"{_signed(row['effect'])} {row['unit']}" if known else row["verdict"],
                "95 % interval": ends if known else row["verdict"],
                "languages": str(row["groups"] or ""),
                "runs": str(row["runs"] or ""),
                "seeds": str(row["seeds"] or ""),
                "verdict": row["verdict"],
            }
        )
    return pandas.DataFrame(rows)


def _cells(scores: pandas.DataFrame) -> dict:
    """(language, teacher) -> (step, what, changed settings) -> mean, its variances over seeds and test examples, runs, sizes."""
    tasks = scores[scores["what"].isin(facts.facts("tasks"))].copy()
    tasks["changed"] = [tuple(sorted(changed.items())) for changed in tasks["changed"]]
    grouped = [
        (key, part["score"], part)
        for key, part in tasks.groupby(["language", "teacher", "step", "what", "changed"])
    ]
    spread = {}
    for what in tasks["what"].unique():
        several = [values for key, values, _ in grouped if key[3] == what and len(values) > 1]
        free = sum(len(values) - 1 for values in several)
        spread[what] = (
            sum(((values - values.mean()) ** 2).sum() for values in several) / free if free else 0.0
        )
    cells: dict = {}
    for (language, teacher, step, what, changed), values, part in grouped:
        cells.setdefault((language, teacher), {})[step, what, changed] = {
            "mean": values.mean(),
            "seeds": spread[what] / len(values),
            "test": _variance(zip(part["low"], part["high"], strict=True)),
            "paired": {
                (own, other): ends
                for own, to in zip(part["id"], part["paired"], strict=True)
                for other, ends in to.items()
            },
            "ids": set(part["id"]),
            "runs": len(values),
            "vocab_size": part["vocab_size"].iloc[0],
            "hidden_size": part["hidden_size"].iloc[0],
        }
    return cells


def _variance(ends) -> float:
    """Variance over test examples from 95 % intervals, of which those of all seeds say the same thing; 0 where there is none."""
    halves = [(high - low) / 2 for low, high in ends if not math.isnan(low)]
    return (sum(halves) / len(halves) / 1.96) ** 2 if halves else 0.0


def _between(left: dict, right: dict) -> float:
    """Variance over test examples of the difference between two cells."""
    ends = [
        ends
        for one, other in ((left, right), (right, left))
        for (_, to), ends in one["paired"].items()
        if to in other["ids"]
    ]
    return _variance(ends) if ends else left["test"] + right["test"]


def _learned(cells: dict, runs: pandas.DataFrame) -> dict:
    """The cells without those of tasks in which the adapted teacher is no better than the most frequent answer, where that is known."""
    floor = {}
    if "settings.baseline.kind" in runs:
        for record in runs[runs["settings.baseline.kind"] == "majority"].to_dict("records"):
            floor[record["language"], record["task"]] = (
                100 * record[f"scores.{facts.fact('tasks', record['task'])['metric']}"]
            )
    result = {}
    for (language, teacher), own in cells.items():
        blind = {
            key[1]
            for key, cell in own.items()
            if (key[0], key[2]) == ("adapt", ())
            and cell["mean"] - 1.96 * math.sqrt(cell["seeds"] + cell["test"])
            <= floor.get((language, key[1]), -math.inf)
        }
        result[language, teacher] = {key: cell for key, cell in own.items() if key[1] not in blind}
    return result


def _gap(cells: dict, left: tuple, right: tuple, what: str = "") -> Effect | None:
    """Mean over the tasks that both models have (or of one) of the score of the first minus that of the second."""

    def of(side):
        return {
            key[1]: cell
            for key, cell in cells.items()
            if (key[0], key[2]) == side and what in ("", key[1])
        }

    here, there = of(left), of(right)
    both = sorted(here.keys() & there.keys())
    if not both:
        return None
    value = sum(here[task]["mean"] - there[task]["mean"] for task in both) / len(both)
    variance = (
        sum(
            here[task]["seeds"] + there[task]["seeds"] + _between(here[task], there[task])
            for task in both
        )
        / len(both) ** 2
    )
    return Effect(
        value,
        variance,
        "",
        1,
        sum(here[task]["runs"] + there[task]["runs"] for task in both),
        min(min(here[task]["runs"], there[task]["runs"]) for task in both),
    )


def _average(
    effects: list[Effect | None], measured: str, sign: int = 1, offset: float = 0.0
) -> Effect | None:
    """offset + sign * the mean of the effects there are; `measured` is a sentence with a place for the mean."""
    effects = [each for each in effects if each is not None]
    if not effects:
        return None
    value = sum(each.value for each in effects) / len(effects)
    words = measured.format(f"{value:.1f}".replace("-", "\N{MINUS SIGN}"))
    return Effect(
        offset + sign * value,
        sum(each.variance for each in effects) / len(effects) ** 2,
        words,
        len(effects),
        sum(each.runs for each in effects),
        min(each.seeds for each in effects),
    )


def _against(
    cells: dict, step: str, setting: str, other: str, name: str, other_name: str
) -> Effect | None:
    """The study's own value of a setting against another one, over all tasks that were scored with both."""
    gaps = [_gap(own, (step, ()), (step, ((setting, other),))) for own in cells.values()]
    return _average(gaps, f"{name} minus {other_name}: {{}} points")


def _drop(cells: dict, which: str) -> Effect | None:
    """The published bound minus the average drop from the adapted teacher to the largest or smallest of the final models."""
    bound = tables.published("claims").set_index("key").loc[f"drop_{which}", "to_percent"]
    gaps = []
    for own in cells.values():
        sizes = {
            size: key
            for key in own
            if key[0] == "vocabulary" and (size := _hidden_of(key, own)) is not None
        }
        if not sizes or (which == "moderate" and len(sizes) == 1):
            continue
        key = sizes[max(sizes) if which == "moderate" else min(sizes)]
        gaps.append(_gap(own, ("adapt", ()), ("vocabulary", key[2])))
    return _average(gaps, "drop {} points", sign=-1, offset=bound)


def _hidden_of(key: tuple, own: dict) -> float | None:
    """Where a final model that differs at most by its hidden size stands among its like; None for another model."""
    changed = dict(key[2])
    if set(changed) - {"hidden.hidden_size"}:
        return None
    return changed.get("hidden.hidden_size", own[key]["hidden_size"])


def _text(cells: dict) -> Effect | None:
    """Drop of the language the teacher has seen least of, minus that of the one it has seen most of; mean over teachers."""
    effects, words = [], []
    for teacher in sorted({teacher for _, teacher in cells}):
        seen = ablation_tables.text_seen(teacher)
        drops = {
            language: gap
            for (language, of), own in cells.items()
            if of == teacher
            and language in seen
            and (gap := _gap(own, ("adapt", ()), ("vocabulary", ()))) is not None
        }
        if len({seen[language] for language in drops}) < 2:
            continue
        least, most = min(drops, key=seen.get), max(drops, key=seen.get)
        effects.append(_less(drops[least], drops[most]))
        words.append(
            f"{teacher}: drop {drops[least].value:.1f} in {least}, {drops[most].value:.1f} in {most}"
        )
    return _average(effects, "; ".join(words))


def _task(cells: dict, task: str, sign: int) -> Effect | None:
    """How far one task's drop lies beyond that of the next one, on the side of more (sign 1) or less (-1) loss."""
    drops = {
        what: drop
        for what in facts.facts("tasks")
        if (
            drop := _average(
                [_gap(own, ("adapt", ()), ("vocabulary", ()), what) for own in cells.values()], "{}"
            )
        )
        is not None
    }
    if task not in drops or len(drops) < 2:
        return None
    words = ", ".join(f"{what} {drop.measured}" for what, drop in drops.items())
    others = [drop for what, drop in drops.items() if what != task]
    effect = _less(drops[task], max(others, key=lambda drop: sign * drop.value))
    return Effect(
        sign * effect.value,
        effect.variance,
        f"drops: {words}",
        effect.groups,
        sum(drop.runs for drop in drops.values()),
        effect.seeds,
    )


def _worst(cells: dict, language: str, task: str) -> Effect | None:
    """Drop of one language's task minus the largest other drop, of any language and task."""
    drops = {
        (of, what): gap
        for (of, _), own in cells.items()
        for what in facts.facts("tasks")
        if (gap := _gap(own, ("adapt", ()), ("vocabulary", ()), what)) is not None
    }
    if (language, task) not in drops or len({of for of, _ in drops}) < 2:
        return None
    own, (other, drop) = (
        drops.pop((language, task)),
        max(
            drops.items(),
            key=lambda item: item[1].value if item[0] != (language, task) else -math.inf,
        ),
    )
    effect = _less(own, drop)
    return Effect(
        effect.value,
        effect.variance,
        f"{language} {task} {own.value:.1f}, next {other[0]} {other[1]} {drop.value:.1f}",
        len({of for of, _ in drops} | {language}),
        effect.runs,
        effect.seeds,
    )


def _vocabulary(cells: dict, wanted, free: bool) -> Effect | None:
    """The drop that trimming costs at the wanted share of the teacher's vocabulary: MARGIN minus it (`free`), or itself."""
    gaps, shares = [], []
    for own in cells.values():
        whole = next(
            (cell["vocab_size"] for key, cell in own.items() if key[0] == "hidden" and not key[2]),
            None,
        )
        kept = {
            cell["vocab_size"] / whole: key
            for key, cell in own.items()
            if whole
            and key[0] == "vocabulary"
            and not set(dict(key[2])) - {"vocabulary.kept_tokens"}
            and wanted(cell["vocab_size"] / whole)
        }
        if kept:
            share = min(kept, key=lambda share: abs(share - THIRD)) if free else min(kept)
            shares.append(share)
            gaps.append(_gap(own, ("hidden", ()), ("vocabulary", kept[share][2])))
    words = f"{100 * sum(shares) / len(shares):.0f} % kept: " if shares else ""
    return _average(
        gaps, words + "drop {} points", sign=-1 if free else 1, offset=MARGIN if free else 0.0
    )


def _faster(runs: pandas.DataFrame, scores: pandas.DataFrame) -> Effect | None:
    """Mean loss on dev over the training, KL minus MSE: what converges faster has been lower all the way (one pair a language)."""
    models = scores[(scores["what"] == "mlm_loss") & (scores["step"] == "layers")]
    heights: dict = {}
    for row in models.to_dict("records"):
        if row["changed"] in ({}, {"layers.distillation_loss": "kl"}):
            history = runs.reindex(columns=["id", "history"]).set_index("id")["history"][row["id"]]
            losses = (
                [entry["dev_mlm_loss"] for entry in history if "dev_mlm_loss" in entry]
                if isinstance(history, list)
                else []
            )
            if losses:
                heights.setdefault((row["language"], row["teacher"]), {})[
                    row["settings"]["layers.distillation_loss"]
                ] = sum(losses) / len(losses)
    gaps = pandas.Series(
        [both["kl"] - both["mse"] for both in heights.values() if {"kl", "mse"} <= both.keys()],
        dtype=float,
    )
    if gaps.empty:
        return None
    return Effect(
        gaps.mean(),
        gaps.var() / len(gaps),
        f"mean dev loss, KL minus MSE: {_signed(gaps.mean(), 3)} nats",
        len(gaps),
        2 * len(gaps),
        1,
        "nats",
    )


def _size_removed(scores: pandas.DataFrame) -> Effect | None:
    """The share that the paper's smallest model lacks, counted from configurations, minus the claimed one (less its rounding)."""
    counted = tables.published("parameters").groupby("teacher")["parameters"]
    claimed = tables.published("claims").set_index("key").loc["size_removed", "to_percent"]
    gone = 100 * (1 - counted.min() / counted.max()).max()
    ours = f", in this study {100 * scores['compression_rate'].max():.1f} %" if len(scores) else ""
    return Effect(
        gone - (claimed - 0.5), 0.0, f"{gone:.1f} % counted for the paper's models{ours}", unit="%"
    )


def _less(left: Effect, right: Effect) -> Effect:
    return Effect(
        left.value - right.value,
        left.variance + right.variance,
        "",
        max(left.groups, right.groups),
        left.runs + right.runs,
        min(left.seeds, right.seeds),
    )


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
