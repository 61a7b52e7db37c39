from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError
from canthus.geometry import TURNED, Affine, crop_square, hull_box
from canthus.images import align_image
from canthus.runtime.landmarker import (
    DIRECTIONS,
    MOST_TRIED,
    STILL_TURNED,
    Landmarker,
    kept_turn,
    turned_box,
)
from canthus.runtime.sessions import Answer, LandmarkSession
from canthus.schemes import FIVE, IBUG_68, convert
from canthus.types import Faces

TinyModel = Callable[..., Path]


def discs(centres: list[tuple[float, float]], *, radius: float = 6, height: int = 240, width: int = 320) -> np.ndarray:
    """Soft white discs on black; computed, for drawn circles sit up to a third of a pixel off."""
    rows, columns = np.mgrid[:height, :width]
    light = np.zeros((height, width))
    for x, y in centres:
        light += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / radius**2)
    return np.repeat(np.round(255 * light.clip(0, 1)).astype(np.uint8)[:, :, None], 3, axis=2)


def box_about(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]], np.float32)


@pytest.mark.parametrize("side", [30, 40, 64, 150, 200])
@pytest.mark.parametrize("centre", [(100.0, 80.0), (201.5, 120.25)])
def test_points_come_back_in_the_pixels_of_the_picture(
    tiny_session: LandmarkSession, centre: tuple[float, float], side: int
) -> None:
    image = discs([centre], radius=side / 8)
    landmarks = Landmarker(tiny_session)(image, box_about(centre[0] + side / 10, centre[1] - side / 12, side))
    pixels_per_cell = side * tiny_session.card.margin / tiny_session.card.size
    # The disc is found to a twentieth of a cell of the 32 x 32 crop; half a pixel of shift between frames would show.
    np.testing.assert_allclose(landmarks.points[0].mean(axis=0), centre, atol=0.05 * pixels_per_cell)
    np.testing.assert_allclose(np.ptp(landmarks.points[0], axis=0), 0.5 * side * tiny_session.card.margin, rtol=0.01)


def test_all_faces_of_a_picture_equal_each_alone(tiny_session: LandmarkSession) -> None:
    centres = [(40.0, 50.0), (160.0, 90.0), (250.0, 180.0)]
    image = discs(centres)
    boxes = np.concatenate([box_about(*centre, 40) for centre in centres])
    landmarker = Landmarker(tiny_session)
    together = landmarker(image, boxes).points
    alone = np.concatenate([landmarker(image, boxes[i : i + 1]).points for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_no_box_gives_no_landmarks(tiny_session: LandmarkSession) -> None:
    for passes in (1, 2):
        landmarks = Landmarker(tiny_session, passes=passes)(discs([]), np.zeros((0, 4), np.float32))
        assert landmarks.points.shape == (0, 68, 2)
        assert landmarks.scheme is tiny_session.scheme


def test_a_second_pass_centres_the_crop_on_the_first_result(tiny_session: LandmarkSession) -> None:
    image = discs([(100.0, 80.0)])
    boxes = box_about(115, 90, 60)
    once, twice = Landmarker(tiny_session)(image, boxes).points, Landmarker(tiny_session, passes=2)(image, boxes).points
    first_hull = np.ptp(once[0], axis=0).max()
    # The ring of the tiny model is half a crop wide, and the crop of pass two is 1.5 hulls of pass one.
    assert np.ptp(twice[0], axis=0).max() == pytest.approx(0.5 * 1.5 * first_hull, rel=0.01)
    np.testing.assert_allclose(twice[0].mean(axis=0), (100, 80), atol=0.3)


def test_a_collapsed_first_result_keeps_the_box(tiny_model: TinyModel) -> None:
    landmarker = Landmarker(LandmarkSession.open(tiny_model(spread=0.0)), passes=3)
    points = landmarker(discs([(100.0, 80.0)]), box_about(104, 82, 40)).points
    np.testing.assert_allclose(points[0].mean(axis=0), (100, 80), atol=0.3)


@pytest.mark.parametrize(
    "box", [[-300, -300, -200, -200], [300, 200, 900, 900], [-5000, -5000, 5000, 5000], [10, 10, 10.5, 10.5]]
)
def test_boxes_beyond_the_picture_give_finite_points(tiny_session: LandmarkSession, box: list[float]) -> None:
    points = Landmarker(tiny_session, passes=2)(discs([(100.0, 80.0)]), np.array([box], np.float32)).points
    assert points.shape == (1, 68, 2)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("box", [[10, 10, 10, 20], [10, 10, 20, 5], [0, 0, np.nan, 5], [0, 0, np.inf, 5]])
def test_impossible_boxes_are_refused(tiny_session: LandmarkSession, box: list[float]) -> None:
    boxes = np.array([[0, 0, 20, 20], box], np.float32)
    with pytest.raises(ValueError, match=r"Box 1 is \[.*expected finite x1, y1, x2, y2"):
        Landmarker(tiny_session)(discs([]), boxes)


def test_further_passes_are_for_the_faces_that_still_move(tiny_session: LandmarkSession) -> None:
    """The tiny model's ring is 0.75 of its crop's hull, so each pass shrinks it; a face in the dark stays in place."""
    crops: list[int] = []

    class Counting:
        card, scheme, size_bytes, gives_scores = tiny_session.card, tiny_session.scheme, 0, False

        def answer(self, crops_: np.ndarray) -> Answer:
            crops.append(len(crops_))
            answer = tiny_session.answer(crops_)
            return replace(answer, points=answer.points if len(crops) == 1 else still(answer.points, crops_))

    def still(points: np.ndarray, crops_: np.ndarray) -> np.ndarray:
        """Points whose hull is the box that was cropped, except in bright crops."""
        side = crops_.shape[1]
        ring = (points - points.mean(axis=1, keepdims=True)) / np.ptp(points, axis=1, keepdims=True)
        fixed = (ring * side / tiny_session.card.margin + (side - 1) / 2).astype(np.float32)
        bright = crops_.max(axis=(1, 2, 3)) > 200
        return np.where(bright[:, None, None], points, fixed)

    image = discs([(100.0, 80.0)])
    boxes = np.concatenate([box_about(100, 80, 40), box_about(250, 180, 40)])
    two = Landmarker(Counting(), passes=2)(image, boxes)
    assert crops == [2, 2]
    crops.clear()
    four = Landmarker(Counting(), passes=2, most_passes=4)(image, boxes)
    assert crops == [2, 2, 1, 1]
    np.testing.assert_array_equal(two.points[1], four.points[1])
    crops.clear()
    alone = Landmarker(Counting(), passes=4)(image, boxes[:1])
    np.testing.assert_allclose(four.points[0], alone.points[0], atol=1e-4)


def test_passes_out_of_range_are_refused(tiny_session: LandmarkSession) -> None:
    with pytest.raises(ConfigError, match="most_passes of at least 3, the number of passes; found 2"):
        Landmarker(tiny_session, passes=3, most_passes=2)


def test_passes_below_one_are_refused(tiny_session: LandmarkSession) -> None:
    with pytest.raises(ConfigError, match="at least 1 pass, found 0"):
        Landmarker(tiny_session, passes=0)


SIDE = 200


def turned_face(angle: float) -> tuple[np.ndarray, Faces, np.ndarray]:
    """A drawn face turned by ``angle`` radians, its box, five points, and the points of the upright picture there."""
    face = draw_face(np.random.default_rng(68), size=SIDE)
    turn = Affine.about(((SIDE - 1) / 2, (SIDE - 1) / 2), angle=angle)
    box = hull_box(face.points)
    upright = Landmarker(LandmarkSession.open())(face.image, box[None]).points[0]
    centre = turn.apply((box[:2] + box[2:]) / 2 - 0.5) + 0.5
    half = (box[2:] - box[:2]) / 2
    five = turn.apply(convert(face.points, IBUG_68, FIVE))
    faces = Faces(np.concatenate([centre - half, centre + half])[None], np.ones(1, np.float32), five[None])
    return align_image(face.image, turn, SIDE), faces, turn.apply(upright)


@pytest.mark.parametrize("degrees", [45, -80, 90, 180, -135])
def test_a_turned_face_gets_the_points_of_the_upright_one(degrees: float) -> None:
    image, faces, points = turned_face(np.deg2rad(degrees))
    found = Landmarker(LandmarkSession.open()).of_faces(image, faces).points[0]
    # The crop is resampled at another angle, and the five points of the drawing are not those of the mean face.
    assert np.linalg.norm(found - points, axis=1).mean() < 0.02 * SIDE
    assert faces.points is not None


def test_a_face_that_is_nearly_upright_gets_the_usual_crop() -> None:
    image, faces, _ = turned_face(np.deg2rad(20))
    landmarker = Landmarker(LandmarkSession.open())
    assert np.array_equal(landmarker.of_faces(image, faces).points, landmarker(image, faces.boxes).points)
    alone = Faces(faces.boxes, faces.scores)
    assert np.array_equal(landmarker.of_faces(image, alone).points, landmarker(image, faces.boxes).points)


@pytest.mark.parametrize(("degrees", "off"), [(0, 180), (180, 180), (0, 90), (0, -60), (120, -90), (-45, 135)])
def test_of_poor_five_points_the_surest_direction_is_taken(degrees: float, off: float) -> None:
    """Five points that are turned by ``off`` degrees too far."""
    image, faces, points = turned_face(np.deg2rad(degrees))
    assert faces.points is not None
    middle = faces.points[0].mean(axis=0)
    five = Affine.about((float(middle[0]), float(middle[1])), angle=np.deg2rad(off)).apply(faces.points)
    found = Landmarker(LandmarkSession.open()).of_faces(image, replace(faces, points=five))
    assert np.linalg.norm(found.points[0] - points, axis=1).mean() < 0.02 * SIDE


def test_few_doubtful_faces_are_looked_at_in_other_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.tile(box_about(50, 50, 20), (MOST_TRIED + 3, 1))
    five = convert(draw_face(np.random.default_rng(68), size=SIDE).points, IBUG_68, FIVE)
    faces = Faces(boxes, np.ones(len(boxes), np.float32), np.tile(five, (len(boxes), 1, 1)))
    landmarker, image = Landmarker(LandmarkSession.open()), np.zeros((100, 100, 3), np.uint8)
    runs: list[int] = []
    answer = LandmarkSession.answer

    def counted(session: LandmarkSession, seen: np.ndarray) -> Answer:
        runs.append(len(seen))
        return answer(session, seen)

    upright = landmarker(image, boxes)
    monkeypatch.setattr(LandmarkSession, "answer", counted)
    found = landmarker.of_faces(image, faces)
    assert runs == [len(boxes), MOST_TRIED * (DIRECTIONS - 1)]
    assert np.array_equal(found.points, upright.points)  # no direction is sure in a black picture


def test_no_faces_have_no_landmarks(tiny_session: LandmarkSession) -> None:
    none = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
    assert len(Landmarker(tiny_session).of_faces(discs([]), none)) == 0


def test_turns_that_are_not_finite_are_refused(tiny_session: LandmarkSession) -> None:
    with pytest.raises(ValueError, match="turn 0 is nan"):
        Landmarker(tiny_session)(discs([]), box_about(50, 50, 20), turns=np.full(1, np.nan, np.float32))


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf])
def test_unknown_five_points_count_as_upright(unknown: float, tiny_session: LandmarkSession) -> None:
    box, five = box_about(100, 80, 40), np.full((1, 5, 2), unknown, np.float32)
    found = Landmarker(tiny_session).of_faces(discs([(100, 80)]), Faces(box, np.ones(1, np.float32), five))
    assert np.array_equal(found.points, Landmarker(tiny_session)(discs([(100, 80)]), box).points)


def test_further_passes_keep_the_turn() -> None:
    image, faces, points = turned_face(np.deg2rad(120))
    shifted = Faces(faces.boxes + np.float32(12), faces.scores, faces.points)
    found = Landmarker(LandmarkSession.open(), passes=3).of_faces(image, shifted).points[0]
    assert np.linalg.norm(found - points, axis=1).mean() < 0.02 * SIDE


@pytest.mark.parametrize("turn", [0.0, 0.7, -2.0, np.pi])
def test_the_box_of_a_turned_face_has_the_upright_sides_about_its_centre(turn: float) -> None:
    points = draw_face(np.random.default_rng(1), size=SIDE).points
    box, turned = hull_box(points), turned_box(Affine.about((30.0, 40.0), angle=turn).apply(points), turn, IBUG_68)
    assert turned[2:] - turned[:2] == pytest.approx(box[2:] - box[:2], abs=0.01)
    centre = Affine.about((30.0, 40.0), angle=turn).apply((box[:2] + box[2:]) / 2 - 0.5) + 0.5
    assert (turned[:2] + turned[2:]) / 2 == pytest.approx(centre, abs=0.01)
    square = crop_square(turned, 1.3)
    back = Affine.turned_crop(square, 64, turn).apply(Affine.about((30.0, 40.0), angle=turn).apply(points))
    assert back == pytest.approx(Affine.crop(crop_square(box, 1.3), 64).apply(points), abs=0.01)


def test_a_turned_crop_is_left_later_than_it_is_taken_up() -> None:
    points = draw_face(np.random.default_rng(1), size=SIDE).points
    between = Affine.about((0.0, 0.0), angle=(TURNED + STILL_TURNED) / 2).apply(points)
    assert kept_turn(between, IBUG_68, 0.0) == 0
    assert kept_turn(between, IBUG_68, 0.6) == pytest.approx((TURNED + STILL_TURNED) / 2, abs=0.08)
    assert kept_turn(points, IBUG_68, 0.6) == 0
    no_eyes = replace(IBUG_68, pupils=())
    assert kept_turn(between, no_eyes, 0.6) == 0
