"""Cut 3, smaller hidden size: the start of the student of the second distillation.

Source: paper, step 3. The start `shared_basis` is ours; its parts are in lib.model.shared_basis.
"""

from functools import partial

import torch

from lib.errors import StudyError
from lib.model import axes, device, encoder, ffn, parts, rotary
from lib.model.families import family
from lib.model.shared_basis import fit_norms, rotated, shared_basis
from lib.model.sizes import check_hidden_size

_ROWS = 2**12  # of a matrix that are in float64 at once


def kept_heads(config, hidden_size: int, num_attention_heads: int = 0) -> torch.Tensor:
    """Numbers (A', d') of the kept rows of query, key and value, of the first A' heads; 0: of all.

    They are the first hidden_size / A' dimensions of each of these heads, or where positions are
    rotary, whole pairs of dimensions, as lib.model.rotary says.
    """
    heads = num_attention_heads or config.num_attention_heads
    old, new = config.hidden_size // config.num_attention_heads, hidden_size // heads
    kept = rotary.kept_dimensions(old, new) if family(config).rotary else torch.arange(new)
    return torch.arange(heads)[:, None] * old + kept


@torch.no_grad()
def important_heads_first(model, batches: list[dict] | None):
    """The same model with the heads of each layer in another order, which changes no output.

    A head is as important as what the output of attention loses without it at the real positions
    of the batches, as lib.model.ffn.output_change says. Raises StudyError without batches.
    """
    _check_text(batches, "fewer attention heads need text to choose the heads on")
    width = model.config.hidden_size // model.config.num_attention_heads
    with device.at_work(model):
        importance = ffn.output_change(model, batches, "attention_output", width)
    order = importance.sort(dim=1, descending=True, stable=True).indices
    return axes.take(model, heads=order[..., None] * width + torch.arange(width))


def start(
    model, hidden_size, hidden_start, seed=0, batches=None, num_attention_heads=0, fitted_to=None
):
    """A new model of the smaller hidden size, before its distillation.

    Of each layer the `num_attention_heads` most important heads stay, 0 keeps all.

    truncation: the first dimensions of the residual stream and of each head.
    truncation_across_heads (the paper's scripts): the first rows of query, key and value, across
      the borders of heads; attention scores keep the divisor of the old head size.
    svd: each matrix becomes its rank-`hidden_size` approximation, then truncation.
    shared_basis (not in the paper): the strongest directions of the residual stream on the text of
      `batches`, and the first dimensions of each head. The LayerNorms are fitted anew on that text.
      The activation of the head is not, so truncation is the better start for a small cut.
    fitted (not in the paper): the same, and the matrices that write into the stream are fitted.
      `fitted_to` may name a teacher and the numbers of its layers that are left (None: all). Then
      basis and fits follow what it computes, and take over what earlier cuts lost, too.
    random: freshly drawn from the seed.
    Raises StudyError for a start or a size that cannot be, and for want of batches.
    """
    count, old = model.config.num_attention_heads, model.config.hidden_size
    check_hidden_size(count, old, hidden_size, family(model.config).rotary, num_attention_heads)
    model = model if num_attention_heads in (0, count) else important_heads_first(model, batches)
    heads = kept_heads(model.config, hidden_size, num_attention_heads)
    first = torch.arange(hidden_size)
    match hidden_start:
        case "truncation":
            return axes.take(model, hidden=first, heads=heads)
        case "svd":
            make = partial(low_rank, rank=hidden_size)
            return axes.take(model, hidden=first, heads=heads, make=make)
        case "truncation_across_heads":
            return _across_heads(model, first, first.view_as(heads))
        case "random":
            return encoder.new(axes.take(model, hidden=first, heads=heads).config, seed)
        case "shared_basis" | "fitted":
            followed = (fitted_to or (model, None)) if hidden_start == "fitted" else None
            return _on_shared_basis(model, hidden_size, heads, batches, followed)
    known = "truncation, truncation_across_heads, svd, shared_basis, fitted, random"
    raise StudyError(f"no hidden start {hidden_start!r}; there are {known}")


def low_rank(matrix: torch.Tensor, letters: str, kept: dict, rank: int) -> torch.Tensor:
    """The kept entries, as lib.model.axes.select takes them, of the best approximation of a matrix
    of the given rank (Eckart-Young); of a tensor without a hidden axis, its own.

    The eigenvectors of the narrow side's Gram matrix are the right singular vectors. So a
    vocabulary of 250,002 rows needs no full SVD. The Gram matrix is summed in float64, a part at a
    time. Its eigenvectors in float32 take half the time: on a real model no entry differs by more
    than 1e-4 of their root mean square. What is cut away is never computed.
    """
    if len(letters) < 2 or "H" not in letters or rank >= min(matrix.shape):
        return axes.select(matrix, letters, kept)
    if matrix.shape[0] < matrix.shape[1]:
        return low_rank(matrix.T, letters[::-1], kept, rank).T
    parts = (part.double().numpy() for part in matrix.detach().split(_ROWS))
    squares = sum(part.T @ part for part in parts)  # numpy computes one half of a Gram matrix
    basis = torch.linalg.eigh(torch.from_numpy(squares).float())[1][:, -rank:]
    columns = axes.select(basis, letters[1], kept)
    return axes.select(matrix, letters[0], kept) @ (basis @ columns.T).to(matrix.dtype)


def _on_shared_basis(model, hidden_size: int, heads: torch.Tensor, batches, fitted_to=None):
    """The start `shared_basis`, or where something is `fitted_to`, the start `fitted`."""
    _check_text(batches, "the starts shared_basis and fitted need text to find the basis on")
    whole, kept = fitted_to or (model, None)
    precision = "auto" if fitted_to else "float32"
    goals = parts.goals(whole, kept)
    with device.at_work(model), device.at_work(whole):
        basis = torch.eye(hidden_size, device=model.device)  # if nothing is cut, nothing turns
        if hidden_size < model.config.hidden_size:
            basis = shared_basis(whole, batches, goals, precision)[:, :hidden_size]
        result = rotated(model, basis, heads)
        fit_norms(result, whole, basis, batches, bool(fitted_to), goals)
    return result.to(model.device)


def _check_text(batches, need: str) -> None:
    if not batches:
        raise StudyError(f"{need}; give masked batches of the language's training text")


def _across_heads(model, first: torch.Tensor, heads: torch.Tensor):
    """The model of the first rows of query, key and value, whose attention scores are divided by
    the root of the old head size again."""
    if family(model.config).rotary:
        raise StudyError(
            f"truncation_across_heads breaks the pairs of dimensions that rotary positions turn in "
            f"a model of type {model.config.model_type!r}; take truncation"
        )
    cut = axes.take(model, hidden=first, heads=heads)
    width = model.config.hidden_size // model.config.num_attention_heads
    rotary.scale_queries(cut, (heads.shape[1] / width) ** 0.5)
    return cut
