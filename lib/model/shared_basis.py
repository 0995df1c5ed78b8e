"""The residual stream in its strongest directions: parts of the starts `shared_basis` and `fitted`.

All matrices turn with the same basis. LayerNorms work dimension by dimension and cannot turn with
it, so their scales and shifts are fitted anew. These starts are ours, not the paper's.
"""

import torch
from torch import nn

from lib.model import axes, device, encoder, parts, passes, refit


@torch.no_grad()
def shared_basis(model, batches: list[dict], norms=None, precision="float32") -> torch.Tensor:
    """Orthonormal directions (H, H), as columns, by falling share of the stream's squares.

    The residual stream is read off the outputs of the encoder's `norms`, by default of all, at the
    real positions of the batches.
    """
    outputs, size = [], model.config.hidden_size
    norms = [norm for norm in norms or parts.norms(model) if norm.normalized_shape == (size,)]
    hooks = [norm.register_forward_hook(lambda *call: outputs.append(call[2])) for norm in norms]
    squares = torch.zeros(size, size, dtype=torch.float64)
    exact = torch.float32 if device.in_bfloat16(model.config, precision) else torch.float64
    for batch in batches:
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        with device.autocast(model.config, precision):
            encoder.hidden_states(model, batch)
        for states in outputs:
            real = states[batch["attention_mask"].bool()].cpu().to(exact)
            squares += real.T @ real
        outputs.clear()
    for hook in hooks:
        hook.remove()
    return torch.linalg.eigh(squares).eigenvectors.flip(1).to(model.device, torch.float32)


@torch.no_grad()
def rotated(model, basis: torch.Tensor, heads: torch.Tensor):
    """A new model whose residual stream is that of `model` in the directions `basis` (H, H').

    `heads` (A', d') are the kept rows of query, key and value.
    """

    def turned(tensor, letters, kept):
        value = axes.select(tensor, letters, kept | {"H": None})
        if letters[0] == "H":
            value = basis.T @ value
        if letters[1:] == "H":
            value = value @ basis
        return value

    return axes.take(model, hidden=torch.arange(basis.shape[1]), heads=heads, make=turned)


@torch.no_grad()
def fit_norms(small, whole, basis, batches: list[dict], matrices=False, goals=None) -> None:
    """Fit the scale and shift (H') of each LayerNorm of `small` by least squares.

    The target is the output of the LayerNorm of `whole` in the same place, or of that in `goals`,
    in the directions `basis` (H, H'), at the real positions of the batches. The lowest LayerNorm is
    fitted first, and each next one sees the text through the fitted ones below it. With `matrices`,
    the matrix of the layer that writes into the stream before a LayerNorm is fitted first: to what
    enters that of `whole`. Then passes are in bfloat16 where that is faster.
    """
    writer = _writers(small) if matrices else {}
    precision = "auto" if matrices else "float32"
    fitted, given = (passes.Passes(model, batches, precision) for model in (small, whole))
    for norm, target in zip(parts.norms(small), goals or parts.norms(whole), strict=True):
        fitted.settle_below(writer.get(norm, norm))
        given.settle_below(target)
        wanted = [given.entering(number, target)[0] for number in range(len(batches))]

        def lacks(number, norm=norm, wanted=wanted):
            inputs, entering = fitted.entering(number, writer[norm], norm)
            return inputs, wanted[number] @ basis - entering

        if norm in writer:
            refit.correct(writer[norm], map(lacks, range(len(batches))))
        own = target.normalized_shape == (len(basis),)  # else its axis was not cut
        turn = basis if own else torch.eye(*target.normalized_shape, device=basis.device)
        x, y, xy, xx, count = *torch.zeros(4, turn.shape[1], dtype=torch.float64), 0
        for number, leaving in enumerate(wanted):
            (entering,) = fitted.entering(number, norm)
            states = nn.functional.layer_norm(entering, norm.normalized_shape, eps=norm.eps)
            states, taught = (each.cpu().double() for each in (states, target(leaving) @ turn))
            x, y, count = x + states.sum(0), y + taught.sum(0), count + len(states)
            xy, xx = xy + (states * taught).sum(0), xx + states.square().sum(0)
        if norm.bias is None:
            norm.weight.copy_(xy / xx.clamp(min=1e-9 * count))
            continue
        spread = (xx - x.square() / count).clamp(min=1e-9 * count)
        norm.weight.copy_((xy - x * y / count) / spread)
        norm.bias.copy_(y / count - norm.weight * x / count)


def _writers(model) -> dict:
    """The norm after each sum in the residual stream -> the matrix that writes into it before."""
    found = {}
    for layer in parts.layers(model):
        found[layer.attention_reader] = layer.attention_output
        found[layer.ffn_reader] = layer.ffn_output
    return found
