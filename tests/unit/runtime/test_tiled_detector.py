"""Tiles: small faces of large pictures are found, each once, and none is cut."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from canthus.geometry import box_iou
from canthus.images import fit_image
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.detectors import (
    MOST_TILES,
    TiledDetector,
    WholePicture,
    create_detector,
    frame_detector,
    tile_starts,
)
from canthus.runtime.sessions import DetectorSession
from canthus.types import Faces, Image
from tiny_detectors import write_tiny_detector


class BlobDetector:
    """Finds white rectangles that are between 16 and 320 pixels wide after the picture was brought to ``size``."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, image: Image) -> Faces:
        self.seen.append(image.shape[:2])
        canvas, back = fit_image(image, self.size)
        count, _, found, _ = cv2.connectedComponentsWithStats((canvas[..., 0] > 127).astype(np.uint8))
        table = np.array([row for row in found[1:count] if 16 <= row[2] <= self.size // 2], np.float32).reshape(-1, 5)
        boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
        points = np.repeat(boxes[:, None, :2], 5, axis=1)
        return Faces(boxes, np.full(len(boxes), 0.9, np.float32), points).moved(back)


def picture(height: int, width: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


@pytest.mark.parametrize(("side", "tile"), [(640, 640), (641, 640), (1280, 640), (4000, 640), (999, 320), (100, 7)])
def test_tiles_reach_from_end_to_end_and_overlap(side: int, tile: int) -> None:
    starts = tile_starts(side, tile)
    assert starts[0] == 0
    assert starts[-1] == side - tile
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (tile - steps >= 0.2 * tile).all()
    assert tile_starts(5, tile) == [0]


def test_a_face_too_small_for_the_whole_picture_is_found(tmp_path: Path) -> None:
    session = DetectorSession.open(write_tiny_detector(tmp_path / "detector.onnx"))
    whole = CanthusDetector(session)
    tiled = TiledDetector(whole, size=640)
    image = picture(960, 1280, (64, 32, 80, 48), (624, 608, 640, 624))
    assert len(whole(image)) == 0
    found = tiled(image)
    assert found.points is not None
    assert sorted(found.boxes.tolist()) == [[64, 32, 80, 48], [624, 608, 640, 624]]
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - 0.5
    np.testing.assert_allclose(found.points.mean(axis=1), centres, atol=1e-4)


def test_pictures_that_fit_are_looked_at_once() -> None:
    detector = BlobDetector(320)
    found = TiledDetector(detector, size=320)(picture(240, 320, (10, 10, 40, 40)))
    assert detector.seen == [(240, 320)]
    assert found.boxes.tolist() == [[10, 10, 40, 40]]


def test_tiles_are_no_larger_than_what_the_detector_sees() -> None:
    detector = BlobDetector(320)
    found = TiledDetector(detector, size=320)(picture(200, 1000))
    assert detector.seen == [(200, 1000), *[(200, 320)] * 4]
    assert len(found) == 0


@pytest.mark.parametrize("seed", range(6))
def test_every_face_of_any_size_is_found_once(seed: int) -> None:
    """Faces from 20 pixels to a third of a picture twelve times as large as what the detector sees."""
    rng = np.random.default_rng(seed)
    boxes: list[list[float]] = []
    while len(boxes) < 25:
        side = int(np.exp(rng.uniform(np.log(20), np.log(1200))))
        x, y = rng.integers(0, 3840 - side), rng.integers(0, 2400 - side)
        box = [float(x), float(y), float(x + side), float(y + side)]
        room = np.array([[box[0] - 30, box[1] - 30, box[2] + 30, box[3] + 30]], np.float32)
        if not boxes or box_iou(room, np.array(boxes, np.float32)).max() == 0:
            boxes.append(box)
    image = picture(2400, 3840, *[(int(x1), int(y1), int(x2), int(y2)) for x1, y1, x2, y2 in boxes])
    detector = BlobDetector(320)
    found = TiledDetector(detector, size=320)(image)
    overlap = box_iou(np.array(boxes, np.float32), found.boxes)
    assert len(found) == len(boxes)
    assert (overlap.max(axis=1) > 0.75).all()
    assert max(max(shape) for shape in detector.seen[1:]) <= 320


@pytest.mark.parametrize(
    ("height", "width", "tiles"),
    [(240, 320, 0), (640, 480, 0), (360, 644, 2), (1500, 2000, 12), (3000, 4000, 12), (400, 40_000, 21)],
)
def test_automatic_tiles_are_few_and_only_of_large_pictures(height: int, width: int, tiles: int) -> None:
    detector = BlobDetector(320)
    TiledDetector(detector, size=320, automatic=True)(picture(height, width))
    assert len(detector.seen) == 1 + tiles
    assert tiles <= MOST_TILES


def test_automatic_tiles_find_the_small_faces_of_a_phone_photo() -> None:
    """Faces of 80 pixels in 4000 x 3000: 12.8 pixels in the whole picture, 40 in its half."""
    corners = [(x, y) for x in (0, 900, 1950, 3920) for y in (0, 700, 1490, 2200, 2920)]
    image = picture(3000, 4000, *[(x, y, x + 80, y + 80) for x, y in corners])
    whole = BlobDetector(640)
    assert len(whole(image)) == 0
    found = TiledDetector(whole, size=640, automatic=True)(image)
    assert sorted(found.boxes[:, :2].tolist()) == sorted([x, y] for x, y in corners)


def test_automatic_tiles_are_not_for_the_frames_of_a_video(tmp_path: Path) -> None:
    path = write_tiny_detector(tmp_path / "detector.onnx")
    automatic, asked, plain = (create_detector(path, tiles=tiles) for tiles in ("auto", True, False))
    assert isinstance(automatic, TiledDetector)
    assert frame_detector(automatic) is automatic.detector
    assert frame_detector(asked) is asked
    assert frame_detector(plain) is plain
    assert isinstance(create_detector("none", tiles="auto"), WholePicture)


def test_a_face_on_the_border_of_the_picture_is_no_cut_face() -> None:
    found = TiledDetector(BlobDetector(320), size=320)(picture(900, 900, (0, 0, 30, 30), (870, 400, 900, 430)))
    assert sorted(found.boxes.tolist()) == [[0, 0, 30, 30], [870, 400, 900, 430]]


def test_parts_of_a_face_go_with_it_and_points_only_where_all_have_them() -> None:
    def detector(image: Image) -> Faces:
        if image.shape[0] > 320:
            return Faces(np.array([[100, 100, 500, 500]], np.float32), np.array([0.9], np.float32))
        points = np.zeros((1, 5, 2), np.float32)
        return Faces(np.array([[140, 140, 180, 180]], np.float32), np.array([0.8], np.float32), points)

    found = TiledDetector(detector, size=320)(picture(600, 600))
    assert found.boxes.tolist() == [[100, 100, 500, 500]]
    assert found.points is None
