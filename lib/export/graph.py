"""Encoders and their task heads as ONNX graphs, in float32 and in 8 bits.

The graphs are written node by node, with the fused attention, matrices and GELU of ONNX Runtime,
which its build for browsers has too.
"""

import numpy
import onnx
import torch
from onnx import TensorProto

from lib.errors import StudyError
from lib.export.nodes import IN_FLOAT, Graph
from lib.model.families import embedding_size, family

_TYPES = ("bert", "xlm-roberta", "roberta", "camembert", "electra")
_ACTIVATIONS = {"gelu": "Gelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}
_FAR = -1e9  # added to the attention score of padding


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


def writes(config) -> bool:
    """Whether `build` can write models of this configuration; `traced` can for the others."""
    known = config.model_type in _TYPES and config.hidden_act in _ACTIVATIONS
    return known and embedding_size(config) == config.hidden_size


def build(model, peaks: list[dict] | None = None) -> onnx.ModelProto:
    """The model as an ONNX graph: in float32, or in 8 bits if the `peaks` of real text are given.

    Inputs are input_ids and attention_mask, (B, T) int64; the one output is `last_hidden_state` or
    `logits`, as `kind` says. An MLM head is left out. Raises StudyError for a part of the model
    that has no export.
    """
    config, graph = model.config, Graph(peaks)
    body, what = model.base_model, kind(model)
    hidden = _embeddings(graph, body.embeddings, config)
    mask = graph.add("Unsqueeze", "attention_mask", graph.integers(2))
    mask = graph.add("Cast", mask, to=TensorProto.FLOAT)  # (B, T, 1)
    far = _far(graph, mask, config)
    for number, layer in enumerate(body.encoder.layer):
        hidden = _layer(graph, layer, number, hidden, far, config)
    name, shape, spare = "last_hidden_state", ["batch", "sequence", config.hidden_size], "pooler."
    if what != "hidden":
        hidden, spare = _head(graph, model, what, hidden, mask), ()
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


def _embeddings(graph: Graph, module, config) -> str:
    """Tokens, positions and the first token type, summed and normalised: (B, T, H)."""
    types = graph.array(module.token_type_embeddings.weight)
    positions = graph.array(module.position_embeddings.weight) + types[:1]
    words = graph.table(graph.array(module.word_embeddings.weight), "Gather", "input_ids")
    if family(config).position_offset:
        padding = graph.tensor(numpy.array(config.pad_token_id))
        real = graph.add("Not", graph.add("Equal", "input_ids", padding))
        real = graph.add("Cast", real, to=TensorProto.INT64)
        number = graph.add("Mul", graph.add("CumSum", real, graph.integers(1)), real)
        places = graph.table(positions, "Gather", graph.add("Add", number, padding))
    else:
        length = graph.add("Shape", "input_ids", start=1, end=2)
        places = graph.table(positions, "Slice", graph.integers(0), length)
    return graph.norm(module.LayerNorm, graph.add("Add", words, places))


def _far(graph: Graph, mask: str, config) -> str:
    """What is added to keys: far below zero at padding, in one more dimension of each head, where
    queries have 1: (B, T, A * (D + 1)). With a mask of its own ONNX Runtime has no fast attention.
    """
    width = config.hidden_size // config.num_attention_heads + 1
    pattern = numpy.zeros((config.num_attention_heads, width), numpy.float32)
    pattern[:, -1] = -_FAR
    padding = graph.add("Sub", mask, graph.tensor(numpy.float32(1)))
    return graph.add("Mul", padding, graph.tensor(pattern.reshape(-1)))


def _attention(graph: Graph, module, hidden: str, far: str, peak, config) -> str:
    """The heads' results beside each other, (B, T, H)."""
    heads = config.num_attention_heads
    width, parts = config.hidden_size // heads, []
    for number, part in enumerate((module.query, module.key, module.value)):
        both = numpy.vstack(graph.weights(part)).reshape(-1, heads, width)  # the bias comes last
        if number < 2:
            both = numpy.pad(both, ((0, 0), (0, 0), (0, 1)))
            both[-1, :, -1] = 1 - number
        both = both.reshape(len(both), -1)
        parts.append((both[:-1], both[-1]))
    query, key, value = graph.matrices(hidden, parts, peak)
    key, options = graph.add("Sum", key, far), {"num_heads": heads, "scale": width**-0.5}
    return graph.add("MultiHeadAttention", query, key, value, **options)


def _layer(graph: Graph, layer, number: int, hidden: str, far: str, config) -> str:
    """Attention and feed-forward network of one layer."""
    peaks = graph.peaks[number] if graph.peaks else {}
    context = _attention(graph, layer.attention.self, hidden, far, peaks.get("attention"), config)
    after, activation = layer.attention.output, _ACTIVATIONS[config.hidden_act]
    (context,) = graph.matrices(context, [graph.weights(after.dense)])
    hidden = graph.norm(after.LayerNorm, context, hidden)
    (first, first_bias), (last, last_bias) = map(
        graph.weights, (layer.intermediate.dense, layer.output.dense)
    )
    groups = [numpy.arange(len(last))]
    if graph.peaks:
        order = numpy.argsort(-peaks["neurons"], kind="stable")
        groups = [numpy.sort(order[IN_FLOAT:]), order[:IN_FLOAT]]
    parts = [(first[:, group], first_bias[group]) for group in groups]
    inside = graph.matrices(hidden, parts, peaks.get("intermediate"))
    inside, *great = [graph.add(activation, each) for each in inside]
    (result,) = graph.matrices(inside, [(last[groups[0]], last_bias)])
    beside = [graph.add("MatMul", each, graph.tensor(last[groups[1]])) for each in great]
    return graph.norm(layer.output.LayerNorm, result, hidden, *beside)


def _head(graph: Graph, model, what: str, hidden: str, mask: str) -> str:
    """The logits of a task model, in float32."""

    def linear(given, module):
        return graph.linear(given, *graph.weights(module))

    if what == "token":
        return linear(hidden, model.classifier)
    if getattr(model.config, "classifier_pooling", "first") == "mean":
        parts = (graph.add("Mul", hidden, mask), mask)
        sums = (graph.add("ReduceSum", x, graph.integers(1), keepdims=0) for x in parts)
        read = graph.add("Div", *sums)
    else:
        read = graph.add("Gather", hidden, graph.tensor(numpy.array(0)), axis=1)
    pooler = getattr(model.base_model, "pooler", None)
    first = pooler.dense if pooler is not None else model.classifier.dense
    last = model.classifier if pooler is not None else model.classifier.out_proj
    activation = "Gelu" if model.config.model_type == "electra" else "Tanh"
    return linear(graph.add(activation, linear(read, first)), last)
