"""Passes that begin behind settled layers give the numbers of whole passes, in every family."""

import pytest
import torch
import toys

from lib.data import batches as masking
from lib.model import parts, passes

every = pytest.mark.parametrize("family", toys.EVERY)


def batches(family):
    return masking.masked_batches(toys.encoded(family, 12), toys.tokenizer(family), 4, 1)


def seen(model, batch, module):
    """What enters a module in a whole pass, at the real positions."""
    found = []
    hook = module.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    with torch.no_grad():
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    hook.remove()
    return found[0][batch["attention_mask"].bool()]


@every
def test_settled_layers_change_no_number(family):
    model, several = toys.model(family).eval(), batches(family)
    reading = passes.Passes(model, several)
    for layer in parts.layers(model):
        for module in (layer.attention_output, layer.ffn_output, layer.ffn_reader):
            reading.settle_below(layer.ffn_output)
            for number, batch in enumerate(several):
                (found,) = reading.entering(number, module)
                assert found.equal(seen(model, batch, module))


@every
def test_settled_layers_are_not_computed_again_and_those_above_are(family):
    model, several = toys.model(family).eval(), batches(family)[:1]
    first, second, *_ = parts.layers(model)
    reading, calls = passes.Passes(model, several), []
    reading.settle_below(second.ffn_output)
    first.ffn_output.register_forward_hook(lambda *_: calls.append("first"))
    second.attention_output.register_forward_hook(lambda *_: calls.append("second"))
    (before,) = reading.entering(0, second.ffn_output)
    second.ffn_input.weight.data.mul_(2)
    (after,) = reading.entering(0, second.ffn_output)
    assert calls == ["second", "second"]
    assert not after.equal(before)


@every
def test_the_model_is_whole_again_after_a_pass(family):
    model, several = toys.model(family).eval(), batches(family)
    layer = parts.layers(model)[1]
    wanted = [seen(model, batch, layer.ffn_output) for batch in several]
    reading = passes.Passes(model, several)
    reading.settle_below(layer.ffn_output)
    reading.entering(0, layer.ffn_output)
    assert seen(model, several[1], layer.ffn_output).equal(wanted[1])
