"""Drawn faces: the points lie on what is drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.data import load_dataset
from canthus.data.synthetic import FaceShape, draw_face, head_points, random_shape, write_synthetic_300w
from canthus.schemes import IBUG_68


def _openness(shape: FaceShape) -> float:
    points, _ = head_points(shape)
    return float(np.linalg.norm(points[37] - points[41]) / np.linalg.norm(points[36] - points[39]))


def test_same_seed_same_picture() -> None:
    a, b = (draw_face(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.points, b.points)
    assert not np.array_equal(a.image, draw_face(np.random.default_rng(4)).image)


@pytest.mark.parametrize("size", [48, 160])
def test_points_lie_inside_the_picture(size: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        sample = draw_face(rng, size=size)
        assert sample.image.shape == (size, size, 3)
        assert sample.points.shape == (68, 2)
        assert sample.points.min() > 0
        assert sample.points.max() < size - 1
        assert 0.35 * size < np.ptp(sample.points, axis=0).max() < 0.7 * size


def test_a_frontal_face_is_its_own_mirror() -> None:
    points, _ = head_points(FaceShape())
    np.testing.assert_allclose(points[list(IBUG_68.mirror)] * (-1, 1), points, atol=1e-12)


def test_eyes_and_mouth_open_as_asked() -> None:
    assert _openness(FaceShape(eyes=0.0)) < 0.1 < 0.2 < _openness(FaceShape(eyes=0.5)) < _openness(FaceShape(eyes=1.0))
    shut, open_ = (head_points(FaceShape(mouth=mouth))[0] for mouth in (0.0, 1.0))
    assert np.linalg.norm(shut[62] - shut[66]) < 0.03 < 0.25 < np.linalg.norm(open_[62] - open_[66])


def test_a_head_turned_to_the_left_of_the_picture_shows_less_of_its_right_side() -> None:
    points, _ = head_points(FaceShape(yaw=0.35))
    near, far = np.linalg.norm(points[27] - points[45]), np.linalg.norm(points[27] - points[36])
    assert near > 1.3 * far


@pytest.mark.parametrize("seed", range(8))
def test_features_are_drawn_at_their_points(seed: int) -> None:
    """Lids, inner lip line and brows are darker than the skin a little above or below them."""
    rng = np.random.default_rng(seed)
    shape = replace(random_shape(rng), eyes=0.6, mouth=0.0, roll=0.0, pitch=0.0, yaw=0.0)
    sample = draw_face(rng, size=240, shape=shape)
    grey = sample.image.astype(np.float64).mean(axis=2)

    def level(point: np.ndarray, dy: float) -> float:
        x, y = round(float(point[0])), round(float(point[1]) + dy)
        return float(grey[y - 1 : y + 2, x - 1 : x + 2].mean())

    unit = float(np.linalg.norm(sample.points[45] - sample.points[36]))
    for lid in (37, 38, 43, 44):
        assert level(sample.points[lid], 0) < level(sample.points[lid], -0.12 * unit)
    assert level(sample.points[62], 0) < level(sample.points[51], -0.1 * unit)
    assert level(sample.points[8], 0.0) != level(sample.points[8], 0.15 * unit)


def test_written_set_reads_back_in_the_official_layout(tmp_path: Path) -> None:
    write_synthetic_300w(tmp_path, 20, np.random.default_rng(0), size=64)
    sizes = {s: len(load_dataset("300w", tmp_path, s)) for s in ("train", "common", "challenging", "full")}
    assert sizes == {"train": 14, "common": 4, "challenging": 2, "full": 6}
    train = load_dataset("300w", tmp_path, "train")
    assert len({face.group for face in train}) == 12  # two photos hold two faces
    first = draw_face(np.random.default_rng(0), size=64)
    (face,) = (face for face in train if face.key == "helen/trainset/1000000_1.jpg")
    np.testing.assert_allclose(face.points, first.points, atol=1e-3)  # three decimals are written


def test_too_small_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 pixels, found 16"):
        draw_face(np.random.default_rng(0), size=16)
