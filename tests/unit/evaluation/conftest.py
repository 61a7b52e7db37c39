"""Drawn faces with known points, and small ONNX files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.geometry import hull_box
from canthus.images import write_image
from canthus.schemes import IBUG_68
from canthus.types import Annotation


def make_face(path: Path, *, key: str, shift: float = 0.0, subset: str = "") -> Annotation:
    """A face of 68 points in a picture of 120 x 120, inter-ocular distance 40."""
    rng = np.random.default_rng(68)
    points = rng.uniform(20, 80, (68, 2)).astype(np.float32)
    points[36], points[45] = (30, 40), (70, 40)
    points += np.float32(shift)
    visible = np.ones(68, np.bool_)
    visible[:17] = False
    return Annotation(
        key=key,
        path=path,
        points=points,
        scheme=IBUG_68,
        box=hull_box(points),
        visible=visible,
        group=key,
        subset=subset,
        attributes={"pose": shift > 0},
    )


@pytest.fixture
def faces(tmp_path: Path) -> list[Annotation]:
    """Three faces on two pictures, the second and third on one."""
    grey = np.full((120, 240, 3), 128, np.uint8)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, grey)
    far = make_face(tmp_path / "b.png", key="b_2")
    moved = far.points + np.array([100, 0], np.float32)
    return [
        make_face(tmp_path / "a.png", key="a_1", subset="easy"),
        make_face(tmp_path / "b.png", key="b_1", subset="hard", shift=5.0),
        Annotation(
            key="b_2", path=far.path, points=moved, scheme=IBUG_68, box=hull_box(moved),
            visible=far.visible, group="b", subset="hard",
        ),
    ]  # fmt: skip


@pytest.fixture
def small_network(tmp_path: Path) -> Path:
    """Two convolutions, one of them depthwise, pooling and a fully connected layer, sides open."""
    rng = np.random.default_rng(0)

    def stored(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w2"], ["b"], group=16, pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "w3"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [stored("w1", 16, 3, 3, 3), stored("b1", 16), stored("w2", 16, 1, 3, 3), stored("w3", 10, 16)],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
