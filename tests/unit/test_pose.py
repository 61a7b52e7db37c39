"""Head pose: synthetic projections over a grid of angles, signs, symmetry, units, and the poses of a public network."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float, Float64

from canthus.data import load_dataset
from canthus.data.synthetic import FaceShape, head_points
from canthus.geometry import Affine
from canthus.pose import HEAD_MODEL, POSE_POINTS, head_pose, rotation_angles, rotation_matrix
from canthus.schemes import IBUG_68

GRID = np.deg2rad(list(product([-80, -60, -30, -10, 0, 10, 30, 60, 80], [-45, -20, 0, 20, 45], [-150, -45, 0, 45, 90])))


def project(angles: Float[np.ndarray, "n 3"], *, distance: float = 1000.0) -> Float64[np.ndarray, "n 68 2"]:
    """What a pinhole camera sees of the model so turned; every other point is NaN."""
    turned = (HEAD_MODEL - HEAD_MODEL.mean(axis=0)) @ rotation_matrix(angles).transpose(0, 2, 1)
    seen = np.full((len(angles), 68, 2), np.nan)
    seen[:, list(POSE_POINTS)] = turned[..., :2] / (distance + turned[..., 2:]) * 900 + (320, 240)
    return seen


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute difference of angles in degrees, the short way round."""
    return np.asarray(np.rad2deg(np.abs((a - b + np.pi) % (2 * np.pi) - np.pi)))


def test_angles_of_projections_are_found_over_the_whole_grid() -> None:
    # Centred on the mean of its projected points, which perspective moves a little off the projected middle.
    assert difference(head_pose(project(GRID)).angles, GRID).max() < 0.5


@pytest.mark.parametrize(("distance", "degrees"), [(500.0, 2.0), (2000.0, 1.5), (1e5, 2.5)])
def test_another_distance_moves_the_angles_little(distance: float, degrees: float) -> None:
    assert difference(head_pose(project(GRID, distance=distance)).angles, GRID).max() < degrees


def test_noise_of_a_hundredth_of_the_face_moves_the_angles_by_a_few_degrees() -> None:
    mild = GRID[(np.abs(GRID[:, 0]) < 0.6) & (np.abs(GRID[:, 1]) < 0.4)]
    seen = project(mild)
    noise = np.random.default_rng(0).normal(size=seen.shape) * 0.01 * np.nanmax(np.nanstd(seen, axis=1)) * 4
    assert difference(head_pose(seen + noise).angles, mild).mean() < 4


@pytest.mark.parametrize(
    ("angle", "yaw", "pitch", "roll"),
    [(0.25, 1, 0, 0), (-0.25, 1, 0, 0), (0.15, 0, 1, 0), (-0.15, 0, 1, 0), (0.3, 0, 0, 1), (-0.3, 0, 0, 1)],
)
def test_drawn_heads_turn_the_way_they_say(angle: float, yaw: int, pitch: int, roll: int) -> None:
    straight, _ = head_points(FaceShape())
    turned, _ = head_points(FaceShape(yaw=angle * yaw, pitch=angle * pitch, roll=angle * roll))
    change = np.diff(head_pose(np.stack([straight, turned])).angles, axis=0)[0]
    asked = int(np.argmax([yaw, pitch, roll]))
    assert np.sign(change[asked]) == np.sign(angle)
    # A drawn head is flatter than a real one and seen from nearby, so its yaw reads larger than it was drawn.
    assert 0.5 < change[asked] / angle < 1.8
    assert np.abs(np.delete(change, asked)).max() < 0.4 * abs(angle)


def test_turning_the_picture_adds_to_the_roll_and_to_nothing_else() -> None:
    seen = project(GRID[::7])
    turned = np.stack([Affine.about((50.0, 20.0), angle=0.4).apply(face) for face in seen])
    wanted = head_pose(seen).angles + np.array([0, 0, 0.4])
    np.testing.assert_array_less(difference(head_pose(turned).angles, wanted), 0.01)


def test_the_mirrored_face_has_the_mirrored_pose() -> None:
    seen = project(GRID[::5])
    mirrored = Affine.flip(640).apply(seen)[:, list(IBUG_68.mirror)]
    wanted = head_pose(seen).angles * (-1, 1, -1)
    np.testing.assert_array_less(difference(head_pose(mirrored).angles, wanted), 0.01)


@pytest.mark.parametrize("scale", [1e-3, 1 / 256, 1.0, 40.0])
def test_the_unit_and_the_place_of_the_points_do_not_matter(scale: float) -> None:
    seen = project(GRID[::11])
    moved = head_pose(seen * scale + (3.0, -7.0)).angles
    np.testing.assert_array_less(difference(moved, head_pose(seen).angles), 0.05)


def test_angles_are_radians() -> None:
    angles = head_pose(project(GRID)).angles
    assert np.abs(angles).max() <= np.pi
    assert np.abs(angles[:, 1]).max() <= np.pi / 2
    quarter = head_pose(project(np.array([[0.0, 0.0, np.pi / 2]])))
    assert float(quarter.roll[0]) == pytest.approx(1.5708, abs=0.01)


def test_the_rotation_is_the_stated_product() -> None:
    yaw, pitch, roll = 0.3, -0.2, 0.7
    by_yaw = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    by_pitch = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    by_roll = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    expected = np.array(by_roll) @ np.array(by_pitch) @ np.array(by_yaw)
    np.testing.assert_allclose(rotation_matrix(np.array([yaw, pitch, roll])), expected, atol=1e-12)


def test_angles_to_rotation_and_back() -> None:
    np.testing.assert_allclose(rotation_angles(rotation_matrix(GRID)), GRID, atol=1e-12)


def test_the_head_model_is_symmetric_and_looks_at_the_camera() -> None:
    order = [POSE_POINTS.index(IBUG_68.mirror[i]) for i in POSE_POINTS]
    np.testing.assert_allclose(HEAD_MODEL[order] * (-1, 1, 1), HEAD_MODEL)
    right_eye, chin = POSE_POINTS.index(36), POSE_POINTS.index(8)
    assert HEAD_MODEL[right_eye, 0] < 0 < HEAD_MODEL[chin, 1]


def test_no_face_and_faces_without_points_or_size() -> None:
    assert len(head_pose(np.zeros((0, 68, 2)))) == 0
    faces = project(GRID[:3])
    faces[1, 36] = np.nan
    faces[2] = 5.0
    angles = head_pose(faces).angles
    assert np.isnan(angles).tolist() == [[False] * 3, [True] * 3, [True] * 3]


@pytest.mark.real_data
def test_poses_follow_those_of_a_public_network(shared_data: Path) -> None:
    """The other network counts yaw and pitch the other way round, in degrees, and was not made for these points."""
    lines = (shared_data / "known_answers/300w_public_predictions.json").read_text().splitlines()
    faces = [json.loads(line.rstrip(",")) for line in lines if line.startswith("{")]
    theirs = np.deg2rad([face["head_pose_predicted"] for face in faces])
    ours = head_pose(np.array([face["predicted"] for face in faces], np.float32)).angles
    correlation = [float(np.corrcoef(theirs[:, i], ours[:, i])[0, 1]) for i in range(3)]
    assert correlation[0] < -0.95
    assert correlation[1] < -0.8
    assert correlation[2] > 0.88


@pytest.mark.real_data
def test_zero_pitch_is_the_mean_of_the_training_photos(shared_data: Path) -> None:
    faces = load_dataset("300w", shared_data / "300w", "train")[::4]
    angles = head_pose(np.stack([face.points for face in faces])).angles
    assert np.abs(np.rad2deg(angles.mean(axis=0))).max() < 2
