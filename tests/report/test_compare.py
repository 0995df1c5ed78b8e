"""Comparisons against a slow reference in plain Python, on records that are made up for it."""

import math
from statistics import fmean, stdev

import pandas
import pytest
from made_up import CUTS, PLAIN, STEPS, baseline, only, record, scores

from lib.report import compare
from lib.report.frame import FINISHED, TEACHER

CHOICE, LOSS = "layers.layer_choice", "layers.distillation_loss"
RANDOM, KL = {CHOICE: "random"}, {LOSS: "kl"}
SIZE, KEPT = "hidden.hidden_size", "vocabulary.kept_tokens"


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
        record("layers", "tc"),
        record("layers", "tc", score=0.4, changed={"layers.sentences": 5}),
    ]
    swept = sweep_of(entries, "layers.sentences")
    assert dict(zip(swept["value"], swept["difference"], strict=True)) == pytest.approx(
        {0: 0, 5: -10}
    )


def test_a_setting_of_a_task_is_compared_at_the_teacher_and_at_the_finished_student():
    """Each to its own score, whatever the steps that made them."""
    narrow = {"finetune.reduction_factor": 2}
    for way, ends in ((STEPS, ("adapt", "vocabulary")), (PLAIN, ("vocabulary", "hidden"))):
        own = dict(zip(ends, (0.8, 0.6), strict=True))
        entries = [record(step, "tc", 1, own.get(step, 0.1), way=way) for step in way]
        entries += [record(s, "tc", 1, own[s] - 0.2, way=way, changed=narrow) for s in ends]
        entries += [record("layers", "tc", 1, 0.9, way=way, changed=narrow)]
        swept = sweep_of(entries, "finetune.reduction_factor", at=[TEACHER, FINISHED])
        gaps = swept.set_index(["step", "value"])["difference"].to_dict()
        expected = {(step, value): gap for step in ends for value, gap in ((2, -20), (4, 0))}
        assert gaps == pytest.approx(expected)


def test_settings_that_the_whole_comparison_has_may_be_the_teacher_and_a_target():
    """A study of the plain teacher may compare losses with the adapted one."""
    given = {"teacher": "adapted", "layers.distillation_target": "hidden"}
    entries = [record("layers", "tc", 1, 0.9, way=PLAIN)]
    for score, changed in ((0.8, given), (0.7, given | KL), (0.1, {"teacher": "adapted"} | KL)):
        entries.append(record("layers", "tc", 1, score, way=PLAIN, changed=changed))
    swept = sweep_of(entries, LOSS, given=given)
    assert swept[["value", "own"]].to_numpy().tolist() == [["mse", True], ["kl", False]]
    assert swept["difference"].tolist() == pytest.approx([0, -10])


def test_a_name_without_a_step_is_that_setting_in_all_steps():
    """A model with another value of it in two steps differs in one setting; a model that has one
    more other setting is left out.
    """
    less = {"layers.sentences": 5, "hidden.sentences": 5}
    entries = [
        record("layers", "tc", 1, 0.9),
        record("layers", "tc", 1, 0.5, changed={"layers.sentences": 5}),
        record("vocabulary", "tc", 1, 0.8),
        record("vocabulary", "tc", 1, 0.6, changed=less),
        record("vocabulary", "tc", 1, 0.1, changed=less | RANDOM),
    ]
    swept = sweep_of(entries, "sentences", at=["layers", FINISHED])
    swept = swept.sort_values(["step", "value"])
    assert swept[["step", "value", "own", "reference"]].to_numpy().tolist() == [
        ["layers", 0, True, True],
        ["layers", 5, False, False],
        ["vocabulary", 0, True, True],
        ["vocabulary", 5, False, False],
    ]
    assert swept["difference"].tolist() == pytest.approx([0, -40, 0, -20])


def test_a_setting_of_the_same_name_in_a_step_that_does_not_say_the_value_is_another_change():
    """The text on which the FFN's importance is computed is not the text to distil on."""
    less = {"layers.sentences": 5, "hidden.sentences": 5}
    entries = [
        record("vocabulary", "tc", 1, 0.8),
        record("vocabulary", "tc", 1, 0.6, changed=less),
        record("vocabulary", "tc", 1, 0.1, changed={"ffn.sentences": 3}),
    ]
    swept = sweep_of(entries, "sentences", at=[FINISHED])
    assert dict(zip(swept["value"], swept["mean"], strict=True)) == pytest.approx({0: 80, 5: 60})


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


@pytest.mark.parametrize(
    ("way", "teacher", "finished"),
    [(STEPS, "adapt", "vocabulary"), (PLAIN, "vocabulary", "hidden")],
)
def test_finished_students_of_each_size_are_compared_with_their_teacher(way, teacher, finished):
    before = {teacher: 0.8, finished: 0.6}
    entries = [record(step, "tc", 1, before.get(step, 0.1), way=way) for step in way]
    entries += [
        record(finished, "tc", 1, 0.5, way=way, changed={SIZE: 24}),
        record(teacher, "tc", 1, 0.2, way=way, changed={"finetune.epochs": 9}),
    ]
    swept = sweep_of(entries, SIZE, at=[FINISHED], whole=TEACHER)
    assert swept[["step", "value", "own", "reference"]].to_numpy().tolist() == [
        [finished, 24, False, False],
        [finished, 48, True, False],
        [teacher, 768, False, True],
    ]
    assert swept["difference"].tolist() == pytest.approx([-30, -20, 0])


def test_where_no_model_is_before_the_cut_differences_are_to_the_studys_own_value():
    entries = [record(step, "tc", 1, 0.9, way=PLAIN) for step in ("vocabulary", "layers")]
    entries += [record("hidden", "tc", 1, 0.6, way=PLAIN)]
    entries += [record("hidden", "tc", 1, 0.5, way=PLAIN, changed={KEPT: 100})]
    swept = sweep_of(entries, KEPT, at=[FINISHED], whole="hidden")
    assert swept[["step", "value", "own", "reference"]].to_numpy().tolist() == [
        ["hidden", 100, False, False],
        ["hidden", 500, True, True],
    ]
    assert swept["difference"].tolist() == pytest.approx([-10, 0])
    both = sweep_of(entries, KEPT, at=["vocabulary", FINISHED], whole="hidden")
    assert set(both["step"]) == {"hidden"}  # of the other step there is one value only
    entries += [record("vocabulary", "tc", 1, 0.3, way=PLAIN, changed={KEPT: 100})]
    both = sweep_of(entries, KEPT, at=["vocabulary", FINISHED], whole="hidden")
    gaps = both.set_index(["step", "value"])["difference"].to_dict()
    assert gaps[("vocabulary", 100)] == pytest.approx(-60) and len(gaps) == 4
    assert gaps[("hidden", 100)] == pytest.approx(-10)


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


def test_a_drop_is_from_the_teacher_to_the_finished_student_of_the_studys_own_chain():
    """Neither a teacher nor a student with other settings counts."""
    shorter = {"adapt.steps": 5}
    entries = [
        record("adapt", "tc", 1, 0.8),
        record("vocabulary", "tc", 1, 0.7),
        record("layers", "tc", 1, 0.1),
        record("adapt", "tc", 1, 0.6, changed=shorter),
        record("vocabulary", "tc", 1, 0.3, changed=shorter),
        record("vocabulary", "tc", 1, 0.2, changed={SIZE: 24}),
        record("adapt", "pos", 1, 0.9, language="slk"),
        record("vocabulary", "pos", 1, 0.5, language="slk"),
        record("adapt", score=3.0),
        record("vocabulary", score=3.5),
    ]
    drops = compare.drops(scores(*entries))
    assert set(drops["step"]) == {"vocabulary"}
    own = drops.set_index(["language", "what"])["difference"].to_dict()
    assert own == pytest.approx({("mlt", "tc"): -10, ("mlt", "mlm_loss"): 0.5, ("slk", "pos"): -40})


def teachers_of(*entries):
    """Value -> mean and difference of the two teachers, which are compared as one step."""
    found = compare.teachers(scores(*entries))
    assert set(found["step"]) == {"teacher"}
    assert found["reference"].tolist() == (found["value"] == "adapted").tolist()
    return {row["value"]: [row["mean"], row["difference"]] for row in found.to_dict("records")}


def test_the_plain_teacher_is_compared_with_the_adapted_one():
    """No student counts, nor a teacher with other settings."""
    entries = [
        record(step, "tc", 1, score)
        for step, score in (("pretrain", 0.6), ("adapt", 0.8), ("layers", 0.1), ("vocabulary", 0.2))
    ]
    entries += [
        record("adapt", "tc", 1, 0.3, changed={"adapt.steps": 5}),
        record("layers", "tc", 1, 0.3, changed={"teacher": "plain"}),
    ]
    assert teachers_of(*entries) == {
        "plain": pytest.approx([60, -20]),
        "adapted": pytest.approx([80, 0]),
    }


def test_of_several_teachers_the_last_before_the_students_counts():
    """After the vocabulary's cut, which changes nothing that a model computes."""
    adapted = {"way": PLAIN, "changed": {"teacher": "adapted"}}
    way = ("pretrain", "vocabulary", "adapt", "layers", "ffn", "hidden")
    plain = [record(step, "tc", 1, 0.7, way=PLAIN) for step in ("vocabulary", "layers", "hidden")]
    plain.append(record("pretrain", "tc", 1, 0.1, way=PLAIN))
    for entries in (
        [record("adapt", "tc", 1, 0.2, way=STEPS), record("vocabulary", "tc", 1, 0.9, **adapted)],
        [record("adapt", "tc", 1, 0.9, way=way) | {"changed": {"teacher": "adapted"}}],
    ):
        assert teachers_of(*plain, *entries) == {
            "plain": pytest.approx([70, -20]),
            "adapted": pytest.approx([90, 0]),
        }


@pytest.mark.parametrize(("way", "own"), [(STEPS, "adapted"), (PLAIN, "plain")])
def test_the_studys_own_teacher_is_the_one_that_its_students_have(way, own):
    other = record("vocabulary", "tc", way=way, changed={"teacher": "adapted"})
    entries = [record(step, "tc", way=way) for step in way]
    found = compare.teachers(scores(*entries, *[other] * (own == "plain")))
    assert found.set_index("value")["own"].to_dict() == {
        value: value == own for value in ("plain", "adapted")
    }


def test_baselines_are_no_teachers():
    """Nor the static one, which comes after the plain teacher. Here that teacher has no score."""
    static = baseline("static", 0.1) | {"teacher": "toy-bert", "chain": ["mlt.toy-bert.pretrain"]}
    static["settings"] = record("pretrain")["settings"] | static["settings"]
    for guess in (baseline("majority", 0.1), static):
        assert teachers_of(record("adapt", "tc", 1, 0.8), guess) == {"adapted": [80, 0]}


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
    nothing = compare.drops(scores()), compare.teachers(scores())
    for empty in (sweep_of([]), sweep_of([], "order"), *nothing):
        assert empty.empty and compare.table(empty, "x").empty and compare.points(empty).empty
    assert sweep_of([], "hidden.hidden_size", whole="ffn").empty
    assert compare.curves(scores(), LOSS, "layers").empty


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
    table = compare.table(sweep_of(entries), "layers kept", ["random", "stride"])
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
    table = compare.table(swept, "kept tokens", published=theirs)
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
    curves = compare.curves(
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
