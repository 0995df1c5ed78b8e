"""The head of a masked language model: from hidden states to logits. An encoder may have none."""

import torch
from torch import nn

from lib.model import encoder
from lib.model.families import family, has_head


def transform(model, hidden: torch.Tensor) -> torch.Tensor:
    """The head's transform of hidden states, (..., H) -> (..., E), which the readout follows.

    E is the size of the embeddings, in most models the hidden size.
    """
    for name in family(model.config).transform:
        step = nn.functional.gelu if name == "gelu" else model.get_submodule(name)
        hidden = step(hidden)
    return hidden


def readout(model) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (V, E), bias (V,)) of the head: logits = transform(hidden) @ weight.T + bias."""
    decoder = model.get_output_embeddings()
    bias = decoder.bias
    return decoder.weight, decoder.weight.new_zeros(len(decoder.weight)) if bias is None else bias


def logits(model, hidden: torch.Tensor) -> torch.Tensor:
    """Vocabulary logits (..., V) of hidden states (..., H)."""
    return nn.functional.linear(transform(model, hidden), *readout(model))


@torch.no_grad()
def outputs(model, batch: dict) -> torch.Tensor:
    """What the model gives for a batch: its logits (B, T, V), or without an MLM head its hidden
    states (B, T, H).
    """
    hidden = encoder.hidden_states(model, batch)
    return logits(model, hidden) if has_head(model.config) else hidden
