"""Landmark models with weights, written without training."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from canthus.runtime.cards import METADATA_KEY, Calibration, ModelCard
from canthus.runtime.esr import EsrModel, EsrShapes

SIZE = 32
CELLS = 16


def small_card(*, calibrated: bool = False) -> ModelCard:
    return ModelCard(
        "small", "none", "ibug_68", SIZE, 1.3, ("nothing",), "Apache-2.0", "tests/small_networks.py",
        metrics={"drawn/nme_ion": 0.5},
        calibration=Calibration(tolerance=0.05, slope=1.0, offset=1.5) if calibrated else None,
    )  # fmt: skip


def write_small_landmarker(path: Path, *, gain: float = 1.0, tells_spread: bool = False) -> Path:
    """A convolution of two channels and a product; ``gain`` makes the second channel, which nobody needs, so large.

    The first channel is near 1 and carries the points, so that a byte for both channels loses them where the second
    is a thousand times larger.
    """
    rng = np.random.default_rng(0)
    kernel = rng.uniform(0, 0.001, (2, 3, 8, 8)).astype(np.float32)
    kernel[1] *= gain * 10
    product = np.zeros((2 * CELLS, 136), np.float32)
    product[:CELLS] = 1 / CELLS
    constants = {
        "gain": np.array(1 / 255, np.float32),
        "kernel": kernel,
        "one": np.array([1, 0], np.float32),
        "product": product,
        "shape": rng.uniform(0.3, 0.7, 136).astype(np.float32) - 1,
        "flat": np.array([-1, 2 * CELLS]),
        "pairs": np.array([-1, 68, 2]),
        "spreads": rng.normal(0, 0.1, (2 * CELLS, 68)).astype(np.float32) / gain,
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["bytes"], "bytes", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["bytes", "gain"], ["scaled"], "scaled"),
        helper.make_node("Conv", ["scaled", "kernel", "one"], ["seen"], "convolution", strides=[8, 8]),
        helper.make_node("Relu", ["seen"], ["bright"], "bright"),
        helper.make_node("Reshape", ["bright", "flat"], ["row"], "row"),
        helper.make_node("Gemm", ["row", "product", "shape"], ["numbers"], "numbers"),
        helper.make_node("Reshape", ["numbers", "pairs"], ["points"], "points"),
    ]
    outputs: dict[str, list[str | int]] = {"points": ["n", 68, 2]}
    if tells_spread:
        nodes.append(helper.make_node("MatMul", ["row", "spreads"], ["spread"], "spread"))
        outputs["spread"] = ["n", 68]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: small_card(calibrated=tells_spread).to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def write_small_cascade(path: Path) -> Path:
    """A cascade of no stages: its answer is the middle of its starts."""
    shape = (np.linspace(8, 24, 68) * (1 + 1j)).astype(np.complex64)
    return EsrModel(small_card(), EsrShapes(shape, np.stack([shape, shape])), ()).save(path)


def cascade_with_card(path: Path, card: bytes) -> Path:
    """A cascade of no stages with this card; bytes that are no UTF-8 become surrogates, as numpy holds text."""
    shape = (np.linspace(8, 24, 68) * (1 + 1j)).astype(np.complex64)
    text = np.array(card.decode("utf-8", "surrogateescape"))
    np.savez(path, format=np.array(1), card=text, mean=shape, starts=np.stack([shape, shape]), stages=np.array(0))
    return path


def with_card(path: Path, card: bytes) -> Path:
    """Put other bytes in place of the card of an ONNX file."""
    model = onnx.load(path)
    del model.metadata_props[:]
    key = METADATA_KEY.encode()
    entry = b"\x0a" + bytes([len(key)]) + key + b"\x12" + _varint(len(card)) + card
    path.write_bytes(model.SerializeToString() + b"\x72" + _varint(len(entry)) + entry)
    return path


def _varint(value: int) -> bytes:
    parts = []
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
