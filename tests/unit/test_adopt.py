"""Landmark models of others: equal points whatever their layout, range, colours, units and kind of output."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.errors import ConfigError, ModelFileError
from canthus.export.adopt import Adoption, adopt
from canthus.runtime.sessions import LandmarkSession
from canthus.schemes import IBUG_68
from canthus.zoo import FLOAT, embedded_models
from command import run_command

SIDE = 32
COUNT = IBUG_68.count
SCHEME = IBUG_68.name
IMAGES = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
WEIGHTS = np.random.default_rng(6).normal(0, 0.3, (48, 2 * COUNT)).astype(np.float32)


class Made:
    """A foreign network, written operator by operator: mean colours of 16 squares, and one product."""

    def __init__(self, layout: str, batch: int | str = "n", kind: int = TensorProto.FLOAT) -> None:
        self.nodes: list[Any] = []
        self.stored: list[Any] = []
        self.kind = kind
        sides: list[Any] = [3, SIDE, SIDE] if layout[1] == "c" else [SIDE, SIDE, 3]
        self.inputs = [helper.make_tensor_value_info("data:0", kind, [batch, *sides])]
        self.at = "data:0"
        if layout != "nchw":
            self.add("Transpose", perm=[layout.index(side) for side in "nchw"])

    def add(self, operator: str, *constants: Any, **settings: Any) -> "Made":
        names = [f"c{len(self.stored) + index}" for index in range(len(constants))]
        for name, value in zip(names, constants, strict=True):
            array = np.asarray(value)
            if array.dtype.kind == "f":
                array = array.astype(np.float16 if self.kind == TensorProto.FLOAT16 else np.float32)
            self.stored.append(numpy_helper.from_array(array, name))
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.at, *names], [output], **settings))
        self.at = output
        return self

    def network(self) -> "Made":
        """Planes of RGB from 0 to 1 to points of the unit frame, ``(n, 2k)``."""
        self.add("AveragePool", kernel_shape=[8, 8], strides=[8, 8]).add("Flatten", axis=1)
        return self.add("MatMul", WEIGHTS).add("Sigmoid")

    def write(self, path: Path, *, extra: Sequence[str] = (), opset: int = 13) -> Path:
        self.nodes.append(helper.make_node("Identity", [self.at], ["points"]))  # a name that canthus uses, too
        outputs = [helper.make_tensor_value_info(name, self.kind, None) for name in ("points", *extra)]
        graph = helper.make_graph(self.nodes, "made", self.inputs, outputs, self.stored)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
        return path


def _expected() -> np.ndarray:
    squares = (IMAGES / 255).reshape(3, 4, 8, 4, 8, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(3, 48)
    return np.asarray((1 / (1 + np.exp(-squares @ WEIGHTS))).reshape(3, COUNT, 2) * SIDE - 0.5)


MEAN, DEVIATION = np.array([120.0, 115.0, 100.0]), np.array([60.0, 55.0, 50.0])
PREPARED: dict[str, tuple[dict[str, Any], list[tuple[str, tuple[Any, ...], dict[str, Any]]]]] = {
    "nchw, rgb, 0..1": ({}, []),
    "ncwh": ({"layout": "ncwh"}, []),
    "nwhc": ({"layout": "nwhc"}, []),
    "nhwc, 0..255": ({"layout": "nhwc", "range": "0..255"}, [("Mul", (1 / 255,), {})]),
    "bgr, -1..1": (
        {"range": "-1..1", "colour": "bgr"},
        [("Gather", (np.array([2, 1, 0]),), {"axis": 1}), ("Add", (1.0,), {}), ("Mul", (0.5,), {})],
    ),
    "nhwc, bgr, mean and deviation": (
        {"layout": "nhwc", "colour": "bgr", "range": "100,115,120/50,55,60"},
        [
            ("Gather", (np.array([2, 1, 0]),), {"axis": 1}),
            ("Mul", ((DEVIATION / 255).reshape(1, 3, 1, 1),), {}),
            ("Add", ((MEAN / 255).reshape(1, 3, 1, 1),), {}),
        ],
    ),
}
"""What is said of the input, and how the made network returns to RGB from 0 to 1."""


@pytest.mark.parametrize("name", PREPARED)
def test_layouts_ranges_and_colours_give_equal_points(name: str, tmp_path: Path) -> None:
    said, steps = PREPARED[name]
    made = Made(said.get("layout", "nchw"))
    for operator, constants, settings in steps:
        made.add(operator, *constants, **settings)
    source = made.network().write(tmp_path / "foreign.onnx")
    report = adopt(source, tmp_path / "own.onnx", Adoption(SCHEME, 1.3, units="0..1", **said))
    session = LandmarkSession.open(tmp_path / "own.onnx")
    np.testing.assert_allclose(session(IMAGES), _expected(), atol=1e-3)
    assert report.difference_px < 1e-3
    assert not report.one_by_one
    assert session.card.parameters == report.card.parameters
    assert session.card.multiply_adds == 48 * 2 * COUNT


@pytest.mark.parametrize(
    ("said", "factor", "summand"),
    [
        ({"units": "pixels"}, 1.0 * SIDE, -0.5),
        ({"units": "pixels", "origin": "corner"}, 1.0 * SIDE, 0.0),
        ({"units": "0..1"}, 1.0, 0.0),
        ({"units": "0..1", "origin": "centre"}, 1.0, -0.5 / SIDE),
        ({"units": "-1..1"}, 2.0, -1.0),
    ],
)
@pytest.mark.parametrize("shape", [[-1, 2 * COUNT], [-1, COUNT, 2], [-1, COUNT, 3], [-1, 1, 1, 3 * COUNT]])
def test_units_and_shapes_give_equal_points(
    said: dict[str, Any], factor: float, summand: float, shape: list[int], tmp_path: Path
) -> None:
    made = Made("nchw").network().add("Mul", factor).add("Add", summand)
    if 3 in shape or 3 * COUNT in shape:
        made.add("Reshape", np.array([-1, COUNT, 2])).add("Pad", np.array([0, 0, 0, 0, 0, 1]), np.array(9.0))
    source = made.add("Reshape", np.array(shape)).write(tmp_path / "foreign.onnx")
    adopt(source, tmp_path / "own.onnx", Adoption(SCHEME, 1.3, **said))
    np.testing.assert_allclose(LandmarkSession.open(tmp_path / "own.onnx")(IMAGES), _expected(), atol=1e-3)


@pytest.mark.parametrize("third", [False, True])
def test_all_x_before_all_y_gives_equal_points(third: bool, tmp_path: Path) -> None:
    made = Made("nchw").network().add("Reshape", np.array([-1, COUNT, 2])).add("Transpose", perm=[0, 2, 1])
    if third:
        made.add("Pad", np.array([0, 0, 0, 0, 1, 0]), np.array(9.0))
    adopt(
        made.add("Flatten", axis=1).write(tmp_path / "foreign.onnx"),
        tmp_path / "own.onnx",
        Adoption(SCHEME, 1.3, units="0..1", order="planes"),
    )
    np.testing.assert_allclose(LandmarkSession.open(tmp_path / "own.onnx")(IMAGES), _expected(), atol=1e-3)


@pytest.mark.parametrize("last", [False, True])
def test_peaks_of_heatmaps_become_points(last: bool, tmp_path: Path) -> None:
    rng, cells = np.random.default_rng(8), (12, 16)
    centres = rng.uniform(3, 8, (COUNT, 2))
    rows, columns = np.indices(cells)
    squared = (columns - centres[:, 0, None, None]) ** 2 + (rows - centres[:, 1, None, None]) ** 2
    heat = np.exp(-squared / 2).reshape(1, COUNT, *cells)
    heat[0, 0] = -1.0  # a map without a peak still has an answer
    made = Made("nchw").add("AveragePool", kernel_shape=[SIDE, SIDE]).add("Flatten", axis=1)
    made.add("MatMul", np.zeros((3, 1))).add("Reshape", np.array([-1, 1, 1, 1])).add("Add", heat)
    if last:
        made.add("Transpose", perm=[0, 2, 3, 1])
    adopt(made.write(tmp_path / "foreign.onnx"), tmp_path / "own.onnx", Adoption(SCHEME, 1.3))
    points = LandmarkSession.open(tmp_path / "own.onnx")(IMAGES)
    expected = (centres + 0.5) / (cells[1], cells[0]) * SIDE - 0.5
    assert np.isfinite(points[:, 0]).all()
    off = np.abs(points[:, 1:] - expected[1:]) * (cells[1] / SIDE, cells[0] / SIDE)
    assert off.max() < 0.15  # of a cell: five cells hold most of a peak of deviation 1


@pytest.fixture
def twelve(tmp_path: Path) -> Path:
    """An adopted network of twelve own points, whose scheme file is gone."""
    scheme = tmp_path / "twelve.toml"
    scheme.write_text('name = "twelve"\ncount = 12\nmirror = [[0, 3], [1, 2]]\n', encoding="utf-8")
    made = Made("nchw").add("AveragePool", kernel_shape=[SIDE, SIDE]).add("Flatten", axis=1)
    source = made.add("MatMul", np.ones((3, 24)) / 4).write(tmp_path / "foreign.onnx")
    adopt(source, tmp_path / "own.onnx", Adoption(str(scheme), 1.3, units="0..1"))
    scheme.unlink()
    return tmp_path / "own.onnx"


def test_a_scheme_of_ones_own_is_carried(twelve: Path) -> None:
    session = LandmarkSession.open(twelve)
    assert session.scheme.name == "twelve"
    assert session(IMAGES).shape == (3, 12, 2)


@pytest.mark.parametrize(("target", "suffix"), [("onnx-core", ".onnx"), ("torchscript", ".pt")])
def test_a_scheme_of_ones_own_goes_into_other_formats(
    target: str, suffix: str, twelve: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = twelve.with_name(f"core{suffix}")
    done = run_command(monkeypatch, capfd, "export", twelve, "--to", target, "--out", out)
    assert done.code == 0, done.err
    card = json.loads(Path(f"{out}.json").read_text(encoding="utf-8"))
    assert card["model"]["own_scheme"]["mirror"] == [3, 2, 1, 0, *range(4, 12)]


def test_a_network_of_one_crop_runs_for_several_faces(tmp_path: Path) -> None:
    source = Made("nchw", batch=1).network().add("Reshape", np.array([1, COUNT, 2])).write(tmp_path / "foreign.onnx")
    report = adopt(source, tmp_path / "own.onnx", Adoption(SCHEME, 1.3, units="0..1"))
    assert report.one_by_one
    np.testing.assert_allclose(LandmarkSession.open(tmp_path / "own.onnx")(IMAGES), _expected(), atol=1e-3)
    assert len(LandmarkSession.open(tmp_path / "own.onnx")(IMAGES[:0])) == 0


def test_a_network_of_halves_is_fed_with_halves(tmp_path: Path) -> None:
    source = Made("nchw", kind=TensorProto.FLOAT16).network().write(tmp_path / "foreign.onnx")
    adopt(source, tmp_path / "own.onnx", Adoption(SCHEME, 1.3, units="0..1"))
    np.testing.assert_allclose(LandmarkSession.open(tmp_path / "own.onnx")(IMAGES), _expected(), atol=0.1)


def test_what_does_not_fit_is_refused_with_what_was_found(tmp_path: Path) -> None:
    plain = Made("nchw").network().write(tmp_path / "plain.onnx")
    two = Made("nchw").network()
    two.nodes.append(helper.make_node("Shape", ["data:0"], ["other"]))
    two.nodes.append(helper.make_node("Cast", ["other"], ["more"], to=TensorProto.FLOAT))
    several = two.write(tmp_path / "several.onnx", extra=["more"])
    old = Made("nchw").add("Relu").write(tmp_path / "old.onnx", opset=6)
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (plain, {"scheme": "wflw_98"}, r"\[1, 136\] for one crop; wflw_98 has 98 points"),
        (plain, {"layout": "nhwc"}, "nhwc; found data:0"),
        (plain, {"size": 64}, "of 64 pixels"),
        (plain, {"output": "lips"}, "no output 'lips'; outputs: points"),
        (several, {}, "several outputs; name that of the points with --output: points"),
        (plain, {"range": "0..2"}, "Cannot read --range '0..2'"),
        (plain, {"range": "1/0"}, "Cannot read --range '1/0'"),
        (plain, {"units": "metres"}, "Unknown units 'metres'"),
        (plain, {"scheme": "ibug68"}, "Did you mean 'ibug_68'"),
        (embedded_models()[FLOAT], {}, "expected one input of floats"),
        (old, {}, "operators of version 6"),
        (plain, {"margin": 0.0}, "margin is 0"),
    ]
    for source, said, expected in cases:
        with pytest.raises((ConfigError, ModelFileError), match=expected):
            adopt(source, tmp_path / "own.onnx", Adoption(**{"scheme": SCHEME, "margin": 1.3, **said}))
    assert not (tmp_path / "own.onnx").exists()


def test_files_that_inference_refuses_are_refused_here(tmp_path: Path) -> None:
    made = Made("nchw").network()
    made.nodes.append(helper.make_node("NonZero", [made.at], ["many"]))
    made.nodes.append(helper.make_node("Cast", ["many"], ["floats"], to=TensorProto.FLOAT))
    source = made.write(tmp_path / "foreign.onnx", extra=["floats"])
    with pytest.raises(ModelFileError, match="as large as the values of the input say"):
        adopt(source, tmp_path / "own.onnx", Adoption(SCHEME, 1.3, output="points"))


def test_the_command_adopts_and_models_shows_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source, own = Made("nchw").network().write(tmp_path / "foreign.onnx"), tmp_path / "own.onnx"
    options = ["--scheme", SCHEME, "--margin", "1.4", "--units", "0..1", "--name", "peer"]
    done = run_command(monkeypatch, capfd, "models", "adopt", source, *options, "--out", own)
    assert done.code == 0
    assert "output points [1, 136]: x and y in 0..1 of the input" in done.err
    assert LandmarkSession.open(own).card.margin == 1.4
    assert "foreign" in run_command(monkeypatch, capfd, "models", own).out
    refused = run_command(monkeypatch, capfd, "models", "adopt", source, *options, "--out", source)
    assert refused.code == 2
    assert "would overwrite the input" in refused.err
