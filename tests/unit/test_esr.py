"""Ferns: what a cell is, what a file holds, and that a cascade learns drawn faces."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from canthus.cli.main import app
from canthus.data.synthetic import draw_face, write_synthetic_300w
from canthus.errors import CanthusError, ConfigError, ModelFileError
from canthus.evaluation.errors import inter_ocular, normalized_error
from canthus.runtime.cards import ModelCard
from canthus.runtime.esr import EsrModel, fern_cells, grey, look, turn_and_zoom
from canthus.runtime.landmarker import CropModel, Landmarker, open_model
from canthus.schemes import IBUG_68
from canthus.training.esr import EsrSettings, fit_esr

SMALL = EsrSettings(stages=5, ferns=60, features=4, pixels=80, starts=8, tests=5, shrinkage=50.0)


def card() -> ModelCard:
    return ModelCard("esr", "esr", "ibug_68", 64, 1.3, ("drawn",), "test", "test")


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    faces = [draw_face(np.random.default_rng((seed, i)), size=64) for i in range(count)]
    return np.stack([face.image for face in faces]), np.stack([face.points for face in faces])


@pytest.fixture(scope="module")
def model() -> EsrModel:
    images, points = drawn(120, 0)
    shapes, stages = fit_esr(np.stack([grey(i) for i in images]), points, SMALL, np.random.default_rng(0), pupils=14.0)
    return EsrModel(card(), shapes, stages)


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(normalized_error(found, truth, inter_ocular(truth, IBUG_68)).mean())


def test_bits_number_the_cells() -> None:
    bits = np.array([[[False, False], [True, False]], [[False, True], [True, True]]])
    assert fern_cells(bits).tolist() == [[0, 1], [2, 3]]


def test_turn_and_zoom_undo_a_similarity() -> None:
    rng = np.random.default_rng(0)
    mean = (rng.normal(size=9) + 1j * rng.normal(size=9)).astype(np.complex64)
    shapes = np.stack([2 * np.exp(0.5j) * mean + 3, mean]).astype(np.complex64)
    np.testing.assert_allclose(turn_and_zoom(shapes, mean), [2 * np.exp(0.5j), 1], atol=1e-5)


def test_pixels_move_with_the_shape() -> None:
    picture = np.arange(400, dtype=np.uint8).reshape(1, 20, 20) % 251
    mean = np.array([5 + 5j, 9 + 5j, 5 + 9j], np.complex64)
    near, offsets = np.array([0, 1], np.int16), np.array([0, 2j], np.complex64)
    owner = np.zeros(2, np.int64)
    turned = (mean - 5 - 5j) * 1j + 12 + 5j
    values, frame = look(
        picture, owner, np.stack([mean, turned]).astype(np.complex64), near=near, offsets=offsets, mean=mean
    )
    np.testing.assert_allclose(frame, [1, 1j], atol=1e-5)
    assert values[0].tolist() == [picture[0, 5, 5], picture[0, 7, 9]]
    assert values[1].tolist() == [picture[0, 5, 12], picture[0, 9, 10]]  # the offset turns with the face


def test_a_cascade_learns(model: EsrModel) -> None:
    images, truth = drawn(40, 1)
    start = np.broadcast_to(model.shapes.mean, (40, 68))
    before = error(np.stack([start.real, start.imag], axis=-1).astype(np.float32), truth)
    after = error(model.answer(images).points, truth)
    assert after < 0.8 * before


def test_a_file_holds_all_of_it_and_no_pickle(model: EsrModel, tmp_path: Path) -> None:
    path = model.save(tmp_path / "new" / "esr.npz")
    again = open_model(path)
    assert isinstance(again, CropModel)
    assert (again.card, again.size_bytes) == (model.card, path.stat().st_size)
    images, truth = drawn(3, 2)
    # Movements are kept in half precision, and a pixel may be read one place further on.
    assert error(again.answer(images).points, truth) == pytest.approx(
        error(model.answer(images).points, truth), rel=0.1
    )
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file)


def test_it_runs_like_a_network(model: EsrModel) -> None:
    face = draw_face(np.random.default_rng(5), size=160)
    low, high = face.points.min(axis=0), face.points.max(axis=0)
    landmarks = Landmarker(model, passes=2)(face.image, np.concatenate([low, high])[None])
    assert landmarks.points.shape == (1, 68, 2)
    assert landmarks.scores is None
    assert (landmarks.points[0].min(axis=0) > low - 40).all()
    assert model.answer(np.zeros((0, 64, 64, 3), np.uint8)).points.shape == (0, 68, 2)
    twenty = model.answer(np.repeat(drawn(1, 3)[0], 20, axis=0)).points
    np.testing.assert_allclose(twenty, twenty[:1].repeat(20, axis=0))


def test_the_same_seed_fits_the_same_ferns() -> None:
    images, points = drawn(12, 0)
    pictures = np.stack([grey(i) for i in images])
    tiny = replace(SMALL, stages=1, ferns=3)
    (_, (a,)), (_, (b,)) = (fit_esr(pictures, points, tiny, np.random.default_rng(1), pupils=14.0) for _ in range(2))
    np.testing.assert_array_equal(a.outputs, b.outputs)
    np.testing.assert_array_equal(a.first, b.first)


@pytest.mark.parametrize("change", [{"stages": 0}, {"features": 13}, {"pixels": 1}, {"starts": 500}])
def test_sizes_that_cannot_work_are_refused(change: dict[str, int]) -> None:
    images, points = drawn(5, 0)
    with pytest.raises(ConfigError):
        fit_esr(
            np.stack([grey(i) for i in images]), points, replace(SMALL, **change), np.random.default_rng(0), pupils=9
        )


def test_damaged_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        open_model(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("nothing")
    np.savez(tmp_path / "other.npz", format=np.array(1))
    np.savez(tmp_path / "later.npz", format=np.array(9))
    for name in ("text", "other", "later"):
        with pytest.raises(ModelFileError, match="not a cascade written by 'canthus fit'"):
            open_model(tmp_path / f"{name}.npz")


def test_fit_by_a_recipe(tmp_path: Path) -> None:
    write_synthetic_300w(tmp_path / "data" / "300w", 20, np.random.default_rng(0), size=96)
    small = [f"cascade.{k}={v}" for k, v in (("stages", 2), ("ferns", 5), ("pixels", 40), ("starts", 2), ("tests", 2))]
    changes = [part for change in [*small, "size=64"] for part in ("--set", change)]
    place = ["--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "esr.npz")]
    result = CliRunner().invoke(app, ["fit", "esr_68", *place, *changes])
    assert result.exit_code == 0, result.output
    model = open_model(tmp_path / "esr.npz")
    assert model.card.architecture == "esr"
    assert "300w/validation/nme_ion" in model.card.metrics
    assert CliRunner().invoke(app, ["fit", "list"]).stdout.split() == ["esr_68"]
    for wrong, message in (
        (["--set", "augmentation.flip=0.5"], "leave augmentation.flip"),
        (["--out", "a.onnx"], ".npz"),
    ):
        failed = CliRunner().invoke(app, ["fit", "esr_68", *place, *changes, *wrong])
        assert isinstance(failed.exception, CanthusError)
        assert message in str(failed.exception)
