"""Cut 3, smaller hidden size: how the student of the second distillation starts (paper, step 3)."""

import torch
from torch import nn

from lib.errors import StudyError
from lib.model import encoder
from lib.study.studies import check_hidden_size


def kept_heads(config, hidden_size: int) -> torch.Tensor:
    """Numbers (D',) of the query/key/value rows kept: the first hidden_size/A dimensions of each of the A heads."""
    heads = config.num_attention_heads
    old, new = config.hidden_size // heads, hidden_size // heads
    return torch.cat([torch.arange(head * old, head * old + new) for head in range(heads)])


def start(
    model, hidden_size: int, hidden_start: str, seed: int = 0, batches: list[dict] | None = None
):
    """A new model of the smaller hidden size, before its distillation. All heads stay.

    truncation: the first dimensions of the residual stream, and the first dimensions of each head.
    truncation_across_heads: the paper's scripts: the first rows of query, key and value, which run across head borders, and the
      attention scores still divided by the root of the old head size.
    svd: each matrix alone becomes its rank-`hidden_size` approximation, then is cut as by truncation.
    shared_basis (not in the paper): the residual stream in the directions in which it is strongest on the text of `batches`, the same
      for all matrices, and the first dimensions of each head. What is elementwise does not turn with the stream: the LayerNorms are
      fitted anew on that text, the head's activation is left, so that with next to nothing to cut truncation is the better start.
    random: freshly drawn from the seed.
    Raises StudyError for an unknown start, a size the heads do not divide, and shared_basis without batches.
    """
    config = model.config
    check_hidden_size(config.num_attention_heads, config.hidden_size, hidden_size)
    first = torch.arange(hidden_size)
    if hidden_start == "random":
        return encoder.new(encoder.take(model, hidden=first, heads=first).config, seed)
    if hidden_start == "truncation_across_heads":
        result = encoder.take(model, hidden=first, heads=first)
        _scale_queries(result, (hidden_size / config.hidden_size) ** 0.5)
        return result
    if hidden_start == "shared_basis":
        if not batches:
            raise StudyError(
                "the start shared_basis needs text to find the basis on; give masked batches of the language's training text"
            )
        basis = shared_basis(model, batches)[:, :hidden_size]
        result = _turned(model, basis, kept_heads(config, hidden_size))
        fit_norms(result, model, basis, batches)
        return result
    if hidden_start == "svd":
        model = _low_rank(model, hidden_size)
    elif hidden_start != "truncation":
        raise StudyError(
            f"no hidden start {hidden_start!r}; there are truncation, truncation_across_heads, svd, shared_basis, random"
        )
    return encoder.take(model, hidden=first, heads=kept_heads(config, hidden_size))


@torch.no_grad()
def shared_basis(model, batches: list[dict]) -> torch.Tensor:
    """Orthonormal directions (H, H), as columns, by falling share of the residual stream's squares on the text of the batches.

    The stream is what the LayerNorms give, after the embeddings and after each half of each layer, at real positions.
    """
    body, found = getattr(model, encoder.family(model).body), []
    norms = [body.embeddings.LayerNorm]
    norms += [
        half
        for layer in body.encoder.layer
        for half in (layer.attention.output.LayerNorm, layer.output.LayerNorm)
    ]
    hooks = [
        norm.register_forward_hook(lambda _, given, result: found.append(result)) for norm in norms
    ]
    squares = torch.zeros(model.config.hidden_size, model.config.hidden_size, dtype=torch.float64)
    for batch in batches:
        encoder.hidden_states(model, batch)
        for states in found:
            real = states[batch["attention_mask"].bool()].double()
            squares += real.T @ real
        found.clear()
    for hook in hooks:
        hook.remove()
    return torch.linalg.eigh(squares).eigenvectors.flip(1).to(torch.float32)


@torch.no_grad()
def _turned(model, basis: torch.Tensor, heads: torch.Tensor):
    """A new model whose residual stream is that of `model` in the directions `basis` (H, H'), with the rows `heads` of each head."""
    result, old = (
        encoder.take(model, hidden=torch.arange(basis.shape[1]), heads=heads),
        dict(model.named_parameters()),
    )
    for name, tensor in result.named_parameters():
        letters, value = encoder.axes(name), old[name]
        if letters[0] == "H":
            value = basis.T @ value
        if len(letters) == 2 and letters[1] == "H":
            value = value @ basis
        for dimension, letter in enumerate(letters):
            value = value.index_select(dimension, heads) if letter == "D" else value
        tensor.copy_(value)
    return result


@torch.no_grad()
def fit_norms(small, whole, basis: torch.Tensor, batches: list[dict]) -> None:
    """Give each LayerNorm of `small` the scales and shifts (H') with which it comes nearest, by least squares over the real positions of
    the batches, to what that of `whole` gives in the directions `basis` (H, H').

    One after the other, the first first: each sees what the fitted ones below it make of the text.
    """
    kept = {}
    for norm, old in zip(_norms(small), _norms(whole), strict=True):
        hooks = [
            norm.register_forward_hook(lambda _, given, __: kept.update(given=given[0])),
            old.register_forward_hook(lambda _, __, result: kept.update(wanted=result)),
        ]
        x, y, xy, xx, count = *torch.zeros(4, basis.shape[1], dtype=torch.float64), 0
        for batch in batches:
            real = batch["attention_mask"].bool()
            for model in (whole, small):
                encoder.transform(model, encoder.hidden_states(model, batch))
            given = nn.functional.layer_norm(
                kept["given"][real], norm.normalized_shape, eps=norm.eps
            ).double()
            wanted = (kept["wanted"][real] @ basis).double()
            x, y, count = x + given.sum(0), y + wanted.sum(0), count + len(given)
            xy, xx = xy + (given * wanted).sum(0), xx + given.square().sum(0)
        for hook in hooks:
            hook.remove()
        spread = (xx - x.square() / count).clamp(min=1e-9 * count)
        norm.weight.copy_((xy - x * y / count) / spread)
        norm.bias.copy_(y / count - norm.weight * x / count)


def _norms(model) -> list:
    return [module for module in model.modules() if isinstance(module, nn.LayerNorm)]


@torch.no_grad()
def _low_rank(model, rank: int):
    """A copy in which every matrix with a hidden axis is its best approximation of the given rank."""
    copy = encoder.take(model)
    for name, tensor in copy.named_parameters():
        if tensor.dim() == 2 and "H" in encoder.axes(name):
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
