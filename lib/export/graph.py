"""Encoders of both families and their task heads as ONNX graphs, in float32 and in 8 bits.

The graphs are written node by node, with the fused attention and GELU of ONNX Runtime, which its
build for browsers has too. 8 bits lose little of a trained encoder by four means:

- every row of the embeddings, and every output of a matrix, has a scale of its own;
- the few neurons with the greatest values stay in float32, beside the others (LLM.int8, Dettmers
  et al. 2022): one of them alone would set the scale of all;
- what enters a matrix is divided by a factor for each dimension, and the matrix multiplied by it
  (SmoothQuant, Xiao et al. 2023), since two dimensions of the hidden states are far larger;
- weights go from -64 to 64. Processors without VNNI add two products in 16 bits, which larger
  weights would overflow: 2 * 255 * 64 < 2**15.
"""

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from lib.errors import StudyError
from lib.model.families import family

IN_FLOAT = 8  # neurons of each layer that stay in float32
_GREATEST, _GREATEST_IN_TABLE = 64, 127
_ACTIVATIONS = {"gelu": "Gelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}
_FUSED = {"Gelu", "FastGelu", "MultiHeadAttention", "DynamicQuantizeMatMul"}
_NOTHING = -3.4e38  # the attention score of padding


def kind(model) -> str:
    """What the model gives: `hidden` states (B, T, H), or logits of a `sequence` or of each
    `token`.
    """
    name = type(model).__name__
    ends = {"ForSequenceClassification": "sequence", "ForTokenClassification": "token"}
    found = [given for end, given in ends.items() if name.endswith(end)]
    if not found and not name.endswith(("ForMaskedLM", "Model")):
        raise StudyError(
            f"the task head of {name} has no export; sequence and token classification have one, "
            "and encoders"
        )
    return found[0] if found else "hidden"


def build(model, peaks: list[dict] | None = None) -> onnx.ModelProto:
    """The model as an ONNX graph: in float32, or in 8 bits if the `peaks` of real text are given.

    Inputs are input_ids and attention_mask, (B, T) int64; the one output is `last_hidden_state` or
    `logits`, as `kind` says. An MLM head is left out. Raises StudyError for an activation or a part
    of the model that has no export, and for a model of 2 GB or more.
    """
    config, graph = model.config, _Graph(peaks)
    if config.hidden_act not in _ACTIVATIONS:
        raise StudyError(
            f"the activation {config.hidden_act!r} has no export; those that have one are "
            f"{', '.join(_ACTIVATIONS)}"
        )
    body, what = model.base_model, kind(model)
    hidden = _embeddings(graph, body.embeddings, config)
    mask = graph.add("Cast", "attention_mask", to=TensorProto.INT32)
    for number, layer in enumerate(body.encoder.layer):
        hidden = _layer(graph, layer, number, hidden, mask, config)
    name, shape, spare = "last_hidden_state", ["batch", "sequence", config.hidden_size], "pooler."
    if what != "hidden":
        hidden, spare = _head(graph, model, what, hidden), ()
        name, shape = "logits", ["batch", config.num_labels]
        shape = shape if what == "sequence" else ["batch", "sequence", config.num_labels]
    whole = model if what != "hidden" else body
    for part, weight in whole.named_parameters():
        if id(weight) not in graph.used and not (spare and part.startswith(spare)):
            raise StudyError(
                f"{type(model).__name__}: the part {part} has no export; adapters have none: "
                "fine-tune all weights (method: full)"
            )
    return graph.finish(hidden, name, shape)


def measure_peaks(model, batches: list[dict]) -> list[dict]:
    """The greatest absolute value in each dimension of what enters the matrices of each layer, at
    the real positions of the batches: one {"attention", "intermediate", "neurons"} a layer.
    """
    peaks, mask = [{} for _ in model.base_model.encoder.layer], None

    def watch(of_layer: dict, name: str):
        def note(_, given):
            greatest = given[0][mask].abs().amax(0).float().cpu().numpy()
            of_layer[name] = numpy.maximum(of_layer.get(name, 0), greatest)

        return note

    hooks = []
    for of_layer, layer in zip(peaks, model.base_model.encoder.layer, strict=True):
        parts = {"attention": layer.attention.self.query, "intermediate": layer.intermediate.dense}
        parts["neurons"] = layer.output.dense
        for name, part in parts.items():
            hooks.append(part.register_forward_pre_hook(watch(of_layer, name)))
    try:
        with torch.inference_mode():
            for batch in batches:
                mask = batch["attention_mask"].bool()
                model.base_model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return peaks


class _Graph:
    """The nodes and tensors of a graph so far, and which of the model's weights are in it."""

    def __init__(self, peaks):
        self.peaks, self.nodes, self.tensors, self.used = peaks, [], [], set()

    def array(self, weight) -> numpy.ndarray:
        """A weight of the model, which counts as used."""
        self.used.add(id(weight))
        return weight.detach().float().cpu().numpy()

    def tensor(self, values) -> str:
        """The name of a new constant."""
        name = f"constant_{len(self.tensors)}"
        values = numpy.ascontiguousarray(values)
        self.tensors.append(numpy_helper.from_array(values.reshape(numpy.shape(values)), name))
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes):
        """The name, or the names, of what a new node gives."""
        names = [f"{operator}_{len(self.nodes)}_{number}" for number in range(outputs)]
        domain = "com.microsoft" if operator in _FUSED else ""
        self.nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def table(self, rows: numpy.ndarray, operator: str, *where: str) -> str:
        """Rows of a table that Gather or Slice takes."""
        if self.peaks is None:
            return self.add(operator, self.tensor(rows), *where)
        scale = numpy.abs(rows).max(1, keepdims=True).clip(1e-20) / _GREATEST_IN_TABLE
        small = numpy.rint(rows / scale).astype(numpy.int8)
        taken, scales = (self.add(operator, self.tensor(each), *where) for each in (small, scale))
        return self.add("Mul", self.add("Cast", taken, to=TensorProto.FLOAT), scales)

    def linear(self, given: str, weight, bias) -> str:
        """given @ weight + bias in float32; the weight is (in, out)."""
        return self.add("Add", self.add("MatMul", given, self.tensor(weight)), self.tensor(bias))

    def matrix(self, given: str, weight, bias, peak=None) -> str:
        """As `linear`, or in 8 bits: `peak` is the greatest value of each dimension of `given`."""
        if self.peaks is None:
            return self.linear(given, weight, bias)
        if peak is not None:
            factor = numpy.sqrt(peak.clip(1e-6) / numpy.abs(weight).max(1).clip(1e-6))
            factor = (factor / numpy.exp(numpy.log(factor).mean())).astype(numpy.float32)
            given = self.add("Mul", given, self.tensor(1 / factor))
            weight = weight * factor[:, None]
        scale = numpy.abs(weight).max(0).clip(1e-20) / _GREATEST
        small = numpy.rint(weight / scale).astype(numpy.int8)
        zero = numpy.zeros(len(scale), numpy.int8)
        constants = (self.tensor(each) for each in (small, scale, zero, bias))
        return self.add("DynamicQuantizeMatMul", given, *constants)

    def norm(self, module, *given: str) -> str:
        """LayerNorm of a sum.

        `Sum` and no `Add`: ONNX Runtime would fuse the latter with the norm, to a node that is
        three times slower than both.
        """
        total = self.add("Sum", *given) if len(given) > 1 else given[0]
        constants = (self.tensor(self.array(each)) for each in (module.weight, module.bias))
        return self.add("LayerNormalization", total, *constants, epsilon=module.eps, axis=-1)

    def finish(self, result: str, name: str, shape: list) -> onnx.ModelProto:
        """The graph with its inputs and its output."""
        if sum(len(tensor.raw_data) for tensor in self.tensors) >= 2**31 - 2**20:
            raise StudyError("the model has 2 GB or more, which one ONNX file cannot hold")
        self.nodes.append(helper.make_node("Identity", [result], [name]))
        inputs = [
            helper.make_tensor_value_info(each, TensorProto.INT64, ["batch", "sequence"])
            for each in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "encoder", inputs, [output], self.tensors)
        versions = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=8)


def _embeddings(graph: _Graph, module, config) -> str:
    """Tokens, positions and the first token type, summed and normalised."""
    types = graph.array(module.token_type_embeddings.weight)
    positions = graph.array(module.position_embeddings.weight) + types[:1]
    words = graph.table(graph.array(module.word_embeddings.weight), "Gather", "input_ids")
    one, two, zero = (graph.tensor(numpy.array([number])) for number in (1, 2, 0))
    if family(config).position_offset:
        padding = graph.tensor(numpy.array(config.pad_token_id))
        real = graph.add("Not", graph.add("Equal", "input_ids", padding))
        real = graph.add("Cast", real, to=TensorProto.INT64)
        number = graph.add("Mul", graph.add("CumSum", real, one), real)
        places = graph.table(positions, "Gather", graph.add("Add", number, padding))
    else:
        length = graph.add("Slice", graph.add("Shape", "input_ids"), one, two)
        places = graph.table(positions, "Slice", zero, length, zero)
    return graph.norm(module.LayerNorm, graph.add("Add", words, places))


def _layer(graph: _Graph, layer, number: int, hidden: str, mask: str, config) -> str:
    """Attention and feed-forward network of one layer."""
    peaks = graph.peaks[number] if graph.peaks else {}
    own, after = layer.attention.self, layer.attention.output
    parts = (own.query, own.key, own.value)
    weight = numpy.concatenate([graph.array(part.weight).T for part in parts], 1)
    bias = numpy.concatenate([graph.array(part.bias) for part in parts])
    three = graph.matrix(hidden, weight, bias, peaks.get("attention"))
    three = graph.add("Split", three, outputs=3, axis=2, num_outputs=3)
    options = {"num_heads": config.num_attention_heads, "mask_filter_value": _NOTHING}
    context = graph.add("MultiHeadAttention", *three, "", mask, **options)
    context = graph.matrix(
        context, graph.array(after.dense.weight).T, graph.array(after.dense.bias)
    )
    hidden = graph.norm(after.LayerNorm, context, hidden)
    first, last = layer.intermediate.dense, layer.output.dense
    first_weight, first_bias = graph.array(first.weight).T, graph.array(first.bias)
    last_weight, last_bias = graph.array(last.weight).T, graph.array(last.bias)
    activation, beside = _ACTIVATIONS[config.hidden_act], []
    if graph.peaks:
        order = numpy.argsort(-peaks["neurons"], kind="stable")
        great, others = order[:IN_FLOAT], numpy.sort(order[IN_FLOAT:])
        few = graph.linear(hidden, first_weight[:, great], first_bias[great])
        few = graph.add(activation, few)
        beside = [graph.add("MatMul", few, graph.tensor(last_weight[great]))]
        first_weight, first_bias = first_weight[:, others], first_bias[others]
        last_weight = last_weight[others]
    inside = graph.matrix(hidden, first_weight, first_bias, peaks.get("intermediate"))
    result = graph.matrix(graph.add(activation, inside), last_weight, last_bias)
    return graph.norm(layer.output.LayerNorm, result, hidden, *beside)


def _head(graph: _Graph, model, what: str, hidden: str) -> str:
    """The logits of a task model, in float32."""

    def linear(given, module):
        return graph.linear(given, graph.array(module.weight).T, graph.array(module.bias))

    if what == "token":
        return linear(hidden, model.classifier)
    if getattr(model.config, "classifier_pooling", "first") == "mean":
        weight = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        weight = graph.add("Unsqueeze", weight, graph.tensor(numpy.array([2])))
        axis = graph.tensor(numpy.array([1]))
        parts = (graph.add("Mul", hidden, weight), weight)
        read = graph.add("Div", *(graph.add("ReduceSum", x, axis, keepdims=0) for x in parts))
    else:
        read = graph.add("Gather", hidden, graph.tensor(numpy.array(0)), axis=1)
    pooler = getattr(model.base_model, "pooler", None)
    first = pooler.dense if pooler is not None else model.classifier.dense
    last = model.classifier if pooler is not None else model.classifier.out_proj
    return linear(graph.add("Tanh", linear(read, first)), last)
