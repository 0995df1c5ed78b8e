"""The nodes of an ONNX graph: tables, matrices and norms, in float32 or in 8 bits.

8 bits lose little of a trained encoder by four means:

- every row of a table, and every output of a matrix, has a scale of its own;
- the values of the few greatest neurons stay in float32, beside the others (LLM.int8, Dettmers et
  al. 2022): one of them alone would set the scale of all;
- what enters matrices is divided by a factor for each dimension, and the matrices multiplied by it
  (SmoothQuant, Xiao et al. 2023), since two dimensions of the hidden states are far larger;
- weights go from -64 to 64. Processors without VNNI add two products in 16 bits, which larger
  weights would overflow: 2 * 255 * 64 < 2**15.
"""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

IN_FLOAT = 8  # neurons of each layer whose values stay in float32
_GREATEST, _GREATEST_IN_TABLE = 64, 127
_FUSED = {"Gelu", "FastGelu", "MultiHeadAttention", "MatMulIntegerToFloat"}


class Graph:
    """The nodes and tensors of a graph so far, and which of the model's weights are in it."""

    def __init__(self, peaks):
        self.peaks, self.nodes, self.tensors, self.used = peaks, [], [], set()

    def array(self, weight) -> numpy.ndarray:
        """A weight of the model, which counts as used."""
        self.used.add(id(weight))
        return weight.detach().float().cpu().numpy()

    def weights(self, module) -> tuple[numpy.ndarray, numpy.ndarray]:
        """The weight (in, out) and the bias (out) of a linear layer of the model."""
        return self.array(module.weight).T, self.array(module.bias)

    def tensor(self, values) -> str:
        """The name of a new constant."""
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(numpy.asarray(values, order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        """The name of a new constant, a vector of these numbers."""
        return self.tensor(numpy.array(values))

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

    def matrices(self, given: str, parts: list[tuple], peak=None) -> list[str]:
        """given @ weight + bias of each part, as `linear` or in 8 bits.

        `peak` is the greatest value of each dimension of `given`, which is quantised once for all
        parts.
        """
        if self.peaks is None:
            return [self.linear(given, weight, bias) for weight, bias in parts]
        if peak is not None:
            greatest = numpy.abs(numpy.hstack([weight for weight, _ in parts])).max(1)
            factor = numpy.sqrt(peak.clip(1e-6) / greatest.clip(1e-6))
            factor = (factor / numpy.exp(numpy.log(factor).mean())).astype(numpy.float32)
            given = self.add("Mul", given, self.tensor(1 / factor))
            parts = [(weight * factor[:, None], bias) for weight, bias in parts]
        rounded, step, zero = self.add("DynamicQuantizeLinear", given, outputs=3)
        results = []
        for weight, bias in parts:
            scale = numpy.abs(weight).max(0).clip(1e-20) / _GREATEST
            small = numpy.rint(weight / scale).astype(numpy.int8)
            small, scale, bias = (self.tensor(each) for each in (small, scale, bias))
            inputs = (rounded, small, step, scale, zero, "", bias)
            results.append(self.add("MatMulIntegerToFloat", *inputs))
        return results

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
        self.nodes.append(helper.make_node("Identity", [result], [name]))
        inputs = [
            helper.make_tensor_value_info(each, TensorProto.INT64, ["batch", "sequence"])
            for each in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "encoder", inputs, [output], self.tensors)
        versions = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=8)
