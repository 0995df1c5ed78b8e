"""Verdicts on records that are made up so that the answer is known."""

import math

import pytest
from made_up import PLAIN, baseline, record, scored, scores

from lib.report import claims, tables
from lib.report.claims import FAILS, HOLDS, UNLEARNED, UNSEEN
from lib.report.words import NOT_RUN

TASKS = ("tc", "sa", "ner", "pos")
SVD, KL = {"hidden.hidden_start": "svd"}, {"layers.distillation_loss": "kl"}


def judged(entries, key):
    """The verdict on one claim."""
    return claims.judge(scores(*entries)).set_index("key").loc[key]


def effect(entries, key):
    """The effect and the verdict."""
    return judged(entries, key)[["effect", "verdict"]].tolist()


def width(row):
    return row["high"] - row["low"]


def test_every_published_claim_gets_a_verdict_and_without_records_only_the_counted_one():
    table = claims.judge(scores())
    assert table["key"].tolist() == tables.published("claims")["key"].tolist()
    expected = dict.fromkeys(table["key"], NOT_RUN) | {"size_removed": HOLDS}
    assert dict(zip(table["key"], table["verdict"], strict=True)) == expected
    assert claims.table(table)["effect"].tolist()[1:] == [NOT_RUN] * (len(table) - 1)


@pytest.mark.parametrize(
    ("random", "wide", "expected"),
    [(0.50, 0.02, HOLDS), (0.90, 0.02, FAILS), (0.80, 0.02, UNSEEN), (0.50, 0.90, UNSEEN)],
)
def test_the_preferred_start_against_the_other(random, wide, expected):
    changed = {"layers.layer_choice": "random"}
    entries = scored("layers", dict.fromkeys(TASKS, 0.8), width=wide)
    entries += scored("layers", dict.fromkeys(TASKS, random), width=wide, changed=changed)
    row = judged(entries, "teacher_weights")
    assert row["verdict"] == expected and row["effect"] == pytest.approx(100 * (0.8 - random))
    assert (row["groups"], row["runs"], row["seeds"]) == (1, 16, 2)


@pytest.mark.slow
def test_both_sides_of_a_preference_may_have_the_same_other_changes():
    """As in a study that distils hidden states: its losses are compared between logits."""
    logits = {"layers.distillation_target": "logits", "teacher": "adapted"}
    mse = scored("layers", {"tc": 0.8}, way=PLAIN, changed=logits)
    kl = scored("layers", {"tc": 0.6}, way=PLAIN, changed=logits | KL)
    own = scored("layers", {"tc": 0.9}, way=PLAIN)
    assert effect(own + mse + kl, "mse_better") == [pytest.approx(20), HOLDS]
    assert judged(own + kl, "mse_better")["verdict"] == NOT_RUN


@pytest.mark.slow
def test_of_several_pairs_the_one_with_fewest_other_changes_counts():
    longer = {"adapt.steps": 9}
    far = scored("layers", {"tc": 0.8}, changed=longer)
    far += scored("layers", {"tc": 0.5}, changed=longer | KL)
    farther = scored("layers", {"tc": 0.8}, changed=longer | {"adapt.published": True})
    farther += scored("layers", {"tc": 0.4}, changed=longer | {"adapt.published": True} | KL)
    kl = scored("layers", {"tc": 0.7}, changed=KL)
    assert judged(farther + far, "mse_better")["effect"] == pytest.approx(30)
    assert judged(farther + far + kl, "mse_better")["effect"] == pytest.approx(30)  # kl is alone
    own = scored("layers", {"tc": 0.8})
    assert judged(farther + far + kl + own, "mse_better")["effect"] == pytest.approx(10)


def test_the_interval_joins_seeds_and_test_sentences():
    """By hand: the seed variance of each side over its number of seeds, and the squared standard
    deviation over test examples; of both sides; over two tasks.
    """
    tasks = {"tc": 0.8, "pos": 0.7}
    entries = scored("hidden", tasks, width=0.04, spread=0.03)
    entries += scored("hidden", tasks, width=0.02, spread=0.01, changed=SVD)
    pooled = (3**2 / 2 + 1**2 / 2) / 2  # of two models with two seeds each
    tested = (4 / 3.92) ** 2 + (2 / 3.92) ** 2
    half = 1.96 * math.sqrt(2 * (2 * pooled / 2 + tested) / 4)
    assert width(judged(entries, "truncation_beats_svd")) == pytest.approx(2 * half)


@pytest.mark.slow
def test_a_paired_comparison_takes_the_place_of_two_test_sets():
    """The mean half width over the seeds that have one, from the records of either side."""
    entries = scored("hidden", {"tc": 0.8}, width=0.4, spread=0.0)
    entries += scored("hidden", {"tc": 0.7}, width=0.4, spread=0.0, changed=SVD)
    wide = judged(entries, "truncation_beats_svd")
    for own, entry, ends in zip(entries[:2], entries[2:], (0.02, 0.04), strict=True):
        interval = [-0.1 - ends / 2, -0.1 + ends / 2]
        other = {"to": "guess", "difference": 0.5, "interval": [0.0, 1.0]}
        pair = {"to": own["id"], "difference": -0.1, "interval": interval}
        entry["paired"] = {"default": pair, "majority": other}
    narrow = judged(entries, "truncation_beats_svd")
    assert width(wide) == pytest.approx(40 * math.sqrt(2)) and width(narrow) == pytest.approx(3)
    assert (wide["verdict"], narrow["verdict"]) == (UNSEEN, HOLDS)


def test_without_a_second_seed_the_interval_holds_the_test_sentences_only():
    entries = scored("hidden", {"tc": 0.8}, seeds=(1,))
    row = judged(
        entries + scored("hidden", {"tc": 0.5}, seeds=(1,), changed=SVD), "truncation_beats_svd"
    )
    assert row["seeds"] == 1 and width(row) == pytest.approx(2 * 1.96 * math.sqrt(2) * 2 / 3.92)


def test_a_claim_about_two_values_is_not_judged_by_a_third():
    """As in a study whose own start is another one."""
    own = scored("hidden", {"tc": 0.9})
    for entry in own:
        entry["settings"]["hidden"]["hidden_start"] = "shared_basis"
    svd = scored("hidden", {"tc": 0.5}, changed=SVD)
    assert judged(own + svd, "truncation_beats_svd")["verdict"] == NOT_RUN
    cut = scored("hidden", {"tc": 0.6}, changed={"hidden.hidden_start": "truncation"})
    assert effect(own + svd + cut, "truncation_beats_svd") == [pytest.approx(10), HOLDS]


def test_either_side_of_a_preference_may_be_the_studys_own():
    own = scored("layers", {"tc": 0.6})
    for entry in own:
        entry["settings"]["layers"]["distillation_loss"] = "kl"
    mse = scored("layers", {"tc": 0.8}, changed={"layers.distillation_loss": "mse"})
    assert effect(own + mse, "mse_better") == [pytest.approx(20), HOLDS]


@pytest.mark.slow
def test_drops_against_the_published_bounds():
    entries = scored("adapt", dict.fromkeys(TASKS, 0.80))
    entries += scored("vocabulary", dict.fromkeys(TASKS, 0.74))
    small = {"changed": {"hidden.hidden_size": 24}, "sizes": (24, 500)}
    entries += scored("vocabulary", dict.fromkeys(TASKS, 0.60), **small)
    assert effect(entries, "drop_moderate") == [pytest.approx(10 - 6), HOLDS]
    assert effect(entries, "drop_maximum") == [pytest.approx(13 - 20), FAILS]
    assert judged(entries[:16], "drop_moderate")["verdict"] == NOT_RUN


@pytest.mark.slow
def test_the_most_robust_and_the_most_sensitive_task():
    entries = scored("adapt", dict.fromkeys(TASKS, 0.8))
    entries += scored("vocabulary", {"tc": 0.7, "sa": 0.7, "ner": 0.5, "pos": 0.69})
    assert effect(entries, "ner_sensitive") == [pytest.approx(30 - 11), HOLDS]
    assert judged(entries, "pos_robust")["effect"] == pytest.approx(10 - 11)


@pytest.mark.slow
def test_text_seen_compares_least_with_most():
    """The toy teacher has seen 1,000 Maltese sentences and 4,000 Slovak ones."""

    def both(maltese, slovak):
        return [
            entry
            for language, after in (("mlt", maltese), ("slk", slovak))
            for step, score in (("adapt", 0.9), ("vocabulary", after))
            for entry in scored(step, {"pos": score}, language=language)
        ]

    assert effect(both(0.6, 0.8), "text_shrinks_drop") == [pytest.approx(20), HOLDS]
    assert judged(both(0.8, 0.6), "text_shrinks_drop")["verdict"] == FAILS
    assert judged(both(0.6, 0.8)[:4], "text_shrinks_drop")["verdict"] == NOT_RUN


@pytest.mark.slow
def test_vocabulary_by_share_of_the_teachers():
    entries = scored("hidden", {"pos": 0.80}, sizes=(48, 1000))
    for kept, score in ((333, 0.80), (500, 0.80), (50, 0.60)):
        how = {"changed": {"vocabulary.kept_tokens": kept}, "sizes": (48, kept)}
        entries += scored("vocabulary", {"pos": score}, **how)
    free = judged(entries, "vocabulary_free")
    assert free["effect"] == pytest.approx(claims.MARGIN)
    assert free["measured"] == "33 % kept: drop 0.0 points"
    assert effect(entries, "vocabulary_hurts") == [pytest.approx(20), HOLDS]


def test_where_the_vocabulary_goes_first_the_teacher_is_the_model_before_it():
    entries = scored("pretrain", {"pos": 0.80}, way=PLAIN, sizes=(48, 1000))
    entries += scored("hidden", {"pos": 0.70}, way=PLAIN, sizes=(24, 50))
    entries += scored("vocabulary", {"pos": 0.75}, way=PLAIN, sizes=(48, 50))
    third = {"changed": {"vocabulary.kept_tokens": 320}, "sizes": (48, 320)}
    entries += scored("vocabulary", {"pos": 0.79}, way=PLAIN, **third)
    assert judged(entries, "vocabulary_free")["measured"] == "32 % kept: drop 1.0 points"
    assert effect(entries, "vocabulary_hurts") == [pytest.approx(5), HOLDS]
    assert judged(entries[len(entries) // 4 :], "vocabulary_hurts")["verdict"] == NOT_RUN


def test_students_of_the_adapted_teacher():
    entries = scored("vocabulary", {"pos": 0.8})
    entries += scored("vocabulary", {"pos": 0.6}, changed={"teacher": "plain"})
    assert effect(entries, "adapted_beats_plain") == [pytest.approx(20), HOLDS]


@pytest.mark.slow
def test_a_study_of_the_plain_teacher_is_judged_by_its_own_ends():
    """The drop is from the trimmed teacher to the last model; the adapted one is the variant."""
    entries = [
        entry
        for step, score in (
            ("pretrain", 0.9),
            ("vocabulary", 0.8),
            ("layers", 0.1),
            ("hidden", 0.6),
        )
        for entry in scored(step, dict.fromkeys(TASKS, score), way=PLAIN)
    ]
    assert effect(entries, "drop_maximum") == [pytest.approx(13 - 20), FAILS]
    assert judged(entries, "adapted_beats_plain")["verdict"] == NOT_RUN
    how = {"way": PLAIN, "changed": {"teacher": "adapted"}}
    entries += scored("hidden", dict.fromkeys(TASKS, 0.7), **how)
    assert effect(entries, "adapted_beats_plain") == [pytest.approx(10), HOLDS]


def test_the_ends_of_a_chain_count_once_among_the_seeds():
    """A model with a role stands in the cells twice; the variance of the seeds must not."""
    spreads = {"adapt": 0.03, "layers": 0.01, "ffn": 0.0, "hidden": 0.0, "vocabulary": 0.05}
    entries = [
        entry
        for step, spread in spreads.items()
        for entry in scored(step, {"pos": 0.8}, width=0.0, spread=spread)
    ]
    pooled = sum((100 * spread) ** 2 / 2 for spread in spreads.values()) / len(spreads)
    entries += scored("hidden", {"pos": 0.5}, width=0.0, seeds=(1,), changed=SVD)
    half = 1.96 * math.sqrt(pooled / 2 + pooled)
    assert width(judged(entries, "truncation_beats_svd")) == pytest.approx(2 * half)


def trained(loss, changed=None, language="mlt"):
    """The record of a training whose loss on dev was twice as large halfway."""
    history = [{"dev_mlm_loss": 2 * loss}, {"loss": 9.0}, {"dev_mlm_loss": loss}]
    return record("layers", score=loss, language=language, changed=changed, history=history)


def test_convergence_needs_more_than_one_pair():
    one = [trained(3.0), trained(4.0, KL)]
    other = [trained(3.0, language="slk"), trained(4.1, KL, language="slk")]
    assert effect(one, "mse_faster") == [pytest.approx(1.5), UNSEEN]
    assert judged(one + other, "mse_faster")["verdict"] == HOLDS


@pytest.mark.slow
def test_convergence_is_compared_between_models_with_the_same_other_changes():
    adapted, warm = {"teacher": "adapted"}, {"layers.temperature": 4.0}
    pair = [trained(5.0, adapted), trained(5.2, adapted | KL)]
    assert effect(pair, "mse_faster") == [pytest.approx(0.3), UNSEEN]
    alone = [trained(9.0, warm | KL), trained(1.0, {"layers.mlm_weight": 0.0})]
    alone.append(trained(1.0, {"layers.distillation_loss": "plain_kl"}))
    assert judged(alone, "mse_faster")["verdict"] == NOT_RUN
    row = judged([*pair, *alone, trained(3.0), trained(4.0, KL)], "mse_faster")
    assert row["effect"] == pytest.approx((0.3 + 1.5) / 2) and row["runs"] == 4


def test_the_worst_drop_of_any_language_and_task():
    entries = []
    for language, drops in (("mlt", {"ner": 0.3, "pos": 0.1}), ("slk", {"ner": 0.2, "pos": 0.0})):
        entries += scored("adapt", dict.fromkeys(drops, 0.8), language=language)
        left = {task: 0.8 - drop for task, drop in drops.items()}
        entries += scored("vocabulary", left, language=language)
    row = judged(entries, "maltese_ner_worst")
    assert row["effect"] == pytest.approx(10) and row["verdict"] == HOLDS
    assert row["measured"] == "mlt ner 30.0, next slk ner 20.0"


def test_a_task_the_teacher_has_not_learned_says_nothing():
    entries = scored("adapt", {"tc": 0.15, "pos": 0.8})
    entries += scored("vocabulary", {"tc": 0.15, "pos": 0.6})
    assert judged(entries, "drop_maximum")["effect"] == pytest.approx(13 - 10)
    entries.append(baseline("majority", 0.145))
    assert judged(entries, "drop_maximum")["effect"] == pytest.approx(13 - 20)


@pytest.mark.slow
def test_a_claim_about_a_task_that_was_not_learned_is_told_from_one_not_run():
    entries = [
        entry
        for language in ("mlt", "slk")
        for step, drop in (("adapt", 0.0), ("vocabulary", 0.1))
        for entry in scored(step, {"ner": 0.2 - drop, "pos": 0.8 - drop}, language=language)
    ]
    assert judged(entries, "maltese_ner_worst")["verdict"] == UNSEEN
    entries.append(baseline("majority", 0.2, "ner"))
    assert judged(entries, "maltese_ner_worst")["verdict"] == UNLEARNED
    assert judged(entries, "teacher_weights")["verdict"] == NOT_RUN
