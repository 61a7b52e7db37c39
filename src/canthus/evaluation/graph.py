"""Parameters and multiply-adds of an ONNX file, counted from its graph."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeAlias, final

import numpy as np
import onnxruntime

from canthus.errors import ModelFileError
from canthus.evaluation.onnx_file import BOOL, INT64, STRING, Graph, Node, parse_graph, with_outputs
from canthus.evaluation.timing import first_line
from canthus.runtime.sessions import ORT_ERRORS

Shape: TypeAlias = tuple[int, ...]


@final
@dataclass(frozen=True)
class GraphCount:
    """What the graph of a network holds and asks for.

    Attributes:
        parameters: numbers in stored tensors, without integer indices, quantisation scales and zero points.
        multiply_adds: of one run with the given inputs; convolutions and matrix products only.
        uncounted: operators that also multiply and are not counted, such as ``LSTM``; empty for ordinary networks.
    """

    parameters: int
    multiply_adds: int
    uncounted: tuple[str, ...]


def count_graph(path: str | os.PathLike[str], feeds: Mapping[str, np.ndarray]) -> GraphCount:
    """Count a network's parameters and multiply-adds.

    A convolution costs one multiply-add per output number, input channel of its group and kernel cell; a transposed one
    the same per *input* number; a matrix product one per output number and inner index.  Bias, normalisation and
    activation are left out, as papers do.  The shapes are those of a real run, not inferred.

    Args:
        path: the ONNX file.
        feeds: one array per input.

    Raises:
        ModelFileError: the file is no ONNX model, or does not run with these inputs.
    """
    data = Path(path).read_bytes()
    graph = parse_graph(data, source=os.fspath(path))
    counted = [node for node in graph.nodes if node.operator in _COUNTS]
    needed = {name for node in counted for name in _named(node)}
    shapes = _shapes(data, graph, feeds, needed, folder=Path(path).resolve().parent)
    return GraphCount(
        parameters=_parameters(graph),
        multiply_adds=sum(_multiply_adds(node, shapes) for node in counted),
        uncounted=tuple(sorted({node.operator for node in graph.nodes} & _ALSO_MULTIPLY)),
    )


def side_files(path: str | os.PathLike[str]) -> list[Path]:
    """Files beside the model that hold some of its numbers; usually none.

    Raises:
        ModelFileError: the file is no ONNX model.
    """
    graph = parse_graph(Path(path).read_bytes(), source=os.fspath(path))
    return [Path(path).parent / name for name in sorted({tensor.location for tensor in graph.tensors} - {""})]


def _named(node: Node) -> tuple[str, str, str]:
    """Names of data, weights and output."""
    return node.inputs[0], node.inputs[_COUNTS[node.operator][0]], node.outputs[0]


def _shapes(
    data: bytes, graph: Graph, feeds: Mapping[str, np.ndarray], needed: set[str], *, folder: Path
) -> dict[str, Shape]:
    """Shapes of tensors, by making them outputs of the model and running it once."""
    known: dict[str, Shape] = {tensor.name: tensor.shape for tensor in graph.tensors}
    known |= {name: array.shape for name, array in feeds.items()}
    wanted = sorted(needed - set(known))
    if not wanted:
        return known
    options = onnxruntime.SessionOptions()
    # Optimising would fold the very tensors that are asked for.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        plain = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        present = {value.name for value in plain.get_outputs()}
        opened = with_outputs(data, [name for name in wanted if name not in present])
        session = onnxruntime.InferenceSession(opened, options, providers=["CPUExecutionProvider"])
        arrays = session.run(wanted, dict(feeds))
    except ORT_ERRORS as error:
        raise ModelFileError(f"Cannot be run to learn the shapes of its tensors ({first_line(error)})") from error
    return known | {name: array.shape for name, array in zip(wanted, arrays, strict=True)}


def _multiply_adds(node: Node, shapes: Mapping[str, Shape]) -> int:
    data, weights, output = (shapes[name] for name in _named(node))
    return _COUNTS[node.operator][1](data[::-1] if node.integers.get("transA") else data, weights, output)


def _convolution(data: Shape, weights: Shape, output: Shape) -> int:
    return prod(output) * prod(weights[1:])


def _transposed_convolution(data: Shape, weights: Shape, output: Shape) -> int:
    return prod(data) * prod(weights[1:])


def _product(data: Shape, weights: Shape, output: Shape) -> int:
    return prod(output) * data[-1]


_COUNTS: dict[str, tuple[int, Callable[[Shape, Shape, Shape], int]]] = {
    "Conv": (1, _convolution),
    "FusedConv": (1, _convolution),
    "ConvInteger": (1, _convolution),
    "QLinearConv": (3, _convolution),
    "ConvTranspose": (1, _transposed_convolution),
    "Gemm": (1, _product),
    "FusedGemm": (1, _product),
    "MatMul": (1, _product),
    "MatMulInteger": (1, _product),
    "QLinearMatMul": (3, _product),
}
"""Operator -> which input holds the weights, and how its multiply-adds follow from data, weights and output."""

_ALSO_MULTIPLY = frozenset({
    "Attention", "DeformConv", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "Einsum", "FusedMatMul", "GRU", "If",
    "LSTM", "Loop", "MatMulNBits", "MultiHeadAttention", "NhwcFusedConv", "QAttention", "QGemm",
    "QLinearConvTranspose", "RNN", "Scan",
})  # fmt: skip

_SCALE_INPUTS: dict[str, tuple[int, ...]] = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
}
"""Operator -> inputs that are quantisation scales and zero points rather than weights."""


def _parameters(graph: Graph) -> int:
    scales = {
        node.inputs[index]
        for node in graph.nodes
        for index in _SCALE_INPUTS.get(node.operator, ())
        if index < len(node.inputs)
    }
    stored = [(tensor.name, tensor) for tensor in graph.tensors]
    stored += [(node.outputs[0], tensor) for node in graph.nodes for tensor in node.tensors.values()]
    return sum(
        prod(tensor.shape) for name, tensor in stored if tensor.kind not in (INT64, STRING, BOOL) and name not in scales
    )
