"""The cuts in the other direction: a large teacher that begins where a small one ended.

Wider and deeper by growth that keeps the function (after Chen, Goodfellow and Shlens 2016, Net2Net, arXiv 1511.05641); another vocabulary
by averaging the embeddings of the pieces that a new piece is made of (after Gee et al. 2022, fast vocabulary transfer).
"""

import re

import torch

from lib import models
from lib.errors import StudyError


def wider(model, hidden_size: int, intermediate_size: int, seed: int):
    """A new model with H and F some whole times as large that gives the same logits; the heads stay, each with more dimensions.

    Every unit becomes several, side by side, that take the same value. What reads them takes a share of each: the old weight through
    their number, and noise of the same size that cancels over them, so that training can tell them apart.
    Raises StudyError for sizes that are no multiples.
    """
    config = _copy(model)
    times = {"H": _times(config, "hidden_size", hidden_size), "F": _times(config, "intermediate_size", intermediate_size), "V": 1, ".": 1}
    times["D"] = times["H"]
    config.hidden_size, config.intermediate_size = hidden_size, intermediate_size
    # softmax divides by the root of the head's size; the embeddings are read as they are, so the head's last norm shrinks in their place
    scales = {r"self\.query\.": times["H"] ** -0.5, r"(transform\.LayerNorm|lm_head\.layer_norm)\.": 1 / times["H"]}
    chance, tensors = torch.Generator().manual_seed(seed), {}
    for name, tensor in model.state_dict().items():
        letters = models.axes(name)
        grown = tensor.repeat_interleave(times[letters[0]], 0)
        for letter in letters[1:]:
            grown = grown.repeat_interleave(times[letter], 1)
            if letters[0] not in "V.":  # a linear map reads its second axis; embeddings write theirs
                grown = _shares(grown, times[letter], chance)
        for pattern, scale in scales.items():
            grown = grown * (scale if re.search(pattern, name) else 1)
        tensors[name] = grown
    return models.holding(config, tensors)


def deeper(model, num_hidden_layers: int):
    """A new model with some whole times as many layers: each old one is followed by copies that at first add nothing to the stream.

    Their output matrices are zero, so only their norms change what they are given; the model gives nearly what it gave.
    """
    config = _copy(model)
    times = _times(config, "num_hidden_layers", num_hidden_layers)
    config.num_hidden_layers, tensors = num_hidden_layers, {}
    for name, tensor in model.state_dict().items():
        layer = re.search(r"layer\.(\d+)\.", name)
        for k in range(times if layer else 1):
            new = name.replace(layer[0], f"layer.{int(layer[1]) * times + k}.", 1) if layer else name
            tensors[new] = tensor * 0 if k and "output.dense." in name else tensor
    return models.holding(config, tensors)


def with_vocabulary(model, old, new, seed: int):
    """A new model for the WordPiece tokenizer `new`: each piece starts as the mean of the pieces of `old` that it is made of, in
    embeddings and output biases alike. A piece with a character that `old` does not have is drawn from the seed, its bias the lowest.

    Raises StudyError where one of the two is no WordPiece tokenizer.
    """
    if any(type(tokenizer.backend_tokenizer.model).__name__ != "WordPiece" for tokenizer in (old, new)):
        raise StudyError("a vocabulary can take another's place where both are WordPiece; one of these two is not: keep the teacher's own")
    config, table = _copy(model), old.get_vocab()
    parts = [made_of(piece, table) for piece in new.convert_ids_to_tokens(range(len(new)))]
    config.vocab_size, config.pad_token_id = len(new), new.pad_token_id
    count = torch.tensor([len(each) for each in parts])
    owner, flat = torch.arange(len(parts)).repeat_interleave(count), torch.tensor([part for each in parts for part in each])
    chance, tensors = torch.Generator().manual_seed(seed), {}
    for name, tensor in model.state_dict().items():
        if models.axes(name)[0] == "V":
            rows = tensor.new_zeros(len(parts), *tensor.shape[1:]).index_add_(0, owner, tensor[flat])
            rows /= count.clamp(min=1).reshape(-1, *[1] * (tensor.dim() - 1))
            drawn = torch.empty(rows.shape).normal_(0, config.initializer_range, generator=chance)
            rows[count == 0] = drawn[count == 0] if tensor.dim() == 2 else tensor.min()
            tensor = rows
        tensors[name] = tensor
    return models.holding(config, tensors)


def made_of(piece: str, table: dict) -> list[int]:
    """Ids of the longest pieces of `table` that a WordPiece piece is made of, from its front; none where a character is not in it."""
    found, inside = [], piece.startswith("##") and piece not in table
    rest = piece[2:] if inside else piece
    while rest:
        length = next((n for n in range(len(rest), 0, -1) if "##" * inside + rest[:n] in table), 0)
        if not length:
            return []
        found.append(table["##" * inside + rest[:length]])
        rest, inside = rest[length:], True
    return found


def _shares(grown: torch.Tensor, times: int, chance: torch.Generator) -> torch.Tensor:
    """A matrix whose columns stand `times` times side by side, divided among them with noise of the same size that cancels."""
    if times == 1:
        return grown
    noise = torch.empty(grown.shape).normal_(generator=chance).unflatten(1, (-1, times))
    noise = (noise - noise.mean(2, keepdim=True)).flatten(1)
    return grown / times + noise * grown.std() / times


def _times(config, name: str, wanted: int) -> int:
    has = getattr(config, name)
    if wanted % has or wanted < has:
        raise StudyError(f"a {name} of {wanted} was asked for; the teacher has {has} and grows by whole numbers only: take {2 * has}, "
                         f"{3 * has}, ...")
    return wanted // has


def _copy(model):
    return type(model.config).from_dict(model.config.to_dict())
