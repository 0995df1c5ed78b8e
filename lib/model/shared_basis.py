"""The residual stream in its strongest directions: the parts of the hidden start `shared_basis`.

All matrices turn with the same basis. LayerNorms work dimension by dimension and cannot turn with
it, so their scales and shifts are fitted anew. This start is ours, not the paper's.
"""

import contextlib

import torch
from torch import nn

from lib.model import axes, encoder, mlm_head


@torch.no_grad()
def shared_basis(model, batches: list[dict]) -> torch.Tensor:
    """Orthonormal directions (H, H), as columns, by falling share of the stream's squares.

    The residual stream is the output of the LayerNorms after the embeddings and after each half of
    each layer, at the real positions of the batches.
    """
    body, outputs = model.base_model, []
    norms = [module for module in body.modules() if isinstance(module, nn.LayerNorm)]
    hooks = [norm.register_forward_hook(lambda *call: outputs.append(call[2])) for norm in norms]
    squares = torch.zeros(model.config.hidden_size, model.config.hidden_size, dtype=torch.float64)
    for batch in batches:
        encoder.hidden_states(model, batch)
        for states in outputs:
            real = states[batch["attention_mask"].bool()].double()
            squares += real.T @ real
        outputs.clear()
    for hook in hooks:
        hook.remove()
    return torch.linalg.eigh(squares).eigenvectors.flip(1).to(torch.float32)


@torch.no_grad()
def rotated(model, basis: torch.Tensor, heads: torch.Tensor):
    """A new model whose residual stream is that of `model` in the directions `basis` (H, H').

    `heads` (D',) are the kept rows of query, key and value.
    """
    result = axes.take(model, hidden=torch.arange(basis.shape[1]), heads=heads)
    old = dict(model.named_parameters())
    for name, tensor in result.named_parameters():
        letters, value = axes.axes(name), old[name]
        if letters[0] == "H":
            value = basis.T @ value
        if letters[1:] == "H":
            value = value @ basis
        if "D" in letters:
            value = value.index_select(letters.index("D"), heads)
        tensor.copy_(value)
    return result


@torch.no_grad()
def fit_norms(small, whole, basis: torch.Tensor, batches: list[dict]) -> None:
    """Fit the scale and shift (H') of each LayerNorm of `small` by least squares.

    The target is the output of the same LayerNorm of `whole` in the directions `basis` (H, H'), at
    the real positions of the batches. The lowest LayerNorm is fitted first, and each next one sees
    the text through the fitted ones below it.
    """
    pairs = zip(small.modules(), whole.modules(), strict=True)
    for norm, target in [pair for pair in pairs if isinstance(pair[0], nn.LayerNorm)]:
        x, y, xy, xx, count = *torch.zeros(4, basis.shape[1], dtype=torch.float64), 0
        for batch in batches:
            entering, leaving = _seen(small, norm, whole, target, batch)
            given = nn.functional.layer_norm(entering, norm.normalized_shape, eps=norm.eps).double()
            wanted = (leaving @ basis).double()
            x, y, count = x + given.sum(0), y + wanted.sum(0), count + len(given)
            xy, xx = xy + (given * wanted).sum(0), xx + given.square().sum(0)
        spread = (xx - x.square() / count).clamp(min=1e-9 * count)
        norm.weight.copy_((xy - x * y / count) / spread)
        norm.bias.copy_(y / count - norm.weight * x / count)


class _Reached(Exception):
    """Ends a forward pass where nothing above is needed."""


def _seen(small, norm, whole, target, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """(input of `norm`, output of `target`) at the real positions of a batch, (tokens, H)."""
    seen = []

    def reached(states):
        seen.append(states[batch["attention_mask"].bool()])
        raise _Reached

    hooks = [
        target.register_forward_hook(lambda *call: reached(call[2])),
        norm.register_forward_pre_hook(lambda _, given: reached(given[0])),
    ]
    for model in (whole, small):
        with contextlib.suppress(_Reached):
            mlm_head.transform(model, encoder.hidden_states(model, batch))
    for hook in hooks:
        hook.remove()
    leaving, entering = seen
    return entering, leaving
