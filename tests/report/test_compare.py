"""Comparisons against a slow reference in plain Python, on records that are made up for it."""

import math
from statistics import fmean, stdev

import pandas
import pytest
from made_up import CUTS, PLAIN, only, record, scores

from lib.report import compare, present

CHOICE, LOSS = "layers.layer_choice", "layers.distillation_loss"
RANDOM, KL = {CHOICE: "random"}, {LOSS: "kl"}


def sweep_of(entries, name=CHOICE, at=("layers",), **how):
    return compare.sweep(scores(*entries), name, at=list(at), **how)


def test_a_sweep_takes_one_change_at_a_time_and_pairs_by_seed():
    own, random = {1: 0.80, 2: 0.84, 3: 0.79}, {2: 0.70, 3: 0.74, 4: 0.10}
    entries = [record("layers", "tc", seed, score) for seed, score in own.items()]
    entries += [record("layers", "tc", s, score, changed=RANDOM) for s, score in random.items()]
    entries += [
        record("layers", "tc", 1, 0.99, changed=RANDOM | {"layers.mlm_weight": 0.0}),
        record("hidden", "tc", 1, 0.99, changed={CHOICE: "stride"}),
    ]
    swept = sweep_of(entries)
    assert swept["value"].tolist() == ["last_k", "random"]
    row, gaps = only(swept, value="random"), [100 * (random[s] - own[s]) for s in (2, 3)]
    assert row[["mean", "deviation", "runs"]].tolist() == pytest.approx(
        [100 * fmean(random.values()), 100 * stdev(random.values()), 3]
    )
    assert row[["difference", "difference_deviation", "pairs"]].tolist() == pytest.approx(
        [fmean(gaps), stdev(gaps), 2]
    )
    assert only(swept, value="last_k")["reference"] and not row["own"]


def test_a_given_setting_moves_the_whole_comparison():
    entries = [
        record("layers", "tc", 1, 0.5),
        record("layers", "tc", 1, 0.6, changed=KL),
        record("layers", "tc", 1, 0.7, changed=KL | {"layers.temperature": 4.0}),
    ]
    swept = sweep_of(entries, "layers.temperature", given=KL)
    assert dict(zip(swept["value"], swept["mean"], strict=True)) == pytest.approx({2: 60, 4: 70})
    assert only(swept, value=4.0)["difference"] == pytest.approx(10)


def test_words_stand_in_the_order_of_their_declaration_and_numbers_by_size():
    choices = ("random", "stride", "last_k", "first_k")
    entries = [
        record("layers", "tc", changed={CHOICE: c} if c != "last_k" else {}) for c in choices
    ]
    assert sweep_of(entries)["value"].tolist() == ["last_k", "first_k", "stride", "random"]
    weights = [record("layers", "tc", changed={"layers.mlm_weight": w}) for w in (1.0, 0.25)]
    swept = sweep_of([*weights, record("layers", "tc")], "layers.mlm_weight")
    assert swept["value"].tolist() == [0.25, 0.5, 1.0]


def test_a_setting_that_is_left_out_is_compared_by_its_default():
    entries = [
        record("adapt", "tc"),
        record("adapt", "tc", score=0.4, changed={"adapt.sentences": 5}),
    ]
    swept = sweep_of(entries, "adapt.sentences", at=["adapt"])
    assert dict(zip(swept["value"], swept["difference"], strict=True)) == pytest.approx(
        {0: 0, 5: -10}
    )


def test_the_model_before_the_cut_is_the_value_that_cuts_nothing():
    entries = [
        record("hidden", "tc", 1, 0.8, sizes=(48, 4000)),
        record("vocabulary", "tc", 1, 0.7),
        record("vocabulary", "tc", 1, 0.5, changed={"vocabulary.kept_tokens": 100}),
    ]
    swept = sweep_of(entries, "vocabulary.kept_tokens", at=["vocabulary"], whole="hidden")
    gaps = dict(zip(swept["value"], swept["difference"], strict=True))
    assert gaps == pytest.approx({4000: 0, 500: -10, 100: -30})
    assert swept.set_index("value")["own"].to_dict() == {4000: False, 500: True, 100: False}


def test_orders_are_compared_after_all_cuts_and_plain_teachers_like_settings():
    other = {"order": "vocabulary > layers > ffn > hidden"}
    way = other["order"].split(" > ")
    entries = [record(step) for step in CUTS] + [record(step, changed=other) for step in way]
    entries += [record("vocabulary", "pos", score=0.7), record("hidden", "pos", changed=other)]
    entries += [record("hidden", "pos", score=0.9)]
    swept = sweep_of(entries, "order", at=CUTS)
    tasks = swept[swept["what"] == "pos"]
    assert tasks["value"].tolist() == [" > ".join(CUTS), other["order"]]
    assert tasks["difference"].tolist() == pytest.approx([0, -20]) and set(swept["step"]) == {
        "all cuts"
    }
    plain = record("vocabulary", "pos", changed={"teacher": "plain"})
    swept = sweep_of([record("vocabulary", "pos", score=0.7), plain], "teacher", at=["vocabulary"])
    assert swept["value"].tolist() == ["adapted", "plain"]
    assert swept["difference"].tolist() == pytest.approx([0, -20])


def test_a_drop_is_to_the_teacher_of_the_same_chain():
    """The teacher that read less scores less itself; the drop is from there."""
    less = {"adapt.sentences": 5}
    entries = [
        record("adapt", "tc", 1, 0.8),
        record("vocabulary", "tc", 1, 0.7),
        record("layers", "tc", 1, 0.1),
        record("adapt", "tc", 1, 0.6, changed=less),
        record("vocabulary", "tc", 1, 0.3, changed=less),
        record("vocabulary", "tc", 1, 0.2, changed=less | {"hidden.hidden_size": 24}),
        record("adapt", "pos", 1, 0.9, language="slk"),
        record("vocabulary", "pos", 1, 0.5, language="slk"),
        record("adapt", score=3.0),
        record("vocabulary", score=3.5),
    ]
    own = compare.drops(scores(*entries)).set_index(["language", "what"])["difference"].to_dict()
    assert own == pytest.approx({("mlt", "tc"): -10, ("mlt", "mlm_loss"): 0.5, ("slk", "pos"): -40})
    swept = compare.drops(scores(*entries), "adapt.sentences")
    assert swept[["language", "what", "value", "own"]].to_numpy().tolist() == [
        ["mlt", "tc", 0, True],
        ["mlt", "mlm_loss", 0, True],
        ["mlt", "tc", 5, False],
    ]
    assert swept["difference"].tolist() == pytest.approx([-10, 0.5, -30])


def test_the_drop_of_a_chain_that_ends_with_another_step():
    """From the trimmed teacher, which nothing has changed, to the last model."""
    scored = dict(zip(PLAIN, (0.9, 0.8, 0.7, 0.6, 0.5), strict=True))
    entries = [record(step, "tc", 1, score, way=PLAIN) for step, score in scored.items()]
    small = {"hidden.hidden_size": 24}
    entries.append(record("hidden", "tc", 1, 0.3, way=PLAIN, changed=small, sizes=(24, 40005)))
    drops = compare.drops(scores(*entries))
    assert drops[["step", "what"]].to_numpy().tolist() == [["hidden", "tc"]]
    assert drops["difference"].tolist() == pytest.approx([-30])


def test_one_value_is_no_comparison_and_no_records_give_none():
    entries = [record("layers", "tc"), record("layers", "tc", language="slk")]
    entries += [record("layers", "tc", language="slk", changed=RANDOM)]
    assert set(sweep_of(entries)["language"]) == {"slk"}
    for empty in (sweep_of([]), sweep_of([], "order"), compare.drops(scores())):
        assert empty.empty and present.table(empty, "x").empty and present.points(empty).empty
    assert sweep_of([], "hidden.hidden_size", whole="ffn").empty
    assert present.curves(scores(), LOSS, "layers").empty


def test_an_average_needs_every_task():
    given = [("tc", {}, 0.8), ("pos", {}, 0.6), ("tc", RANDOM, 0.5), ("pos", RANDOM, 0.5)]
    given += [("tc", {CHOICE: "stride"}, 0.1)]
    entries = [record("layers", task, 1, score, changed=how) for task, how, score in given]
    swept = compare.average(sweep_of(entries))
    means = swept[swept["what"] == "average"].set_index("value")
    assert means["mean"].to_dict() == pytest.approx({"last_k": 70, "random": 50})
    assert means.loc["random", "difference"] == pytest.approx(-20)
    assert math.isnan(means.loc["random", "deviation"])


def test_words_of_a_table():
    entries = [record("layers", "tc", seed, score) for seed, score in ((1, 0.8), (2, 0.84))]
    entries += [
        record("layers", "tc", 1, 0.7, changed=RANDOM),
        record("layers", score=3.0),
        record("layers", score=3.5, changed=RANDOM),
    ]
    table = present.table(sweep_of(entries), "layers kept", ["random", "stride"])
    assert table["layers kept"].tolist() == ["last_k *", "random", "stride"]
    assert set(table["published"]) == {"not available"}
    assert table["tc"].tolist() == ["82.0 ± 2.8 (2)", "70.0 (1)", "not run"]
    assert table["Δ tc"].tolist() == ["reference", "\N{MINUS SIGN}10.0 (1)", "not run"]
    assert table["Δ mlm loss"].tolist() == ["reference", "+0.50 (1)", "not run"]


def test_published_numbers_stand_in_the_row_of_their_value_and_language():
    name = "vocabulary.kept_tokens"
    entries = [
        record("vocabulary", "tc", 1, score, changed=changed, language=language)
        for language in ("mlt", "slk")
        for changed, score in (({name: 100}, 0.5), ({}, 0.6))
    ]
    theirs = pandas.DataFrame([{"language": "slk", "value": 100, "published": "81.9"}])
    swept = sweep_of(entries, name, at=["vocabulary"])
    table = present.table(swept, "kept tokens", published=theirs)
    columns = table[["language", "kept tokens", "published"]].to_numpy().tolist()
    assert columns == [
        ["mlt", "100", "not available"],
        ["mlt", "500 *", "not available"],
        ["slk", "100", "81.9"],
        ["slk", "500 *", "not available"],
    ]


def test_learning_curves_of_a_comparison():
    more = {
        "history": [{"step": 1, "loss": 9.0}, {"step": 2, "dev_mlm_loss": 4.0}],
        "made": {"seconds": {"history": [0.5, 0.9]}},
    }
    entries = [record("layers", changed=KL, **more), record("layers", **more)]
    curves = present.curves(
        scores(*entries, record("layers", language="slk", **more)), LOSS, "layers"
    )
    assert curves.to_numpy().tolist() == [
        ["Maltese", "mse", 2, 0.9, 4.0],
        ["Maltese", "kl", 2, 0.9, 4.0],
    ]


def test_a_model_after_the_cut_is_not_the_value_that_cuts_nothing():
    entries = [
        record("vocabulary", "tc", 1, 0.6, way=PLAIN),
        record("hidden", "tc", 1, 0.5, way=PLAIN),
    ]
    assert sweep_of(entries, "vocabulary.kept_tokens", at=["vocabulary"], whole="hidden").empty
