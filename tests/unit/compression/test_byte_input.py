"""Pictures enter int8 networks as bytes, whatever normalization the float network had."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.compression.byte_input import skip_float, take_bytes
from canthus.compression.quantize import quantized, see_ranges
from canthus.evaluation.onnx_counts import CENTRED

RNG = np.random.default_rng(3)
PICTURES = RNG.integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
MEAN, DEVIATION = np.array([[[0.485]], [[0.456]], [[0.406]]]), np.array([[[0.229]], [[0.224]], [[0.225]]])
KERNEL = RNG.normal(0, 0.2, (5, 3, 3, 3))

Step = tuple[str, object, bool]
"""Operator, its constant, and whether the constant is the first operand."""
HALVES: Sequence[Step] = (("Div", 255, False), ("Mul", 2, False), ("Sub", 1, False))
COLOURS: Sequence[Step] = (("Div", 255, False), ("Sub", MEAN, False), ("Div", DEVIATION, False))
TURNED: Sequence[Step] = (("Sub", 255, True), ("Mul", 0.01, True), ("Add", -1.2, False))


def network(steps: Sequence[Step], *, pad: int = 0, bias: bool = True) -> onnx.ModelProto:
    """Picture, transposition, float, the steps, a convolution, a product."""
    stored = {"kernel": KERNEL, "product": RNG.normal(0, 0.1, (5, 4))} | ({"bias": np.arange(5) / 5} if bias else {})
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["step_0"], "float", to=TensorProto.FLOAT),
    ]
    for number, (kind, value, first) in enumerate(steps):
        stored[f"constant_{number}"] = np.array(value)
        operands = [f"step_{number}", f"constant_{number}"]
        nodes.append(
            helper.make_node(kind, operands[::-1] if first else operands, [f"step_{number + 1}"], f"n{number}")
        )
    weights = ["kernel", "bias"] if bias else ["kernel"]
    nodes += [
        helper.make_node("Conv", [f"step_{len(steps)}", *weights], ["seen"], "convolution", strides=[2, 2],
                         pads=[pad] * 4),
        helper.make_node("GlobalAveragePool", ["seen"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["row"], "row"),
        helper.make_node("MatMul", ["row", "product"], ["y"], "last"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 12, 12, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answer(model: onnx.ModelProto) -> np.ndarray:
    (y,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": PICTURES})
    return np.asarray(y)


@pytest.mark.parametrize(("steps", "zero"), [(HALVES, 128), (COLOURS, 114), (TURNED, 135), ((), 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_normalization_moves_into_the_convolution(steps: Sequence[Step], zero: int, bias: bool) -> None:
    model = network(steps, bias=bias)
    expected = answer(model)
    assert take_bytes(model) == zero
    assert [node.op_type for node in model.graph.node[:4]] == ["Transpose", "Cast", "Sub", "Conv"]
    assert not [tensor.name for tensor in model.graph.initializer if tensor.name.startswith("constant")]
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(answer(model), expected, rtol=1e-4, atol=1e-4)


def test_padded_pixels_have_the_colour_of_the_zero_point() -> None:
    """The middle of -1 to 1 is 127.5, so that padding is off by half a step of 2 / 255."""
    model = network(HALVES, pad=1)
    expected = answer(model)
    take_bytes(model)
    assert 0 < np.abs(answer(model) - expected).max() < np.abs(KERNEL).sum() / 255


@pytest.mark.parametrize(
    "steps",
    [
        (("Div", 255, False), ("Sub", RNG.uniform(size=(1, 3, 12, 12)), False)),  # a number for each pixel
        (("Div", 255, True),),  # no line
        (("Pow", 2, False),),
        (("Mul", 0, False),),
    ],
)
def test_networks_that_begin_otherwise_stay_as_they_are(steps: Sequence[Step]) -> None:
    model = network(steps)
    before = model.SerializeToString(deterministic=True)
    assert take_bytes(model) is None
    skip_float(model)
    assert model.SerializeToString(deterministic=True) == before


def test_networks_of_floats_stay_as_they_are() -> None:
    model = network(HALVES)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    before = model.SerializeToString(deterministic=True)
    assert take_bytes(model) is None
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_an_int8_network_reads_the_bytes_themselves(method: str) -> None:
    model = network(COLOURS, pad=1)
    content = quantized(see_ranges(model.SerializeToString(), PICTURES, method=method), weight_bits=7)
    made = onnx.load_from_string(content)
    onnx.checker.check_model(made, full_check=True)
    (first,) = [node for node in made.graph.node if "image" in node.input]
    (second,) = [node for node in made.graph.node if first.output[0] in node.input]
    assert (first.op_type, second.op_type) == ("Transpose", "DequantizeLinear")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    assert (float(stored[second.input[1]]), int(stored[second.input[2]])) == (1.0, 114)
    assert "Cast" not in {node.op_type for node in made.graph.node}
    assert stored.keys() <= {name for node in made.graph.node for name in node.input}, (
        "ONNX Runtime warns of the others"
    )
    assert np.abs(answer(made) - answer(model)).max() < 0.05 * np.abs(answer(model)).max()


def test_a_first_layer_that_stays_in_float_gets_floats() -> None:
    model = network(COLOURS)
    ranged = see_ranges(model.SerializeToString(), PICTURES)
    made = onnx.load_from_string(quantized(ranged, keep=["convolution"]))
    (reader,) = [node.op_type for node in made.graph.node if CENTRED in node.input]
    assert reader == "Conv"
    assert np.abs(answer(made) - answer(model)).max() < 0.05 * np.abs(answer(model)).max()
