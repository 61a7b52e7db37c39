"""Ratios of eye and mouth, by hand and against turning and scaling."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.data.synthetic import FaceShape, draw_face
from canthus.fatigue.measures import Observation, brightness_under_eyes, observe
from canthus.pose import HEAD_MODEL, POSE_POINTS
from canthus.runtime.measures import LEFT_EYE, RIGHT_EYE, eye_aspect_ratio, mouth_aspect_ratio

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
    lids = [(eye[0] + eye[3] - eye[1] - eye[2])[1] / 2 / (eye[3] - eye[0])[0] for eye in (points[36:42], points[42:48])]
    assert min(lids) > 0.1
    points[[40, 41, 46, 47]] -= (0, 3)  # the lower lids
    turned = points @ np.array([[0.8, 0.6], [-0.6, 0.8]], np.float32)
    for face in (seen, observe(turned, 2.0)):
        assert [face.right_upper, face.left_upper] == pytest.approx(lids, rel=1e-4)


def test_dark_glasses_darken_the_skin_under_the_eyes() -> None:
    sample = draw_face(np.random.default_rng(3), size=300, shape=FaceShape(eyes=0.6))
    points = sample.points
    assert brightness_under_eyes(sample.image, points) > 0.8
    glasses = sample.image.copy()
    top, bottom = int(points[17:27, 1].max()), int(points[36:48, 1].max() + 0.6 * (points[39, 0] - points[36, 0]))
    glasses[top:bottom, int(points[0, 0]) : int(points[16, 0])] = (25, 22, 30)
    assert brightness_under_eyes(glasses, points) < 0.3
    assert observe(points, 1.0, image=glasses).under_eyes < 0.3
    assert math.isnan(observe(points, 1.0).under_eyes)
    assert math.isnan(brightness_under_eyes(sample.image, points + 1000))


def test_one_lens_is_no_pair_of_glasses() -> None:
    sample = draw_face(np.random.default_rng(3), size=300, shape=FaceShape(eyes=0.6))
    half = sample.image.copy()
    half[:, : int(sample.points[27, 0])] = 10
    assert brightness_under_eyes(half, sample.points) > 0.8


def test_confidence_of_each_eye() -> None:
    sample = draw_face(np.random.default_rng(3), size=300)
    scores = np.full(68, 0.5, np.float32)
    scores[list(RIGHT_EYE)], scores[list(LEFT_EYE)] = 0.25, 0.75
    seen = observe(sample.points, 1.0, scores=scores)
    assert (seen.right_confidence, seen.left_confidence) == (0.25, 0.75)
    assert math.isnan(observe(sample.points, 1.0).left_confidence)
