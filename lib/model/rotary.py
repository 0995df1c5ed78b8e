"""Heads of rotary positions: which pairs of dimensions stay when a head becomes smaller.

Positions turn pair p of a head of d dimensions, which are p and p + d/2, by theta^(-2p/d) a token.
transformers computes these frequencies from the configuration alone, so a smaller head can only
have frequencies that another theta gives. With every k-th pair, k whole, they are exactly the old
ones: theta'^(-2i/d') = theta^(-2ik/d) for theta' = theta^(k d'/d).
"""

import torch

from lib.errors import StudyError
from lib.model import parts
from lib.model.families import family


def kept_dimensions(old: int, new: int) -> torch.Tensor:
    """Numbers (new,) of the kept dimensions of a head of `old`: those of every k-th pair."""
    pairs = torch.arange(new // 2) * _step(old, new)
    return torch.cat([pairs, pairs + old // 2])


def keep_frequencies(config, old) -> None:
    """Give a configuration with smaller heads the theta with which the kept pairs turn as before.

    Raises StudyError for frequencies that are not those of a theta alone.
    """
    if not family(config).rotary:
        return
    before, after = _head(old), _head(config)
    for kind, parameters in config.rope_parameters.items():
        if parameters["rope_type"] != "default":
            raise StudyError(
                f"the model scales the frequencies of {kind} ({parameters['rope_type']}); a "
                "smaller hidden size cannot keep these: set rope_type to default, or keep the "
                "hidden size"
            )
        parameters["rope_theta"] **= _step(before, after) * after / before


@torch.no_grad()
def keep_scale(model, old) -> None:
    """Scale the queries of a rotary model so that its scores are parts of the sums of the old.

    The library divides scores by the root of the new size of a head; the old root stays.
    """
    if family(model.config).rotary:
        scale_queries(model, (_head(model.config) / _head(old)) ** 0.5)


@torch.no_grad()
def scale_queries(model, factor: float) -> None:
    """Multiply the queries of each layer, and so all attention scores, by a factor."""
    for layer in parts.layers(model):
        for tensor in layer.query.parameters():
            tensor[: model.config.hidden_size] *= factor


def _head(config) -> int:
    """Dimensions of a head."""
    return config.hidden_size // config.num_attention_heads


def _step(old: int, new: int) -> int:
    """The greatest step between kept pairs."""
    return max(1, (old // 2 - 1) // max(1, new // 2 - 1))
