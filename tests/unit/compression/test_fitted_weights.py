"""Weights that are rounded so that the outputs of a layer stay near what they were."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.compression import rounding
from canthus.compression.quantize import fit_rounding, quantized, see_ranges
from canthus.compression.rounding import LARGEST, fitted_weights, round_columns

RNG = np.random.default_rng(5)
PICTURES = RNG.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
WEIGHTS = {
    "first": RNG.normal(0, 0.1, (6, 3, 3, 3)),
    "apart": RNG.normal(0, 0.3, (6, 1, 3, 3)),
    "pairs": RNG.normal(0, 0.3, (8, 3, 1, 1)),
    "square": RNG.normal(0, 0.2, (8, 8, 4, 4)),
    "dense": RNG.normal(0, 0.3, (10, 8)),
    "product": RNG.normal(0, 0.3, (10, 4)),
}


def network() -> onnx.ModelProto:
    """Convolutions with strides, padding and groups, a Gemm with a transposed weight, and a product."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["float"], "float", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["x"], "scaled"),
        helper.make_node("Conv", ["x", "first"], ["a"], "first", strides=[2, 1], pads=[1, 0, 1, 2]),
        helper.make_node("Conv", ["a", "apart"], ["b"], "apart", group=6, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b"], ["c"], "relu"),
        helper.make_node("Conv", ["c", "pairs"], ["d"], "pairs", group=2),
        helper.make_node("Conv", ["d", "square"], ["e"], "square", strides=[2, 3]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], "mean"),
        helper.make_node("Flatten", ["f"], ["g"], "row"),
        helper.make_node("Gemm", ["g", "dense"], ["h"], "dense", transB=1),
        helper.make_node("MatMul", ["h", "product"], ["y"], "product"),
    ]
    stored = WEIGHTS | {"scale": np.array(1 / 255)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 16, 16, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answers(content: bytes, *names: str) -> list[np.ndarray]:
    model = onnx.load_from_string(content)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name != "y")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run(list(names), {"image": PICTURES})]


def test_independent_inputs_are_rounded_each_to_the_nearest() -> None:
    weights = RNG.normal(size=(2, 5, 7))
    scale = np.abs(weights).max(axis=2, keepdims=True) / 64
    rounded = round_columns(weights, np.stack([np.diag(RNG.uniform(1, 2, 7))] * 2), largest=64)
    np.testing.assert_allclose(rounded, np.rint(weights / scale) * scale)


def test_outputs_on_the_sample_change_less_than_by_rounding_each_weight() -> None:
    weights, inputs = RNG.normal(size=(1, 20, 30)), RNG.normal(size=(200, 8)) @ RNG.normal(size=(8, 30))
    inputs += 0.1 * RNG.normal(size=inputs.shape)
    scale = np.abs(weights).max(axis=2, keepdims=True) / 64
    rounded = round_columns(weights, (inputs.T @ inputs / 200)[None], largest=64)
    whole = rounded / scale
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    np.testing.assert_allclose(np.abs(whole).max(axis=2), 64)
    fitted, nearest = (
        np.linalg.norm((other - weights)[0] @ inputs.T) for other in (rounded, np.rint(weights / scale) * scale)
    )
    assert fitted < 0.5 * nearest


def test_an_output_without_weights_and_inputs_without_values_are_no_matter() -> None:
    weights = RNG.normal(size=(1, 3, 4))
    weights[0, 1] = 0
    rounded = round_columns(weights, np.zeros((1, 4, 4)), largest=127)
    assert not rounded[0, 1].any()
    np.testing.assert_allclose(rounded, weights, atol=np.abs(weights).max() / 127)


def test_the_inputs_of_a_layer_are_what_its_weights_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "_POSITIONS", 10_000)  # all places
    model = network()
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = list(rounding._layers(model, stored, ()))
    assert [layer.weight for layer in layers] == list(WEIGHTS)
    ends = {node.input[1]: node.output[0] for node in model.graph.node if len(node.input) > 1}
    names = list(dict.fromkeys([*(layer.source for layer in layers), *(ends[layer.weight] for layer in layers)]))
    found = dict(zip(names, answers(model.SerializeToString(), *names), strict=True))
    for layer in layers:
        inputs = layer.inputs(found[layer.source], np.random.default_rng(0))
        made = layer.matrix(WEIGHTS[layer.weight]) @ inputs.swapaxes(1, 2)
        np.testing.assert_allclose(np.sort(made.ravel()), np.sort(found[ends[layer.weight]].ravel()), atol=1e-4)
        np.testing.assert_array_equal(layer.values(layer.matrix(WEIGHTS[layer.weight])), WEIGHTS[layer.weight])


@pytest.mark.parametrize("bits", LARGEST)
def test_the_int8_network_has_the_rounded_weights_and_is_closer_to_the_float_one(bits: int) -> None:
    data = network().SerializeToString()
    ranged = see_ranges(data, PICTURES)
    told: list[tuple[int, int]] = []
    fitted = fit_rounding(ranged, PICTURES, weight_bits=bits, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]
    assert fitted.weights.keys() == WEIGHTS.keys()
    content = quantized(fitted, weight_bits=bits)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer}
    for name, axis in (("first", 0), ("apart", 0), ("pairs", 0), ("square", 0), ("dense", 0), ("product", 1)):
        scale = np.expand_dims(
            stored[f"{name}_scale"], [n for n in range(stored[f"{name}_quantized"].ndim) if n != axis]
        )
        np.testing.assert_allclose(stored[f"{name}_quantized"] * scale, fitted.weights[name], rtol=1e-5, atol=1e-7)
    kept = quantized(fitted, weight_bits=bits, keep=["square"])
    (square,) = (t for t in onnx.load_from_string(kept).graph.initializer if t.name == "square")
    np.testing.assert_allclose(numpy_helper.to_array(square), WEIGHTS["square"], rtol=1e-6)
    if bits == 7:
        (expected,) = answers(data, "y")
        errors = [np.abs(answers(quantized(one, weight_bits=7), "y")[0] - expected).mean() for one in (fitted, ranged)]
        assert errors[0] < errors[1]


def test_weights_that_are_not_understood_are_rounded_by_themselves() -> None:
    model = network()
    nodes = {node.name: node for node in model.graph.node}
    nodes["pairs"].attribute.append(helper.make_attribute("dilations", [2, 2]))
    nodes["square"].attribute.append(helper.make_attribute("auto_pad", "SAME_UPPER"))
    found = fitted_weights(model, [PICTURES], skip=["dense"], weight_bits=8)
    assert found.keys() == WEIGHTS.keys() - {"pairs", "square", "dense"}
