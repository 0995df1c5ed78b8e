"""Adapters against the published parameter counts and a forward pass written out by hand."""

import pytest
import torch
from torch.nn.functional import layer_norm, linear
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from lib.errors import StudyError
from lib.train.adapters import adapter_parameters, add_adapters

SIZES = {
    "vocab_size": 50,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "intermediate_size": 20,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
}
CLASSES = {
    "bert-sequence": (BertConfig, BertForSequenceClassification),
    "bert-token": (BertConfig, BertForTokenClassification),
    "xlmr-sequence": (XLMRobertaConfig, XLMRobertaForSequenceClassification),
    "xlmr-token": (XLMRobertaConfig, XLMRobertaForTokenClassification),
}
PUBLISHED = {
    (12, 768): {
        2: 7_091_712,
        4: 3_550_464,
        8: 1_779_840,
        16: 894_528,
        32: 451_872,
        64: 230_544,
        128: 119_880,
    },
    (6, 312): {2: 586_872, 4: 294_372, 8: 148_122, 16: 73_122, 32: 35_622},
    (6, 456): {2: 1_251_720, 4: 627_228, 8: 314_982, 16: 156_120, 32: 79_428},
    (6, 564): {2: 1_913_652, 4: 958_518, 8: 477_564, 16: 240_474, 32: 118_542},
}
BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9], [5, 9, 11, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


@pytest.fixture(params=CLASSES)
def model(request):
    """A tiny random model of each family and kind of task."""
    return toy(request.param)


def toy(name, labels=3, **changes):
    config, kind = CLASSES[name]
    torch.manual_seed(0)
    return kind(config(**{**SIZES, **changes}, num_labels=labels, pad_token_id=1)).eval()


def stir(model):
    """Give adapters and head weights that are not zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.3)
    return model


@pytest.mark.parametrize(
    ("layers", "hidden_size", "factor", "parameters"),
    [
        (*size, factor, parameters)
        for size, row in PUBLISHED.items()
        for factor, parameters in row.items()
    ],
)
def test_published_parameter_counts(layers, hidden_size, factor, parameters):
    assert adapter_parameters(layers, hidden_size, factor) == parameters


def test_counts_follow_from_the_modules(model):
    before = model.num_parameters()
    add_adapters(model, 5)
    assert model.num_parameters() - before == adapter_parameters(2, 12, 5)


@pytest.mark.parametrize("adapter_input", ["ffn", "layer_norm"])
def test_fresh_adapters_change_no_logit(model, adapter_input):
    before = model(**BATCH).logits
    add_adapters(model, 4, adapter_input)
    assert torch.equal(model(**BATCH).logits, before)


def test_encoder_is_frozen_and_head_is_not(model):
    encoder = {
        name for name, _ in model.base_model.named_parameters() if not name.startswith("pooler")
    }
    add_adapters(model, 4)
    prefix = model.base_model_prefix + "."
    for name, weight in model.named_parameters():
        assert weight.requires_grad == (name.removeprefix(prefix) not in encoder), name
    assert encoder <= {
        name for name, _ in model.base_model.named_parameters()
    }  # the encoder's keys do not change


@pytest.mark.parametrize("adapter_input", ["ffn", "layer_norm"])
def test_adapted_output_by_hand(model, adapter_input):
    layer = stir(add_adapters(model, 4, adapter_input)).base_model.encoder.layer[1]
    output, wide, residual = layer.output, torch.randn(2, 5, 20), torch.randn(2, 5, 12)
    layer.intermediate(residual)  # the network reads what is added to its result
    weights = dict(output.named_parameters())
    hidden = linear(wide, weights["dense.weight"], weights["dense.bias"])

    def norm(value):
        return layer_norm(
            value,
            (12,),
            weights["LayerNorm.weight"],
            weights["LayerNorm.bias"],
            output.LayerNorm.eps,
        )

    read = hidden if adapter_input == "ffn" else norm(hidden + residual)
    down = linear(read, weights["adapter.down.weight"], weights["adapter.down.bias"]).clamp(min=0)
    added = linear(down, weights["adapter.up.weight"], weights["adapter.up.bias"])
    assert weights["adapter.down.weight"].shape == (3, 12)
    torch.testing.assert_close(output(wide, residual), norm(hidden + added + residual))


def test_every_adapter_gets_a_gradient(model):
    stir(add_adapters(model, 4))
    model(**BATCH).logits.square().sum().backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name


@pytest.mark.parametrize("factor", [0, -2, 0.5, 13, float("nan")])
def test_a_factor_without_bottleneck_is_refused(factor):
    with pytest.raises(StudyError, match="leaves no adapter"):
        add_adapters(toy("bert-token"), factor)
    with pytest.raises(StudyError, match="leaves no adapter"):
        adapter_parameters(2, 12, factor)


def test_what_cannot_take_adapters_is_refused():
    with pytest.raises(StudyError, match="has adapters already"):
        add_adapters(add_adapters(toy("bert-token"), 4), 4)
    with pytest.raises(StudyError, match="adapter_input: 'up' is none of ffn, layer_norm"):
        add_adapters(toy("bert-token"), 4, "up")
