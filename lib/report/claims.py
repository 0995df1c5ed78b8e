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

import pandas

from lib import facts
from lib.report import effects
from lib.report.effects import PAIR, average
from lib.report.frame import FINISHED, TEACHER, setting
from lib.report.tables import published, text_seen
from lib.report.words import NOT_RUN, number

HOLDS, FAILS = "holds", "does not hold"
UNSEEN, UNLEARNED = "cannot be seen at this size", "not learned by the teacher"
MARGIN = 1.0  # points: a drop below this is "costs nothing"
THIRD, SMALL = 40000 / 119547, 10000 / 119547  # 40k and 10k tokens as shares of mBERT's
_LOSS, _LAYERS = "layers.distillation_loss", "layers.layer_choice"
_AGAINST = {  # claim: step or role, setting, value (empty: the study's own) and alternative, names
    "mse_better": ("layers", _LOSS, "mse", "kl", "MSE minus KL"),
    "teacher_weights": ("layers", _LAYERS, "", "random", "teacher's layers minus random"),
    "adapted_beats_plain": (FINISHED, "teacher", "adapted", "plain", "adapted minus plain"),
    "truncation_beats_svd": (
        *("hidden", "hidden.hidden_start", "truncation", "svd", "truncation minus SVD"),
    ),
}


def judge(scores: pandas.DataFrame) -> pandas.DataFrame:
    """One row a claim of data/paper/claims.csv: the effect, its interval, and the verdict.

    `measured` says the numbers behind the effect, in `unit`. `groups` counts the pairs of language
    and teacher behind it, `runs` the task runs, `seeds` the seeds of the model that has fewest.
    """
    every = effects.models(scores)
    learned, possible = _effects(effects.learned(every, scores), scores), _effects(every, scores)
    nothing = {"value": math.nan, "variance": math.nan, "measured": NOT_RUN}
    rows = []
    for claim in published("claims").to_dict("records"):
        ends = (claim["from_percent"], claim["to_percent"])
        limits = "–".join(f"{end:g}" for end in ends if not pandas.isna(end))
        found = {"groups": 0, "runs": 0, "seeds": 0, "unit": "points"}
        found |= learned[claim["key"]] or nothing | {"unit": ""}
        value, half = found.pop("value"), effects.NORMAL * math.sqrt(found.pop("variance"))
        low, high = value - half, value + half
        verdict = HOLDS if low > 0 else FAILS if high < 0 else UNSEEN
        if not learned[claim["key"]]:
            verdict = UNLEARNED if possible[claim["key"]] else NOT_RUN
        said = {"published": f"{limits} %" if limits else "in words"}
        said |= {"effect": value, "low": low, "high": high, "verdict": verdict}
        rows.append({"key": claim["key"], "claim": claim["claim"]} | said | found)
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


def _effects(models: pandas.DataFrame, scores: pandas.DataFrame) -> dict[str, dict | None]:
    """Key of a claim -> its effect, None where a run is missing. `models` are `effects.models`."""
    drops = effects.gaps(effects.own(models, TEACHER), effects.own(models, FINISHED))
    bounds = published("claims").set_index("key")["to_percent"]
    return {key: _against(models, *sides) for key, sides in _AGAINST.items()} | {
        "size_removed": _size_removed(scores, bounds["size_removed"]),
        "drop_moderate": _drop(models, max, bounds["drop_moderate"]),
        "drop_maximum": _drop(models, min, bounds["drop_maximum"]),
        "text_shrinks_drop": _text(average(drops, PAIR)),
        "pos_robust": _task(drops, "pos", -1),
        "ner_sensitive": _task(drops, "ner", 1),
        "maltese_ner_worst": _worst(average(drops, ["language", "what"]), "mlt", "ner"),
        "mse_faster": _faster(scores),
        "vocabulary_free": _trimmed(models, THIRD, THIRD / 3, -1, MARGIN),
        "vocabulary_hurts": _trimmed(models, 0, SMALL),
    }


def _mean(gaps: pandas.DataFrame, words: str, sign: int = 1, offset: float = 0.0) -> dict | None:
    """offset + sign * the mean over tasks, then pairs; `words` have a place for the mean."""
    if gaps.empty:
        return None
    [effect] = average(average(gaps, PAIR).assign(all=0), ["all"]).to_dict("records")
    measured = {"measured": words.format(number(effect["value"]))}
    return effect | measured | {"value": offset + sign * effect["value"]}


def _minus(one: dict, other: dict) -> dict:
    """One effect minus another one."""
    return {
        "value": one["value"] - other["value"],
        "variance": one["variance"] + other["variance"],
        "groups": max(one["groups"], other["groups"]),
        "runs": one["runs"] + other["runs"],
        "seeds": min(one["seeds"], other["seeds"]),
    }


def _sides(rows: pandas.DataFrame, name: str, value: str, other: str) -> list[pandas.DataFrame]:
    """The rows with `value` of a setting (empty: the study's own), and those with `other`; `rest`
    holds their further changed settings.
    """
    values = pandas.Series([setting(row, name) for row in rows.to_dict("records")], rows.index)
    rest = rows["settings"].map(lambda pairs: tuple(pair for pair in pairs if pair[0] != name))
    left = values == value if value else (rest == rows["settings"]) & (values != other)
    return [rows.assign(rest=rest)[side] for side in (left, values == other)]


def _against(models, step: str, name: str, value: str, other: str, words: str) -> dict | None:
    """Models with `value` minus those with `other` that differ in no other setting; of several such
    pairs the one with fewest changes.
    """
    pairs = effects.gaps(*_sides(effects.of(models, step), name, value, other), "rest")
    pairs = pairs.sort_values("rest", key=lambda rest: rest.map(len), kind="stable")
    fewest = pairs["rest"] == pairs.groupby(PAIR)["rest"].transform("first")
    return _mean(pairs[fewest], f"{words}: {{}} points")


def _size_removed(scores: pandas.DataFrame, bound: float) -> dict:
    """The share that the paper's smallest model lacks, minus the claimed one less its rounding."""
    counted = published("parameters").groupby("teacher")["parameters"]
    gone = 100 * (1 - counted.min() / counted.max()).max()
    words = f"{gone:.1f} % counted for the paper's models"
    if len(scores):
        words += f", in this study {100 * scores['compression_rate'].max():.1f} %"
    return {"value": gone - (bound - 0.5), "variance": 0.0, "measured": words, "unit": "%"}


def _alone(models: pandas.DataFrame, name: str) -> pandas.DataFrame:
    """The models that differ from the study's own at most in the setting `name`."""
    few = [dict(settings).keys() <= {name} for settings in models["settings"]]
    return models[pandas.Series(few, models.index, dtype=bool)]


def _drop(models: pandas.DataFrame, choose, bound: float) -> dict | None:
    """The published bound minus the average drop to the largest or smallest of the final models."""
    finals = effects.of(_alone(models, "hidden.hidden_size"), FINISHED)
    sizes = finals.groupby(PAIR)["hidden_size"]
    if choose is max:  # with one size there is no moderate compression
        finals = finals[sizes.transform("nunique") > 1]
    chosen = finals[finals["hidden_size"] == sizes.transform(choose)[finals.index]]
    drops = effects.gaps(effects.own(models, TEACHER), chosen)
    return _mean(drops, "drop {} points", -1, bound)


def _text(drops: pandas.DataFrame) -> dict | None:
    """Drop of the language the teacher has seen least of, minus that of the one seen most of."""
    gaps, words = [], []
    for teacher, part in drops.groupby("teacher"):
        seen = part["language"].map(text_seen(teacher)).dropna()
        if seen.nunique() > 1:
            least, most = part.loc[seen.idxmin()], part.loc[seen.idxmax()]
            gaps.append({"teacher": teacher, "language": ""} | _minus(least, most))
            values = [f"{end['value']:.1f} in {end['language']}" for end in (least, most)]
            words.append(f"{teacher}: drop {', '.join(values)}")
    return _mean(pandas.DataFrame(gaps), "; ".join(words))


def _task(drops: pandas.DataFrame, task: str, sign: int) -> dict | None:
    """How far a task's drop is beyond the next one, on the side of more (1) or less (-1) loss."""
    of_tasks = average(drops, ["what"]).set_index("what").to_dict("index")
    of_tasks = {name: of_tasks[name] for name in facts.facts("tasks") if name in of_tasks}
    if task not in of_tasks or len(of_tasks) < 2:
        return None
    words = [f"{name} {number(drop['value'])}" for name, drop in of_tasks.items()]
    own = of_tasks.pop(task)
    effect = _minus(own, max(of_tasks.values(), key=lambda drop: sign * drop["value"]))
    found = {"value": sign * effect["value"], "measured": f"drops: {', '.join(words)}"}
    return effect | found | {"runs": drops["runs"].sum()}


def _worst(drops: pandas.DataFrame, language: str, task: str) -> dict | None:
    """Drop of one language's task minus the largest other drop, of any language and task."""
    own = (drops["language"] == language) & (drops["what"] == task)
    if not own.any() or drops["language"].nunique() < 2:
        return None
    ends = [drops[own].iloc[0], drops.loc[drops.loc[~own, "value"].idxmax()]]
    words = [f"{drop['language']} {drop['what']} {drop['value']:.1f}" for drop in ends]
    groups = {"groups": drops["language"].nunique()}
    return _minus(*ends) | {"measured": ", next ".join(words)} | groups


def _faster(scores: pandas.DataFrame) -> dict | None:
    """Mean loss on dev over the training, KL minus MSE: a loss that falls earlier is smaller."""
    rows = scores[(scores["what"] == "mlm_loss") & (scores["step"] == "layers")]
    histories = [record.get("history", []) for record in rows["record"]]
    losses = [pandas.DataFrame(one, columns=["dev_mlm_loss"]).mean().item() for one in histories]
    rows = rows.assign(
        settings=[tuple(sorted(changed.items())) for changed in rows["changed"]], loss=losses
    )
    kl, mse = _sides(rows, _LOSS, "kl", "mse")
    pairs = kl.merge(mse, on=[*PAIR, "rest"], suffixes=("", "_mse"))
    gaps = (pairs["loss"] - pairs["loss_mse"]).dropna()
    if gaps.empty:
        return None
    words = f"mean dev loss, KL minus MSE: {number(gaps.mean(), 3, signed=True)} nats"
    count = {"groups": len(gaps), "runs": 2 * len(gaps), "seeds": 1, "unit": "nats"}
    effect = {"value": gaps.mean(), "variance": gaps.var() / len(gaps), "measured": words}
    return effect | count


def _trimmed(models: pandas.DataFrame, target: float, reach: float, sign=1, offset=0.0):
    """The drop from the model before trimming to the one with nearly the target share of tokens."""
    trimmed = effects.of(_alone(models, "vocabulary.kept_tokens"), "vocabulary")
    pairs = effects.gaps(_alone(models, ""), trimmed)
    both = pairs[["record", "record_right"]].to_dict("records")
    before = [row["record_right"]["chain"][-2] == row["record"]["model"]["id"] for row in both]
    pairs = pairs[pandas.Series(before, pairs.index, dtype=bool)]
    pairs["share"] = pairs["vocab_size_right"] / pairs["vocab_size"]
    pairs["off"] = (pairs["share"] - target).abs()
    near = pairs["off"] == pairs.groupby(PAIR)["off"].transform("min")
    pairs = pairs[near & (pairs["off"] < reach)]
    kept = 100 * pairs.groupby(PAIR)["share"].first().mean()
    return _mean(pairs, f"{kept:.0f} % kept: drop {{}} points", sign, offset)
