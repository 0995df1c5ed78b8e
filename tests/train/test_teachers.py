"""Teachers of every origin: new, from a folder, from the hub, and made smaller."""

import pytest
import torch
import toys

from lib.errors import StudyError
from lib.model import encoder, sizes
from lib.train import teachers

both = pytest.mark.parametrize("family", toys.FAMILIES)


CONFIGURATION = {"model_type": "bert", "vocab_size": 120} | toys.SIZES


@both
def test_a_new_teacher_is_a_function_of_text_and_seed(family):
    configuration = CONFIGURATION | {"model_type": family}
    (first, own), (again, _), (other, _) = (
        teachers.new_teacher(toys.sentences(), configuration, seed) for seed in (1, 1, 2)
    )
    assert toys.same(toys.bits(first), toys.bits(again)) and not toys.same(
        toys.bits(first), toys.bits(other)
    )
    assert (
        first.config.vocab_size == len(own)
        and first.config.hidden_size == 24
        and first.config.pad_token_id == own.pad_token_id
    )
    assert (
        sizes.count_parameters(first.config) == first.num_parameters()
        and configuration["model_type"] == family
    )
    assert own.model_max_length == sizes.max_tokens(first.config)
    longest = own(" ".join(toys.sentences()), truncation=True, return_tensors="pt")
    assert (
        torch.isfinite(first(**longest).logits).all()
        and longest["input_ids"].shape[1] == own.model_max_length
    )


@both
def test_a_local_teacher_is_the_folders(family, tmp_path):
    encoder.save(toys.model(family), toys.tokenizer(family), tmp_path / "mine", "")
    model, own = teachers.load({"make": "local", "folder": "mine"}, tmp_path, [], 1)
    assert (
        toys.same(toys.bits(model), toys.bits(toys.model(family)))
        and own.get_vocab() == toys.tokenizer(family).get_vocab()
    )


def test_published_teachers_come_from_the_hub_with_the_base_models_tokenizer(monkeypatch):
    monkeypatch.setattr(encoder, "load", lambda *given: given)
    entry = {
        "make": "hub",
        "repository": "some/base",
        "revision": "abc",
        "adapted": {"mlt": {"repository": "some/mlt", "revision": None}},
    }
    assert teachers.load(entry, None, [], 1) == ("some/base", "abc")
    assert teachers.published_adaptation(entry, "mlt") == ("some/mlt", None, "some/base", "abc")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt2"}, "model_type: 'gpt2' is none of bert, xlm-roberta"),
        ({"vocab_size": None}, "vocab_size is missing; add it"),
        ({"hiden_size": 48}, "unknown key 'hiden_size'; it takes .*hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: 0 is out of range; give a number above 0"),
        ({"hidden_size": 24.0}, "hidden_size: 24.0 is not a whole number"),
        ({"hidden_size": 26}, "a hidden_size of 26 is no multiple of 4 heads; change one"),
        ({"hidden_act": "none"}, "no model can be made of it"),
    ],
)
def test_a_configuration_with_a_mistake_is_refused(changes, said):
    configuration = CONFIGURATION | changes
    configuration = {key: value for key, value in configuration.items() if value is not None}
    with pytest.raises(StudyError, match=f"a teacher's configuration: {said}"):
        teachers.new_teacher(toys.sentences(), configuration, 1)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    for root in (None, tmp_path):
        with pytest.raises(StudyError, match=r"folder .*mine is not there; set models_root"):
            teachers.load({"make": "local", "folder": "mine"}, root, [], 1)


def test_what_is_not_published_is_refused():
    with pytest.raises(
        StudyError, match=r"called 'slk'; the teacher has mlt: take .* set `published: fal"
    ):
        teachers.published_adaptation({"adapted": {"mlt": {}}}, "slk")
    with pytest.raises(StudyError, match="the teacher has none: "):
        teachers.published_adaptation({}, "slk")


def test_a_teacher_is_found_by_name_folder_or_id(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STUDY_MODELS_ROOT", str(tmp_path))
    by_name, root = teachers.find("e5-small-hub")
    assert by_name["revision"] and root == tmp_path
    assert teachers.find("intfloat/multilingual-e5-small")[0] == by_name  # its pinned revision
    (tmp_path / "mine").mkdir()
    folder = {"make": "local", "folder": "mine"}
    assert teachers.find(str(tmp_path / "mine")) == (folder, tmp_path.resolve())
    assert teachers.find("my-encoder")[0]["folder"] == "my-encoder"
    entry, _ = teachers.find("owner/name")
    assert (entry["repository"], entry["revision"], entry["licence"]) == (
        "owner/name",
        None,
        "not stated",
    )
    assert "there is no folder owner/name" in capsys.readouterr().out
    for wrong in ("", "toy-bert", "nowhere", "/no/such/folder", "../up", "a/b/c"):
        with pytest.raises(StudyError, match="give a folder, an id of the hub"):
            teachers.find(wrong)
