"""Weights with fewer bits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.export.rounding import round_weights


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
