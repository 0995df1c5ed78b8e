"""The head of a masked language model: from hidden states to logits. An encoder may have none."""

import contextlib

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


class _Reached(Exception):
    """Ends a forward pass where nothing above is needed."""


def entering(model, batch: dict, *modules) -> list[torch.Tensor]:
    """What enters each of these modules of the encoder or its head, in the order of a forward pass,
    at the real positions of a batch: (N, width of its input).

    The pass ends at the last module.
    """
    seen = []

    def reached(module, given):
        seen.append(given[0][batch["attention_mask"].bool()])
        if module is modules[-1]:
            raise _Reached

    with contextlib.ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(reached).remove)
        hooks.enter_context(contextlib.suppress(_Reached))
        transform(model, encoder.hidden_states(model, batch))
    return seen
