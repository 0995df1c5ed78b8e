"""Muon and AdamW as one optimizer: which parameter gets which update; what a checkpoint keeps."""

import copy

import pytest
import torch
import toys

from lib.model import parts
from lib.train import optimizers

every = pytest.mark.parametrize("family", toys.EVERY)


def with_gradients(family, seed):
    model = toys.model(family)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


@every
def test_each_parameter_is_in_one_group_and_only_matrices_of_layers_are_muons(family):
    model = toys.model(family)
    optimizer = optimizers.Muon(model, 1e-3, 0.01)
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped)) and set(grouped) == set(model.parameters())
    first = parts.layers(model)[0]
    muons = set(optimizer.param_groups[0]["params"])
    assert {first.query.weight, first.ffn_input.weight, first.ffn_output.weight} <= muons
    assert model.get_input_embeddings().weight not in muons
    assert all(parameter.ndim == 2 for parameter in muons)
    undecayed = set(optimizer.param_groups[2]["params"])
    assert undecayed == {parameter for parameter in grouped if parameter.ndim < 2}
    assert optimizer.param_groups[2]["weight_decay"] == 0


@every
def test_matrices_change_alike_in_all_directions_and_the_rest_as_by_adamw(family):
    """The singular values of a matrix's first update are nearer each other than its gradient's.
    The others have the update of the library's AdamW.
    """
    model, other = with_gradients(family, 1), with_gradients(family, 1)
    before = copy.deepcopy(model)
    optimizers.Muon(model, 1e-3, 0.0).step()
    torch.optim.AdamW(other.parameters(), lr=1e-3, weight_decay=0.0).step()
    muons = set(optimizers.Muon(model, 1e-3, 0.0).param_groups[0]["params"])
    for parameter, adams, old in zip(
        model.parameters(), other.parameters(), before.parameters(), strict=True
    ):
        if parameter not in muons:
            assert torch.allclose(parameter, adams, atol=1e-7)
            continue
        change = (old - parameter).detach()
        values = torch.linalg.svdvals(change)
        given = torch.linalg.svdvals(parameter.grad)
        assert values.std() / values.mean() < 0.7 * given.std() / given.mean()
        # 0.2 is the size of AdamW's updates that torch scales to
        size = 1e-3 * 0.2 * max(change.shape) ** 0.5
        assert values.mean() == pytest.approx(size, rel=0.3)


def test_the_state_goes_on_where_it_was():
    """Three steps in a row, and two steps, a state as a file holds it, and one step."""
    models = [with_gradients("bert", 1) for _ in range(2)]
    made = [optimizers.Muon(model, 1e-2, 0.01) for model in models]
    for _ in range(2):
        for optimizer in made:
            optimizer.step()
    again = optimizers.Muon(models[1], 1.0, 0.5)
    again.load_state_dict(copy.deepcopy(made[1].state_dict()))
    for group in again.param_groups:
        assert group["lr"] == 1e-2
        group["lr"] = 1e-3
    for group in made[0].param_groups:
        group["lr"] = 1e-3
    made[0].step()
    again.step()
    assert toys.same(toys.bits(models[0]), toys.bits(models[1]))
