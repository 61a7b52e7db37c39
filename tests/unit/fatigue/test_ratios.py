"""Ratios of eye and mouth, by hand and against turning and scaling."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.fatigue.observation import Observation, observe
from canthus.fatigue.ratios import eye_aspect_ratio, mouth_aspect_ratio
from canthus.pose import HEAD_MODEL, POSE_POINTS

EYE = np.array([[0, 0], [1, -0.6], [3, -0.8], [4, 0], [3, 0.8], [1, 0.6]])
LIPS = np.array([[0, 0], [1, -1], [2, -2], [3, -1], [4, 0], [3, 1], [2, 2], [1, 1]], np.float64)


def test_by_hand() -> None:
    assert float(eye_aspect_ratio(EYE)) == pytest.approx((1.2 + 1.6) / (2 * 4))
    assert float(mouth_aspect_ratio(LIPS)) == pytest.approx((2 + 4 + 2) / (3 * 4))
    many = eye_aspect_ratio(np.stack([EYE, EYE * [1, 0], EYE * 0]))
    assert many[0] > many[1] == 0
    assert math.isnan(many[2])


@given(st.floats(-3, 3), st.floats(0.1, 50), st.floats(-100, 100))
def test_unit_place_and_roll_do_not_matter(angle: float, scale: float, shift: float) -> None:
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for ratio, points in ((eye_aspect_ratio, EYE), (mouth_aspect_ratio, LIPS)):
        assert float(ratio(points @ turn.T + shift)) == pytest.approx(float(ratio(points)))


def test_observe_a_face_made_of_the_head_model() -> None:
    points = np.zeros((68, 2), np.float32)
    points[list(POSE_POINTS)] = HEAD_MODEL[:, :2] + 200
    points[36:42] = EYE * 5 + [150, 200]
    points[42:48] = EYE * 6 + [230, 200]
    points[60:68] = LIPS + np.array([200, 270])
    seen = observe(points, 1.5)
    assert seen.has_face
    assert seen.time_s == 1.5
    assert seen.eye_pixels == pytest.approx(24)
    assert seen.right_eye == pytest.approx(seen.left_eye, rel=1e-5)
    assert seen.mouth == pytest.approx(8 / 12, rel=1e-5)
    assert abs(seen.yaw) < 0.2
    assert not Observation(0.0).has_face
