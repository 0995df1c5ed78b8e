"""The registry of steps, and settings merged and checked."""

import pytest
import toy_study

from lib import files
from lib.errors import StudyError
from lib.study import steps

pytestmark = pytest.mark.usefixtures("toy")
ADAPTER = toy_study.STUDY["finetune"]


def test_the_registry_names_each_step_once_and_its_notebook_exists():
    assert len(set(steps.names())) == len(steps.REGISTRY)
    assert steps.names("teacher", "cut") == tuple(toy_study.STUDY["steps"])
    assert steps.names("task", "baseline", "measure") == (
        "finetune",
        "baseline",
        "perplexity",
        "lens",
        "export",
    )
    for entry in steps.REGISTRY:
        assert (files.ROOT / "notebooks" / "study" / f"{entry.notebook}.ipynb").exists()
        assert steps.step(entry.name) is entry
        assert entry.makes_model is bool(entry.row)
    with pytest.raises(
        StudyError, match=r"no step called 'prune'; lib/study/settings\.py has pretrain, adapt, "
    ):
        steps.step("prune")


def test_the_words_of_a_setting_are_the_declared_ones():
    assert steps.choices("hidden", "distillation_loss") == ("mse", "kl", "plain_kl")
    assert steps.choices("baseline", "kind") == ("majority", "ngrams", "static")
    for other in (("hidden", "hidden_size"), ("hidden", "nothing"), ("nothing", "kind")):
        assert steps.choices(*other) == ()


def test_given_settings_win_over_the_base_and_both_over_the_defaults():
    base = {"kept_tokens": 5, "counting": "count"}
    assert steps.merged("vocabulary", base, {"kept_tokens": 7}, "here") == base | {"kept_tokens": 7}
    settings = steps.merged("adapt", {}, toy_study.SETTINGS, "here")
    assert settings == toy_study.SETTINGS | {"published": False}
    assert base == {"kept_tokens": 5, "counting": "count"}


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("vocabulary", {"kept_tokens": 5}, "here: counting is missing; add it"),
        ("vocabulary", 5, "here: 5 is not a mapping"),
        ("ffn", {"size": 5}, "here: unknown key 'size'; it takes batch_size, intermediate_size"),
        ("finetune", [], "here: [] is not a mapping"),
        ("finetune", ADAPTER | {"method": "lora"}, "here: method: 'lora' is none of adapter, full"),
        ("finetune", ADAPTER | {"token": 3}, "here: token: expected `key: value` pairs, got 3"),
        ("finetune", ADAPTER | {"token": {}}, "here: token: batch_size, epochs, learning_rate"),
        ("finetune", ADAPTER | {"tc": {"epochs": 0}}, "here: tc: epochs: 0 is out of range"),
        ("finetune", ADAPTER | {"tc": {"pace": 1}}, "here: tc: unknown key 'pace'"),
        ("finetune", ADAPTER | {"qa": {}}, "here: unknown key 'qa'"),
    ],
)
def test_wrong_settings_are_refused(name, given, said):
    with pytest.raises(StudyError) as caught:
        steps.merged(name, {}, given, "here")
    assert str(caught.value).startswith(said)


def test_a_section_wins_over_the_rest_and_later_settings_over_earlier_ones():
    base = steps.merged("finetune", {}, ADAPTER | {"tc": {"epochs": 9}}, "here")
    assert [base[task]["epochs"] for task in ("tc", "sa", "ner", "pos")] == [9, 2, 3, 3]
    later = steps.merged("finetune", base, {"sequence": {"epochs": 5}}, "here")
    assert [later[task]["epochs"] for task in ("tc", "sa", "ner", "pos")] == [5, 5, 3, 3]
    both = {"epochs": 4, "sequence": {"epochs": 5}, "tc": {"epochs": 6, "train_limit": 7}}
    found = steps.merged("finetune", base, both, "here")
    assert [found[task]["epochs"] for task in ("tc", "sa", "ner", "pos")] == [6, 5, 4, 4]
    assert [found[task]["train_limit"] for task in ("tc", "sa", "ner")] == [7, 20, 20]
    assert steps.merged("finetune", base, {}, "here") == base


def test_a_token_task_has_no_pooling():
    settings = steps.merged("finetune", {}, ADAPTER | {"pooling": "mean"}, "here")
    found = {task: of_task["pooling"] for task, of_task in settings.items()}
    assert found == {"tc": "mean", "sa": "mean", "ner": "first", "pos": "first"}


def test_later_settings_are_stated_only_where_they_are_not_as_before():
    settings = {"pooling": "first", "base_width": 0, "epochs": 0}
    assert steps.stated("finetune", settings) == {"epochs": 0}
    assert steps.stated("finetune", settings | {"base_width": 4}) == {"base_width": 4, "epochs": 0}
    assert steps.stated("layers", {"sentences": 0}) == {}
    assert steps.stated("layers", {"sentences": 7}) == {"sentences": 7}
    assert steps.stated("ffn", {"sentences": 0}) == {"sentences": 0}


def test_fits_of_layers_that_are_no_layers_of_the_teacher_are_refused():
    settings = toy_study.STUDY["steps"]["layers"]
    assert steps.merged("layers", settings, {"refit": True}, "here")["refit"]
    with pytest.raises(StudyError, match="refit: random layers stand for no layers of the teacher"):
        steps.merged("layers", settings, {"refit": True, "layer_choice": "random"}, "here")


def test_passes_need_hidden_states():
    settings = toy_study.STUDY["steps"]["hidden"]
    hidden = {"passes": 3, "distillation_target": "hidden"}
    assert steps.merged("hidden", settings, hidden, "here")["passes"] == 3
    with pytest.raises(StudyError, match="here: passes: it keeps the teacher"):
        steps.merged("hidden", settings, {"passes": 3}, "here")
