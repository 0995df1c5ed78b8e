"""Cut 3, smaller hidden size: how the student of the second distillation starts (paper, step 3)."""

import torch

from lib import models
from lib.errors import StudyError
from lib.studies import check_hidden_size


def kept_heads(config, hidden_size: int) -> torch.Tensor:
    """Numbers (D',) of the query/key/value rows kept: the first hidden_size/A dimensions of each of the A heads."""
    heads = config.num_attention_heads
    old, new = config.hidden_size // heads, hidden_size // heads
    return torch.cat([torch.arange(head * old, head * old + new) for head in range(heads)])


def start(model, hidden_size: int, hidden_start: str, seed: int = 0):
    """A new model of the smaller hidden size, before its distillation. All heads stay.

    truncation: the first dimensions of the residual stream, and the first dimensions of each head.
    truncation_across_heads: the paper's scripts: the first rows of query, key and value, which run across head borders, and the
      attention scores still divided by the root of the old head size.
    svd: each matrix alone becomes its rank-`hidden_size` approximation, then is cut as by truncation.
    random: freshly drawn from the seed.
    """
    config = model.config
    check_hidden_size(config.num_attention_heads, config.hidden_size, hidden_size)
    first = torch.arange(hidden_size)
    if hidden_start == "random":
        return models.new(models.take(model, hidden=first, heads=first).config, seed)
    if hidden_start == "truncation_across_heads":
        result = models.take(model, hidden=first, heads=first)
        _scale_queries(result, (hidden_size / config.hidden_size) ** 0.5)
        return result
    if hidden_start == "svd":
        model = _low_rank(model, hidden_size)
    elif hidden_start != "truncation":
        raise StudyError(f"no hidden start {hidden_start!r}; there are truncation, truncation_across_heads, svd, random")
    return models.take(model, hidden=first, heads=kept_heads(config, hidden_size))


@torch.no_grad()
def _low_rank(model, rank: int):
    """A copy in which every matrix with a hidden axis is its best approximation of the given rank."""
    copy = models.take(model)
    for name, tensor in copy.named_parameters():
        if tensor.dim() == 2 and "H" in models.axes(name):
            tensor.copy_(low_rank(tensor, rank))
    return copy


def low_rank(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    """The best rank-`rank` approximation of a matrix (Eckart-Young), same shape.

    The narrow side's Gram matrix, in float64, gives the right singular vectors; a vocabulary of 250,002 rows costs no full SVD.
    """
    if rank >= min(matrix.shape):
        return matrix.clone()
    tall = matrix.double() if matrix.shape[0] >= matrix.shape[1] else matrix.double().T
    basis = torch.linalg.eigh(tall.T @ tall).eigenvectors[:, -rank:]
    result = tall @ basis @ basis.T
    return (result if matrix.shape[0] >= matrix.shape[1] else result.T).to(matrix.dtype)


@torch.no_grad()
def _scale_queries(model, factor: float) -> None:
    for name, tensor in model.named_parameters():
        if ".self.query." in name:
            tensor.mul_(factor)
