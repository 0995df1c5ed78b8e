"""The paper's claims, each against the records of a study, and a verdict by one rule.

Every claim becomes one number, its effect, which is above 0 exactly if the claim is true here. The
effect has a 95 % interval, and the interval decides:

- HOLDS: the interval lies above 0. FAILS: it lies below 0.
- UNSEEN: it covers 0, or there is only one pair to compare and nothing to take an interval from.
- UNLEARNED: the claim is about a task that the adapted teacher has not learned. Where the study has
  the baseline of the most frequent answer, a task whose interval for that teacher reaches down to
  the baseline is left out of everything.
- words.NOT_RUN: a run that the claim is about is missing.
"""

import math

import pandas

from lib.report import effects, rules
from lib.report.effects import Effect
from lib.report.tables import published
from lib.report.words import NOT_RUN, number

HOLDS, FAILS = "holds", "does not hold"
UNSEEN, UNLEARNED = "cannot be seen at this size", "not learned by the teacher"
_COUNTS = ("groups", "runs", "seeds")


def verdict(effect: Effect) -> str:
    """HOLDS, FAILS or UNSEEN, by the interval of the effect."""
    low, high = effect.interval
    return HOLDS if low > 0 else FAILS if high < 0 else UNSEEN


def judge(scores: pandas.DataFrame) -> pandas.DataFrame:
    """One row a claim of data/paper/claims.csv: the effect, its interval, and the verdict.

    `groups` counts the pairs of language and teacher behind a number, `runs` the task runs, `seeds`
    the seeds of the cell that has fewest.
    """
    every = effects.cells(scores)
    learned = rules.effects_of_claims(effects.learned(every, scores), scores)
    possible, rows = rules.effects_of_claims(every, scores), []
    for row in published("claims").to_dict("records"):
        key, ends = row["key"], (row["from_percent"], row["to_percent"])
        limits = "–".join(f"{end:g}" for end in ends if not pandas.isna(end))
        effect = learned[key] or Effect(math.nan, math.nan, NOT_RUN, unit="")
        low, high = effect.interval
        reason = NOT_RUN if possible[key] is None else UNLEARNED
        rows.append(
            {
                "key": key,
                "claim": row["claim"],
                "published": f"{limits} %" if limits else "in words",
            }
            | {"effect": effect.value, "low": low, "high": high}
            | {name: getattr(effect, name) for name in ("measured", "unit", *_COUNTS)}
            | {"verdict": verdict(effect) if learned[key] else reason}
        )
    return pandas.DataFrame(rows)


def table(judged: pandas.DataFrame) -> pandas.DataFrame:
    """The verdicts in words, ready for `tables.to_markdown`."""
    rows = []
    for row in judged.to_dict("records"):
        known = row["verdict"] not in (NOT_RUN, UNLEARNED)
        effect, low, high = (number(row[name], 2, True) for name in ("effect", "low", "high"))
        interval = "exact" if row["low"] == row["high"] else f"{low} to {high}" if low else "none"
        texts = {"measured": row["measured"], "effect": f"{effect} {row['unit']}"}
        texts["95 % interval"] = interval
        if not known:
            texts = dict.fromkeys(texts, row["verdict"])
        counts = {name: str(row[name] or "") for name in _COUNTS}
        counts = {"languages": counts.pop("groups")} | counts
        claim = {"claim": row["claim"], "published": row["published"]}
        rows.append(claim | texts | counts | {"verdict": row["verdict"]})
    return pandas.DataFrame(rows)
