"""One rule for each claim of the paper: how its effect is measured.

Drops are percentage points; the paper does not say whether its are points or shares.
"""

import math

import pandas

from lib import facts
from lib.report.effects import ADAPTED, FINISHED, Effect, average, gap
from lib.report.frame import setting
from lib.report.tables import number, published, text_seen
from lib.study.run import PLAIN

MARGIN = 1.0  # points: a drop below this is "costs nothing"
THIRD, SMALL = 40000 / 119547, 10000 / 119547  # 40k and 10k tokens, as shares of mBERT's vocabulary
_AGAINST = {  # claim: step, setting, the alternative, names of both sides
    "mse_better": ("layers", "layers.distillation_loss", "kl", "MSE minus KL"),
    "teacher_weights": ("layers", "layers.layer_choice", "random", "teacher's layers minus random"),
    "adapted_beats_plain": ("vocabulary", "teacher", PLAIN, "adapted minus plain"),
    "truncation_beats_svd": ("hidden", "hidden.hidden_start", "svd", "truncation minus SVD"),
}


def effects_of_claims(cells: dict, scores: pandas.DataFrame) -> dict[str, Effect | None]:
    """Key of a claim -> its effect, None where a run is missing. `cells` are `effects.cells`."""
    preferred = {}
    for key, (step, name, other, words) in _AGAINST.items():
        sides = (step, ()), (step, ((name, other),))
        gaps = [gap(models, *sides) for models in cells.values()]
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
        "vocabulary_free": _vocabulary_free(cells),
        "vocabulary_hurts": _vocabulary_hurts(cells),
    }


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


def _drop(cells: dict, key: str, choose) -> Effect | None:
    """The published bound minus the average drop to the largest or smallest of the final models."""
    gaps = []
    for models in cells.values():
        sizes = {}
        for model, tasks in models.items():
            if (
                model[0] == "vocabulary"
                and tasks
                and dict(model[1]).keys() <= {"hidden.hidden_size"}
            ):
                sizes[next(iter(tasks.values()))["hidden_size"]] = model
        if len(sizes) > (choose is max):  # with one size there is no moderate compression
            gaps.append(gap(models, ADAPTED, sizes[choose(sizes)]))
    return average(gaps, "drop {} points", sign=-1, offset=_bound(key))


def _text(cells: dict) -> Effect | None:
    """Drop of the language the teacher has seen least of, minus that of the one seen most of."""
    effects, words = [], []
    for teacher in sorted({teacher for _, teacher in cells}):
        seen = text_seen(teacher)
        gaps = {
            name: gap(own, ADAPTED, FINISHED) for (name, of), own in cells.items() if of == teacher
        }
        drops = {name: drop for name, drop in gaps.items() if drop and name in seen}
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
        gaps = [gap(models, ADAPTED, FINISHED, other) for models in cells.values()]
        drops[other] = average(gaps, f"{other} {{}}")
    drops = {other: drop for other, drop in drops.items() if drop}
    if task not in drops or len(drops) < 2:
        return None
    words = ", ".join(drop.measured for drop in drops.values())
    runs = sum(drop.runs for drop in drops.values())
    own = drops.pop(task)
    effect = own.minus(max(drops.values(), key=lambda drop: sign * drop.value))
    value = sign * effect.value
    return Effect(value, effect.variance, f"drops: {words}", effect.groups, runs, effect.seeds)


def _worst(cells: dict, language: str, task: str) -> Effect | None:
    """Drop of one language's task minus the largest other drop, of any language and task."""
    gaps = {
        (of, other): gap(models, ADAPTED, FINISHED, other)
        for (of, _), models in cells.items()
        for other in facts.facts("tasks")
    }
    drops = {key: drop for key, drop in gaps.items() if drop}
    languages = {of for of, _ in drops}
    if (language, task) not in drops or len(languages) < 2:
        return None
    own = drops.pop((language, task))
    worst = max(drops, key=lambda key: drops[key].value)
    effect, (of, other) = own.minus(drops[worst]), worst
    words = f"{language} {task} {own.value:.1f}, next {of} {other} {drops[worst].value:.1f}"
    runs, seeds = effect.runs, effect.seeds
    return Effect(effect.value, effect.variance, words, len(languages), runs, seeds)


def _faster(scores: pandas.DataFrame) -> Effect | None:
    """Mean loss on dev over the training, KL minus MSE: a loss that falls earlier is smaller."""
    losses: dict = {}
    models = scores[(scores["what"] == "mlm_loss") & (scores["step"] == "layers")]
    for row in models.to_dict("records"):
        history = row["record"].get("history", [])
        values = [entry["dev_mlm_loss"] for entry in history if "dev_mlm_loss" in entry]
        if values and row["changed"] in ({}, {"layers.distillation_loss": "kl"}):
            kind = setting(row, "layers.distillation_loss")
            pair = losses.setdefault((row["language"], row["teacher"]), {})
            pair[kind] = sum(values) / len(values)
    pairs = [pair for pair in losses.values() if {"kl", "mse"} <= pair.keys()]
    gaps = pandas.Series([pair["kl"] - pair["mse"] for pair in pairs], dtype=float)
    if gaps.empty:
        return None
    words = f"mean dev loss, KL minus MSE: {number(gaps.mean(), 3, signed=True)} nats"
    count = len(gaps)
    return Effect(gaps.mean(), gaps.var() / count, words, count, 2 * count, 1, "nats")


def _vocabulary_free(cells: dict) -> Effect | None:
    """MARGIN minus the drop that trimming to about a third of the vocabulary costs."""

    def nearest(shares):
        near = [share for share in shares if abs(share - THIRD) < THIRD / 3]
        return min(near, key=lambda share: abs(share - THIRD), default=None)

    return _trimmed(cells, nearest, -1, MARGIN)


def _vocabulary_hurts(cells: dict) -> Effect | None:
    """The drop that trimming to the smallest share below SMALL costs."""
    return _trimmed(cells, lambda shares: min((s for s in shares if s < SMALL), default=None))


def _trimmed(cells: dict, choose, sign: int = 1, offset: float = 0.0) -> Effect | None:
    """The drop from the model before trimming to the trimmed one whose share `choose` takes."""
    gaps, kept = [], []
    for models in cells.values():
        whole, shares = models.get(("hidden", ())), {}
        for model, tasks in models.items():
            if model[0] == "vocabulary" and dict(model[1]).keys() <= {"vocabulary.kept_tokens"}:
                if whole and tasks:
                    sizes = [next(iter(of.values()))["vocab_size"] for of in (tasks, whole)]
                    shares[sizes[0] / sizes[1]] = model
        share = choose(shares)
        if share is not None:
            kept.append(share)
            gaps.append(gap(models, ("hidden", ()), shares[share]))
    words = f"{100 * sum(kept) / len(kept):.0f} % kept: " if kept else ""
    return average(gaps, words + "drop {} points", sign, offset)
