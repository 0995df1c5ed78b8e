"""Adapters (Pfeiffer et al. 2021): a few weights learn a task, the encoder is frozen (step 5).

One adapter sits in every layer, after the feed-forward part, before the residual sum and the
layer's own LayerNorm:

    h = dropout(dense(intermediate))                     (B, T, H)
    output = LayerNorm(h + up(relu(down(input))) + residual)

`down` is H -> H // reduction_factor. Its input is `h` itself (`adapter_input="ffn"`) or, as in the
`adapters` library of the authors' scripts, LayerNorm(h + residual) (`adapter_input="layer_norm"`).
`up` starts at zero, so that a model with fresh adapters gives the same logits, bit for bit; the
library draws it from N(0, 0.02).
"""

import torch
from torch import nn

from lib import checks
from lib.errors import StudyError
from lib.model import parts
from lib.model.families import family
from lib.model.sizes import adapter_width

ADAPTER_INPUTS = ("ffn", "layer_norm")


class Bottleneck(nn.Module):
    """The adapter's part of the sum: up(relu(down(x))), (B, T, H) -> (B, T, H)."""

    def __init__(self, hidden_size: int, width: int):
        super().__init__()
        self.down = nn.Linear(hidden_size, width)
        self.up = nn.Linear(width, hidden_size)

    def redraw(self, deviation: float, generator: torch.Generator) -> None:
        """Draw `down` from N(0, deviation); `up` and the biases become zero."""
        draw_linear(self.down, deviation, generator)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden):
        return self.up(torch.relu(self.down(hidden)))


class _Adapted:
    """Adds an adapter's part to what the FFN of a layer gives, by hooks on the FFN.

    The encoder's parameters keep their names.
    """

    def __init__(self, layer: parts.Layer, adapter: Bottleneck, adapter_input: str):
        self.adapter, self.norm, self.residual = adapter, None, None
        if adapter_input == "layer_norm":
            self.norm = layer.ffn_reader
            layer.ffn_input.register_forward_pre_hook(self.remember)
        layer.ffn_end.register_forward_hook(self.add)

    def remember(self, _, given):
        self.residual = given[0]

    def add(self, _, __, hidden):
        read = hidden if self.norm is None else self.norm(hidden + self.residual)
        self.residual = None
        return hidden + self.adapter(read)


def add_adapters(
    model: nn.Module, reduction_factor: float, adapter_input: str = "ffn"
) -> nn.Module:
    """Return the same task model with one adapter a layer; only adapters and head are trainable.

    They are drawn from a fixed seed; `finetuning` draws them again from the seed of the run.
    Raises StudyError for a reduction factor that leaves no adapter, an unknown adapter_input, a
    model that has adapters already, and `layer_norm` where a family has no such norm.
    Source: step 5; Pfeiffer et al. (2021), figure 5, with ReLU.
    """
    width = adapter_width(model.config.hidden_size, reduction_factor)
    checks.check_choice(adapter_input, ADAPTER_INPUTS, "adapter_input")
    if any(isinstance(module, Bottleneck) for module in model.modules()):
        raise StudyError("the model has adapters already; make the task model again first")
    family(model.config).check_adapter_input(adapter_input)
    model.base_model.requires_grad_(False)
    for part in task_head(model):
        part.requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    beside = family(model.config).ffn_end.rpartition(".")[0]
    for layer in parts.layers(model):
        adapter = Bottleneck(model.config.hidden_size, width)
        layer.module.get_submodule(beside).add_module("adapter", adapter)
        adapter.redraw(model.config.initializer_range, generator)
        _Adapted(layer, adapter, adapter_input)
    return model


def adapter_parameters(num_hidden_layers: int, hidden_size: int, reduction_factor: float) -> int:
    """Return how many parameters the adapters of an encoder have, without the task head.

    Raises StudyError for a reduction factor that leaves no adapter. Source: step 5.
    """
    width = adapter_width(hidden_size, reduction_factor)
    return num_hidden_layers * (2 * hidden_size * width + width + hidden_size)


def task_head(model: nn.Module) -> list[nn.Module]:
    """The modules outside the encoder, and BERT's pooler, which is a fresh part of the head."""
    pooler = getattr(model.base_model, "pooler", None)
    outside = [part for part in model.children() if part is not model.base_model]
    return outside + ([pooler] if pooler is not None else [])


def draw_linear(module: nn.Linear, deviation: float, generator: torch.Generator) -> None:
    """Draw the weights from N(0, deviation), on the CPU, so that no device changes them."""
    with torch.no_grad():
        drawn = torch.empty(module.weight.shape).normal_(0, deviation, generator=generator)
        module.weight.copy_(drawn)
        if module.bias is not None:
            module.bias.zero_()
