"""Cut 2, narrower FFN: neurons that matter least for the MLM loss go, no training follows (paper, step 2)."""

import torch

from lib.errors import StudyError
from lib.model import encoder


def importance(model, batches, loss) -> torch.Tensor:
    """neuron_importance (L, F): sum over batches of |sum_j w_ij dL/dw_ij + b_i dL/db_i| for row i of each intermediate matrix.

    `batches` are masked batches, `loss(model, batch)` gives L. This is the first-order estimate of how the loss changes when
    neuron i is removed. The absolute value is taken per batch, so the batch size is part of the measure, as in the paper.
    Raises StudyError if a gradient is not finite.
    """
    dense = [
        layer.intermediate.dense
        for layer in getattr(model, encoder.family(model).body).encoder.layer
    ]
    parameters = [p for layer in dense for p in (layer.weight, layer.bias)]
    total = torch.zeros(len(dense), dense[0].out_features, device=dense[0].weight.device)
    for batch in batches:
        gradients = torch.autograd.grad(
            loss(model, {name: tensor.to(total.device) for name, tensor in batch.items()}),
            parameters,
        )
        for number, layer in enumerate(dense):
            by_weight, by_bias = gradients[2 * number], gradients[2 * number + 1]
            total[number] += (
                ((layer.weight * by_weight).sum(1) + layer.bias * by_bias).abs().detach()
            )
    if not torch.isfinite(total).all():
        raise StudyError(
            "the gradients of the MLM loss are not finite; the model is broken: make it again"
        )
    return total.cpu()


def most_important(neuron_importance: torch.Tensor, intermediate_size: int) -> torch.Tensor:
    """kept_ids (L, F'): the `intermediate_size` most important neurons of each layer, ascending; ties go to the lower number."""
    available = neuron_importance.shape[1]
    if not 1 <= intermediate_size <= available:
        raise StudyError(
            f"an intermediate size of {intermediate_size} was asked for; the model has {available}: take 1 to {available}"
        )
    order = torch.sort(neuron_importance, dim=1, descending=True, stable=True).indices
    return order[:, :intermediate_size].sort(dim=1).values


def cut(model, kept_ids: torch.Tensor):
    """A new model with the kept neurons of each layer: rows of the intermediate matrix, columns of the output matrix."""
    return encoder.take(model, neurons=kept_ids)
