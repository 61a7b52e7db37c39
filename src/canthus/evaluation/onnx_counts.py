"""Parameters and multiply-adds of an ONNX file, counted from its graph (extra: train)."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np

from canthus.errors import ModelFileError
from canthus.lookup import require
from canthus.runtime.onnx_checks import check_onnx
from canthus.runtime.sessions import MOST_SECONDS, BoundedSession, read_model

SECONDS = 10 * MOST_SECONDS
"""Longest run for the shapes; it may have a large batch."""

CENTRED = "canthus_centred_picture"
"""Tensor of an int8 network: the picture minus its zero point, whole numbers from ``-zero`` to ``255 - zero``."""

Shape: TypeAlias = tuple[int, ...]


@final
@dataclass(frozen=True)
class GraphCount:
    """Parameters and multiply-adds of a network.

    Attributes:
        parameters: numbers in stored tensors, without integer indices, quantization scales and zero points.
        multiply_adds: of one run with the given inputs; convolutions and matrix products only.
        uncounted: operators that also multiply and are not counted, such as ``LSTM``; empty for ordinary networks.
    """

    parameters: int
    multiply_adds: int
    uncounted: tuple[str, ...] = ()


def count_graph(path: str | os.PathLike[str], feeds: Mapping[str, np.ndarray]) -> GraphCount:
    """Count the parameters and multiply-adds of a network.

    A convolution takes one multiply-add per output number, input channel of its group and kernel cell; a transposed
    convolution takes the same per *input* number; a matrix product takes one per output number and inner index.  Bias,
    normalization and activation are not counted, as in papers.  Shapes come from a real run, not from inference.

    Args:
        feeds: one array per input.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: the file is no ONNX model, or does not run with these inputs.
    """
    model = read_graph(path)
    nodes = model.graph.node
    counted = [node for node in nodes if node.op_type in _COUNTS]
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes |= {name: array.shape for name, array in feeds.items()}
    wanted = sorted({name for node in counted for name in _operands(node)} - set(shapes))
    if wanted:
        shapes |= _run_shapes(model, wanted, feeds, source=Path(path))
    return GraphCount(
        parameters=_parameters(model.graph),
        multiply_adds=sum(_multiply_adds(node, shapes) for node in counted),
        uncounted=tuple(sorted({node.op_type for node in nodes} & _ALSO_MULTIPLY)),
    )


def read_graph(path: str | os.PathLike[str]) -> Any:
    """The ``ModelProto`` of a file, without weights that are stored in other files of its folder.

    Weights that are stored in 16 bits and cast are float32, see ``widened``.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: the file is no ONNX model, or one that ``check_onnx`` refuses.
    """
    onnx, protobuf = require("onnx", extra="train"), require("google.protobuf.message", extra="train")
    data = read_model(path)
    check_onnx(data, source=os.fspath(path), folder=Path(path).resolve().parent, fixed=False)
    try:
        model = onnx.load_from_string(data)
    except protobuf.DecodeError as error:
        raise ModelFileError(f"{path}: is no ONNX model, or is damaged ({error})") from error
    return widened(model)


def widened(model: Any) -> Any:
    """The same ``ModelProto``, in which weights that an operator ``Cast`` makes float32 are float32 themselves.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    onnx = require("onnx", extra="train")
    graph, stored = model.graph, {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]:
        tensor = stored[node.input[0]]
        if node.attribute[0].i == tensor.FLOAT and tensor.data_type == tensor.FLOAT16:
            wide = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            graph.initializer.append(onnx.numpy_helper.from_array(wide, node.output[0]))
            graph.node.remove(node)
            if not any(tensor.name in other.input for other in graph.node):
                graph.initializer.remove(tensor)
    return model


def side_files(path: str | os.PathLike[str]) -> list[Path]:
    """Files beside the model that hold some of its weights; usually none.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: the file is no ONNX model.
    """
    entries = [entry for tensor in read_graph(path).graph.initializer for entry in tensor.external_data]
    return [Path(path).parent / name for name in sorted({e.value for e in entries if e.key == "location"})]


def _operands(node: Any) -> tuple[str, str, str]:
    """Names of data, weights and output."""
    return node.input[0], node.input[_COUNTS[node.op_type][0]], node.output[0]


def _run_shapes(model: Any, names: list[str], feeds: Mapping[str, np.ndarray], *, source: Path) -> dict[str, Shape]:
    """Shapes of tensors: they become outputs of the model, which runs once."""
    present = {value.name for value in model.graph.output}
    for name in names:
        if name not in present:
            model.graph.output.add(name=name)
    # Optimization would remove the very tensors that are asked for.
    session = BoundedSession(
        model.SerializeToString(),
        source=str(source),
        threads=1,
        folder=source.resolve().parent,
        fixed=False,
        optimize=False,
        seconds=SECONDS,
    )
    arrays = session.run(names, dict(feeds))
    return {name: array.shape for name, array in zip(names, arrays, strict=True)}


def _multiply_adds(node: Any, shapes: Mapping[str, Shape]) -> int:
    data, weights, output = (shapes[name] for name in _operands(node))
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return _COUNTS[node.op_type][1](data[::-1] if transposed else data, weights, output)


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
"""Operator -> inputs that are quantization scales and zero points rather than weights."""


def _parameters(graph: Any) -> int:
    kinds = require("onnx", extra="train").TensorProto
    scales = {
        node.input[index]
        for node in graph.node
        for index in _SCALE_INPUTS.get(node.op_type, ())
        if index < len(node.input)
    }
    stored = [(tensor.name, tensor) for tensor in graph.initializer]
    stored += [(n.output[0], a.t) for n in graph.node for a in n.attribute if a.HasField("t")]
    return sum(
        prod(tensor.dims)
        for name, tensor in stored
        if tensor.data_type not in (kinds.INT64, kinds.STRING, kinds.BOOL) and name not in scales
    )
