"""Weights rounded so that the outputs of a layer stay where they were, and not each weight by itself.

Frantar et al. (2022), "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers": the inputs
of a layer are rounded one after the other, for all its outputs at once, and what the rounding of one changes in the
output on a sample is taken back as far as possible by the weights of those that are still to be rounded.  With ``H``,
the products of the inputs over the sample, and ``U``, the upper Cholesky factor of its inverse, a rounding error ``e``
of input i changes the weights of each later input j by ``-e U_ij / U_ii``.

Differs: the inputs are taken in their order and one by one, not in blocks, which gives the same result; the largest
weight of each output is rounded away from zero, so that the scale, which follows from it, stays.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float64, UInt8

from canthus.lookup import require

LARGEST = {7: 64, 8: 127}
"""Bits of a weight -> the largest whole number that it becomes, as ONNX Runtime has it."""
PICTURES = 64
"""Pictures of a sample that is large enough."""
_POSITIONS = 48
"""Places of each map, in each picture, whose inputs are in the sample."""
_MOST_INPUTS = 5000
"""Inputs of an output from which a layer is rounded weight by weight, since ``H`` has as many rows and columns."""
_DAMPING = 0.01
"""Share of the mean of its diagonal that is added to the diagonal of ``H``."""
_ROUNDED = frozenset({"Conv", "Gemm", "MatMul"})


@final
@dataclass(frozen=True)
class _Layer:
    """One operator whose second operand is a stored weight."""

    operator: str
    source: str
    weight: str
    shape: tuple[int, ...]
    options: Mapping[str, Any]

    def matrix(self, values: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "groups outputs inputs"]:
        """The weight as one matrix for each group of channels."""
        if self.operator == "Conv":
            groups = int(self.options.get("group", 1))
            return np.asarray(values.reshape(groups, values.shape[0] // groups, -1), np.float64)
        return np.asarray((values if self.options.get("transB", 0) else values.T)[None], np.float64)

    def values(self, matrix: Float64[np.ndarray, "groups outputs inputs"]) -> Float[np.ndarray, "..."]:
        """The matrices in the shape of the weight again."""
        if self.operator == "Conv":
            return np.asarray(matrix).reshape(self.shape)
        return np.asarray(matrix[0] if self.options.get("transB", 0) else matrix[0].T)

    def inputs(
        self, found: Float[np.ndarray, "..."], rng: np.random.Generator
    ) -> Float64[np.ndarray, "groups samples inputs"]:
        """What the weight is multiplied with, at some places of each picture."""
        if self.operator != "Conv":
            return np.asarray(found.reshape(1, -1, found.shape[-1]), np.float64)
        top, left, bottom, right = self.options.get("pads", (0, 0, 0, 0))
        rows, columns = self.options.get("strides", (1, 1))
        padded = np.pad(found, ((0, 0), (0, 0), (top, bottom), (left, right)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.shape[2:], axis=(2, 3))[:, :, ::rows, ::columns]
        n, channels, h, w = seen.shape[:4]
        place = rng.permutation(h * w)[:_POSITIONS]
        chosen = seen[:, :, place // w, place % w]  # n, channels, places, kernel
        groups = int(self.options.get("group", 1))
        chosen = chosen.reshape(n, groups, channels // groups, len(place), -1).transpose(1, 0, 3, 2, 4)
        return np.asarray(chosen.reshape(groups, n * len(place), -1), np.float64)


def fitted_weights(
    model: Any,
    batches: Iterable[UInt8[np.ndarray, "n h w 3"]],
    *,
    skip: Collection[str] = (),
    weight_bits: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Rounded weights of a float network.

    Args:
        model: the ONNX network.
        batches: crops or pictures, the sample; ``PICTURES`` are enough.
        skip: names of operators that stay in float.
        weight_bits: key of ``LARGEST``.
        progress: gets the number of weights that are rounded, and of all.

    Returns:
        Name of each weight of a convolution or a matrix product -> its values, multiples of the scale of each output.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = list(_layers(model, stored, skip))
    products = _products(model, layers, batches)
    to_array = require("onnx.numpy_helper", extra="train").to_array
    found: dict[str, np.ndarray] = {}
    for number, layer in enumerate({layer.weight: layer for layer in layers}.values(), start=1):
        rounded = round_columns(
            layer.matrix(to_array(stored[layer.weight])), products[layer.weight], largest=LARGEST[weight_bits]
        )
        found[layer.weight] = layer.values(rounded).astype(np.float32)
        progress(number, len(products))
    return found


def values_inside(
    model: Any, names: Iterable[str], batches: Iterable[UInt8[np.ndarray, "n h w 3"]]
) -> Iterator[dict[str, np.ndarray]]:
    """What operators of an ONNX network read, by name, for each batch of crops or pictures."""
    onnx, runtime = require("onnx", extra="train"), require("onnxruntime", extra="train")
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    picture = probe.graph.input[0].name
    asked = [name for name in dict.fromkeys(names) if name != picture]
    present = {value.name for value in probe.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked if name not in present)
    session = runtime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in batches:
        yield {picture: batch} | dict(zip(asked, session.run(asked, {picture: batch}), strict=True))


def round_columns(
    weights: Float64[np.ndarray, "groups outputs inputs"],
    products: Float64[np.ndarray, "groups inputs inputs"],
    *,
    largest: int,
) -> Float64[np.ndarray, "groups outputs inputs"]:
    """Weights rounded to multiples of the scale of each output, ``largest`` of which are its largest weight."""
    scale = np.abs(weights).max(axis=2, keepdims=True) / largest
    scale[scale == 0] = 1.0
    count = weights.shape[2]
    mean = np.trace(products, axis1=1, axis2=2)[:, None, None] / count
    damped = products + np.where(mean > 0, _DAMPING * mean, 1.0) * np.eye(count)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)
    peak = np.abs(weights).argmax(axis=2)
    left, rounded = weights.copy(), np.zeros_like(weights)
    for column in range(count):
        whole = np.clip(np.rint(left[..., column] / scale[..., 0]), -largest, largest)
        whole = np.where(peak == column, largest * np.sign(weights[..., column]), whole)
        rounded[..., column] = whole * scale[..., 0]
        error = (left[..., column] - rounded[..., column]) / upper[:, None, column, column]
        left[..., column + 1 :] -= error[..., None] * upper[:, None, column, column + 1 :]
    return rounded


def _layers(model: Any, stored: Mapping[str, Any], skip: Collection[str]) -> Iterator[_Layer]:
    helper = require("onnx.helper", extra="train")
    types = require("onnx", extra="train").TensorProto
    for node in model.graph.node:
        weight = stored.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type not in _ROUNDED or node.name in skip or weight is None or weight.data_type != types.FLOAT:
            continue
        shape = tuple(weight.dims)
        options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        layer = _Layer(node.op_type, node.input[0], weight.name, shape, options)
        plain = set(options.get("dilations", (1,))) == {1} and options.get("auto_pad", b"NOTSET") == b"NOTSET"
        usual = len(shape) == 4 if node.op_type == "Conv" else len(shape) == 2 and not options.get("transA", 0)
        if plain and usual and layer.matrix(np.empty(shape)).shape[2] <= _MOST_INPUTS:
            yield layer


def _products(
    model: Any, layers: Sequence[_Layer], batches: Iterable[UInt8[np.ndarray, "n h w 3"]]
) -> dict[str, Float64[np.ndarray, "groups inputs inputs"]]:
    """Mean products of the inputs of each weight over the sample."""
    rng = np.random.default_rng(0)
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for found in values_inside(model, [layer.source for layer in layers], batches):
        for layer in layers:
            inputs = layer.inputs(found[layer.source], rng)
            sums[layer.weight] = sums.get(layer.weight, 0.0) + inputs.swapaxes(1, 2) @ inputs
            counts[layer.weight] = counts.get(layer.weight, 0) + inputs.shape[1]
    return {weight: total / counts[weight] for weight, total in sums.items()}
