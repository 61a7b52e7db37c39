"""Detector networks without training: a cell that is all white is a face of one cell."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from canthus.runtime.cards import METADATA_KEY, DetectorCard
from canthus.types import Faces, Image

if TYPE_CHECKING:
    import onnx

FIVE_POINTS = np.array([[-0.25, -0.25], [0.25, -0.25], [0, 0], [-0.25, 0.25], [0.25, 0.25]], np.float32)
"""Of the face in a cell, from its centre, in strides."""
CERTAIN = 10.0
"""Logit of a white cell; a cell that is white to nine tenths has 0."""


def tiny_detector_card(*, strides: tuple[int, ...] = (16,), size: int = 640) -> DetectorCard:
    return DetectorCard(
        name="tiny_detector",
        architecture="none",
        strides=strides,
        size=size,
        score=0.5,
        training_data=("nothing",),
        licence="Apache-2.0",
        recipe="tests/tiny_detectors.py",
        metrics={"drawn/average_precision": 0.5},
    )


def write_tiny_detector(
    path: Path, *, card: DetectorCard | None = None, metadata: str | None = None, output: str = "faces"
) -> Path:
    """Write a detector that finds white squares which fill a cell of a grid: the box is the cell."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    card = card or tiny_detector_card()
    rest = np.concatenate([np.zeros(4, np.float32), FIVE_POINTS.ravel()]).reshape(1, 1, 14)
    constants = {
        "gain": np.array(CERTAIN / 25.5, np.float32),
        "offset": np.array(-9 * CERTAIN, np.float32),
        "zero": np.array(0, np.float32),
        "channel": np.array([1]),
        "column": np.array([0, -1, 1]),
        "rest": rest,
    }
    graph = helper.make_graph(
        [*_cells(card.strides), *_rows(output)],
        "tiny_detector",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", "cells", 15])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if metadata != "":
        helper.set_model_props(model, {METADATA_KEY: card.to_json() if metadata is None else metadata})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _cells(strides: tuple[int, ...]) -> "list[onnx.NodeProto]":
    """Mean brightness of every cell of every stride, ``(n, cells, 1)``."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["image"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["bytes"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["planes", "channel"], ["grey"], keepdims=1),
    ]
    for stride in strides:
        sides = [stride, stride]
        nodes += [
            helper.make_node("AveragePool", ["grey"], [f"means_{stride}"], kernel_shape=sides, strides=sides),
            helper.make_node("Reshape", [f"means_{stride}", "column"], [f"cells_{stride}"]),
        ]
    return [*nodes, helper.make_node("Concat", [f"cells_{stride}" for stride in strides], ["means"], axis=1)]


def _rows(output: str) -> "list[onnx.NodeProto]":
    """Logits of the cells, and the same box and points for each."""
    from onnx import helper

    return [
        helper.make_node("Mul", ["means", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["logits"]),
        helper.make_node("Mul", ["means", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "rest"], ["boxes"]),
        helper.make_node("Concat", ["logits", "boxes"], [output], axis=2),
    ]


def write_tiny_yunet(path: Path) -> Path:
    """Write what OpenCV takes for YuNet: its score is the brightness of a cell of 16 pixels, other cells have none."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = {"mean": np.full((1, 3, 1, 1), 1 / 765, np.float32)}
    nodes = [helper.make_node("Conv", ["input", "mean"], ["grey"], kernel_shape=[1, 1])]
    outputs = []
    points = (FIVE_POINTS + 0.5).ravel()
    for stride in (8, 16, 32):
        sides = [stride, stride]
        nodes.append(helper.make_node("AveragePool", ["grey"], [f"cells_{stride}"], kernel_shape=sides, strides=sides))
        heads: dict[str, tuple[list[float], list[float]]] = {
            "cls": ([float(stride == 16)], [0]),
            "obj": ([0], [1]),
            "bbox": ([0] * 4, [0.5, 0.5, 0, 0]),
            "kps": ([0] * 10, points.tolist()),
        }
        for head, (weights, bias) in heads.items():
            name, count = f"{head}_{stride}", len(weights)
            constants |= {
                f"weights_{name}": np.array(weights, np.float32).reshape(count, 1, 1, 1),
                f"bias_{name}": np.array(bias, np.float32),
                f"rows_{name}": np.array([1, -1, count]),
            }
            nodes += [
                helper.make_node("Conv", [f"cells_{stride}", f"weights_{name}", f"bias_{name}"], [f"map_{name}"]),
                helper.make_node("Transpose", [f"map_{name}"], [f"last_{name}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"last_{name}", f"rows_{name}"], [name]),
            ]
            cells = (640 // stride) ** 2
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, cells, count]))
    graph = helper.make_graph(
        nodes,
        "tiny_yunet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def end_the_process(image: Image) -> Faces:
    """A detector that ends its process at once, as the system does for want of memory."""
    os._exit(9)
