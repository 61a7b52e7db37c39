from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import get_data_path

from canthus.data import load_dataset
from canthus.errors import ConfigError
from canthus.geometry import box_iou, hull_box
from canthus.images import read_image
from canthus.runtime.haar_detector import CENTRE_OFFSET, FACE_SIZE, HaarDetector, HaarSightings, distinct_faces
from canthus.types import Faces

PORTRAIT_BOX = np.array([[170, 155, 361, 358]], np.float32)
"""Hull of the face in matplotlib's sample portrait, brows to chin and ear to ear, read off by hand."""


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return read_image(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4])


def test_haar_finds_the_face_of_the_portrait(portrait: np.ndarray) -> None:
    found = HaarDetector()(portrait)
    assert len(found) == 1
    assert box_iou(found.boxes, PORTRAIT_BOX)[0, 0] > 0.75
    assert 0.5 < found.scores[0] <= 1


@pytest.mark.parametrize("scale", [0.25, 0.5, 3.0])
def test_haar_boxes_scale_with_the_picture(portrait: np.ndarray, scale: float) -> None:
    size = (round(portrait.shape[1] * scale), round(portrait.shape[0] * scale))
    found = HaarDetector()(np.asarray(cv2.resize(portrait, size, interpolation=cv2.INTER_AREA)))
    assert len(found) >= 1
    assert box_iou(found.boxes[:1], PORTRAIT_BOX * np.float32(scale))[0, 0] > 0.7


def test_haar_finds_two_people(portrait: np.ndarray) -> None:
    found = HaarDetector()(np.concatenate([portrait, portrait[:, ::-1]], axis=1))
    mirrored = np.array([[1024 - 361, 155, 1024 - 170, 358]], np.float32)
    overlap = box_iou(np.concatenate([PORTRAIT_BOX, mirrored]), found.boxes)
    assert (overlap.max(axis=1) > 0.6).all()
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (20, 20), (5000, 30), (480, 640)])
def test_haar_finds_nothing_where_nothing_is(shape: tuple[int, int]) -> None:
    found = HaarDetector()(np.full((*shape, 3), 90, np.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.boxes.dtype == np.float32
    assert found.scores.shape == (0,)


def test_haar_squares_become_face_boxes_by_the_measured_map() -> None:
    sightings = HaarSightings(
        centres=np.array([[100.0, 50.0]], np.float32),
        sides=np.array([200.0], np.float32),
        counts=np.array([10.0], np.float32),
        margins=np.array([56.0], np.float32),
    )
    x1, y1, x2, y2 = sightings.face_boxes()[0]
    assert (x1 + x2) / 2 == pytest.approx(100 + 200 * CENTRE_OFFSET[0], abs=1e-4)
    assert (y1 + y2) / 2 == pytest.approx(50 + 200 * CENTRE_OFFSET[1], abs=1e-4)
    assert (x2 - x1, y2 - y1) == pytest.approx((200 * FACE_SIZE[0], 200 * FACE_SIZE[1]), abs=1e-4)


def test_haar_score_grows_with_sightings_and_margin() -> None:
    counts = np.array([2, 2, 50, 50], np.float32)
    margins = np.array([54, 57, 54, 57], np.float32)
    scores = HaarSightings(np.zeros((4, 2), np.float32), np.ones(4, np.float32), counts, margins).scores()
    assert scores[0] < scores[1] < scores[3]
    assert scores[0] < scores[2] < scores[3]
    assert (scores > 0).all()
    assert (scores < 1).all()


def test_threads_share_a_detector(portrait: np.ndarray) -> None:
    pictures = [np.ascontiguousarray(np.rot90(portrait, turn)) for turn in range(2)]
    pictures += [np.asarray(cv2.resize(portrait, (side, side))) for side in (200, 260)]
    detector = HaarDetector(least_score=0.1, long_side=240)
    expected = [detector(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(detector, pictures * 20))
    for number, faces in enumerate(found):
        np.testing.assert_array_equal(faces.boxes, expected[number % 4].boxes)
        np.testing.assert_array_equal(faces.scores, expected[number % 4].scores)


def test_an_opencv_without_cascades_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(ConfigError, match=r"has no cascade of faces.*use another detector"):
        HaarDetector()


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_a_score_out_of_range_is_refused(score: float) -> None:
    with pytest.raises(ConfigError, match="least score from 0 to 1"):
        HaarDetector(least_score=score)


def test_distinct_faces_are_sorted_and_filtered() -> None:
    kept = distinct_faces(faces((0, 0, 10, 10, 0.5), (50, 0, 60, 10, 0.9), (90, 0, 99, 9, 0.1)), least_score=0.4)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.5])
    assert kept.boxes[0].tolist() == [50, 0, 60, 10]


@pytest.mark.parametrize(
    "second",
    [(2, 0, 102, 100, 0.5), (30, 30, 60, 60, 0.5), (-100, -100, 200, 200, 0.5), (75, 75, 103, 103, 0.5)],
    ids=["shifted", "inside", "around", "mostly inside"],
)
def test_second_boxes_of_a_face_go(second: tuple[float, float, float, float, float]) -> None:
    kept = distinct_faces(faces((0, 0, 100, 100, 0.9), second), least_score=0.4)
    assert len(kept) == 1
    assert kept.boxes[0].tolist() == [0, 0, 100, 100]


def test_neighbouring_faces_stay() -> None:
    assert len(distinct_faces(faces((0, 0, 100, 100, 0.9), (75, 10, 170, 105, 0.8)), least_score=0.4)) == 2
    assert len(distinct_faces(Faces.empty(), least_score=0.4)) == 0


@pytest.mark.real_data
def test_haar_on_real_photos(shared_data: Path) -> None:
    """Constants hold on every 40th training photo of 300-W: recall, and no bias after the map."""
    annotations = load_dataset("300w", shared_data / "300w", "train")[::40]
    detector, ratios, shifts = HaarDetector(), [], []
    for annotation in annotations:
        truth = hull_box(annotation.points)
        found = detector(read_image(annotation.path)).boxes
        overlap = box_iou(truth[None], found)[0]
        if overlap.max(initial=0.0) > 0.3:
            box = found[int(overlap.argmax())]
            side = (truth[2:] - truth[:2]).max()
            ratios.append((box[2:] - box[:2]).max() / side)
            shifts.append(((box[:2] + box[2:]) - (truth[:2] + truth[2:])) / 2 / side)
    assert len(ratios) > 0.85 * len(annotations)
    # Medians of 45 faces with a spread of 0.1 wander by about 0.02.
    assert np.median(ratios) == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(np.median(shifts, axis=0), 0, atol=0.06)
