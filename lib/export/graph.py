"""Encoders and their task heads as ONNX graphs, in float32 and in 8 bits.

The graphs are written node by node, with the fused matrices and GELU of ONNX Runtime, which its
build for browsers has too. The first axis is the sequence, (T, B, H): products of heads then read
their factors in place.
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
    mask = graph.add("Transpose", "attention_mask", perm=[1, 0])
    mask = graph.add("Unsqueeze", mask, graph.integers(2))
    mask = graph.add("Cast", mask, to=TensorProto.FLOAT)  # (T, B, 1)
    far = _far(graph, mask, config)
    for number, layer in enumerate(body.encoder.layer):
        hidden = _layer(graph, layer, number, hidden, far, config)
    name, shape, spare = "last_hidden_state", ["batch", "sequence", config.hidden_size], "pooler."
    if what != "hidden":
        hidden, spare = _head(graph, model, what, hidden, mask), ()
        name, shape = "logits", ["batch", config.num_labels]
        shape = shape if what == "sequence" else ["batch", "sequence", config.num_labels]
    if what != "sequence":
        hidden = graph.add("Transpose", hidden, perm=[1, 0, 2])
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
    """Tokens, positions and the first token type, summed and normalised: (T, B, H)."""
    types = graph.array(module.token_type_embeddings.weight)
    positions = graph.array(module.position_embeddings.weight) + types[:1]
    ids = graph.add("Transpose", "input_ids", perm=[1, 0])
    words = graph.table(graph.array(module.word_embeddings.weight), "Gather", ids)
    if family(config).position_offset:
        padding = graph.tensor(numpy.array(config.pad_token_id))
        real = graph.add("Not", graph.add("Equal", ids, padding))
        real = graph.add("Cast", real, to=TensorProto.INT64)
        number = graph.add("Mul", graph.add("CumSum", real, graph.integers(0)), real)
        places = graph.table(positions, "Gather", graph.add("Add", number, padding))
    else:
        zero, one = graph.integers(0), graph.integers(1)
        length = graph.add("Slice", graph.add("Shape", ids), zero, one)
        places = graph.table(positions, "Slice", zero, length, zero)
        places = graph.add("Unsqueeze", places, one)
    return graph.norm(module.LayerNorm, graph.add("Add", words, places))


def _far(graph: Graph, mask: str, config) -> str:
    """What is added to keys: far below zero at padding, in one more dimension of each head, where
    queries have 1. Scores then need no mask of their own: (T, B, A * (D + 1)).
    """
    width = config.hidden_size // config.num_attention_heads + 1
    pattern = numpy.zeros((config.num_attention_heads, width), numpy.float32)
    pattern[:, -1] = -_FAR
    padding = graph.add("Sub", mask, graph.tensor(numpy.float32(1)))
    return graph.add("Mul", padding, graph.tensor(pattern.reshape(-1)))


def _attention(graph: Graph, module, hidden: str, far: str, peak, config) -> str:
    """The heads' results beside each other, (T, B, H)."""
    heads = config.num_attention_heads
    width = config.hidden_size // heads
    weights, biases = [], []
    for number, part in enumerate((module.query, module.key, module.value)):
        weight, bias = (graph.array(each) for each in (part.weight, part.bias))
        scale = numpy.float32(width**-0.5 if number == 0 else 1)
        both = numpy.concatenate([weight, bias[:, None]], 1).reshape(heads, width, -1) * scale
        if number < 2:
            both = numpy.pad(both, ((0, 0), (0, 1), (0, 0)))
            both[:, -1, -1] = 1 - number
        weights.append(both[..., :-1].reshape(-1, weight.shape[1]).T)
        biases.append(both[..., -1].reshape(-1))
    three = graph.matrix(hidden, numpy.concatenate(weights, 1), numpy.concatenate(biases), peak)
    sizes = graph.integers(*map(len, biases))
    query, key, value = graph.add("Split", three, sizes, outputs=3, axis=2)
    parts = (query, graph.add("Sum", key, far), value)
    shape = graph.integers(0, 0, heads, -1)
    query, key, value = (graph.add("Reshape", part, shape) for part in parts)
    places = {"transBatchA": 1, "transBatchB": 1, "transB": 1}
    scores = graph.add("FusedMatMul", query, key, **places)
    scores = graph.add("Softmax", scores, axis=-1)
    result = graph.add("FusedMatMul", scores, value, transBatchB=1)
    result = graph.add("Transpose", result, perm=[2, 0, 1, 3])
    return graph.add("Reshape", result, graph.integers(0, 0, config.hidden_size))


def _layer(graph: Graph, layer, number: int, hidden: str, far: str, config) -> str:
    """Attention and feed-forward network of one layer."""
    peaks = graph.peaks[number] if graph.peaks else {}
    context = _attention(graph, layer.attention.self, hidden, far, peaks.get("attention"), config)
    after = layer.attention.output
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


def _head(graph: Graph, model, what: str, hidden: str, mask: str) -> str:
    """The logits of a task model, in float32."""

    def linear(given, module):
        return graph.linear(given, graph.array(module.weight).T, graph.array(module.bias))

    if what == "token":
        return linear(hidden, model.classifier)
    if getattr(model.config, "classifier_pooling", "first") == "mean":
        parts = (graph.add("Mul", hidden, mask), mask)
        sums = (graph.add("ReduceSum", x, graph.integers(0), keepdims=0) for x in parts)
        read = graph.add("Div", *sums)
    else:
        read = graph.add("Gather", hidden, graph.tensor(numpy.array(0)), axis=0)
    pooler = getattr(model.base_model, "pooler", None)
    first = pooler.dense if pooler is not None else model.classifier.dense
    last = model.classifier if pooler is not None else model.classifier.out_proj
    activation = "Gelu" if model.config.model_type == "electra" else "Tanh"
    return linear(graph.add(activation, linear(read, first)), last)
