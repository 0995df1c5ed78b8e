"""Fits in closed form: exact where nothing is cut, as a library solves it, closer elsewhere."""

import pytest
import torch
import toys

from lib.data import batches as masked
from lib.model import axes, encoder, ffn, refit

pytestmark = pytest.mark.parametrize("family", toys.FAMILIES)


def batches(family):
    return masked.masked_batches(toys.encoded(family, 20), toys.tokenizer(family), 8, 1)


def layer(model, number):
    return model.base_model.encoder.layer[number]


def states(model, given):
    """The hidden states after each layer at the real positions of all batches, in float64."""
    found = [
        [each[batch["attention_mask"].bool()] for each in encoder.all_hidden_states(model, batch)]
        for batch in given
    ]
    return [torch.cat(depth).double() for depth in zip(*found, strict=True)]


def cut_to(model, size, given):
    return ffn.cut(model, ffn.most_important(ffn.output_change(model, given), size))


@torch.no_grad()
def test_a_refit_where_nothing_was_cut_changes_nothing(family):
    model, given = toys.model(family), batches(family)
    same = cut_to(model, 20, given)
    refit.outputs(same, model, given)
    assert toys.same(toys.bits(same), toys.bits(model))


@torch.no_grad()
def test_the_first_layer_is_refitted_as_a_least_squares_solver_does(family, monkeypatch):
    """Without a penalty; the reference stacks all positions and leaves the solving to LAPACK."""
    monkeypatch.setattr(refit, "RIDGE", 0.0)
    model, given = toys.model(family), batches(family)
    small = cut_to(model, 4, given)
    before = layer(small, 0).output.dense.bias.clone()
    refit.outputs(small, model, given)
    inputs, outputs = [], []
    hook = layer(model, 0).intermediate.register_forward_hook(
        lambda *call: inputs.append(layer(small, 0).intermediate(call[1][0]))
    )
    second = layer(model, 0).output.dense.register_forward_hook(
        lambda *call: outputs.append(call[2])
    )
    for batch in given:
        encoder.hidden_states(model, batch)
    hook.remove()
    second.remove()
    real = [batch["attention_mask"].bool() for batch in given]
    x, y = (
        torch.cat([each[where].double() for each, where in zip(seen, real, strict=True)])
        for seen in (inputs, outputs)
    )
    solved = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution
    dense = layer(small, 0).output.dense
    assert torch.allclose(
        x @ dense.weight.T.double() + dense.bias,
        torch.cat([x, x[:, :1] * 0 + 1], 1) @ solved,
        atol=1e-4,
    )
    assert not torch.allclose(dense.bias, before)


@torch.no_grad()
def test_a_refitted_model_is_closer_to_the_uncut_one_at_every_layer(family):
    model, given = toys.model(family), batches(family)
    small = cut_to(model, 6, given)
    plain = states(small, given)
    refit.outputs(small, model, given)
    for cut, fitted, whole in zip(
        plain[1:], states(small, given)[1:], states(model, given)[1:], strict=True
    ):
        assert (fitted - whole).square().sum() < 0.8 * (cut - whole).square().sum()


@torch.no_grad()
def test_a_refit_reads_real_positions_only_and_does_not_depend_on_the_batches(family):
    model, given = toys.model(family), batches(family)
    padded = [
        {
            name: torch.nn.functional.pad(batch[name], (0, 3))
            for name in ("input_ids", "attention_mask")
        }
        for batch in given
    ]
    one, other = cut_to(model, 6, given), cut_to(model, 6, given)
    refit.outputs(one, model, given)
    refit.outputs(other, model, padded[::-1])
    assert all(
        torch.allclose(left, right, atol=1e-4)
        for left, right in zip(one.parameters(), other.parameters(), strict=True)
    )


@torch.no_grad()
def test_layers_take_over_what_the_layers_after_them_did(family):
    """Closer after every kept layer that stands for others, and at the end."""
    model, given = toys.model(family), batches(family)
    plain, fitted = (axes.take(model, layers=[0, 2]) for _ in range(2))
    refit.outputs(fitted, model, given, [0, 2])
    whole = states(model, given)
    for depth, end in ((1, 2), (2, 4)):
        errors = [
            (states(small, given)[depth] - whole[end]).square().sum() for small in (fitted, plain)
        ]
        assert errors[0] < 0.8 * errors[1]
    norm = layer(model, 1).output.LayerNorm
    assert layer(fitted, 0).output.LayerNorm.weight.equal(norm.weight)
