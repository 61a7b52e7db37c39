"""Bytes of a picture straight into the first convolution of an int8 network.

Networks normalize a picture in float before their first convolution, and an int8 network would round the result to
bytes again.  Here the normalization, which is linear in each channel, moves into the weights and the bias of that
convolution, so that the bytes of the picture are the bytes that it multiplies.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from canthus.evaluation.onnx_counts import CENTRED
from canthus.lookup import require

_ZERO, _BIAS = "canthus_zero_point", "canthus_first_bias"


def take_bytes(model: Any) -> int | None:
    """Rewrite the start of a float network, in place: picture, transposition, float, minus a zero point, convolution.

    With ``y = a x + b`` in a channel, where x is a byte, the convolution gets the weights ``w a``, and its bias the
    sum of ``w (a z + b)`` over the kernel, with the zero point z nearest to ``-b / a``.  Padded pixels then have the
    colour z, where they had the colour for which ``y`` is 0; these are less than one step apart where all channels are
    normalized alike.

    Returns:
        The zero point; None, and the network as it was, if it begins in another way.
    """
    chain = _start_of(model)
    if chain is None:
        return None
    (_, cast, *steps), convolution = chain
    numpy_helper = require("onnx.numpy_helper", extra="train")
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kernel = numpy_helper.to_array(stored[convolution.input[1]]).astype(np.float64)
    affine = _affine(steps, stored, channels=kernel.shape[1])
    if affine is None:
        return None
    slope, offset = affine
    zero = int(np.clip(np.rint(np.mean(-offset / slope)), 0, 255))
    weights: str = convolution.input[1]
    bias: str = convolution.input[2] if len(convolution.input) > 2 else _BIAS
    before = numpy_helper.to_array(stored[bias]).astype(np.float64) if bias in stored else 0.0
    _put(model, weights, kernel * slope[:, None, None])
    _put(model, bias, before + np.einsum("oihw,i->o", kernel, slope * zero + offset))
    _put(model, _ZERO, np.array(zero))
    convolution.input[:] = [CENTRED, weights, bias]
    helper = require("onnx.helper", extra="train")
    for step in steps:
        model.graph.node.remove(step)
    place = list(model.graph.node).index(cast) + 1
    model.graph.node.insert(place, helper.make_node("Sub", [cast.output[0], _ZERO], [CENTRED], name=CENTRED))
    _drop_unread(model, steps)
    return zero


def skip_float(model: Any) -> None:
    """Let the first convolution of a quantized network read the transposed bytes, in place.

    Casting the bytes, subtracting the zero point, and dividing by the scale 1 and adding the zero point gives the bytes
    again.  A network whose first convolution stayed in float is left as it is.
    """
    nodes = list(model.graph.node)
    made_by = {name: node for node in nodes for name in node.output}
    centred = made_by.get(CENTRED)
    readers = [node for node in nodes if CENTRED in node.input]
    if centred is None or [node.op_type for node in readers] != ["QuantizeLinear"]:
        return
    cast, quantize = made_by[centred.input[0]], readers[0]
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == quantize.output[0]:
                node.input[place] = cast.input[0]
    skipped = (cast, centred, quantize)
    for node in skipped:
        model.graph.node.remove(node)
    _drop_unread(model, skipped)


def _start_of(model: Any) -> tuple[list[Any], Any] | None:
    """The operators from the picture to the first convolution, and that convolution; None where they are others."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for operand in node.input:
            readers.setdefault(operand, []).append(node)
    types = require("onnx", extra="train").TensorProto
    stored = {t.name for t in model.graph.initializer if t.data_type == types.FLOAT}
    if model.graph.input[0].type.tensor_type.elem_type != types.UINT8:
        return None
    chain: list[Any] = []
    name: str = model.graph.input[0].name
    while len(readers.get(name, [])) == 1:
        (node,) = readers[name]
        if node.op_type == "Conv":
            kinds = [step.op_type for step in chain]
            whole = kinds[:2] == ["Transpose", "Cast"] and set(kinds[2:]) <= {"Add", "Div", "Mul", "Sub"}
            plain = all(part in stored and len(readers[part]) == 1 for part in node.input[1:]) and node.input[0] == name
            return (chain, node) if whole and plain and _groups(node) == 1 else None
        chain.append(node)
        name = node.output[0]
    return None


def _groups(convolution: Any) -> int:
    return next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)


def _affine(
    steps: Sequence[Any], stored: dict[str, Any], *, channels: int
) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]] | None:
    """Slope and offset of each channel; None if a step has another operand than a number, or a number a channel."""
    numpy_helper = require("onnx.numpy_helper", extra="train")
    slope, offset = np.ones(channels), np.zeros(channels)
    for step in steps:
        constants = [name for name in step.input if name in stored]
        if len(constants) != 1:
            return None
        value = numpy_helper.to_array(stored[constants[0]]).astype(np.float64)
        if value.size != 1 and value.shape[-3:] != (channels, 1, 1):
            return None
        number, first = value.reshape(-1), step.input[0] == constants[0]
        match step.op_type:
            case "Add":
                offset = offset + number
            case "Sub":
                slope, offset = (-slope, number - offset) if first else (slope, offset - number)
            case "Mul":
                slope, offset = slope * number, offset * number
            case "Div" if not first:
                slope, offset = slope / number, offset / number
            case _:
                return None
    return (slope, offset) if np.all(slope != 0) else None


def _drop_unread(model: Any, removed: Sequence[Any]) -> None:
    """Drop the stored tensors that only the removed nodes read: ONNX Runtime warns of them whenever it opens a file."""
    read = {name for node in model.graph.node for name in node.input}
    unread = {name for node in removed for name in node.input} - read
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in unread]:
        model.graph.initializer.remove(tensor)


def _put(model: Any, name: str, value: np.ndarray) -> None:
    """Store a float tensor, in the place of one of that name if there is one."""
    tensor = require("onnx.numpy_helper", extra="train").from_array(value.astype(np.float32), name)
    for stored in model.graph.initializer:
        if stored.name == name:
            stored.CopyFrom(tensor)
            return
    model.graph.initializer.append(tensor)
