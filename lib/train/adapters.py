"""Bottleneck adapters (Pfeiffer et al. 2021): the few weights that learn a task while the encoder stays frozen (step 5).

One adapter sits in every layer, after the feed-forward part, before the residual sum and the layer's own LayerNorm:

    h = dropout(dense(intermediate))                     (B, T, H)
    output = LayerNorm(h + up(relu(down(read))) + residual)

`down` is H -> H // reduction_factor. It reads `h` itself (`adapter_input="ffn"`) or, as the `adapters` library of the
authors' scripts does, LayerNorm(h + residual) (`adapter_input="layer_norm"`): same size, other function. `up` starts at
zero, so that a model with fresh adapters gives the same logits, bit for bit; the library draws it from N(0, 0.02).
"""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lib.errors import StudyError
from lib.model import encoder

ADAPTER_INPUTS = ("ffn", "layer_norm")


class Bottleneck(nn.Module):
    """What the adapter adds: up(relu(down(x))), (B, T, H) -> (B, T, H)."""

    def __init__(self, hidden_size: int, bottleneck: int):
        super().__init__()
        self.down = nn.Linear(hidden_size, bottleneck)
        self.up = nn.Linear(bottleneck, hidden_size)

    def redraw(self, deviation: float, generator: torch.Generator):
        """Draw `down` from N(0, deviation); `up` and the biases become zero. `finetuning` calls it with its seed."""
        with torch.no_grad():
            self.down.weight.copy_(
                torch.empty(self.down.weight.shape).normal_(0, deviation, generator=generator)
            )
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, hidden):
        return self.up(torch.relu(self.down(hidden)))


class AdaptedOutput(nn.Module):
    """A layer's output module with an adapter; its own parts keep their names, so the encoder's keys do not change."""

    def __init__(self, output: nn.Module, bottleneck: int, adapter_input: str):
        super().__init__()
        self.dense, self.dropout, self.LayerNorm = output.dense, output.dropout, output.LayerNorm
        self.adapter = Bottleneck(output.dense.out_features, bottleneck)
        self.adapter_input = adapter_input

    def forward(self, hidden_states, input_tensor):
        hidden = self.dropout(self.dense(hidden_states))
        read = hidden if self.adapter_input == "ffn" else self.LayerNorm(hidden + input_tensor)
        return self.LayerNorm(hidden + self.adapter(read) + input_tensor)


def add_adapters(
    model: nn.Module, reduction_factor: float, adapter_input: str = "ffn"
) -> nn.Module:
    """Return the same model, now with one adapter a layer; adapters and task head are trainable, the encoder is frozen.

    The pooler of a BERT-type classifier is a fresh part of the head, so it trains too. The adapters are drawn from a fixed
    seed; `finetuning.finetune` draws them again from the seed of the run.
    Raises StudyError for a reduction factor that leaves no bottleneck, an unknown adapter_input, a model that has
    adapters already or no task head, and anything but a BERT- or XLM-R-type encoder.
    Source: step 5; Pfeiffer et al. (2021), figure 5, with ReLU.
    """
    if model.config.model_type not in encoder.FAMILIES:
        raise StudyError(
            f"A model of type {model.config.model_type!r} cannot take adapters; BERT- and XLM-R-type encoders can "
            f"({', '.join(encoder.FAMILIES)}). Choose such a model."
        )
    width = _bottleneck(model.config.hidden_size, reduction_factor)
    if adapter_input not in ADAPTER_INPUTS:
        raise StudyError(
            f"There is no adapter_input {adapter_input!r}; there are {', '.join(ADAPTER_INPUTS)}."
        )
    if _adapted(model):
        raise StudyError(
            "The model has adapters already. Load it afresh, or call load_adapter on a model without any."
        )
    if not hasattr(model, "classifier"):
        raise StudyError(
            f"{type(model).__name__} has no task head to train. Give it one with encoder.with_task_head first."
        )
    model.requires_grad_(True)
    model.base_model.requires_grad_(False)
    for part in _head(model):
        part.requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    for layer in model.base_model.encoder.layer:
        place = layer.output.dense.weight
        layer.output = AdaptedOutput(layer.output, width, adapter_input).to(
            place.device, place.dtype
        )
        layer.output.adapter.redraw(model.config.initializer_range, generator)
        layer.output.train(layer.training)
    model.adapter_settings = {
        "reduction_factor": f"{reduction_factor:g}",
        "adapter_input": adapter_input,
    }
    return model


def adapter_parameters(num_hidden_layers: int, hidden_size: int, reduction_factor: float) -> int:
    """Return how many parameters the adapters of an encoder have, without the task head.

    Raises StudyError when the factor leaves no bottleneck. Source: step 5 and the adapter ablation.
    """
    width = _bottleneck(hidden_size, reduction_factor)
    return num_hidden_layers * (2 * hidden_size * width + width + hidden_size)


def save_adapter(model: nn.Module, path: Path) -> Path:
    """Return `path`, a safetensors file with the adapters and the task head only; it appears whole or not at all.

    Raises StudyError when the model has no adapters.
    """
    if not _adapted(model):
        raise StudyError("There is no adapter to save; call add_adapters first.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in _task_weights(model).items()
    }
    save_file(tensors, part, metadata=model.adapter_settings)
    os.replace(part, path)
    return path


def load_adapter(model: nn.Module, path: Path) -> nn.Module:
    """Return the same model with the adapters and the head of a file made by `save_adapter`; the encoder is frozen.

    `model` is the encoder the file was trained on, with a task head of the same labels and no adapters.
    Raises StudyError when the file is missing or any tensor is missing, left over or of another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise StudyError(
            f"{path}: there is no such adapter file. Train one first, or correct the path."
        )
    try:
        with safe_open(path, framework="pt") as file:
            settings = file.metadata() or {}
        tensors = load_file(path)
    except SafetensorError as error:
        raise StudyError(
            f"{path}: not a whole safetensors file ({error}). Make it again with save_adapter."
        ) from None
    if not {"reduction_factor", "adapter_input"} <= set(settings):
        raise StudyError(
            f"{path}: not a file of save_adapter; its header names no reduction factor."
        )
    factor = float(settings["reduction_factor"])
    expected = {name: weight.shape for name, weight in _task_weights(model).items()}
    blank = Bottleneck(
        model.config.hidden_size, _bottleneck(model.config.hidden_size, factor)
    ).state_dict()
    for layer in range(model.config.num_hidden_layers):
        name = f"{model.base_model_prefix}.encoder.layer.{layer}.output.adapter"
        expected |= {f"{name}.{part}": weight.shape for part, weight in blank.items()}
    wrong = sorted(
        name
        for name in {*expected, *tensors}
        if name not in expected or name not in tensors or expected[name] != tensors[name].shape
    )
    if wrong:
        raise StudyError(
            f"{path}: the file does not fit this model at {', '.join(wrong[:3])} ({len(wrong)} tensors in all). "
            "Load the encoder it was trained on, with as many labels."
        )
    add_adapters(model, factor, settings["adapter_input"])
    with torch.no_grad():
        for name, weight in _task_weights(model).items():
            weight.copy_(tensors[name])
    return model


def _bottleneck(hidden_size, reduction_factor):
    """Bottleneck width, hidden size / factor rounded down; StudyError when it is no width."""
    if isinstance(reduction_factor, bool) or not 1 <= reduction_factor <= hidden_size:
        raise StudyError(
            f"A reduction factor of {reduction_factor} leaves no bottleneck at hidden size {hidden_size}; "
            f"choose one from 1 to {hidden_size}."
        )
    return int(hidden_size // reduction_factor)


def _adapted(model):
    """Whether any layer has an adapter."""
    return any(isinstance(module, AdaptedOutput) for module in model.modules())


def _head(model):
    """The modules that belong to the task: everything outside the encoder, and BERT's pooler where there is one."""
    pooler = getattr(model.base_model, "pooler", None)
    return [part for part in model.children() if part is not model.base_model] + (
        [pooler] if pooler is not None else []
    )


def _task_weights(model):
    """Adapter and head parameters by name, whatever is frozen just now."""
    head = {id(weight) for part in _head(model) for weight in part.parameters()}
    return {
        name: weight
        for name, weight in model.named_parameters()
        if ".output.adapter." in name or id(weight) in head
    }
