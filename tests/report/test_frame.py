"""The data frame of scores, and its statistics against a slow reference."""

import math
from statistics import fmean, stdev

import pytest
from made_up import CUTS, PLAIN, STEPS, baseline, record, scores

from lib.errors import StudyError
from lib.report import frame
from lib.study import records

ENDS = {"vocabulary": "teacher", "hidden": "finished"}


def test_a_row_a_score_with_what_its_run_changed():
    random = {"layers.layer_choice": "random"}
    rows = scores(
        record("layers", "tc", score=0.7, interval=[0.6, 0.8]),
        record("layers", "tc", changed=random),
        record("adapt", score=3.0),
        baseline("majority", 0.1),
        record("pretrain", language=None),
    )
    assert rows["what"].tolist() == ["tc", "tc", "mlm_loss", "tc"]
    assert rows["default"].tolist() == [True, False, True, True]
    assert rows[["score", "low", "high"]].iloc[0].tolist() == pytest.approx([70, 60, 80])
    assert rows["score"].tolist()[2:] == pytest.approx([3.0, 10])
    assert scores().empty and scores().columns.tolist() == rows.columns.tolist()


def test_the_order_of_the_cuts_is_that_of_the_chain():
    other = {"order": "vocabulary > layers > ffn > hidden"}
    plain = [record(step, changed={"teacher": "plain"}) for step in ("pretrain", *CUTS)]
    entries = [record(step) for step in STEPS]
    entries += [record(step, changed=other) for step in ("vocabulary", "layers", "ffn", "hidden")]
    rows = scores(*entries, *plain, record("hidden", "pos", changed=other))
    assert rows.iloc[-1]["order"] == other["order"]
    full = rows[rows["step"] == "vocabulary"]["order"].tolist()
    assert full == ["layers > ffn > hidden > vocabulary", "vocabulary", " > ".join(CUTS)]


def roles(*entries):
    """Step -> role of the records without changes, and how many roles the others have."""
    rows = scores(*entries)
    own = rows[rows["default"]]
    assert not rows[rows["step"].isin(["ffn", "baseline"])]["role"].any()
    return dict(zip(own["step"], own["role"], strict=True)), (rows["role"] != "").sum() - 2


@pytest.mark.parametrize(
    ("way", "teacher", "finished"),
    [
        (STEPS, "adapt", "vocabulary"),
        (PLAIN, "vocabulary", "hidden"),
        (("pretrain", "layers", "vocabulary"), "pretrain", "vocabulary"),
        (("pretrain", "vocabulary", "adapt", "layers"), "adapt", "layers"),
    ],
)
def test_the_teacher_is_the_last_model_whose_outputs_are_whole_and_the_finished_the_last(
    way, teacher, finished
):
    """Whatever the order of the records."""
    entries = [record(step, "tc", way=way) for step in way] + [baseline("majority", 0.1)]
    found = {name: role for name, role in roles(*entries)[0].items() if role}
    assert found == {teacher: "teacher", finished: "finished"}
    assert roles(*entries[::-1])[0] == roles(*entries)[0]


def test_the_studys_own_chain_decides_the_roles_and_not_a_longer_variant():
    """A variant that is adapted after the vocabulary's cut has more steps than the study."""
    own = [record(step, "tc", way=PLAIN) for step in PLAIN]
    way = ("pretrain", "vocabulary", "adapt", "layers", "ffn", "hidden")
    changed = {"teacher": "adapted"}
    variant = [record(step, "tc", way=way) | {"changed": changed} for step in way[1:]]
    assert roles(*variant, *own) == (dict.fromkeys(PLAIN, "") | ENDS, 2)
    adapted = [record(step, "tc", way=PLAIN, changed=changed) for step in PLAIN[1:]]
    assert roles(*adapted, *own) == (dict.fromkeys(PLAIN, "") | ENDS, 2)
    rows = scores(*own, *adapted)
    assert rows["adapted"].tolist() == [False] * 5 + [True] * 4
    assert frame.setting(rows.iloc[-1].to_dict(), "teacher") == "adapted"


def test_published_records_that_share_their_settings_keep_their_order(tmp_path):
    """Records of two orders have equal settings, which the file holds once, in either order."""
    other = {"order": "vocabulary > layers > ffn > hidden"}
    entries = [record(step, changed=other) for step in other["order"].split(" > ")]
    entries += [record(step) for step in STEPS]
    entries += [record("hidden", "tc", changed=other), record("vocabulary", "tc")]
    records.write_lines(tmp_path / "toy.jsonl", entries)
    rows = scores(*records.read_lines(tmp_path / "toy.jsonl"))
    assert rows["order"].tolist()[-2:] == [other["order"], " > ".join(CUTS)]
    assert rows["chain"].tolist() == scores(*entries)["chain"].tolist()
    own = rows[rows["default"]]["role"].tolist()
    assert own == ["", "teacher", "", "", "", "finished", "finished"]


def test_a_teacher_that_is_alone_yet_is_a_teacher():
    assert scores(record("adapt", "tc"))["role"].tolist() == ["teacher"]
    assert scores().empty and "role" in scores().columns


def test_a_setting_that_is_left_out_has_its_default():
    rows = scores(record("layers", "tc"), record("layers", "tc", changed={"layers.sentences": 5}))
    rows = rows.to_dict("records")
    assert [frame.setting(row, "layers.sentences") for row in rows] == [0, 5]
    assert [frame.setting(row, "teacher") for row in rows] == ["adapted"] * 2


def test_a_step_that_did_not_make_the_model_has_no_settings():
    layers, guess = scores(record("layers", "tc"), baseline("majority", 0.1)).to_dict("records")
    for name in ("hidden.hidden_size", "hidden.sentences", "hidden_size"):
        assert frame.setting(layers, name) is None
    assert frame.setting(guess, "layers.sentences") is frame.setting(guess, "sentences") is None


def test_a_name_without_a_step_is_of_the_last_step_that_has_it():
    changed = {"layers.mlm_weight": 0.25, "hidden.sentences": 9}
    other = {"order": "hidden > layers", "layers.mlm_weight": 0.25}
    rows = scores(
        record("layers", "tc", changed={"layers.mlm_weight": 0.25}),
        record("vocabulary", "tc", changed=changed),
        record("layers", "tc", changed=other),
    )
    rows = rows.to_dict("records")
    assert [frame.setting(row, "mlm_weight") for row in rows] == [0.25, 0.5, 0.25]
    assert [frame.setting(row, "sentences") for row in rows] == [0, 9, 0]


def compared(own, other):
    """The statistics of these records against the others, a row a task."""
    table = frame.statistics(scores(*own), ["what"], scores(*other), ["what"])
    return table.to_dict("records")


def test_statistics_pair_by_seed():
    own = {
        seed: record("hidden", "tc", seed, score) for seed, score in ((2, 0.7), (3, 0.74), (4, 0.1))
    }
    other = {
        seed: record("adapt", "tc", seed, score) for seed, score in ((1, 0.8), (2, 0.84), (3, 0.79))
    }
    [found] = compared(own.values(), other.values())
    values = [100 * entry["scores"]["macro_f1"] for entry in own.values()]
    gaps = [70 - 84, 74 - 79]
    assert found == pytest.approx(
        {"what": "tc", "mean": fmean(values), "deviation": stdev(values), "runs": 3}
        | {"difference": fmean(gaps), "difference_deviation": stdev(gaps), "pairs": 2}
    )
    [alone] = compared([own[4]], [other[1]])
    assert (alone["difference"], alone["pairs"]) == (pytest.approx(-70), 0)
    assert math.isnan(alone["deviation"])
    assert not compared([], [other[1]])
    [alone] = compared([own[4]], [])
    assert alone["runs"] == 1 and math.isnan(alone["difference"])


def test_a_run_without_its_score_is_named():
    with pytest.raises(StudyError, match="has no macro_f1, by which tc is judged: run it again"):
        scores(record("layers", "tc") | {"scores": {"accuracy": 0.5}})
