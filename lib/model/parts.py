"""The parts of an encoder's layers, whatever their family calls them."""

from typing import NamedTuple

from torch import nn

from lib.model.families import family


class Layer(NamedTuple):
    """The parts of one layer that the cuts, fits and adapters work on.

    The readers are the norms that read the residual stream after attention and FFN have been added
    to it. A family with its norms at the start of attention and FFN has the last reader in the next
    layer, or after the last one.
    """

    module: nn.Module
    query: nn.Linear
    attention_output: nn.Linear
    attention_reader: nn.Module
    ffn_input: nn.Linear
    ffn_output: nn.Linear
    ffn_end: nn.Module
    ffn_reader: nn.Module


def layers(model) -> list[Layer]:
    """The parts of each layer of a model, or of a classifier on its encoder."""
    own, body = family(model.config), model.base_model
    modules = body.get_submodule(own.layers)
    readers = [module.get_submodule(norm) for module in modules for norm in own.norms]
    if own.final_norm:
        readers = [*readers[1:], body.get_submodule(own.final_norm)]
    names = (own.query, own.attention_output, own.ffn_input, own.ffn_output, own.ffn_end)
    result = []
    for module, after_attention, after_ffn in zip(
        modules, readers[::2], readers[1::2], strict=True
    ):
        query, attention, *ffn = map(module.get_submodule, names)
        result.append(Layer(module, query, attention, after_attention, *ffn, after_ffn))
    return result


def norms(model) -> list[nn.LayerNorm]:
    """All norms in the order of a forward pass: those of the encoder, then those of its head."""
    body = model.base_model
    inside = set(body.modules())
    modules = [*body.modules(), *(each for each in model.modules() if each not in inside)]
    return [module for module in modules if isinstance(module, nn.LayerNorm)]


def goals(model, kept: list[int] | None = None) -> list[nn.LayerNorm]:
    """The norms of `model` that those of a student of its layers `kept` stand for, in the order of
    `norms`; None says all layers.

    After a layer of the student the residual stream shall be what the next kept layer reads.
    """
    of_model, every = layers(model), norms(model)
    kept = [*range(len(of_model))] if kept is None else kept
    readers = [
        reader for layer in of_model for reader in (layer.attention_reader, layer.ffn_reader)
    ]
    ends = [*kept[1:], len(of_model)]
    inside = [
        reader
        for layer, end in zip(kept, ends, strict=True)
        for reader in (of_model[layer].attention_reader, of_model[end - 1].ffn_reader)
    ]
    first = next(place for place, norm in enumerate(every) if norm in readers)
    last = len(readers) + sum(norm not in readers for norm in every[:first])
    return [*every[:first], *inside, *every[last:]]


def head(model) -> dict[str, nn.Parameter]:
    """The parameters outside the encoder, by name, without those that are tied to it."""
    inside = set(model.base_model.parameters())
    return {name: each for name, each in model.named_parameters() if each not in inside}
