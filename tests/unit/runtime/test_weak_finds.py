"""Finds below the score of the detector, which the landmarks judge."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.runtime.canthus_detector import CanthusDetector, decode
from canthus.runtime.cards import Calibration, FaceCalibration
from canthus.runtime.detectors import TiledDetector, create_detector, turned_look, weak_detector
from canthus.runtime.pipeline import MOST_WEAK, Pipeline, load_pipeline
from canthus.runtime.sessions import Answer, LandmarkSession
from canthus.runtime.tracker import Plausibility, Tracker, TrackerSettings
from canthus.types import Faces, Frame, Image
from conftest import tiny_card
from tiny_detectors import write_tiny_detector

TinyModel = Callable[..., Path]
SURE, WEAK, WEAKEST, NOTHING = 232, 229, 228, 226
"""Brightness of cells whose scores are 0.73, 0.45, 0.36 and 0.20."""


def picture(*cells: tuple[int, int, int, bool]) -> Image:
    """Squares of column, row and brightness; the landmarks call a face what has bright surroundings."""
    image = np.zeros((480, 640, 3), np.uint8)
    for column, row, brightness, bright in cells:
        x, y = 16 * column, 16 * row
        image[y - 16 : y + 32, x - 16 : x + 32] = 200 if bright else 0
        image[y : y + 16, x : x + 16] = brightness
    return image


@pytest.fixture(autouse=True)
def no_closer_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network finds squares of 16 pixels alone, so that it would see nothing in a closer look."""
    monkeypatch.setattr("canthus.runtime.canthus_detector.MOST_DOUBTED", 0)


@pytest.fixture
def files(tiny_model: TinyModel, tmp_path: Path) -> tuple[Path, Path]:
    """A landmark model with a confidence of the face, and a detector with the score 0.5."""
    card = replace(
        tiny_card(calibration=Calibration(tolerance=0.05, slope=1.0, offset=-3.5)),
        face_calibration=FaceCalibration(tolerance=0.06, slope=10.0, offset=0.0),
    )
    return tiny_model(card=card), write_tiny_detector(tmp_path / "detector.onnx")


FOUR = picture((4, 4, SURE, False), (12, 4, WEAKEST, True), (20, 4, WEAK, False), (28, 4, NOTHING, True))


def test_a_weak_find_is_kept_where_the_landmarks_call_it_a_face(files: tuple[Path, Path]) -> None:
    model, detector = files
    frame = load_pipeline(model, detector=detector)(FOUR)
    assert frame.faces.boxes[:, 0].tolist() == [64, 192]
    np.testing.assert_allclose(frame.faces.scores, [0.727, 0.358], atol=0.01)
    assert frame.landmarks.face_confidence is not None
    assert frame.landmarks.face_confidence[0] < 0.5 <= frame.landmarks.face_confidence[1]  # a sure find stays
    assert load_pipeline(model, detector=detector, min_confidence=0.5)(FOUR).faces.boxes[:, 0].tolist() == [192]


def test_a_find_a_little_above_the_threshold_is_judged_as_well(files: tuple[Path, Path]) -> None:
    model, detector = files
    barely = picture((4, 4, 230, False), (12, 4, 230, True), (20, 4, SURE, False))  # 230: a score of 0.549
    assert load_pipeline(model, detector=detector)(barely).faces.boxes[:, 0].tolist() == [320, 192]
    assert load_pipeline(model, detector=detector, min_score=0.5)(barely).faces.boxes[:, 0].tolist() == [320, 64, 192]


def test_a_weak_find_beside_a_better_one_is_dropped(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[0, 0, 20, 20], [30, 0, 50, 20], [10, 0, 30, 20], [60, 0, 80, 20], [66, 0, 86, 20]], np.float32)
    finds = Faces(boxes, np.array([0.9, 0.8, 0.45, 0.4, 0.35], np.float32), np.zeros((5, 5, 2), np.float32))
    monkeypatch.setattr("canthus.runtime.pipeline.found_faces", lambda *_: finds)
    monkeypatch.setattr("canthus.runtime.pipeline._called_faces", lambda frame: np.ones(len(frame), bool))
    frame = load_pipeline(files[0], detector=files[1])(np.full((40, 100, 3), 200, np.uint8))
    assert frame.faces.boxes[:, 0].tolist() == [0, 30, 60]  # the third overlaps two sure finds, the last a weak one


def test_other_processes_and_threads_keep_weak_finds(files: tuple[Path, Path]) -> None:
    model, detector = files
    pipeline = load_pipeline(model, detector=detector)
    again: Pipeline = pickle.loads(pickle.dumps(pipeline))
    for frame in [again(FOUR), *pipeline.batch([FOUR] * 3, workers=2), *pipeline.stream([FOUR])]:
        assert frame.to_dict() == pipeline(FOUR).to_dict()


@pytest.mark.parametrize(("min_score", "found"), [(0.5, [64]), (0.4, [64, 320]), (0.3, [64, 320, 192])])
def test_a_least_score_of_ones_own_turns_the_rule_off(
    files: tuple[Path, Path], min_score: float, found: list[int]
) -> None:
    frame = load_pipeline(files[0], detector=files[1], min_score=min_score)(FOUR)
    assert frame.faces.boxes[:, 0].tolist() == found


def test_the_rule_needs_a_confidence_and_a_detector_by_name(files: tuple[Path, Path], tiny_model: TinyModel) -> None:
    plain = load_pipeline(tiny_model("plain.onnx"), detector=files[1])
    own = load_pipeline(files[0], detector=create_detector(files[1]))
    for pipeline in (plain, own):
        assert pipeline(FOUR).faces.boxes[:, 0].tolist() == [64]
    barely = picture((4, 4, 230, True), (20, 4, SURE, True))  # 230: a score of 0.549, too low where nothing judges it
    assert plain(barely).faces.boxes[:, 0].tolist() == [320]
    lower = load_pipeline(tiny_model("plain.onnx"), detector=files[1], min_score=0.5)
    assert lower(barely).faces.boxes[:, 0].tolist() == own(barely).faces.boxes[:, 0].tolist() == [320, 64]
    with pytest.raises(ConfigError, match="Weak finds need a detector with a score threshold"):
        Pipeline(create_detector("none"), own.landmarker, weak=weak_detector(own.detector))
    with pytest.raises(ConfigError, match="a landmark model with a confidence"):
        Pipeline(own.detector, plain.landmarker, weak=weak_detector(own.detector))


def test_the_tracker_and_known_boxes_are_unaffected(files: tuple[Path, Path]) -> None:
    model, detector = files
    weak, sure = (load_pipeline(model, detector=detector, min_score=score) for score in (None, 0.5))
    assert weak.detector(FOUR).boxes.tolist() == sure.detector(FOUR).boxes.tolist()
    alone = picture((12, 4, WEAKEST, True))
    tracker = Tracker(weak)
    assert [len(tracker(alone, time_s)) for time_s in (0.0, 0.5, 1.0)] == [0, 0, 0]
    assert tracker.detections == 3
    assert len(weak(alone)) == 1
    doubtful = Faces(np.array([[320, 64, 336, 80]], np.float32), np.array([0.1], np.float32))
    assert len(weak.mark(FOUR, doubtful)) == 1


def test_the_best_weak_finds_are_judged_with_one_crop_each(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load_pipeline(files[0], detector=files[1])
    crops: list[int] = []
    answer = LandmarkSession.answer

    def counted(session: LandmarkSession, seen: np.ndarray) -> Answer:
        crops.append(len(seen))
        return answer(session, seen)

    monkeypatch.setattr(LandmarkSession, "answer", counted)
    places = [(4 * index + 3, row) for row in (4, 10) for index in range(8)]
    many = picture(*[(*place, WEAK if index % 2 else WEAKEST, True) for index, place in enumerate(places)])
    frame = pipeline(many)
    assert len(frame) == MOST_WEAK == 8
    np.testing.assert_allclose(frame.faces.scores, 0.451, atol=0.01)
    assert crops == [8]
    crops.clear()
    assert len(pipeline(picture((4, 4, SURE, False), (12, 4, WEAKEST, False), (20, 4, WEAK, True)))) == 2
    assert crops == [3, 7]  # of the two doubtful ones, the sure find alone is looked at in other directions
    crops.clear()
    assert len(pipeline(FOUR)) == 2
    assert crops == [3, 7, 1, 7]  # the weak find as well, because it is better than the one that is called a face


def test_the_tracker_starts_a_face_where_the_score_is_sure_or_the_landmarks_call_it_a_face(
    files: tuple[Path, Path],
) -> None:
    barely = picture((4, 4, 230, False), (12, 4, 230, True), (20, 4, SURE, False))  # 230: a score of 0.549
    anything = TrackerSettings(plausibility=Plausibility(aspect=(0, 9), eye_distance=(0, 9), least_pixels=1))
    for min_score, expected in ((None, [192, 320]), (0.5, [64, 192, 320])):
        tracker = Tracker(load_pipeline(files[0], detector=files[1], min_score=min_score), anything)
        boxes = tracker(barely, 0.0).frame.faces.boxes
        assert sorted((16 * np.round((boxes[:, 0] + boxes[:, 2] - 16) / 32)).tolist()) == expected
    doubtful = load_pipeline(files[0], detector=files[1])
    assert len(Tracker(doubtful, anything)(picture((4, 4, 230, False)), 0.0)) == 0


@pytest.mark.parametrize("bright", [False, True])
def test_where_no_face_is_found_the_turned_picture_is_looked_at(
    bright: bool, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Image] = []

    def look(detector: CanthusDetector | TiledDetector, image: Image) -> Faces:
        looks.append(image)
        return Faces(np.array([[192, 64, 208, 80]], np.float32), np.array([0.9], np.float32))

    monkeypatch.setattr("canthus.runtime.pipeline.turned_look", look)
    pipeline = load_pipeline(files[0], detector=files[1])
    frame = pipeline(picture((12, 4, NOTHING, bright)))
    assert len(frame) == bright  # whatever its score, it stays only where the landmarks call it a face
    assert len(pipeline(FOUR)) == 2
    assert len(load_pipeline(files[0], detector=files[1], min_score=0.5)(picture((12, 4, NOTHING, True)))) == 0
    assert len(looks) == 1
    doubtful = picture((12, 4, SURE, False), (24, 4, SURE, False))
    assert pipeline(doubtful).faces.boxes[:, 0].tolist() == [192, 384]  # the turned look found no face

    beside = Faces(np.array([[320, 64, 336, 80]], np.float32), np.array([0.9], np.float32))
    monkeypatch.setattr("canthus.runtime.pipeline.turned_look", lambda *_: beside)
    bright_beside = np.where(picture((20, 4, NOTHING, True)) > 0, picture((20, 4, NOTHING, True)), doubtful)
    assert pipeline(bright_beside).faces.boxes[:, 0].tolist() == [320, 192, 384]


def test_a_face_of_a_further_look_takes_the_place_of_a_doubtful_find(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load_pipeline(files[0], detector=files[1])
    doubtful = picture((12, 4, SURE, False), (24, 4, SURE, False))
    frame = pipeline(doubtful)
    better = Faces(frame.faces.boxes[:1] + 5, frame.faces.scores[:1] / 2, frame.faces.points[:1])  # type: ignore[index]
    marks = replace(frame.landmarks[:1], face_confidence=np.full(1, 0.9, np.float32))
    monkeypatch.setattr(Pipeline, "_judged", lambda *_, **__: Frame(better, marks))
    joined = pipeline._with_more(frame, doubtful, better, retried=0)
    assert joined.faces.boxes[:, 0].tolist() == [384, 197]  # best first
    assert joined.landmarks.face_confidence is not None
    assert joined.landmarks.face_confidence[1] == np.float32(0.9)


@pytest.mark.parametrize(("height", "width"), [(200, 300), (900, 1200)])
def test_faces_of_the_turned_picture_lie_where_they_are(height: int, width: int) -> None:
    image, pixel = np.zeros((height, width, 3), np.uint8), max(1, (height + width) / 2**0.5 / 640)
    x, y, side = width // 4, height - height // 4, height // 10
    image[y - side : y + side, x - side : x + side] = 255

    class Spot:
        def __call__(self, image: Image) -> Faces:
            rows, columns = np.nonzero(image[:, :, 0] > 127)
            assert max(image.shape[:2]) <= min(640, round((height + width) / 2**0.5))
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            five = np.repeat([[columns.mean(), rows.min()]], 5, axis=0)
            return Faces(np.array([box], np.float32), np.ones(1, np.float32), five[None].astype(np.float32))

    faces = turned_look(TiledDetector(Spot(), size=640), image)
    diagonal = 2 * side * 2**0.5  # of the square, which is the side of its box in the turned picture
    expected = [x - diagonal / 2, y - diagonal / 2, x + diagonal / 2, y + diagonal / 2]
    np.testing.assert_allclose(faces.boxes[0], expected, atol=2 * pixel)
    assert faces.points is not None
    # The top of the turned square is a corner.
    corners = np.array([[x - side, y - side], [x + side, y - side], [x - side, y + side], [x + side, y + side]])
    assert np.linalg.norm(corners - faces.points[0, 0], axis=1).min() < 2 * pixel


def test_a_weak_detector_has_a_lower_threshold_on_the_same_network(files: tuple[Path, Path]) -> None:
    tiled = create_detector(files[1], tiles=True, size=320)
    weak = weak_detector(tiled)
    assert isinstance(tiled, TiledDetector)
    assert isinstance(weak, TiledDetector)
    assert isinstance(tiled.detector, CanthusDetector)
    assert isinstance(weak.detector, CanthusDetector)
    assert weak.detector.session is tiled.detector.session
    assert (weak.size, weak.detector.size, weak.automatic, weak.least_score) == (320, 320, False, 0.3)
    assert tiled.least_score == 0.5
    for name in ("haar", "none"):
        assert weak_detector(create_detector(name)) is None
    assert weak_detector(create_detector(files[1], least_score=0.3, tiles=True)) is None


@pytest.mark.parametrize("seed", range(10))
def test_a_weak_find_never_displaces_a_sure_one(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(20 * 20, 15)).astype(np.float32)
    sure, all_finds = (decode(rows, 320, 320, (16,), score) for score in (0.5, 0.3))
    assert 0 < len(sure) < len(all_finds)
    np.testing.assert_array_equal(all_finds[: len(sure)].boxes, sure.boxes)
    assert (all_finds[len(sure) :].scores < 0.5).all()
