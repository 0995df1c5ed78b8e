"""Verdicts on records that are made up so that the answer is known."""

import math

import pandas
import pytest
import toys
from test_ablations import chain_records, frame, record

from lib.report import ablations, claims, tables
from lib.report.claims import FAILS, HOLDS, UNSEEN
from lib.report.tables import NOT_RUN
from lib.study import studies

TASKS = ("tc", "sa", "ner", "pos")


@pytest.fixture(autouse=True)
def places(tmp_path, data, monkeypatch):
    """The study `toy` only."""
    toys.facts_in(tmp_path, monkeypatch)


def scored(step, scores, *, width=0.02, seeds=(1, 2), spread=0.002, **how):
    """Task runs of one model: `scores` maps tasks to a score; seeds lie `spread` apart, the interval is `width` wide."""
    return [
        record(
            step,
            task,
            seed,
            score + spread * place,
            interval=(score - width / 2, score + width / 2),
            **how,
        )
        for task, score in scores.items()
        for place, seed in enumerate(seeds)
    ]


def judged(entries, key):
    runs = frame(entries)
    table = claims.judge(ablations.scores(runs, "toy"), runs)
    return table.set_index("key").loc[key]


def test_every_published_claim_gets_a_verdict_and_without_records_none_but_the_counted_one():
    table = claims.judge(ablations.scores(pandas.DataFrame(), "toy"), pandas.DataFrame())
    assert table["key"].tolist() == tables.published("claims")["key"].tolist()
    assert dict(zip(table["key"], table["verdict"], strict=True)) == dict.fromkeys(
        table["key"], NOT_RUN
    ) | {"size_removed": HOLDS}
    assert claims.table(table)["effect"].tolist()[1:] == [NOT_RUN] * (len(table) - 1)


@pytest.mark.parametrize(
    ("random", "width", "expected"),
    [(0.50, 0.02, HOLDS), (0.90, 0.02, FAILS), (0.80, 0.02, UNSEEN), (0.50, 0.90, UNSEEN)],
)
def test_the_preferred_start_against_the_other(random, width, expected):
    entries = scored("layers", dict.fromkeys(TASKS, 0.8), width=width)
    entries += scored(
        "layers",
        dict.fromkeys(TASKS, random),
        width=width,
        changed={"layers.layer_choice": "random"},
    )
    row = judged(entries, "teacher_weights")
    assert row["verdict"] == expected and row["effect"] == pytest.approx(100 * (0.8 - random))
    assert (row["groups"], row["runs"], row["seeds"]) == (1, 16, 2)


def test_the_interval_joins_seeds_and_test_sentences():
    """By hand: of each side the seed variance over the number of seeds and the squared test deviation; both sides; over two tasks."""
    tasks = {"tc": 0.8, "pos": 0.7}
    entries = scored("hidden", tasks, width=0.04, spread=0.03)
    entries += scored(
        "hidden", tasks, width=0.02, spread=0.01, changed={"hidden.hidden_start": "svd"}
    )
    row = judged(entries, "truncation_beats_svd")
    pooled = (
        3**2 / 2 + 1**2 / 2
    ) / 2  # sample variances of two seeds each, pooled over the two models of a task
    tested = (4 / 3.92) ** 2 + (2 / 3.92) ** 2
    half = 1.96 * math.sqrt(2 * (2 * pooled / 2 + tested) / 4)
    assert row["high"] - row["low"] == pytest.approx(2 * half)


def test_what_a_record_compares_on_the_same_sentences_needs_no_two_test_sets():
    """Paired, of either side's records: the mean half width over the seeds that have one takes the place of both sides' own."""
    svd = {"hidden.hidden_start": "svd"}
    entries = scored("hidden", {"tc": 0.8}, width=0.4, spread=0.0) + scored(
        "hidden", {"tc": 0.7}, width=0.4, spread=0.0, changed=svd
    )
    wide = judged(entries, "truncation_beats_svd")
    for entry, width in zip(entries[2:], (0.02, 0.04), strict=True):
        own = next(each["id"] for each in entries[:2] if each["seed"] == entry["seed"])
        entry["paired"] = {
            "study's own": {
                "to": own,
                "difference": -0.1,
                "interval": [-0.1 - width / 2, -0.1 + width / 2],
            },
            "majority": {"to": "guess", "difference": 0.5, "interval": [0.0, 1.0]},
        }
    narrow = judged(entries, "truncation_beats_svd")
    assert wide["high"] - wide["low"] == pytest.approx(40 * math.sqrt(2)) and narrow[
        "high"
    ] - narrow["low"] == pytest.approx(3)
    assert (wide["verdict"], narrow["verdict"]) == (UNSEEN, HOLDS)


def test_without_a_second_seed_the_interval_holds_the_test_sentences_only():
    entries = scored("hidden", {"tc": 0.8}, seeds=(1,)) + scored(
        "hidden", {"tc": 0.5}, seeds=(1,), changed={"hidden.hidden_start": "svd"}
    )
    row = judged(entries, "truncation_beats_svd")
    assert row["seeds"] == 1 and row["high"] - row["low"] == pytest.approx(
        2 * 1.96 * math.sqrt(2) * 2 / 3.92
    )


def test_drops_against_the_published_bounds():
    entries = scored("adapt", dict.fromkeys(TASKS, 0.80)) + scored(
        "vocabulary", dict.fromkeys(TASKS, 0.74)
    )
    entries += scored(
        "vocabulary",
        dict.fromkeys(TASKS, 0.60),
        changed={"hidden.hidden_size": 24},
        sizes=(24, 500),
    )
    moderate, maximum = judged(entries, "drop_moderate"), judged(entries, "drop_maximum")
    assert (moderate["effect"], moderate["verdict"]) == (pytest.approx(10 - 6), HOLDS)
    assert (maximum["effect"], maximum["verdict"]) == (pytest.approx(13 - 20), FAILS)
    assert judged(entries[:16], "drop_moderate")["verdict"] == NOT_RUN


def test_the_most_robust_and_the_most_sensitive_task():
    entries = scored("adapt", dict.fromkeys(TASKS, 0.8)) + scored(
        "vocabulary", {"tc": 0.7, "sa": 0.7, "ner": 0.5, "pos": 0.69}
    )
    assert judged(entries, "ner_sensitive")[["effect", "verdict"]].tolist() == [
        pytest.approx(30 - 11),
        HOLDS,
    ]
    assert judged(entries, "pos_robust")["effect"] == pytest.approx(10 - 11)


def test_text_seen_compares_least_with_most():
    """The toy teacher has seen 1,000 Maltese sentences and 4,000 Slovak ones."""

    def both(maltese, slovak):
        return [
            run
            for language, after in (("mlt", maltese), ("slk", slovak))
            for run in scored("adapt", {"pos": 0.9}, language=language)
            + scored("vocabulary", {"pos": after}, language=language)
        ]

    assert judged(both(0.6, 0.8), "text_shrinks_drop")[["effect", "verdict"]].tolist() == [
        pytest.approx(20),
        HOLDS,
    ]
    assert judged(both(0.8, 0.6), "text_shrinks_drop")["verdict"] == FAILS
    assert judged(both(0.6, 0.8)[:4], "text_shrinks_drop")["verdict"] == NOT_RUN


def test_vocabulary_by_share_of_the_teachers():
    entries = scored("hidden", {"pos": 0.80}, sizes=(48, 1000))
    for kept, score in ((333, 0.80), (500, 0.80), (50, 0.60)):
        entries += scored(
            "vocabulary", {"pos": score}, changed={"vocabulary.kept_tokens": kept}, sizes=(48, kept)
        )
    free, hurts = judged(entries, "vocabulary_free"), judged(entries, "vocabulary_hurts")
    assert (free["effect"], free["measured"]) == (
        pytest.approx(claims.MARGIN),
        "33 % kept: drop 0.0 points",
    )
    assert (hurts["effect"], hurts["verdict"]) == (pytest.approx(20), HOLDS)


def test_students_of_the_adapted_teacher():
    plain = tuple(step for step in studies.STEPS if step != "adapt")
    entries = [*chain_records(), *chain_records(plain)]
    entries += scored("vocabulary", {"pos": 0.8}) + scored("vocabulary", {"pos": 0.6}, order=plain)
    assert judged(entries, "adapted_beats_plain")[["effect", "verdict"]].tolist() == [
        pytest.approx(20),
        HOLDS,
    ]


def test_convergence_needs_more_than_one_pair():
    def trained(language, mse, kl):
        return [
            record(
                "layers", score=mse, language=language, changed={"layers.distillation_loss": loss}
            )
            | {
                "history": [
                    {"step": 1, "dev_mlm_loss": 2 * height},
                    {"step": 2, "dev_mlm_loss": height},
                ]
            }
            for loss, height in (("mse", mse), ("kl", kl))
        ]

    assert judged(trained("mlt", 3.0, 4.0), "mse_faster")[["effect", "verdict"]].tolist() == [
        pytest.approx(1.5),
        UNSEEN,
    ]
    assert (
        judged(trained("mlt", 3.0, 4.0) + trained("slk", 3.0, 4.1), "mse_faster")["verdict"]
        == HOLDS
    )


def test_a_task_the_teacher_has_not_learned_says_nothing():
    entries = scored("adapt", {"tc": 0.15, "pos": 0.8}) + scored(
        "vocabulary", {"tc": 0.15, "pos": 0.6}
    )
    guess = record("adapt", "tc", score=0.145) | {
        "step": "baseline",
        "id": "guess",
        "settings": {"baseline": {"kind": "majority"}},
    }
    assert judged(entries, "drop_maximum")["effect"] == pytest.approx(13 - 10)
    assert judged([*entries, guess], "drop_maximum")["effect"] == pytest.approx(13 - 20)


def test_a_claim_about_a_task_that_was_not_learned_is_told_from_one_not_run():
    entries = [
        each
        for language in ("mlt", "slk")
        for each in scored("adapt", {"ner": 0.2, "pos": 0.8}, language=language)
        + scored("vocabulary", {"ner": 0.1, "pos": 0.7}, language=language)
    ]
    guess = record("adapt", "ner", score=0.2) | {
        "step": "baseline",
        "id": "guess",
        "settings": {"baseline": {"kind": "majority"}},
    }
    assert judged(entries, "maltese_ner_worst")["verdict"] == UNSEEN
    assert judged([*entries, guess], "maltese_ner_worst")["verdict"] == claims.UNLEARNED
    assert judged([*entries, guess], "teacher_weights")["verdict"] == NOT_RUN
