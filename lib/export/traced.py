"""ONNX files of the families that `graph` does not write: torch records the model's own operations,
and ONNX Runtime makes 8 bits of them.

The files are right, but slower than those of `graph`, and 8 bits lose more: no neuron stays in
float32, no input is smoothed, and the whole table of the tokens has one scale.
"""

import logging
import warnings
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from lib.errors import StudyError
from lib.model import loading

_INPUTS = ["input_ids", "attention_mask"]


class _Output(torch.nn.Module):
    """A model as a function of the two inputs, with one tensor as output."""

    def __init__(self, model, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, input_ids, attention_mask):
        return getattr(self.model(input_ids=input_ids, attention_mask=attention_mask), self.name)


def write(model, what: str, batch: dict, exact: Path, small: Path) -> None:
    """Write the model to `exact` in float32 and to `small` in 8 bits.

    `what` it gives is said as `graph.kind` does. `batch` are two or more texts. Raises StudyError
    for an operation without an export.
    """
    own, level = model.config._attn_implementation, logging.root.manager.disable
    name = "last_hidden_state" if what == "hidden" else "logits"
    axes = {each: {0: "batch", 1: "sequence"} for each in [*_INPUTS, name]}
    axes[name] = {0: "batch"} if what == "sequence" else axes[name]
    given = tuple(batch[each].to(model.device) for each in _INPUTS)
    logging.disable(logging.WARNING)  # ONNX Runtime advises a preparation that doubles tied weights
    try:
        model.set_attn_implementation("eager")  # the others leave a mask out where it hides nothing
        with warnings.catch_warnings(), torch.no_grad(), loading.quiet():
            warnings.simplefilter("ignore")  # about the newer exporter, and shapes that are checked
            torch.onnx.export(
                _Output(model, name).eval(),
                given,
                str(exact),
                input_names=_INPUTS,
                output_names=[name],
                dynamic_axes=axes,
                opset_version=18,
                dynamo=False,
            )
            # Without VNNI, products of two bytes are added in 16 bits: weights have 7 bits
            how = {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True}
            quantize_dynamic(exact, small, **how)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise StudyError(
            f"{type(model).__name__} has no ONNX export ({str(error).splitlines()[0]}); use the "
            "files of transformers, or another type of encoder"
        ) from error
    finally:
        model.set_attn_implementation(own)
        logging.disable(level)
