"""Fitted MLM heads: against scikit-learn's ridge regression, and on text that was held out."""

import copy
from collections import Counter

import numpy
import pytest
import torch
import toys
from sklearn.linear_model import Ridge

from lib.data import batches
from lib.measure import mlm
from lib.model import device, encoder, families, mlm_head
from lib.train import heads, pretraining

both = pytest.mark.parametrize("family", toys.FAMILIES)
HEAD = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    "xlm-roberta": ("lm_head.dense", "lm_head.layer_norm"),
}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def masked(family, sentences, seed=1):
    own = toys.tokenizer(family)
    return batches.masked_batches(batches.encode(sentences, own, 24), own, 64, seed)


def head(model, part):
    """A module of the head: 0 its first linear layer, 1 its normalisation."""
    return model.get_submodule(HEAD[model.config.model_type][part])


def at_masks(model, several, output):
    """What `output` gives for each batch, at the masked positions."""
    with torch.no_grad():
        return torch.cat([output(batch)[batch["labels"] != -100] for batch in several])


@both
def test_the_encoder_and_the_given_model_stay_as_they_are(family):
    model = encoder.without_head(toys.model(family))
    before, several = toys.bits(model), masked(family, toys.sentences())
    fitted = heads.fit(model, several)
    assert toys.same(toys.bits(model), before) and not families.has_head(model.config)
    assert families.has_head(fitted.config)
    assert toys.same(toys.bits(fitted.base_model), toys.bits(model.base_model))
    assert mlm_head.readout(fitted)[0] is fitted.get_input_embeddings().weight
    assert fitted.config.architectures == [type(fitted).__name__]


@both
def test_the_map_is_scikit_learns_ridge_regression(family):
    """From the states at three quarters of the masked positions to the vectors of the tokens."""
    model = encoder.without_head(toys.model(family))
    several = masked(family, toys.sentences(120))
    states = at_masks(model, several, lambda batch: encoder.hidden_states(model, batch)).double()
    gold = torch.cat([batch["labels"][batch["labels"] != -100] for batch in several])
    fitted_to = numpy.arange(len(gold)) % 4 != 3
    x = states.numpy()[fitted_to]
    y = model.get_input_embeddings().weight.detach().double()[gold].numpy()[fitted_to]
    ridge = Ridge(alpha=((x - x.mean(0)) ** 2).sum(0).mean()).fit(x, y)
    expected = ridge.predict(x) - ridge.predict(x).mean(0)
    expected = expected / expected.std(ddof=1)
    first = head(heads.fit(model, several), 0)
    found = x @ first.weight.detach().double().numpy().T + first.bias.detach().numpy()
    numpy.testing.assert_allclose(found - 8, expected, atol=1e-4)  # 8: where GELU changes nothing


@both
def test_the_biases_are_frequencies_and_the_scale_is_the_best_power_of_two(family):
    sentences = toys.sentences(120)
    several = masked(family, sentences)
    fitted = heads.fit(encoder.without_head(toys.model(family)), several)
    counts = Counter(
        token for ids in batches.encode(sentences, toys.tokenizer(family), 24) for token in ids
    )
    counts = torch.tensor([counts[token] + 1.0 for token in range(fitted.config.vocab_size)])
    bias = mlm_head.readout(fitted)[1]
    assert torch.allclose(bias, (counts / counts.sum()).log(), atol=1e-5)
    gold = torch.cat([batch["labels"][batch["labels"] != -100] for batch in several])

    def loss(factor):
        scaled = copy.deepcopy(fitted)
        head(scaled, 1).weight.data *= factor
        logits = at_masks(scaled, several, lambda batch: scaled(**batch).logits)
        return torch.nn.functional.cross_entropy(logits[3::4], gold[3::4]).item()

    assert not head(fitted, 1).bias.any() and loss(1) <= min(loss(0.5), loss(2))


@pytest.mark.slow
@both
def test_a_fitted_head_says_more_than_frequencies(family, tmp_path):
    """On other sentences, from the states of a toy that has learnt and then lost its head."""
    text, own = toys.sentences(400), toys.tokenizer(family)
    model = encoder.new(toys.config(family, initializer_range=0.1, num_hidden_layers=1), 0)
    settings = toys.SETTINGS | {"steps": 150, "batch_size": 16, "max_length": 24}
    pretraining.train(model, own, text[:300], text[300:340], settings, 1, tmp_path, "toy")
    fitted = heads.fit(encoder.without_head(model), masked(family, text[:300]))
    test = masked(family, text[340:], seed=2)
    unigram = mlm.unigram(own, text[:300], test)["unigram_loss"]
    assert mlm.score_mlm(fitted, test)["mlm_loss"] < unigram - 0.1
