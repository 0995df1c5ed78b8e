"""Limits of the families that call their sizes otherwise or cannot have every setting."""

from types import SimpleNamespace

import pytest
import toys

from lib.errors import StudyError
from lib.model.families import FAMILIES
from lib.study import limits


def run(step, **settings):
    study = SimpleNamespace(name="toy", corpus={"train": 0})
    return SimpleNamespace(step=step, settings=settings, study=study, lineage=list)


def most(family):
    return limits.of_configuration(toys.config(family).to_dict())


@pytest.mark.parametrize("family", toys.EVERY)
def test_every_family_has_its_limits_from_its_file(family):
    found, sizes = most(family), toys.SIZES
    for name in ("num_hidden_layers", "intermediate_size", "hidden_size", "num_attention_heads"):
        assert found[name] == sizes[name]
    offset = 2 if FAMILIES[family.split()[0]].position_offset else 0
    assert found["max_length"] == sizes["max_position_embeddings"] - offset
    with pytest.raises(StudyError, match="intermediate_size 21 was asked for; the teacher has 20"):
        limits.check(run("ffn", intermediate_size=21), found)


@pytest.mark.parametrize("choice", ["last_k", "stride_last"])
def test_a_first_layer_that_has_to_stay_is_known_before_any_work(choice):
    asked = run("layers", num_hidden_layers=2, layer_choice=choice, sentences=0)
    limits.check(asked, most("bert"))
    with pytest.raises(StudyError, match=r"first layer has to stay.*take first_k"):
        limits.check(asked, most("modernbert"))
    asked.settings["num_hidden_layers"] = 4  # all of them
    limits.check(asked, most("modernbert"))
    asked.settings |= {"num_hidden_layers": 2, "layer_choice": "stride"}
    limits.check(asked, most("modernbert"))


def test_heads_of_rotary_positions_have_pairs():
    asked = run("hidden", hidden_size=20, num_attention_heads=0, sentences=0)
    limits.check(asked, most("bert"))
    with pytest.raises(StudyError, match=r"heads with pairs of dimensions.*multiple of 8"):
        limits.check(asked, most("modernbert"))


def test_fewer_heads_are_counted_before_any_work():
    asked = run("hidden", hidden_size=9, num_attention_heads=3, sentences=0)
    limits.check(asked, most("bert"))
    asked.settings["num_attention_heads"] = 0  # all four
    with pytest.raises(StudyError, match=r"a hidden size of 9 was asked for; 4 heads stay"):
        limits.check(asked, most("bert"))
    asked.settings |= {"hidden_size": 20, "num_attention_heads": 2}  # heads of 10, which had 6
    with pytest.raises(StudyError, match=r"2 heads stay, .* multiple of 2 up to 12: .* 12$"):
        limits.check(asked, most("bert"))
    asked.settings["num_attention_heads"] = 5
    with pytest.raises(StudyError, match="5 attention heads were asked for; the model has 4"):
        limits.check(asked, most("bert"))


def test_adapters_read_no_norm_that_is_not_there():
    ways = {"method": "adapter", "reduction_factor": 2}
    asked = run("finetune", adapter_input="layer_norm", **ways)
    limits.check(asked, most("distilbert"))
    with pytest.raises(StudyError, match=r"no norm after the sum.*take ffn"):
        limits.check(asked, most("modernbert"))
    limits.check(run("finetune", adapter_input="ffn", **ways), most("modernbert"))
    limits.check(asked, {})  # a teacher that is not known yet


def test_embeddings_of_their_own_size_are_known_before_any_work():
    asked = run("hidden", hidden_size=12, num_attention_heads=0, sentences=0)
    limits.check(asked, most("electra"))  # whose embeddings have the hidden size
    with pytest.raises(StudyError, match="12 was asked for, which is the size of the embeddings"):
        limits.check(asked, most("electra generator"))


def test_random_layers_leave_nothing_of_the_teacher_to_fit_to():
    asked = run("hidden", hidden_start="fitted", taught_by="teacher", sentences=0)
    for choice in ("search", "random"):
        asked.lineage = lambda choice=choice: [run("layers", layer_choice=choice), asked]
        asked.settings["taught_by"] = "before"
        limits.check(asked, {})
        asked.settings["taught_by"] = "teacher"
        if choice == "search":
            limits.check(asked, {})
    with pytest.raises(StudyError, match="random layers stand for no layers of the teacher: take"):
        limits.check(asked, {})
