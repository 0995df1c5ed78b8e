"""The paper's claims, each against the records of a study, and a verdict by one rule.

Every claim becomes one number, its effect, which is above 0 exactly if the claim is true here. The
effect has a 95 % interval, and the interval decides:

- HOLDS: the interval lies above 0. FAILS: it lies below 0.
- UNSEEN: it covers 0, or there is only one pair to compare and nothing to take an interval from.
- UNLEARNED: the claim is about a task that the adapted teacher has not learned. Where the study has
  the baseline of the most frequent answer, a task whose interval for that teacher reaches down to
  the baseline is left out of everything.
- words.NOT_RUN: a run that the claim is about is missing.

Drops are percentage points; the paper does not say whether its are points or shares.
"""

import math
from dataclasses import replace

import pandas

from lib import facts
from lib.report import effects
from lib.report.effects import FINAL, TAUGHT_BY, Effect, average, gap
from lib.report.frame import FINISHED, setting
from lib.report.tables import published, text_seen
from lib.report.words import NOT_RUN, number

HOLDS, FAILS = "holds", "does not hold"
UNSEEN, UNLEARNED = "cannot be seen at this size", "not learned by the teacher"
MARGIN = 1.0  # points: a drop below this is "costs nothing"
THIRD, SMALL = 40000 / 119547, 10000 / 119547  # 40k and 10k tokens as shares of mBERT's
_UNTRIMMED = ("hidden", ())
_AGAINST = {  # claim: step, setting, value (empty: the study's own) and alternative, their names
    "mse_better": ("layers", "layers.distillation_loss", "mse", "kl", "MSE minus KL"),
    "teacher_weights": (
        "layers",
        "layers.layer_choice",
        "",
        "random",
        "teacher's layers minus random",
    ),
    "adapted_beats_plain": (FINISHED, "teacher", "", "plain", "adapted minus plain"),
    "truncation_beats_svd": (
        *("hidden", "hidden.hidden_start", "truncation", "svd", "truncation minus SVD"),
    ),
}


def judge(scores: pandas.DataFrame) -> pandas.DataFrame:
    """One row a claim of data/paper/claims.csv: the effect, its interval, and the verdict.

    `groups` counts the pairs of language and teacher behind a number, `runs` the task runs, `seeds`
    the seeds of the cell that has fewest.
    """
    every = effects.cells(scores)
    learned = _effects(effects.learned(every, scores), scores)
    possible, rows = _effects(every, scores), []
    for row in published("claims").to_dict("records"):
        ends = (row["from_percent"], row["to_percent"])
        limits = "–".join(f"{end:g}" for end in ends if not pandas.isna(end))
        effect = learned[row["key"]] or Effect(math.nan, math.nan, NOT_RUN, unit="")
        low, high = effect.interval
        verdict = HOLDS if low > 0 else FAILS if high < 0 else UNSEEN
        if not learned[row["key"]]:
            verdict = UNLEARNED if possible[row["key"]] else NOT_RUN
        said = f"{limits} %" if limits else "in words"
        claim = {"key": row["key"], "claim": row["claim"], "published": said}
        measured = {"effect": effect.value, "low": low, "high": high, "verdict": verdict}
        rows.append(claim | vars(effect) | measured)
    return pandas.DataFrame(rows)


def table(judged: pandas.DataFrame) -> pandas.DataFrame:
    """The verdicts in words, ready for `tables.to_markdown`."""
    rows = []
    for row in judged.to_dict("records"):
        effect, low, high = (number(row[name], 2, True) for name in ("effect", "low", "high"))
        interval = "exact" if row["low"] == row["high"] else f"{low} to {high}" if low else "none"
        texts = {"measured": row["measured"], "effect": f"{effect} {row['unit']}"}
        texts["95 % interval"] = interval
        if row["verdict"] in (NOT_RUN, UNLEARNED):
            texts = dict.fromkeys(texts, row["verdict"])
        names = {"languages": "groups", "runs": "runs", "seeds": "seeds"}
        counts = {name: str(row[count] or "") for name, count in names.items()}
        claim = {"claim": row["claim"], "published": row["published"]}
        rows.append(claim | texts | counts | {"verdict": row["verdict"]})
    return pandas.DataFrame(rows)


def _effects(cells: dict, scores: pandas.DataFrame) -> dict[str, Effect | None]:
    """Key of a claim -> its effect, None where a run is missing. `cells` are `effects.cells`."""
    preferred = {}
    for key, (step, name, value, other, words) in _AGAINST.items():
        gaps = [_against(tasks, step, name, value, other) for tasks in cells.values()]
        if name == "teacher":  # the study's own teacher may be the plain one
            adapted = FINISHED, (("teacher", "adapted"),)
            pairs = zip(gaps, cells.values(), strict=True)
            gaps = [own or gap(tasks, adapted, FINAL) for own, tasks in pairs]
        preferred[key] = average(gaps, f"{words}: {{}} points")
    return preferred | {
        "size_removed": _size_removed(scores),
        "drop_moderate": _drop(cells, "drop_moderate", max),
        "drop_maximum": _drop(cells, "drop_maximum", min),
        "text_shrinks_drop": _text(cells),
        "pos_robust": _task(cells, "pos", -1),
        "ner_sensitive": _task(cells, "ner", 1),
        "maltese_ner_worst": _worst(cells, "mlt", "ner"),
        "mse_faster": _faster(scores),
        "vocabulary_free": _trimmed(cells, THIRD, THIRD / 3, -1, MARGIN),
        "vocabulary_hurts": _trimmed(cells, 0, SMALL),
    }


def _against(tasks: dict, step: str, name: str, value: str, other: str) -> Effect | None:
    """The gap between two models that differ in one setting only: that with `value` minus that with
    `other`; of several such pairs the one with fewest other changes.
    """
    models = {model: cell for of_task in tasks.values() for model, cell in of_task.items()}
    for of, changed in sorted(models, key=lambda model: len(model[1])):
        rest = tuple(pair for pair in changed if pair != (name, other))
        if of != step or rest == changed:
            continue
        for side in (rest, tuple(sorted((*rest, (name, value))))):
            record = models.get((of, side), {"records": [None]})["records"][0]
            right = record and (not value or setting({"record": record}, name) == value)
            if right and (found := gap(tasks, (of, side), (of, changed))):
                return found
    return None


def _bound(key: str) -> float:
    return published("claims").set_index("key").loc[key, "to_percent"]


def _size_removed(scores: pandas.DataFrame) -> Effect:
    """The share that the paper's smallest model lacks, minus the claimed one less its rounding."""
    counted = published("parameters").groupby("teacher")["parameters"]
    gone = 100 * (1 - counted.min() / counted.max()).max()
    words = f"{gone:.1f} % counted for the paper's models"
    if len(scores):
        words += f", in this study {100 * scores['compression_rate'].max():.1f} %"
    return Effect(gone - (_bound("size_removed") - 0.5), 0.0, words, unit="%")


def _finals(tasks: dict, name: str, size: str) -> dict:
    """Size -> final model, of those that differ at most in the setting `name`."""
    return {
        cell[size]: (step, changed)
        for models in tasks.values()
        for (step, changed), cell in models.items()
        if step == FINISHED and dict(changed).keys() <= {name}
    }


def _drop(cells: dict, key: str, choose) -> Effect | None:
    """The published bound minus the average drop to the largest or smallest of the final models."""
    gaps = []
    for tasks in cells.values():
        sizes = _finals(tasks, "hidden.hidden_size", "hidden_size")
        if len(sizes) > (choose is max):  # with one size there is no moderate compression
            gaps.append(gap(tasks, TAUGHT_BY, sizes[choose(sizes)]))
    return average(gaps, "drop {} points", sign=-1, offset=_bound(key))


def _text(cells: dict) -> Effect | None:
    """Drop of the language the teacher has seen least of, minus that of the one seen most of."""
    effects, words = [], []
    for teacher in sorted({teacher for _, teacher in cells}):
        seen, drops = text_seen(teacher), {}
        for (language, of), tasks in cells.items():
            drop = gap(tasks, TAUGHT_BY, FINAL) if of == teacher else None
            if drop and language in seen:
                drops[language] = drop
        if len({seen[language] for language in drops}) > 1:
            least, most = min(drops, key=seen.get), max(drops, key=seen.get)
            effects.append(drops[least].minus(drops[most]))
            values = f"{drops[least].value:.1f} in {least}, {drops[most].value:.1f} in {most}"
            words.append(f"{teacher}: drop {values}")
    return average(effects, "; ".join(words))


def _task(cells: dict, task: str, sign: int) -> Effect | None:
    """How far a task's drop is beyond the next one, on the side of more (1) or less (-1) loss."""
    drops = {}
    for other in facts.facts("tasks"):
        gaps = [gap(tasks, TAUGHT_BY, FINAL, other) for tasks in cells.values()]
        if drop := average(gaps, f"{other} {{}}"):
            drops[other] = drop
    if task not in drops or len(drops) < 2:
        return None
    words = "drops: " + ", ".join(drop.measured for drop in drops.values())
    runs = sum(drop.runs for drop in drops.values())
    effect = drops.pop(task).minus(max(drops.values(), key=lambda drop: sign * drop.value))
    return replace(effect, value=sign * effect.value, measured=words, runs=runs)


def _worst(cells: dict, language: str, task: str) -> Effect | None:
    """Drop of one language's task minus the largest other drop, of any language and task."""
    drops = {}
    for (of, _), tasks in cells.items():
        for other in tasks:
            if drop := gap(tasks, TAUGHT_BY, FINAL, other):
                drops[of, other] = drop
    languages = {of for of, _ in drops}
    if (language, task) not in drops or len(languages) < 2:
        return None
    own = drops.pop((language, task))
    (of, other), drop = max(drops.items(), key=lambda item: item[1].value)
    words = f"{language} {task} {own.value:.1f}, next {of} {other} {drop.value:.1f}"
    return replace(own.minus(drop), measured=words, groups=len(languages))


def _faster(scores: pandas.DataFrame) -> Effect | None:
    """Mean loss on dev over the training, KL minus MSE: a loss that falls earlier is smaller."""
    losses: dict = {}
    models = scores[(scores["what"] == "mlm_loss") & (scores["step"] == "layers")]
    for row in models.to_dict("records"):
        history = pandas.DataFrame(row["record"].get("history", []), columns=["dev_mlm_loss"])
        rest = row["changed"].items() - {("layers.distillation_loss", "kl")}
        pair = losses.setdefault((row["language"], row["teacher"], *sorted(rest)), {})
        pair[setting(row, "layers.distillation_loss")] = history["dev_mlm_loss"].mean()
    means = pandas.DataFrame(losses.values(), columns=["kl", "mse"], dtype=float)
    gaps = (means["kl"] - means["mse"]).dropna()
    if gaps.empty:
        return None
    words = f"mean dev loss, KL minus MSE: {number(gaps.mean(), 3, signed=True)} nats"
    count = len(gaps)
    return Effect(gaps.mean(), gaps.var() / count, words, count, 2 * count, 1, "nats")


def _trimmed(cells: dict, target: float, reach: float, sign=1, offset=0.0) -> Effect | None:
    """The drop from the model before trimming to the one with nearly the target share of tokens."""
    gaps, kept = [], []
    for tasks in cells.values():
        untrimmed = [models[_UNTRIMMED] for models in tasks.values() if _UNTRIMMED in models]
        whole = untrimmed[0]["vocab_size"] if untrimmed else math.inf
        finals = _finals(tasks, "vocabulary.kept_tokens", "vocab_size")
        shares = {count / whole: model for count, model in finals.items()}
        near = [share for share in shares if share > 0 and abs(share - target) < reach]
        if near:
            kept.append(min(near, key=lambda share: abs(share - target)))
            gaps.append(gap(tasks, _UNTRIMMED, shares[kept[-1]]))
    words = f"{100 * sum(kept) / len(kept):.0f} % kept: " if kept else ""
    return average(gaps, words + "drop {} points", sign, offset)
