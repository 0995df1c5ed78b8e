"""Cuts along named axes.

Every tensor of these models lies along a few axes: V vocabulary, P positions, H hidden size, D all
heads' dimensions together, F intermediate size, and the layers. A cut of any kind selects entries
of one axis; `take` applies it to every tensor that has the axis. lib.model.families says which
axes each parameter has. Two letters stand for stacked axes, which one matrix holds: Q for the D of
query, key and value, G for the F of activation and gate. E is the size of the embeddings: that of
H, or one of its own, which is never cut.
"""

import re

import torch
from transformers import AutoModelForMaskedLM
from transformers.initialization import no_init_weights

from lib.errors import StudyError
from lib.model import rotary
from lib.model.families import embedding_size, family
from lib.model.sizes import check_embeddings

_STACKED = {"Q": ("D", 3), "G": ("F", 2)}


def axes(name: str, config) -> str:
    """The axis of each dimension of a parameter, such as "VH"; "." is one that is never cut.

    Raises StudyError for a parameter that the family's masked language models do not have.
    """
    for pattern, letters in family(config).axes:
        if re.search(pattern, name):
            return letters.replace(
                "E", "H" if embedding_size(config) == config.hidden_size else "."
            )
    raise StudyError(
        f"the parameter {name!r} is not one of a masked language model of type "
        f"{config.model_type!r}"
    )


def select(tensor: torch.Tensor, letters: str, kept: dict) -> torch.Tensor:
    """The tensor with the kept entries of each axis; None keeps an axis whole."""
    for dimension, letter in enumerate(letters):
        axis, blocks = _STACKED.get(letter, (letter, 1))
        entries = kept.get(axis)
        if entries is not None:
            entries = torch.as_tensor(entries, dtype=torch.long).flatten()
            length = tensor.shape[dimension] // blocks
            entries = torch.cat([entries + block * length for block in range(blocks)])
            tensor = tensor.index_select(dimension, entries)
    return tensor


def take(model, layers=None, neurons=None, hidden=None, heads=None, vocabulary=None, make=select):
    """A new model with the given entries of each axis; None keeps an axis whole.

    The given model is not changed. Indices are old numbers, in their new order. layers: layer
    numbers; neurons: (L, F') the kept neurons of each old layer; hidden: kept H entries;
    heads: (A', d') kept D entries of each head that stays, or (L, A', d') where the old layers
    differ, as lib.model.hidden chooses them; vocabulary: kept token ids.
    make: makes each new tensor, from what `select` gets.
    Raises StudyError for layers that do not begin with the first one where it has to stay.
    """
    count = model.config.num_hidden_layers
    layers = list(range(count) if layers is None else map(int, layers))
    family(model.config).check_first_layer(layers[:1] == [0])
    heads = None if heads is None else torch.as_tensor(heads)
    config = _config(model.config, layers, neurons, hidden, heads, vocabulary)
    positions = range(model.config.max_position_embeddings)[-config.max_position_embeddings :]
    with no_init_weights():  # random weights would be replaced at once, and take long to draw
        result = AutoModelForMaskedLM.from_config(config).float()
    result.tie_weights()
    given, path = model.state_dict(), family(config).layers
    kept = {"V": vocabulary, "P": positions, "H": hidden}
    with torch.no_grad():
        for name, tensor in result.named_parameters():
            letters, old = axes(name, config), name
            if layer := re.search(rf"\b{re.escape(path)}\.(\d+)\.", name):
                number = layers[int(layer[1])]
                old = f"{name[: layer.start(1)]}{number}{name[layer.end(1) :]}"
                kept["F"] = None if neurons is None else neurons[number]
                kept["D"] = heads if heads is None or heads.dim() == 2 else heads[number]
            values = make(given[old], letters, kept)
            assert values.shape == tensor.shape, name  # `copy_` would stretch them
            tensor.copy_(values)
    if heads is not None:
        rotary.keep_scale(result, model.config)
    return result.eval()


def _config(old, layers: list[int], neurons, hidden, heads, vocabulary):
    """The configuration of the cut model; special tokens get their new ids."""
    config, names = type(old).from_dict(old.to_dict()), family(old).names
    config.num_hidden_layers = len(layers)
    if getattr(old, "layer_types", None):  # each layer keeps its attention, local or global
        config.layer_types = [old.layer_types[layer] for layer in layers]
    if heads is not None:
        config.num_attention_heads = heads.shape[-2]
    if hidden is not None:
        config.hidden_size = len(hidden)
        rotary.keep_frequencies(config, old)
        if family(old).own_embedding_size:
            check_embeddings(old.embedding_size, old.hidden_size, config.hidden_size)
            if old.embedding_size == old.hidden_size:  # they follow the hidden size
                config.embedding_size = config.hidden_size
    if neurons is not None:
        setattr(config, names.get("intermediate_size", "intermediate_size"), len(neurons[0]))
    if vocabulary is not None:
        config.vocab_size = len(vocabulary)
        new_id = {int(token): number for number, token in enumerate(vocabulary)}
        for name, old_id in old.to_dict().items():
            if name.endswith("_token_id"):
                setattr(config, name, new_id.get(old_id))
        if family(config).position_offset:  # the rows before the first position go with the tokens
            config.max_position_embeddings -= old.pad_token_id - config.pad_token_id
    return config
