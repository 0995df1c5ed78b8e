"""The loss of a masked language model on a GPU, whose readout is padded."""

import pytest
import torch
import toys

from lib.measure import mlm
from lib.model import encoder


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_padded_readout_changes_no_loss(family):
    """Neither the loss nor, for the real rows, its gradient; the added rows are impossible."""
    model, generator = toys.model(family), torch.Generator().manual_seed(1)
    states, gold = torch.randn(5, 24, generator=generator), torch.arange(5)
    real = encoder.readout(model)
    wide = mlm.padded(*real)
    assert len(wide[0]) == len(wide[1]) == -(-len(real[0]) // 64) * 64
    assert len(mlm.padded(*wide)[0]) == len(wide[0])
    logits = [torch.nn.functional.linear(states, *readout) for readout in (real, wide)]
    losses = [torch.nn.functional.cross_entropy(part, gold) for part in logits]
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss, real, retain_graph=True) for loss in losses]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.all(logits[1].softmax(-1)[:, len(real[0]) :] == 0)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_the_loss_is_the_librarys(family):
    model, batch = toys.model(family), toys.batch(family)
    torch.testing.assert_close(mlm.mlm_loss(model, batch), model(**batch).loss)
    nothing = batch | {"labels": torch.full_like(batch["labels"], -100)}
    assert mlm.mlm_loss(model, nothing).item() == 0
