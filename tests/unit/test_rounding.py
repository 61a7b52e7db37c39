"""Weights of fewer bits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.evaluation.onnx_counts import count_graph, read_graph, side_files, widened
from canthus.export.rounding import round_weights, store_half
from canthus.runtime.sessions import LandmarkSession

WHOLE = Path(__file__).parents[2] / "docs" / "results" / "runs" / "pfld_68_robust.onnx"
"""A model whose weights have 32 bits."""


@pytest.mark.parametrize("bits", [12, 18, 24])
def test_weights_keep_so_many_bits(tmp_path: Path, bits: int) -> None:
    weights = np.random.default_rng(0).normal(0, 10, (8, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), path)
    round_weights(path, bits=bits)
    found = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    np.testing.assert_allclose(found, weights, rtol=2.0**-bits)
    mantissas, _ = np.frexp(found.astype(float))
    np.testing.assert_array_equal(np.rint(mantissas * 2**bits), mantissas * 2**bits)
    if bits < 24:
        assert not np.array_equal(found, weights)


def test_stored_in_half_a_trained_model_answers_the_same(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(WHOLE.read_bytes())
    store_half(path)
    assert path.stat().st_size < 0.55 * WHOLE.stat().st_size
    one, other = LandmarkSession.open(WHOLE), LandmarkSession.open(path)
    size = one.card.size
    crops = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    np.testing.assert_allclose(other(crops), one(crops), atol=0.5)
    feeds = {"image": crops[:1]}
    assert count_graph(path, feeds) == count_graph(WHOLE, feeds)
    again = {tensor.name: numpy_helper.to_array(tensor) for tensor in read_graph(path).graph.initializer}
    for tensor in onnx.load(WHOLE).graph.initializer:
        np.testing.assert_allclose(again[tensor.name], numpy_helper.to_array(tensor), rtol=1e-3, atol=1e-6)
    assert not side_files(path)


def test_numbers_that_16_bits_cannot_hold_stay_and_other_casts_too(tmp_path: Path) -> None:
    weights: dict[str, np.ndarray] = {
        "w": np.full((40, 40), 1e5, np.float32),
        "v": np.ones((40, 40), np.float32),
        "n": np.ones(1, np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("MatMul", ["a", "v"], ["b"]),
            helper.make_node("Cast", ["n"], ["one"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["b", "one"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 40])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), path)
    store_half(path)
    model = onnx.load(path)
    assert {tensor.name: tensor.data_type for tensor in model.graph.initializer} == {
        "w": TensorProto.FLOAT, "v_half": TensorProto.FLOAT16, "n": TensorProto.INT64,
    }  # fmt: skip
    assert [node.op_type for node in widened(model).graph.node] == ["MatMul", "MatMul", "Cast", "Mul"]
