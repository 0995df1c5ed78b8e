"""What is left of a cut model takes over what was lost, in closed form and without training.

Not in the paper.
"""

import torch
from torch import nn

from lib.model import parts, passes

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
    changes. In float64. Beside the models it keeps one hidden state a position of the batches.
    """
    of_whole = parts.layers(whole)
    ends = [*(kept or range(len(of_whole)))[1:], len(of_whole)]
    fitted, given = passes.Passes(small, batches), passes.Passes(whole, batches)
    for layer, end in zip(parts.layers(small), ends, strict=True):
        norm, target = layer.ffn_reader, of_whole[end - 1].ffn_reader
        norm.load_state_dict(target.state_dict())
        fitted.settle_below(layer.ffn_output)
        given.settle_below(target)

        def lost(number, layer=layer, norm=norm, target=target):
            neurons, entering = fitted.entering(number, layer.ffn_output, norm)
            (wanted,) = given.entering(number, target)
            return neurons, wanted - entering

        correct(layer.ffn_output, map(lost, range(len(batches))))


@torch.no_grad()
def correct(dense: nn.Linear, pairs) -> None:
    """Change a linear map by ridge regression, so that it adds what is missing.

    `pairs` gives for each batch what enters the map, (N, inputs), and what its output lacks,
    (N, outputs). The change of the matrix is penalised, that of the bias, if there is one, is free.
    """
    squares, crossed, inputs = 0, 0, dense.in_features
    biases = int(dense.bias is not None)
    for given, missing in pairs:
        given = nn.functional.pad(given, (0, biases), value=1.0).cpu().numpy()
        # numpy computes one half of a product of a matrix with itself
        squares = squares + torch.from_numpy(given.T @ given).double()
        crossed = crossed + torch.from_numpy(given.T @ missing.cpu().numpy()).double()
    penalty = RIDGE * squares.diagonal()[:inputs].mean() * torch.ones(len(squares)).double()
    penalty[inputs:] = 0
    change = torch.linalg.solve(squares + penalty.diag(), crossed)
    dense.weight += change[:inputs].T.to(dense.weight)
    if biases:
        dense.bias += change[-1].to(dense.bias)
