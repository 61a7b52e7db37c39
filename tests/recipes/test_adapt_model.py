"""Models whose points are moved to where the labels of drawn faces lie."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

from canthus.cli.main import app
from canthus.data import load_dataset
from canthus.data.formats import write_pts
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import ConfigError, ModelFileError
from canthus.export.onnx_core import finished_model
from canthus.images import read_image
from canthus.recipes.adapt_model import AdaptReport, adapt_model
from canthus.recipes.held_out import load_held_out
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.sessions import LandmarkSession, find_model
from canthus.zoo import DEFAULT, FLOAT
from small_networks import write_small_cascade, write_small_landmarker


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 60, np.random.default_rng(0))
    return folder


def adapt(model: str | Path, path: Path, faces: Path, *, check: str = "", symmetric: bool = False) -> AdaptReport:
    roots, cache = {"300w": faces}, faces / "cache"
    return adapt_model(model, path, to="300w/fit", check=check, symmetric=symmetric, roots=roots, cache=cache)


@pytest.mark.parametrize("name", [DEFAULT, FLOAT])
def test_embedded_models_take_the_map_into_their_last_weights(name: str, faces: Path, tmp_path: Path) -> None:
    path = tmp_path / "moved.onnx"
    report = adapt(name, path, faces, check="300w/validation")
    assert report.folded
    assert report.held_out < 0.8 * report.before
    before, after = report.checked
    assert after < 0.8 * before
    assert report.moved_px < (0.1 if name == DEFAULT else 0.01)
    assert path.stat().st_size < 1.001 * find_model(name).stat().st_size
    model, adapted = LandmarkSession.open(name), LandmarkSession.open(path)
    assert adapted.card.adapted == "300w/fit"
    assert adapted.card.learned_from == tuple(dict.fromkeys((*model.card.learned_from, "300w/fit")))
    assert adapted.card.metrics["300w/validation/nme_ion"] == pytest.approx(after, abs=1e-6)
    assert adapted.card.calibration == model.card.calibration, "six faces are too few for another"
    seen = load_held_out("300w/validation", adapted.card, {"300w": faces}, faces / "cache", lambda *_: None)
    assert seen.error(adapted(seen.crops)) == pytest.approx(after)
    assert "adapted" in "\n".join(report.describe())


def test_enough_other_faces_calibrate_the_confidence(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("canthus.recipes.adapt_model.LEAST_CALIBRATED", 5)
    adapt(FLOAT, tmp_path / "moved.onnx", faces, check="300w/validation")
    card = LandmarkSession.open(tmp_path / "moved.onnx").card
    assert card.calibration != LandmarkSession.open(FLOAT).card.calibration
    assert card.metrics.keys() > {"300w/validation/nme_ion"}


def test_labels_to_one_side_teach_that_side_unless_the_map_is_symmetric(faces: Path, tmp_path: Path) -> None:
    root = tmp_path / "300w"
    for face in load_dataset("300w", faces, "train"):
        place = root / face.path.relative_to(faces)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(face.path.read_bytes())
        write_pts(place.with_suffix(".pts"), face.points + np.array([6, 0], np.float32))
    model = LandmarkSession.open(FLOAT)
    crops = load_held_out("300w/validation", model.card, {"300w": faces}, faces / "cache", lambda *_: None).crops
    moved = {}
    for symmetric in (False, True):
        path = tmp_path / "moved.onnx"
        adapt(FLOAT, path, root, symmetric=symmetric)
        moved[symmetric] = float((LandmarkSession.open(path)(crops) - model(crops))[..., 0].mean())
    assert moved[False] > 2
    assert abs(moved[True]) < moved[False] / 3


def test_another_network_gets_the_map_behind_it(faces: Path, tmp_path: Path) -> None:
    bent = onnx.load(write_small_landmarker(tmp_path / "small.onnx"))
    bent.graph.node[-1].input[0] = "bent"
    bent.graph.node.insert(len(bent.graph.node) - 1, helper.make_node("Clip", ["numbers"], ["bent"]))
    (tmp_path / "bent.onnx").write_bytes(finished_model(bent, LandmarkSession.open(tmp_path / "small.onnx").card))
    plain = adapt(tmp_path / "small.onnx", tmp_path / "folded.onnx", faces)
    report = adapt(tmp_path / "bent.onnx", tmp_path / "moved.onnx", faces)
    assert (plain.folded, report.folded) == (False, False)
    assert report.moved_px < 0.01
    assert report.held_out < report.before
    assert "in a matrix product behind the network" in "\n".join(report.describe())
    assert not LandmarkSession.open(tmp_path / "moved.onnx").card.metrics


def test_labels_where_the_points_are_already_are_refused(faces: Path, tmp_path: Path) -> None:
    root = tmp_path / "300w"
    landmarker = Landmarker(LandmarkSession.open(FLOAT))
    for face in load_dataset("300w", faces, "train"):
        place = root / face.path.relative_to(faces)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(face.path.read_bytes())
        write_pts(place.with_suffix(".pts"), landmarker(read_image(face.path), face.box[None]).points[0])
    first = tmp_path / "first.onnx"
    adapt(FLOAT, first, root)
    with pytest.raises(ModelFileError, match=r"No map brings the points of first closer to the labels of 300w/fit"):
        adapt(first, tmp_path / "second.onnx", root)
    assert not (tmp_path / "second.onnx").exists()


def test_what_cannot_be_adapted_is_told(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="300w/fit is given both to adapt to and to check on"):
        adapt(FLOAT, tmp_path / "a.onnx", faces, check="300w/fit")
    with pytest.raises(ModelFileError, match="is a cascade of ferns, expected a network"):
        adapt(write_small_cascade(tmp_path / "ferns.npz"), tmp_path / "a.onnx", faces)
    own = write_small_landmarker(tmp_path / "small.onnx")
    with pytest.raises(ConfigError, match="is the model itself; choose another file"):
        adapt(own, own, faces)


def test_the_command(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "moved.onnx"
    options = ["--root", f"300w={faces}", "--cache", str(faces / "cache"), "--out", str(out)]
    done = CliRunner().invoke(app, ["adapt", FLOAT, "--to", "300w/fit", *options], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert f"300w/fit: {len(load_dataset('300w', faces, 'fit'))} faces" in done.output
    assert f"wrote {out}" in done.output
    wrong = CliRunner().invoke(app, ["adapt", FLOAT, "--to", "300w/fits", *options])
    assert isinstance(wrong.exception, ConfigError)
