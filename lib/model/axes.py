"""Cuts along named axes.

Every tensor of these models lies along a few axes: V vocabulary, P positions, H hidden size, D all
heads' dimensions together, F intermediate size, and the layers. A cut of any kind selects entries
of one axis; `take` applies it to every tensor that has the axis.
"""

import re

import torch
from transformers import AutoModelForMaskedLM
from transformers.initialization import no_init_weights

from lib.errors import StudyError
from lib.model.families import family

AXES = (  # parameter name -> the axis of each dimension ("." is never cut)
    (r"word_embeddings\.weight$", "VH"),
    (r"position_embeddings\.weight$", "PH"),
    (r"token_type_embeddings\.weight$", ".H"),
    (r"attention\.self\.(query|key|value)\.weight$", "DH"),
    (r"attention\.self\.(query|key|value)\.bias$", "D"),
    (r"attention\.output\.dense\.weight$", "HD"),
    (r"intermediate\.dense\.weight$", "FH"),
    (r"intermediate\.dense\.bias$", "F"),
    (r"layer\.\d+\.output\.dense\.weight$", "HF"),
    (r"decoder\.weight$", "VH"),
    (r"(decoder|predictions|lm_head)\.bias$", "V"),
    (r"(transform|lm_head)\.dense\.weight$", "HH"),
    (r"(dense|LayerNorm|layer_norm)\.(weight|bias)$", "H"),
)


def axes(name: str) -> str:
    """The axis of each dimension of a parameter, such as "VH" for the embeddings."""
    for pattern, letters in AXES:
        if re.search(pattern, name):
            return letters
    raise StudyError(
        f"the parameter {name!r} is not one of a BERT- or XLM-R-type masked language model"
    )


def take(model, layers=None, neurons=None, hidden=None, heads=None, vocabulary=None):
    """A new model with the given entries of each axis; None keeps an axis whole.

    The given model is not changed. Indices are old numbers, in their new order. layers: layer
    numbers; neurons: (L, F') the kept neurons of each old layer; hidden: kept H entries;
    heads: kept D entries; vocabulary: kept token ids.
    """
    count = model.config.num_hidden_layers
    layers = range(count) if layers is None else [int(layer) for layer in layers]
    new_number = {old: new for new, old in enumerate(layers)}
    config = _config(model.config, len(layers), neurons, hidden, vocabulary)
    positions = range(model.config.max_position_embeddings)[-config.max_position_embeddings :]
    tensors = {}
    for name, tensor in model.state_dict().items():
        layer = re.search(r"encoder\.layer\.(\d+)\.", name)
        kept = {"V": vocabulary, "P": positions, "H": hidden, "D": heads}
        if layer:
            old = int(layer[1])
            if old not in new_number:
                continue
            name = name.replace(f"layer.{old}.", f"layer.{new_number[old]}.", 1)
            kept["F"] = None if neurons is None else neurons[old]
        tensors[name] = _select(tensor, [kept.get(letter) for letter in axes(name)]).clone()
    with no_init_weights():  # random weights would be replaced at once, and take long to draw
        result = AutoModelForMaskedLM.from_config(config).float()
    result.load_state_dict(tensors, strict=True)
    result.tie_weights()
    return result.eval()


def _select(tensor: torch.Tensor, kept: list) -> torch.Tensor:
    """The tensor with the kept entries of each dimension; None keeps a dimension whole."""
    for dimension, entries in enumerate(kept):
        if entries is not None:
            tensor = tensor.index_select(dimension, torch.as_tensor(entries, dtype=torch.long))
    return tensor


def _config(old, layers: int, neurons, hidden, vocabulary):
    """The configuration of the cut model; special tokens get their new ids."""
    config = type(old).from_dict(old.to_dict())
    config.num_hidden_layers = layers
    if hidden is not None:
        config.hidden_size = len(hidden)
    if neurons is not None:
        config.intermediate_size = len(neurons[0])
    if vocabulary is not None:
        config.vocab_size = len(vocabulary)
        new_id = {int(token): number for number, token in enumerate(vocabulary)}
        for name, old_id in old.to_dict().items():
            if name.endswith("_token_id"):
                setattr(config, name, new_id.get(old_id))
        if family(config).position_offset:  # the rows before the first position go with the tokens
            config.max_position_embeddings -= old.pad_token_id - config.pad_token_id
    return config
