"""The linear map of points: how it moves with a face, what it learns, and from how many faces."""

import numpy as np
import pytest

from canthus.data.synthetic import head_points, random_shape
from canthus.errors import DataError
from canthus.recipes.point_map import RIDGES, PointMap, fit_point_map
from canthus.schemes import IBUG_68


def faces(count: int, seed: int = 0) -> np.ndarray:
    """Points of drawn faces at places, in turns and of sizes of their own, in pixels."""
    rng = np.random.default_rng(seed)
    shapes = np.stack([head_points(random_shape(rng))[0] for _ in range(count)])
    shapes = np.stack([turned(shape, angle) for shape, angle in zip(shapes, rng.normal(0, 0.3, count), strict=True)])
    return (shapes * rng.uniform(20, 120, (count, 1, 1)) + rng.uniform(0, 500, (count, 1, 2))).astype(np.float32)


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def other_habit(points: np.ndarray) -> np.ndarray:
    """Labels of the same faces that lie further to one side, with a jaw that is wider."""
    z = points[..., 0] + 1j * points[..., 1].astype(np.float64)
    z = z + 0.03 * (z[:, 45] - z[:, 36])[:, None]
    jaw = list(IBUG_68.part("jaw"))
    z[:, jaw] += 0.05 * (z[:, jaw] - z.mean(axis=1, keepdims=True))
    return np.stack([z.real, z.imag], axis=2).astype(np.float32)


def groups(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def missed(found: np.ndarray, wanted: np.ndarray) -> float:
    scale = np.linalg.norm(wanted[:, 36] - wanted[:, 45], axis=1)
    return float((np.linalg.norm(found - wanted, axis=2).mean(axis=1) / scale).mean())


def test_a_map_moves_turns_and_grows_with_the_face() -> None:
    rng = np.random.default_rng(3)
    one = PointMap(0.05 * (rng.normal(size=(68, 68)) + 1j * rng.normal(size=(68, 68))))
    shape = faces(4).astype(np.float64)
    expected = turned(one.points(shape), 0.7) * 2.5 + np.array([30, -4])
    assert np.allclose(one.points(turned(shape, 0.7) * 2.5 + np.array([30, -4])), expected)
    assert np.allclose(shape.reshape(4, -1) @ one.matrix, one.points(shape).reshape(4, -1))


def test_a_fit_learns_the_other_habit_and_leaves_gross_errors_out() -> None:
    points, fresh = faces(200), faces(50, seed=1)
    labels = other_habit(points)
    fit = fit_point_map(points, labels, groups(200))
    assert missed(fresh, other_habit(fresh)) > 0.03
    assert missed(fit.map.points(fresh), other_habit(fresh)) < 0.001
    assert missed(fit.held_out, labels) < 0.002
    assert fit.ridge == RIDGES[0]
    assert (~fit.used).sum() <= 2
    labels[::10] += 0.5 * np.ptp(labels[::10], axis=1, keepdims=True)  # labelled elsewhere
    robust = fit_point_map(points, labels, groups(200))
    assert not robust.used[::10].any()
    assert robust.used.sum() >= 178
    assert missed(robust.map.points(fresh), other_habit(fresh)) < 0.001


def test_few_faces_with_noise_teach_the_mean_change_alone() -> None:
    points, fresh = faces(12), faces(100, seed=1)
    rng = np.random.default_rng(5)
    scale = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)[:, None, None]
    noisy = other_habit(points) + 0.03 * scale * rng.normal(size=points.shape)
    fit = fit_point_map(points, noisy.astype(np.float32), groups(12))
    assert fit.ridge > RIDGES[3]
    assert missed(fit.map.points(fresh), other_habit(fresh)) < 0.5 * missed(fresh, other_habit(fresh))


def test_a_group_is_never_divided() -> None:
    points = faces(40)
    labels = other_habit(points)
    labels[:20] += 0.1 * np.ptp(points[:20], axis=1, keepdims=True)  # the habit of one person
    fit = fit_point_map(points, labels, ["one"] * 20 + groups(20))
    alone = fit_point_map(points, labels, groups(40))
    assert missed(fit.held_out[:20], labels[:20]) > 1.3 * missed(alone.held_out[:20], labels[:20])


@pytest.mark.parametrize(("count", "people"), [(7, 7), (20, 1)])
def test_a_fit_needs_some_faces_of_two_people(count: int, people: int) -> None:
    names = [str(number % people) for number in range(count)]
    with pytest.raises(DataError, match=rf"Found {count} faces of {people} .*needs at least 8 faces of 2"):
        fit_point_map(faces(count), other_habit(faces(count)), names)
