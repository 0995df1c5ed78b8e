"""The logit lens against the head itself, and its curve against the lens at each position."""

import math

import pytest
import torch
import toys

from lib.errors import StudyError
from lib.measure import logit_lens, masking, perplexity
from lib.model import axes
from lib.report import plots

families = pytest.mark.parametrize("family", toys.FAMILIES)
SENTENCE = toys.sentences()[1]


@families
def test_the_last_layer_is_the_models_own_prediction(family):
    model, batch = toys.model(family), toys.batch(family)
    position = torch.arange(len(batch["input_ids"])) % batch["attention_mask"].sum(1)
    with torch.no_grad():
        found = logit_lens.layer_logits(model, batch, position)
        own = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert found.shape == (model.config.num_hidden_layers + 1, len(own), model.config.vocab_size)
    assert torch.allclose(found[-1], own[torch.arange(len(own)), position], atol=1e-5)


@families
def test_every_layer_is_read_through_the_models_own_head(family):
    """Layer k of the lens is what a model says that ends after k layers."""
    model, batch = toys.model(family), toys.batch(family)
    position = torch.ones(len(batch["input_ids"]), dtype=torch.long)
    with torch.no_grad():
        found = logit_lens.layer_logits(model, batch, position)
        for layer in range(model.config.num_hidden_layers + 1):
            short = axes.take(model, layers=range(layer))
            own = short(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            assert torch.allclose(found[layer], own[torch.arange(len(own)), position], atol=1e-5), (
                layer
            )


@families
def test_lens_says_what_the_logits_say(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    seen = logit_lens.lens(model, tokenizer, SENTENCE, 2, top=3)
    ids = tokenizer(SENTENCE)["input_ids"]
    assert seen["tokens"] == tokenizer.tokenize(SENTENCE) and seen["piece"] == seen["tokens"][2]
    true, ids[3] = ids[3], tokenizer.mask_token_id
    with torch.no_grad():
        probability = model(input_ids=torch.tensor([ids])).logits[0, 3].softmax(-1)
    assert seen["probability"][-1] == pytest.approx(probability[true].item(), rel=1e-4)
    assert seen["rank"][-1] == (probability > probability[true]).sum() + 1
    order = probability.argsort(descending=True)[:3].tolist()
    assert seen["top_pieces"][-1] == tokenizer.convert_ids_to_tokens(order)
    assert seen["top_probabilities"][-1] == pytest.approx(probability[order].tolist(), rel=1e-4)
    assert len(seen["rank"]) == len(seen["top_pieces"]) == model.config.num_hidden_layers + 1


@families
def test_a_lens_on_the_true_piece_agrees_with_itself(family):
    """With all pieces asked for, the true one stands at its rank with its probability."""
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    seen = logit_lens.lens(model, tokenizer, SENTENCE, 0, top=model.config.vocab_size)
    for layer, rank in enumerate(seen["rank"]):
        pieces, shares = seen["top_pieces"][layer], seen["top_probabilities"][layer]
        assert pieces[rank - 1] == seen["piece"] and shares[rank - 1] == pytest.approx(
            seen["probability"][layer]
        )
        assert sum(shares) == pytest.approx(1, abs=1e-5)


@families
@pytest.mark.parametrize("tokens", [1, 8192])
def test_the_curve_is_the_mean_of_all_lenses(family, tokens, monkeypatch):
    monkeypatch.setattr(masking, "TOKENS", tokens)
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    sentences = toys.sentences()[:2]
    found = logit_lens.curve(model, tokenizer, sentences)
    seen = [
        logit_lens.lens(model, tokenizer, sentence, place)
        for sentence in sentences
        for place in range(len(tokenizer.tokenize(sentence)))
    ]
    assert found["tokens"] == len(seen)
    for layer in range(model.config.num_hidden_layers + 1):
        shares, ranks = (
            [each["probability"][layer] for each in seen],
            [each["rank"][layer] for each in seen],
        )
        assert found["probability"][layer] == pytest.approx(sum(shares) / len(seen), rel=1e-4)
        assert found["nats"][layer] == pytest.approx(
            -sum(map(math.log, shares)) / len(seen), rel=1e-4
        )
        assert found["accuracy"][layer] == pytest.approx(ranks.count(1) / len(seen))
        assert found["reciprocal_rank"][layer] == pytest.approx(
            sum(1 / rank for rank in ranks) / len(seen), rel=1e-5
        )


@families
def test_the_end_of_the_curve_is_the_pseudo_perplexity(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    found = logit_lens.curve(model, tokenizer, toys.sentences()[:6])
    measured = perplexity.pseudo_perplexity(model, tokenizer, toys.sentences()[:6])
    assert math.exp(found["nats"][-1]) == pytest.approx(measured["pseudo_perplexity"])


@pytest.mark.parametrize("position", [-1, 400])
def test_a_position_that_is_not_there_is_said(position):
    with pytest.raises(StudyError, match=f"position {position} was asked for"):
        logit_lens.lens(toys.model("bert"), toys.tokenizer("bert"), SENTENCE, position)


@families
def test_pictures_are_drawn_for_any_script(family):
    model, tokenizer = toys.model(family), toys.tokenizer(family)
    seen = [logit_lens.lens(model, tokenizer, SENTENCE, place) for place in range(3)]
    seen[0]["top_pieces"][1][0] = "##日$x_1$"
    curves = {"teacher": seen[0]["probability"], "student": [0.1]}
    pictures = [plots.lens_heatmap(seen), plots.lens_curve(curves)]
    texts = [text.get_text() for text in pictures[0].axes[0].texts]
    assert len(texts) == 3 * (model.config.num_hidden_layers + 1) and "##▯$x_1$" in texts
    for picture in pictures:
        picture.canvas.draw()
