"""Confidence from the file to points, pictures and tracks."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import get_data_path

from canthus.errors import ModelFileError
from canthus.images import read_image
from canthus.runtime.cards import Calibration, FaceCalibration, ModelCard
from canthus.runtime.draw import draw_frame
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.sessions import MAX_BATCH, LandmarkSession
from canthus.runtime.tracker import Plausibility, Tracker, TrackerSettings
from canthus.schemes import FIVE, IBUG_68, WFLW_98
from canthus.types import Faces, Frame, Image, Landmarks

TinyModel = Callable[..., Path]
CALIBRATION = Calibration(tolerance=0.05, slope=1.0, offset=0.0)


def disc(x: float, y: float, light: int = 255) -> Image:
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, (round(x), round(y)), 12, (light, light, light), -1, cv2.LINE_AA)
    return image


@given(
    spread=arrays(np.float32, (1, 5), elements=st.floats(-50, 50, width=32)),
    slope=st.floats(0.001, 20),
    offset=st.floats(-20, 20),
)
def test_scores_are_probabilities_that_fall_with_the_expected_error(
    spread: np.ndarray, slope: float, offset: float
) -> None:
    ordered = np.sort(spread, axis=1)
    scores = Calibration(tolerance=0.05, slope=slope, offset=offset).scores(ordered, margin=1.3)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("values", [(0.0, 1.0, 0.0), (0.05, 0.0, 0.0), (0.05, -1.0, 0.0), (0.05, 1.0, math.nan)])
def test_a_calibration_without_meaning_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ModelFileError, match="The setting (tolerance|slope|offset) is .*; expected"):
        Calibration(*values)


def test_the_card_carries_the_calibration_and_old_cards_have_none(tiny_session: LandmarkSession) -> None:
    old = tiny_session.card
    assert "calibration" not in json.loads(old.to_json())
    assert ModelCard.from_json(old.to_json(), source="x").calibration is None
    new = replace(old, calibration=CALIBRATION)
    assert ModelCard.from_json(new.to_json(), source="x") == new
    for wrong, reason in (
        ("[]", "'calibration' must be a table"),
        ('{"tolerance": 0.05}', r"Missing: calibration\.slope \(a number\), calibration\.offset"),
        ('{"tolerance": "0.05", "slope": 1.0, "offset": 0.0}', r"'calibration\.tolerance' must be a number"),
        ('{"tolerance": -0.05, "slope": 1.0, "offset": 0.0}', "x: model card: .*tolerance is -0.05"),
    ):
        text = old.to_json()[:-2] + f', "calibration": {wrong}}}'
        with pytest.raises(ModelFileError, match=reason):
            ModelCard.from_json(text, source="x")


FACE_CALIBRATION = FaceCalibration(tolerance=0.06, slope=2.0, offset=-1.0)


@given(scores=arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32)), slope=st.floats(0.001, 20))
def test_the_confidence_of_a_face_grows_with_that_of_its_points(scores: np.ndarray, slope: float) -> None:
    ordered = scores[np.argsort(np.median(scores, axis=1))]
    found = FaceCalibration(tolerance=0.06, slope=slope, offset=0.5).confidence(ordered)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()


def test_the_confidence_of_a_face_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.5, 0.5, 0.5]], np.float32)  # log odds of the medians: ln 4 and 0
    found = FACE_CALIBRATION.confidence(scores)
    np.testing.assert_allclose(found, [1 / (1 + math.exp(1 - 2 * math.log(4))), 1 / (1 + math.exp(1))], rtol=1e-5)
    assert FACE_CALIBRATION.confidence(np.zeros((0, 2), np.float32)).shape == (0,)


@pytest.mark.parametrize("values", [(0.0, 1.0, 0.0), (0.06, -1.0, 0.0), (0.06, 1.0, math.inf)])
def test_a_face_calibration_without_meaning_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ModelFileError, match="The setting (tolerance|slope|offset) is .*; expected"):
        FaceCalibration(*values)


def test_the_card_carries_the_face_calibration_and_old_cards_have_none(tiny_session: LandmarkSession) -> None:
    old = tiny_session.card
    assert "face_calibration" not in json.loads(old.to_json())
    assert ModelCard.from_json(old.to_json(), source="x").face_calibration is None
    new = replace(old, face_calibration=FACE_CALIBRATION)
    assert ModelCard.from_json(new.to_json(), source="x") == new


@pytest.mark.parametrize("passes", [1, 2])
def test_faces_have_a_confidence_wherever_they_go(
    tiny_model: TinyModel, confident_session: LandmarkSession, passes: int
) -> None:
    card = replace(confident_session.card, face_calibration=FACE_CALIBRATION)
    landmarker = Landmarker(LandmarkSession.open(tiny_model("sure.onnx", card=card)), passes=passes)
    faces = Faces(np.array([[80, 60, 120, 100], [85, 62, 125, 102]], np.float32), np.ones(2, np.float32))
    frame = Pipeline(lambda image: faces, landmarker)(disc(100, 80))
    marks = frame.landmarks
    assert marks.scores is not None
    assert marks.face_confidence is not None
    np.testing.assert_array_equal(marks.face_confidence, FACE_CALIBRATION.confidence(marks.scores))
    assert frame[1].face_confidence == marks.face_confidence[1]
    assert frame[1:].landmarks.face_confidence == marks.face_confidence[1:]
    assert list(frame[0].to_dict())[-1] == "face_confidence"
    assert frame.to_dict()["faces"][0]["face_confidence"] == round(float(marks.face_confidence[0]), 4)
    converted = marks.convert(FIVE)
    np.testing.assert_array_equal(converted.face_confidence, marks.face_confidence)
    tracked = Tracker(Pipeline(lambda image: faces[:1], landmarker))(disc(100, 80), 0.0)
    assert tracked[0].face_confidence == marks.face_confidence[0]


def test_doubtful_faces_are_kept_and_marked_or_left_out_where_asked(
    tiny_model: TinyModel, confident_session: LandmarkSession
) -> None:
    card = replace(confident_session.card, face_calibration=FACE_CALIBRATION)
    session = LandmarkSession.open(tiny_model("sure.onnx", card=card))
    picture = np.maximum(disc(100, 80), disc(220, 160, light=70))
    boxes = np.array([[80, 60, 120, 100], [200, 140, 240, 180]], np.float32)
    faces = Faces(boxes, np.array([0.6, 0.9], np.float32))

    def find(image: Image) -> Faces:
        return faces

    every = Pipeline(find, Landmarker(session))(picture)
    assert every.landmarks.face_confidence is not None
    bright, dark = every.landmarks.face_confidence
    assert dark < 0.5 < bright
    assert [face.doubtful for face in every] == [False, True]
    sure = Pipeline(find, Landmarker(session), min_confidence=0.5)
    assert sure(picture).faces.boxes.tolist() == boxes[:1].tolist()
    assert sure.mark(picture, faces[1:]).landmarks.points.shape == (0, 68, 2)
    assert len(Pipeline(find, Landmarker(session), min_confidence=float(dark))(picture)) == 2
    settings = TrackerSettings(plausibility=Plausibility(aspect=(0, 9), eye_distance=(0, 9)))
    tracks = [Tracker(Pipeline(find, Landmarker(session), min_confidence=c), settings) for c in (0.0, 0.5)]
    assert [tracker(picture, 0.0).ids.tolist() for tracker in tracks] == [[0, 1], [0]]


def test_an_upside_down_portrait_has_the_points_of_the_upright_one() -> None:
    """The embedded detector finds the face either way, and its crop is turned upright by the five points."""
    portrait = read_image(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")[:400]
    pipeline = load_pipeline()
    (face,) = pipeline(portrait)
    assert face.face_confidence is not None
    assert face.face_confidence > 0.95
    (turned,) = pipeline(np.ascontiguousarray(portrait[::-1, ::-1]))
    assert turned.face_confidence is not None
    assert turned.face_confidence > 0.95
    back = np.array([portrait.shape[1] - 1, portrait.shape[0] - 1]) - turned.points
    side = float(np.ptp(face.points, axis=0).max())
    assert np.linalg.norm(back - face.points, axis=1).mean() < 0.03 * side


def test_a_doubtful_face_is_drawn_in_another_color() -> None:
    points, boxes = np.zeros((1, 68, 2), np.float32), np.array([[80, 60, 120, 100]], np.float32)
    faces, pictures = Faces(boxes, np.ones(1, np.float32)), []
    for confidence in (None, 0.9, 0.4, 0.0):
        whole = None if confidence is None else np.array([confidence], np.float32)
        frame = Frame(faces, Landmarks(points, IBUG_68, face_confidence=whole))
        pictures.append(draw_frame(np.zeros((240, 320, 3), np.uint8), frame))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    below = [picture[104:130, 78:180].max(axis=(0, 1)) for picture in pictures]
    assert not below[1].any()
    for (red, green, blue), (least, most) in zip(below[2:], ((100, 200), (20, 80)), strict=True):
        assert red > 200
        assert least < green < most
        assert blue < 60


def test_faces_have_no_confidence_without_a_map(confident_session: LandmarkSession) -> None:
    boxes = np.array([[80, 60, 120, 100]], np.float32)
    marks = Landmarker(confident_session)(disc(100, 80), boxes)
    assert marks.scores is not None
    assert marks.face_confidence is None
    face = Pipeline(lambda image: Faces(boxes, np.ones(1, np.float32)), Landmarker(confident_session))(disc(100, 80))[0]
    assert face.face_confidence is None
    assert "face_confidence" not in face.to_dict()


def test_a_file_without_spread_gives_no_scores(tiny_session: LandmarkSession) -> None:
    answer = tiny_session.answer(np.zeros((2, 32, 32, 3), np.uint8))
    assert (answer.spread, answer.scores) == (None, None)
    assert not tiny_session.tells_spread
    assert not tiny_session.gives_scores
    boxes = np.array([[80, 60, 120, 100]], np.float32)
    assert Landmarker(tiny_session)(disc(100, 80), boxes).scores is None


def test_a_file_with_spread_but_no_calibration_gives_no_scores(tiny_model: TinyModel) -> None:
    session = LandmarkSession.open(tiny_model(tells_spread=True))
    answer = session.answer(np.zeros((2, 32, 32, 3), np.uint8))
    assert answer.spread is not None
    assert answer.spread.shape == (2, 68)
    assert answer.scores is None
    assert session.tells_spread
    assert not session.gives_scores


def test_a_calibration_without_spread_is_refused(tiny_model: TinyModel, tiny_session: LandmarkSession) -> None:
    card = replace(tiny_session.card, calibration=CALIBRATION)
    with pytest.raises(ModelFileError, match="no output 'spread'"):
        LandmarkSession.open(tiny_model(card=card, tells_spread=False))


@pytest.mark.parametrize("count", [0, 1, MAX_BATCH + 3])
def test_scores_of_a_batch_equal_those_one_by_one(confident_session: LandmarkSession, count: int) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    answer = confident_session.answer(crops)
    assert answer.scores is not None
    assert answer.scores.shape == (count, 68)
    assert answer.scores.dtype == np.float32
    for index in range(count):
        alone = confident_session.answer(crops[index : index + 1]).scores
        assert alone is not None
        np.testing.assert_allclose(answer.scores[index], alone[0], atol=1e-5)


@pytest.mark.parametrize("passes", [1, 2])
def test_landmarks_carry_the_scores_of_the_last_pass(confident_session: LandmarkSession, passes: int) -> None:
    boxes = np.array([[80, 60, 120, 100], [85, 62, 125, 102]], np.float32)
    bright = Landmarker(confident_session, passes=passes)(disc(100, 80), boxes).scores
    dim = Landmarker(confident_session, passes=passes)(disc(100, 80, light=120), boxes).scores
    assert bright is not None
    assert dim is not None
    assert bright.shape == (2, 68)
    assert (dim < bright).all(), "the tiny model is sure in the light"
    assert (np.diff(bright) < 0).all(), "and less from point to point"


def test_scores_follow_the_points_into_another_scheme() -> None:
    scores = np.linspace(0, 1, 98, dtype=np.float32)[None]
    converted = Landmarks(np.zeros((1, 98, 2), np.float32), WFLW_98, scores).convert(IBUG_68, variant="chord")
    assert converted.scores is not None
    assert converted.scores[0, 1] == pytest.approx(scores[0, 2])  # jaw 1 is point 2 of the 98
    assert converted.scores[0, 37] == pytest.approx((scores[0, 60] + scores[0, 62]) / 2)  # a middle of two
    assert Landmarks(np.zeros((1, 98, 2), np.float32), WFLW_98).convert(IBUG_68).scores is None


def test_tracked_points_have_the_scores_of_their_frame(confident_session: LandmarkSession) -> None:
    def find(image: Image) -> Faces:
        return Faces(np.array([[80, 60, 121, 101]], np.float32), np.ones(1, np.float32))

    pipeline = Pipeline(find, Landmarker(confident_session))
    tracker, found = Tracker(pipeline), []
    for number, light in enumerate((255, 255, 150)):
        tracked = tracker(disc(100, 80, light), number * 0.04)
        assert tracked.frame.landmarks.scores is not None
        assert tracked.frame.landmarks.scores.shape == (1, 68)
        found.append(tracked.frame.landmarks.scores.mean())
    assert found[2] < found[1], "confidence of the frame, not of the one before"
    nobody = Tracker(Pipeline(lambda image: Faces.empty(), Landmarker(confident_session)))(disc(100, 80), 0.0)
    assert nobody.frame.landmarks.scores is not None
    assert nobody.frame.landmarks.scores.shape == (0, 68)
