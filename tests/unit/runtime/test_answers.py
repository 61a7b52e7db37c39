"""Answers of models, and the arrays that they are asked about, are checked for shape, type and finite numbers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from canthus.cli.main import main
from canthus.errors import ModelFileError
from canthus.images import write_image
from canthus.runtime import sessions as session_module
from canthus.runtime.sessions import DetectorSession, LandmarkSession
from small_networks import SIZE, cascade_with_card, small_card, with_card, write_small_landmarker
from tiny_detectors import tiny_detector_card, write_tiny_detector

CROPS = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["canthus", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def answering(path: Path, points: float, spread: float) -> Path:
    """The small landmark model with other numbers in its answers."""
    model = onnx.load(write_small_landmarker(path, tells_spread=True))
    for tensor in model.graph.initializer:
        if tensor.name == "shape":
            tensor.CopyFrom(numpy_helper.from_array(np.full(136, points, np.float32), "shape"))
        if tensor.name == "spreads":
            shape = tuple(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(np.full(shape, spread, np.float32), "spreads"))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_answers_that_are_no_numbers_are_errors(value: float, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="m.onnx: its output 'points' holds numbers that are not finite"):
        LandmarkSession.open(answering(tmp_path / "m.onnx", value, 0)).answer(CROPS)
    with pytest.raises(ModelFileError, match="m.onnx: its output 'spread' holds numbers that are not finite"):
        LandmarkSession.open(answering(tmp_path / "m.onnx", 0, value)).answer(CROPS)


def test_a_network_that_was_trained_to_nan_is_an_error_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", np.zeros((40, 40, 3), np.uint8))
    model = answering(tmp_path / "m.onnx", np.nan, 0)
    assert run(monkeypatch, "detect", tmp_path / "a.png", "--detector", "none", "--model", model, "--json", "-") == 2
    out, err = capfd.readouterr()
    assert "NaN" not in out
    assert err.count("error: ") == 1
    assert "Traceback" not in err


def test_answers_of_another_shape_are_errors(tmp_path: Path) -> None:
    """The file declares 68 points of each crop and gives all points twice."""
    model = onnx.load(write_small_landmarker(tmp_path / "m.onnx"))
    model.graph.node[-1].output[0] = "once"
    model.graph.node.append(helper.make_node("Concat", ["once", "once"], ["points"], axis=0))
    with pytest.raises(ModelFileError, match=r"output 'points' has the shape \(4, 68, 2\), expected \(2, 68, 2\)"):
        LandmarkSession.open(model.SerializeToString()).answer(CROPS)


def test_rows_of_detectors_are_checked(tmp_path: Path) -> None:
    path = write_tiny_detector(tmp_path / "d.onnx", card=tiny_detector_card(strides=(16,)))
    wrong_strides = json.dumps(json.loads(tiny_detector_card().to_json()) | {"strides": [8]}).encode()
    pictures = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ModelFileError, match=r"'faces' has the shape \(1, 4, 15\), expected \(1, 16, 15\)"):
        DetectorSession.open(with_card(path, wrong_strides))(pictures)
    model = onnx.load(write_tiny_detector(path))
    for tensor in model.graph.initializer:
        if tensor.name == "rest":
            tensor.CopyFrom(numpy_helper.from_array(np.full((1, 1, 14), np.nan, np.float32), "rest"))
    with pytest.raises(ModelFileError, match="'faces' holds numbers that are not finite"):
        DetectorSession.open(model.SerializeToString())(pictures)


WRONG_CROPS = {
    "None": (None, TypeError, "uint8 crops, shape .n, 32, 32, 3., found NoneType"),
    "a list": ([[0]], TypeError, "found list"),
    "floats": (np.zeros((1, SIZE, SIZE, 3)), TypeError, "found one of float64"),
    "one crop": (np.zeros((SIZE, SIZE, 3), np.uint8), ValueError, r"shape \(n, 32, 32, 3\), found \(32, 32, 3\)"),
    "another size": (np.zeros((1, 16, 16, 3), np.uint8), ValueError, r"found \(1, 16, 16, 3\)"),
    "grey": (np.zeros((1, SIZE, SIZE), np.uint8), ValueError, r"found \(1, 32, 32\)"),
}


@pytest.mark.parametrize("name", WRONG_CROPS)
def test_wrong_arrays_are_named(name: str) -> None:
    """The check itself; the annotations of ``answer`` are only checked in tests, and would speak first."""
    value, kind, reason = WRONG_CROPS[name]
    with pytest.raises(kind, match=reason):
        session_module.check_crops(value, SIZE)


def test_sessions_check_arrays_outside_of_tests(tmp_path: Path) -> None:
    write_small_landmarker(tmp_path / "m.onnx")
    write_tiny_detector(tmp_path / "d.onnx")
    cascade_with_card(tmp_path / "m.npz", small_card().to_json().encode())
    code = """
import sys
import numpy as np
from canthus.runtime.landmarker import open_model
from canthus.runtime.sessions import DetectorSession
for call in (open_model("m.onnx").answer, open_model("m.npz").answer, DetectorSession.open("d.onnx")):
    for value in (None, np.zeros((1, 32, 32, 3)), np.zeros((2, 2), np.uint8)):
        try:
            call(value)
        except (TypeError, ValueError) as error:
            print(type(error).__name__, str(error).split(",")[0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    crops = ["TypeError Expected a numpy array of uint8 crops"] * 2 + ["ValueError Expected crops of the shape (n"]
    assert done.stdout.splitlines() == crops * 2 + [line.replace("crops", "pictures") for line in crops]
