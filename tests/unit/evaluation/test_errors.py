import numpy as np
import pytest

from canthus.evaluation.errors import (
    box_diagonal,
    box_longer_side,
    box_mean_side,
    inter_ocular,
    inter_pupil,
    normalized_error,
    part_error,
)
from canthus.schemes import IBUG_68, WFLW_98


def test_scales_of_a_box() -> None:
    box = np.array([[0.0, 0.0, 3.0, 4.0], [1.0, 1.0, 5.0, 2.0]])
    np.testing.assert_allclose(box_mean_side(box), [np.sqrt(12), 2])
    np.testing.assert_allclose(box_diagonal(box), [5, np.sqrt(17)])
    np.testing.assert_allclose(box_longer_side(box), [4, 4])


def test_inter_ocular_uses_the_corners_of_the_scheme() -> None:
    points = np.zeros((1, 98, 2), np.float32)
    points[0, 60], points[0, 72] = (1, 1), (4, 5)
    assert inter_ocular(points, WFLW_98) == pytest.approx([5.0])


def test_inter_pupil_is_nan_where_an_eye_point_is_unknown() -> None:
    points = np.zeros((2, 68, 2), np.float32)
    points[:, 42:48, 0] = 30
    points[1, 44] = np.nan
    np.testing.assert_array_equal(inter_pupil(points, IBUG_68), [30.0, np.nan])


def test_unknown_points_are_left_out_of_the_mean() -> None:
    truth = np.zeros((1, 4, 2))
    truth[0, 3] = np.nan
    predicted = np.zeros((1, 4, 2))
    predicted[0, 0] = (6, 8)
    predicted[0, 3] = (1000, 1000)
    assert normalized_error(predicted, truth, np.array([10.0])) == pytest.approx([1 / 3])


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan])
def test_error_is_nan_without_a_positive_scale(scale: float) -> None:
    points = np.ones((1, 4, 2))
    assert np.isnan(normalized_error(points, points, np.array([scale]))).all()


def test_error_is_nan_for_missed_and_for_unlabelled_faces() -> None:
    points, nothing = np.ones((1, 4, 2)), np.full((1, 4, 2), np.nan)
    assert np.isnan(normalized_error(nothing, points, np.ones(1))).all()
    assert np.isnan(normalized_error(points, nothing, np.ones(1))).all()


def test_no_faces_give_no_errors() -> None:
    empty = np.zeros((0, 68, 2))
    assert normalized_error(empty, empty, inter_ocular(empty, IBUG_68)).shape == (0,)


def test_part_keeps_the_scale_of_the_face() -> None:
    truth, predicted = np.zeros((1, 68, 2)), np.zeros((1, 68, 2))
    predicted[0, :17, 0] = 2.0
    scale = np.array([40.0])
    assert part_error(predicted, truth, scale, IBUG_68.groups["jaw"]) == pytest.approx([0.05])
    assert part_error(predicted, truth, scale, IBUG_68.groups["nose"]) == pytest.approx([0.0])
