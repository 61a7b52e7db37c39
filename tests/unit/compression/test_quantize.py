"""What becomes bytes, what stays in float, and how close the two are."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from canthus.compression.quantize import METHODS, RangedModel, named_layers, quantized, see_ranges
from canthus.errors import ConfigError, ModelFileError
from canthus.runtime.sessions import LandmarkSession
from small_networks import SIZE, write_small_landmarker

CROPS = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_small_landmarker(tmp_path_factory.mktemp("float") / "m.onnx", tells_spread=True).read_bytes()


@pytest.fixture(scope="module")
def ranged(data: bytes) -> RangedModel:
    return see_ranges(data, CROPS)


def operators(content: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def moved(content: bytes, data: bytes) -> float:
    found, expected = (LandmarkSession(part, source="m")(CROPS) for part in (content, data))
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_points_move_little(data: bytes, method: str) -> None:
    content = quantized(see_ranges(data, CROPS, method=method), weight_bits=7)  # 8 saturate on processors without VNNI
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert 0 < moved(content, data) < 0.5
    assert LandmarkSession(content, source="m").card == LandmarkSession(data, source="m").card


def test_weights_are_signed_bytes_with_a_scale_for_each_channel(ranged: RangedModel) -> None:
    stored = {tensor.name: tensor for tensor in onnx.load_from_string(quantized(ranged)).graph.initializer}
    assert stored["kernel_quantized"].data_type == onnx.TensorProto.INT8
    assert list(stored["kernel_scale"].dims) == [2]


def test_what_surrounds_the_layers_stays_in_float(ranged: RangedModel) -> None:
    assert {layer.name for layer in ranged.layers} == {"convolution", "bright", "row", "numbers", "spread"}
    assert {layer.name for layer in ranged.lossy} == {"convolution", "numbers", "spread"}
    graph = onnx.load_from_string(quantized(ranged)).graph
    rounded = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert not rounded & {"numbers", "points", "spread", "image", "planes"}


def test_seven_bits_round_more_coarsely(ranged: RangedModel, data: bytes) -> None:
    stored = {t.name: t for t in onnx.load_from_string(quantized(ranged, weight_bits=7)).graph.initializer}
    assert np.abs(onnx.numpy_helper.to_array(stored["kernel_quantized"]).astype(int)).max() <= 64
    with pytest.raises(ConfigError, match="7 or 8 bits, found 4"):
        quantized(ranged, weight_bits=4)


def test_layers_can_be_left_out_or_taken_alone(ranged: RangedModel) -> None:
    names = [layer.name for layer in ranged.layers]
    assert "QuantizeLinear" not in operators(quantized(ranged, keep=names))
    kernels = [
        {tensor.name for tensor in onnx.load_from_string(content).graph.initializer}
        for content in (quantized(ranged, only=["convolution"]), quantized(ranged, keep=["convolution"]))
    ]
    assert "kernel_quantized" in kernels[0]
    assert "product_quantized" not in kernels[0]
    assert "kernel_quantized" not in kernels[1]
    assert "product_quantized" in kernels[1]


def test_layers_are_named_in_several_ways(ranged: RangedModel) -> None:
    assert named_layers(ranged, ["Gemm", "first"]) == ("numbers", "convolution")
    assert named_layers(ranged, ["last", "MatMul", "spread"]) == ("spread",)
    with pytest.raises(ConfigError, match="convolution"):
        named_layers(ranged, ["convolutions"])


def test_what_cannot_be_quantized_is_refused(ranged: RangedModel, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="quantized already"):
        see_ranges(quantized(ranged), CROPS)
    with pytest.raises(ConfigError, match="minmax"):
        see_ranges(data, CROPS, method="minmaxx")
    value = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 4])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["image"], ["y"])], "g", [value], [result])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(ModelFileError, match="nothing to quantize"):
        see_ranges(model.SerializeToString(), CROPS)
