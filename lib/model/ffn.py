"""Cut 2, narrower feed-forward network: the neurons that matter least for the MLM loss go.

No training follows (paper, step 2).
"""

import torch

from lib.errors import StudyError
from lib.model import axes, encoder, parts
from lib.model.families import size


def importance(model, batches, loss) -> torch.Tensor:
    """neuron_importance (L, F): the sum over batches of |sum_j w_ij dL/dw_ij + b_i dL/db_i|.

    Row i of a layer's intermediate matrix is neuron i; L is `loss(model, batch)` of a masked batch.
    This is the first-order estimate of the change of the loss when neuron i is removed. The
    absolute value is taken per batch, so the batch size is part of the measure, as in the paper.
    In a gated network it is the row of the gate: the neuron's output is linear in it, so this row
    alone gives the estimate, and the other row would count it twice.
    Raises StudyError if a gradient is not finite.
    """
    dense = [layer.ffn_input for layer in parts.layers(model)]
    parameters = [tensor for layer in dense for tensor in layer.parameters()]
    neurons = size(model.config, "intermediate_size")
    total = torch.zeros(len(dense), neurons, device=model.device)
    for batch in batches:
        on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
        gradients = iter(torch.autograd.grad(loss(model, on_device), parameters))
        for number, layer in enumerate(dense):
            change = (layer.weight * next(gradients)).sum(1)
            if layer.bias is not None:
                change = change + layer.bias * next(gradients)
            total[number] += change[-neurons:].abs().detach()
    if not torch.isfinite(total).all():
        raise StudyError(
            "the gradients of the MLM loss are not finite; the model is broken: make it again"
        )
    return total.cpu()


@torch.no_grad()
def output_change(model, batches, part: str = "ffn_output", width: int = 1) -> torch.Tensor:
    """neuron_importance (L, F) without a loss: the mean square of what the output of a layer's
    feed-forward network loses at a real position when the neuron is removed.

    Unlike a gradient, it sees neurons that are so strong that the next LayerNorm makes small
    changes of them invisible. Not in the paper. `part` names another matrix of lib.model.parts, of
    which `width` inputs go together: attention_output and the size of a head give (L, A) for heads.
    """
    dense = [getattr(layer, part) for layer in parts.layers(model)]
    total, count, seen = [0] * len(dense), 0, {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, at=at: seen.update({at: given[0]}))
        for at, layer in enumerate(dense)
    ]
    for batch in batches:
        where = batch["attention_mask"].bool()
        encoder.hidden_states(model, {name: batch[name].to(model.device) for name in batch})
        count += int(where.sum())
        for at, activations in seen.items():
            total[at] = total[at] + _lost(activations.cpu()[where], dense[at].weight.cpu(), width)
    for hook in hooks:
        hook.remove()
    return torch.stack(total) / count


def _lost(rows: torch.Tensor, weight: torch.Tensor, width: int) -> torch.Tensor:
    """Of inputs (N, F) of a matrix (H, F): the squares of what each `width` of them add, summed."""
    if width == 1:
        return rows.square().sum(0) * weight.square().sum(0)
    parts_of = (each.split(width, dim=1) for each in (rows, weight))
    return torch.stack([(row @ part.T).square().sum() for row, part in zip(*parts_of, strict=True)])


def most_important(neuron_importance: torch.Tensor, intermediate_size: int) -> torch.Tensor:
    """kept_ids (L, F'): the most important neurons of each layer, ascending.

    Of equally important neurons the lower number stays. Raises StudyError for an
    `intermediate_size` that the model does not have.
    """
    available = neuron_importance.shape[1]
    if not 1 <= intermediate_size <= available:
        raise StudyError(
            f"an intermediate size of {intermediate_size} was asked for; the model has "
            f"{available}: take 1 to {available}"
        )
    order = torch.sort(neuron_importance, dim=1, descending=True, stable=True).indices
    return order[:, :intermediate_size].sort(dim=1).values


def cut(model, kept_ids: torch.Tensor):
    """A new model with the kept neurons (L, F') of each layer: rows of the intermediate matrix, two
    a neuron in a gated network, and columns of the output matrix."""
    return axes.take(model, neurons=kept_ids)
