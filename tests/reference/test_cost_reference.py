"""Multiply-adds and parameters against a published network."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from canthus.evaluation.onnx_counts import count_graph

# Expansion, channels, repeats, stride: Sandler et al. (2018), Table 2.
MOBILENET_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


class Drawing:
    """A chain of convolutions, drawn node by node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last, self.channels = "x", 3

    def convolution(self, channels: int, kernel: int = 1, *, stride: int = 1, group: int = 1) -> None:
        name = f"w{len(self.weights)}"
        shape = (channels, self.channels // group, kernel, kernel)
        self.weights.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
        pads = [kernel // 2] * 4
        node = helper.make_node("Conv", [self.last, name], [f"a{name}"], strides=[stride] * 2, pads=pads, group=group)
        self.nodes.append(node)
        self.last, self.channels = f"a{name}", channels

    def finish(self, path: Path) -> Path:
        self.nodes.append(helper.make_node("GlobalAveragePool", [self.last], ["pooled"]))
        self.last = "pooled"
        self.convolution(1000)
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "mobilenet_v2",
            [value("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
            [value(self.last, TensorProto.FLOAT, None)],
            self.weights,
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
        return path


def test_mobilenet_v2(tmp_path: Path) -> None:
    """Sandler et al. (2018), Table 4: 300 M multiply-adds and 3.4 M parameters at width 1.0 and 224 x 224.

    Biases and normalisation, 38 thousand numbers, are not drawn.
    """
    net = Drawing()
    net.convolution(32, 3, stride=2)
    for expansion, channels, repeats, stride in MOBILENET_V2:
        for repeat in range(repeats):
            wide = expansion * net.channels
            if expansion > 1:
                net.convolution(wide)
            net.convolution(wide, 3, stride=stride if repeat == 0 else 1, group=wide)
            net.convolution(channels)
    net.convolution(1280)
    count = count_graph(net.finish(tmp_path / "m.onnx"), {"x": np.zeros((1, 3, 224, 224), np.float32)})
    assert round(count.multiply_adds / 1e6, -1) == 300
    assert abs(count.parameters / 1e6 - 3.4) < 0.1
