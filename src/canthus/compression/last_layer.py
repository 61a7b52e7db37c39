"""A linear map of the points put into the last weights of an ONNX file, or behind its network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float64, UInt8

from canthus.compression.rounding import round_columns, values_inside
from canthus.lookup import require

POINTS = "points"
"""Name of the output of landmark models."""
_BATCH = 64


@final
@dataclass(frozen=True)
class _Stored:
    """A tensor of the file, by the name under which operators read it.

    Attributes:
        tensor: holds the numbers: floats of 32 or 16 bits, or whole numbers.
        scale: tensor that multiplies whole numbers; None for floats.
    """

    tensor: Any
    scale: Any | None

    def values(self) -> Float64[np.ndarray, "..."]:
        """The numbers that operators see; the scale is that of each output, along the first axis."""
        numbers = np.asarray(_array(self.tensor), np.float64)
        if self.scale is None:
            return numbers
        scale = np.asarray(_array(self.scale), np.float64)
        return numbers * scale.reshape(-1, *[1] * (numbers.ndim - 1))

    def set(self, values: Float64[np.ndarray, "..."], scale: Float64[np.ndarray, " n"] | None = None) -> None:
        """Store other numbers, which are whole multiples of ``scale`` if that is given."""
        if self.scale is not None and scale is not None:
            _replace(self.scale, scale.reshape(_array(self.scale).shape))
            values = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1)))
        _replace(self.tensor, values)


@final
@dataclass(frozen=True)
class _Tail:
    """The matrix product that the points come from: points = (input weightsᵀ + bias) * factor + offset, in rows."""

    source: str
    weights: _Stored
    bias: _Stored
    factor: Float64[np.ndarray, " c"]
    offset: Float64[np.ndarray, " c"]


def fold_matrix(model: Any, matrix: Float64[np.ndarray, "c c"], crops: UInt8[np.ndarray, "n s s 3"]) -> bool:
    """Put a linear map into the weights of the last matrix product, in place.

    Args:
        model: the ONNX network; rounded weights stay rounded, fitted to their outputs on ``crops``.
        matrix: mapped = row @ matrix, for points as rows ``x1 y1 x2 y2 ...``.

    Returns:
        Whether the points come straight from a matrix product; if not, nothing was changed.
    """
    tail = _find_tail(model, len(matrix))
    if tail is None:
        return False
    weights, bias = tail.weights.values(), tail.bias.values()
    to_product = matrix * tail.factor[:, None] / tail.factor
    mapped = to_product.T @ weights
    mapped_bias = bias @ to_product + (tail.offset @ matrix - tail.offset) / tail.factor
    if tail.weights.scale is None:
        tail.weights.set(mapped)
        tail.bias.set(mapped_bias)
        return True
    batches = (crops[first : first + _BATCH] for first in range(0, len(crops), _BATCH))
    seen = [found[tail.source] for found in values_inside(model, [tail.source], batches)]
    inputs = np.concatenate(seen).astype(np.float64)
    largest = int(np.abs(_array(tail.weights.tensor)).max())
    rounded = round_columns(mapped[None], (inputs.T @ inputs / len(inputs))[None], largest=largest)[0]
    scale = np.abs(mapped).max(axis=1) / largest
    mapped_bias -= (rounded - mapped) @ inputs.mean(axis=0)  # what rounding would move the points by in the mean
    of_input = _array(tail.bias.scale).ravel() / _array(tail.weights.scale).ravel()
    tail.weights.set(rounded, scale)
    tail.bias.set(mapped_bias, scale * of_input)
    return True


def append_matrix(model: Any, matrix: Float64[np.ndarray, "c c"]) -> None:
    """Let a matrix product follow the network that maps its points, in place; see ``fold_matrix``."""
    make = require("onnx.helper", extra="train").make_node
    before = f"{POINTS}_before_map"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [before if name == POINTS else name for name in names]
    stored = {"map_rows": np.array([-1, len(matrix)]), "map_points": np.array([-1, len(matrix) // 2, 2])}
    for name, values in (*stored.items(), ("map_matrix", matrix.astype(np.float32))):
        model.graph.initializer.append(require("onnx.numpy_helper", extra="train").from_array(values, name))
    model.graph.node.extend([
        make("Reshape", [before, "map_rows"], ["map_input"]),
        make("MatMul", ["map_input", "map_matrix"], ["map_output"]),
        make("Reshape", ["map_output", "map_points"], [POINTS]),
    ])  # fmt: skip


def _find_tail(model: Any, count: int) -> _Tail | None:
    """Walk back from the points over shapes and numbers that each coordinate is multiplied with, or that are added."""
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    uses = [name for node in graph.node for name in node.input]
    stored = {tensor.name: tensor for tensor in graph.initializer}
    factor, offset, name = np.ones(count), np.zeros(count), POINTS
    while (node := made.get(name)) is not None and uses.count(name) == (0 if name == POINTS else 1):
        if node.op_type == "Gemm":
            return _gemm(node, stored, made, factor, offset)
        if node.op_type in {"Reshape", "Flatten", "Identity"}:
            name = node.input[0]
            continue
        step = _number(node, stored, made, count)
        if step is None:
            return None
        name, number = step
        if node.op_type == "Mul":
            factor = factor * number
        else:
            offset = offset + factor * number
    return None


def _number(
    node: Any, stored: Mapping[str, Any], made: Mapping[str, Any], count: int
) -> tuple[str, Float64[np.ndarray, " c"]] | None:
    """The input of a ``Mul`` or ``Add`` that is computed, and for each coordinate the number that is stored."""
    if node.op_type not in {"Mul", "Add"}:
        return None
    for name, other in (tuple(node.input), tuple(node.input)[::-1]):
        values = _constant(other, stored, made)
        if values is None:
            continue
        if values.size in {1, count}:
            return name, np.broadcast_to(values.ravel(), count).astype(np.float64)
        if values.size == 2 and values.shape[-1] == 2:
            return name, np.tile(values.ravel(), count // 2).astype(np.float64)
    return None


def _constant(name: str, stored: Mapping[str, Any], made: Mapping[str, Any]) -> np.ndarray | None:
    if name in stored:
        return _array(stored[name])
    node = made.get(name)
    if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
        return _array(node.attribute[0].t)
    return None


def _gemm(
    node: Any,
    stored: Mapping[str, Any],
    made: Mapping[str, Any],
    factor: Float64[np.ndarray, " c"],
    offset: Float64[np.ndarray, " c"],
) -> _Tail | None:
    """The product, if its weights and its bias are stored, one row of weights for each coordinate."""
    options = {entry.name: entry.f if entry.name in {"alpha", "beta"} else entry.i for entry in node.attribute}
    usual = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | options
    if usual != {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1} or len(node.input) != 3 or not factor.all():
        return None
    weights, bias = (_stored(name, stored, made) for name in node.input[1:])
    if weights is None or bias is None or (weights.scale is None) != (bias.scale is None):
        return None
    scales = [weights.scale, bias.scale] if weights.scale is not None else []
    if any(math.prod(scale.dims) != len(factor) for scale in scales):
        return None
    return _Tail(node.input[0], weights, bias, factor, offset)


def _stored(name: str, stored: Mapping[str, Any], made: Mapping[str, Any]) -> _Stored | None:
    """The tensor behind a name: itself, or what a ``Cast`` or a ``DequantizeLinear`` reads."""
    if name in stored:
        return _Stored(stored[name], None)
    node = made.get(name)
    if node is None or node.input[0] not in stored:
        return None
    if node.op_type == "Cast":
        return _Stored(stored[node.input[0]], None)
    if node.op_type != "DequantizeLinear" or not all(part in stored for part in node.input):
        return None
    if len(node.input) > 2 and _array(stored[node.input[2]]).any():
        return None
    return _Stored(stored[node.input[0]], stored[node.input[1]])


def _array(tensor: Any) -> np.ndarray:
    values: np.ndarray = require("onnx.numpy_helper", extra="train").to_array(tensor)
    return values


def _replace(tensor: Any, values: np.ndarray) -> None:
    """Other numbers in a tensor of the file, of the same type and shape."""
    make = require("onnx.numpy_helper", extra="train").from_array
    before = _array(tensor)
    tensor.CopyFrom(make(np.ascontiguousarray(values.reshape(before.shape), before.dtype), tensor.name))
