"""What is left of a cut model takes over what was lost, in closed form and without training.

Not in the paper.
"""

import torch
from torch import nn

from lib.model import mlm_head

RIDGE = 1e-3  # of the neurons' mean square: the penalty on a change of an output matrix
SENTENCES = 1000  # of the training text, which a study fits on


@torch.no_grad()
def outputs(small, whole, batches: list[dict], kept: list[int] | None = None) -> None:
    """Fit the output matrix and bias of each feed-forward network of `small` by ridge regression.

    `kept` are the numbers of the layers of `whole` that `small` has; None says all. After a layer
    of `small` the residual stream shall be what the next kept layer of `whole` reads, before its
    normalisation, at every real position. The LayerNorm is then that of the last layer that the
    step stands for. The lowest layer is fitted first, and each next one sees the text through the
    fitted ones below it. The change of a matrix is penalised, so where nothing was cut nothing
    changes. In float64; the memory does not grow with the text.
    """
    of_whole = whole.base_model.encoder.layer
    ends = [*(kept or range(len(of_whole)))[1:], len(of_whole)]
    for layer, end in zip(small.base_model.encoder.layer, ends, strict=True):
        norm, target = layer.output.LayerNorm, of_whole[end - 1].output.LayerNorm
        norm.load_state_dict(target.state_dict())

        def lost(batch, layer=layer, norm=norm, target=target):
            batch = {name: batch[name].to(small.device) for name in batch}
            neurons, given = mlm_head.entering(small, batch, layer.output.dense, norm)
            (wanted,) = mlm_head.entering(whole, batch, target)
            return neurons, wanted - given

        correct(layer.output.dense, map(lost, batches))


@torch.no_grad()
def correct(dense: nn.Linear, pairs) -> None:
    """Change a linear map by ridge regression, so that it adds what is missing.

    `pairs` gives for each batch what enters the map, (N, inputs), and what its output lacks,
    (N, outputs). The change of the matrix is penalised, that of the bias is free.
    """
    squares, crossed = 0, 0
    for given, missing in pairs:
        given = nn.functional.pad(given.cpu().double(), (0, 1), value=1.0)  # for the bias
        squares = squares + given.T @ given
        crossed = crossed + given.T @ missing.cpu().double()
    penalty = RIDGE * squares.diagonal()[:-1].mean() * torch.ones(len(squares)).double()
    penalty[-1] = 0
    change = torch.linalg.solve(squares + penalty.diag(), crossed)
    dense.weight += change[:-1].T.to(dense.weight)
    dense.bias += change[-1].to(dense.bias)
