import numpy as np
import pytest

from canthus.runtime.draw import DOUBT_COLORS, POINT_COLOR, doubt_color, draw_frame, group_color, line_width
from canthus.schemes import SCHEMES, Scheme
from canthus.types import Faces, Frame, Landmarks


def frame_of(points: np.ndarray, scheme: Scheme) -> Frame:
    boxes = np.stack([[p[:, 0].min(), p[:, 1].min(), p[:, 0].max(), p[:, 1].max()] for p in points])
    faces = Faces(boxes.astype(np.float32), np.ones(len(points), np.float32))
    return Frame(faces, Landmarks(points.astype(np.float32), scheme))


@pytest.mark.parametrize("name", SCHEMES)
def test_points_of_every_scheme_are_drawn_where_they_are(name: str) -> None:
    scheme = SCHEMES[name]
    points = np.random.default_rng(0).uniform(20, 180, (1, scheme.count, 2))
    image = np.zeros((200, 200, 3), np.uint8)
    drawn = draw_frame(image, frame_of(points, scheme))
    assert not image.any()
    assert drawn.shape == image.shape
    columns, rows = np.round(points[0]).astype(int).T
    assert (drawn[rows, columns].max(axis=1) > 60).all()


def test_points_of_little_confidence_are_drawn_otherwise() -> None:
    points = np.random.default_rng(0).uniform(100, 900, (1, 68, 2))
    frame = frame_of(points, SCHEMES["ibug_68"])
    image = np.zeros((1000, 1000, 3), np.uint8)

    def drawn(score: float | None) -> np.ndarray:
        scores = None if score is None else np.full((1, 68), score, np.float32)
        return draw_frame(image, Frame(frame.faces, Landmarks(frame.landmarks.points, frame.landmarks.scheme, scores)))

    np.testing.assert_array_equal(drawn(1.0), drawn(None))
    x, y = np.round(points[0, 0]).astype(int)
    assert drawn(0.6)[y, x].tolist() == list(doubt_color(0.6)), "a dot of its color"
    assert drawn(0.0)[y, x].tolist() != list(doubt_color(0.0)), "a ring, open in the middle"
    assert (drawn(0.0) == np.array(doubt_color(0.0), np.uint8)).all(axis=2).sum() > 68 * 20
    assert [doubt_color(score) for score in (0.0, 0.5, 1.0)] == list(DOUBT_COLORS)
    assert doubt_color(1.0) == POINT_COLOR


def test_an_empty_frame_draws_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    empty = Frame(Faces.empty(), Landmarks(np.zeros((0, 68, 2), np.float32), SCHEMES["ibug_68"]))
    drawn = draw_frame(image, empty)
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_lines_grow_with_the_face() -> None:
    assert line_width(40) == 1
    assert line_width(2200) == 10
    points = np.random.default_rng(0).uniform(0.1, 0.9, (1, 68, 2))
    painted = []
    for side in (100, 1000):
        drawn = draw_frame(np.zeros((side, side, 3), np.uint8), frame_of(points * side, SCHEMES["ibug_68"]))
        painted.append((drawn > 0).any(axis=2).mean())
    # Were the widths fixed, the share of painted pixels would fall tenfold.
    assert painted[1] > painted[0] / 4


@pytest.mark.parametrize("far", [-1e9, 1e9, -1e5, np.nan])
def test_points_far_outside_do_no_harm(far: float) -> None:
    points = np.random.default_rng(0).uniform(5, 45, (1, 68, 2))
    points[0, 40] = far
    frame = Frame(
        Faces(np.array([[5, 5, 45, 45]], np.float32), np.ones(1, np.float32)),
        Landmarks(points.astype(np.float32), SCHEMES["ibug_68"]),
    )
    assert draw_frame(np.zeros((50, 50, 3), np.uint8), frame).any()


def test_groups_have_their_colors() -> None:
    assert group_color("left_eye") == group_color("right_eye")
    assert group_color("left_brow") != group_color("left_eye")
    assert group_color("something") == (230, 230, 230)
