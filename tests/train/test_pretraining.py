"""Teachers: tokenizers that are the same in every process, teachers of every make, training that teaches."""

import pytest
import torch
import toys

from lib.data import batches
from lib.errors import StudyError
from lib.measure import mlm
from lib.model import device, encoder
from lib.train import pretraining

both = pytest.mark.parametrize("family", toys.FAMILIES)
FACTS = {"make": "new", "configuration": {"model_type": "bert", "vocab_size": 120} | toys.SIZES}


@both
def test_a_tokenizer_is_cased_and_no_larger_than_asked(family):
    own = pretraining.train_tokenizer(toys.sentences(), family, 100)
    assert 60 < len(own) <= 100 and sorted(own.get_vocab().values()) == list(range(len(own)))
    encoder.check_tokenizer(own, toys.config(family))
    for text in ("Ħafna żebbuġ číta", "ħafna żebbuġ Číta"):
        assert own.decode(own(text)["input_ids"], skip_special_tokens=True) == text
    assert own.unk_token_id not in [
        number for text in toys.sentences() for number in own(text)["input_ids"]
    ]


@both
def test_more_pieces_cut_a_text_into_fewer(family):
    lengths = [
        sum(
            map(
                len,
                pretraining.train_tokenizer(toys.sentences(), family, size)(toys.sentences())[
                    "input_ids"
                ],
            )
        )
        for size in (100, 150)
    ]
    assert lengths[1] < lengths[0]


@both
def test_the_same_text_gives_the_same_tokenizer(family):
    """The trainers' hash tables are in another order each time, in one process and between processes."""
    assert (
        len(
            {
                pretraining.train_tokenizer(
                    toys.sentences(), family, 160
                ).backend_tokenizer.to_str()
                for _ in range(5)
            }
        )
        == 1
    )


def test_an_unknown_type_of_tokenizer():
    with pytest.raises(
        StudyError,
        match="no tokenizer is known for the model type 'gpt2'; there are bert, xlm-roberta",
    ):
        pretraining.train_tokenizer(toys.sentences(), "gpt2", 90)


@both
def test_a_new_teacher_is_a_function_of_text_and_seed(family):
    configuration = FACTS["configuration"] | {"model_type": family}
    (first, own), (again, _), (other, _) = (
        pretraining.new_teacher(toys.sentences(), configuration, seed) for seed in (1, 1, 2)
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
        encoder.count_parameters(first.config) == first.num_parameters()
        and configuration["model_type"] == family
    )
    assert own.model_max_length == encoder.max_tokens(first.config)
    longest = own(" ".join(toys.sentences()), truncation=True, return_tensors="pt")
    assert (
        torch.isfinite(first(**longest).logits).all()
        and longest["input_ids"].shape[1] == own.model_max_length
    )


@both
def test_a_local_teacher_is_the_folders(family, tmp_path):
    encoder.save(toys.model(family), toys.tokenizer(family), tmp_path / "mine", "")
    model, own = pretraining.teacher({"make": "local", "folder": "mine"}, tmp_path, [], 1)
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
    assert pretraining.teacher(entry, None, [], 1) == ("some/base", "abc")
    assert pretraining.published_adaptation(entry, "mlt") == ("some/mlt", None, "some/base", "abc")


@both
def test_training_teaches(family, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))
    model, own = toys.model(family), toys.tokenizer(family)
    before, dev = toys.bits(model), batches.masked_batches(toys.encoded(family, 60), own, 64, 0)
    start = mlm.score_mlm(model, dev)["mlm_loss"]
    settings = toys.SETTINGS | {"steps": 12, "batch_size": 16}
    learned = pretraining.train(
        model, own, toys.sentences(), toys.sentences(), settings, 1, tmp_path, "toy"
    )
    assert mlm.score_mlm(model, dev)["mlm_loss"] < start - 0.5
    assert not any(
        before[name].equal(tensor) for name, tensor in toys.bits(model).items() if tensor.dim() == 2
    )  # every matrix learns
    assert encoder.readout(model)[0] is model.get_input_embeddings().weight
    assert {"step", "loss", "learning_rate", "grad_norm"} <= set(learned["history"][0])
