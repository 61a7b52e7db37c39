"""Affine maps and boxes: round trips and invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.geometry import (
    Affine,
    box_iou,
    box_size,
    crop_square,
    hull_box,
    pixels_to_unit,
    unit_to_pixels,
)

coordinate = st.floats(-500, 500, width=32)
points = st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=20).map(lambda p: np.array(p, np.float32))
sides = st.floats(1, 400, width=32)


@given(points, st.floats(-3, 3), st.floats(0.2, 5), coordinate, coordinate)
def test_the_inverse_leads_back(p: np.ndarray, angle: float, scale: float, x: float, y: float) -> None:
    affine = Affine.about((x, y), angle=angle, scale=scale, shift=(x / 10, y / 10))
    # float32 points of a few thousand pixels keep about three decimals.
    np.testing.assert_allclose(affine.inverse().apply(affine.apply(p)), p, atol=0.02)


@given(points, coordinate, coordinate, sides)
def test_then_is_one_after_the_other(p: np.ndarray, x: float, y: float, side: float) -> None:
    first = Affine.about((x, y), angle=0.3, scale=1.7)
    second = Affine.crop(np.array([x, y, x + side, y + side]), 112)
    np.testing.assert_allclose(first.then(second).apply(p), second.apply(first.apply(p)), rtol=1e-3, atol=0.05)


@given(points, st.integers(1, 1000))
def test_flipping_twice_is_nothing(p: np.ndarray, width: int) -> None:
    flip = Affine.flip(width)
    np.testing.assert_allclose(flip.apply(flip.apply(p)), p, atol=1e-3)


@given(points, st.integers(1, 512))
def test_unit_frame_round_trip(p: np.ndarray, size: int) -> None:
    np.testing.assert_allclose(unit_to_pixels(pixels_to_unit(p, size), size), p, atol=1e-3)


@given(coordinate, coordinate, sides, st.integers(8, 256))
def test_a_crop_maps_its_square_onto_the_picture(x: float, y: float, side: float, size: int) -> None:
    affine = Affine.crop(np.array([x, y, x + side, y + side]), size)
    # Edges lie half a pixel outside the centres of the outer pixels.
    corners = affine.apply(np.array([[x - 0.5, y - 0.5], [x + side - 0.5, y + side - 0.5]]))
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [size - 0.5, size - 0.5]], atol=0.05)


@given(points)
def test_the_hull_holds_every_point(p: np.ndarray) -> None:
    x1, y1, x2, y2 = hull_box(p)
    assert (p[:, 0] + 0.5 >= x1 - 1e-3).all()
    assert (p[:, 0] + 0.5 <= x2 + 1e-3).all()
    assert (p[:, 1] + 0.5 >= y1 - 1e-3).all()
    assert (p[:, 1] + 0.5 <= y2 + 1e-3).all()


@given(coordinate, coordinate, sides, sides, st.floats(1, 3))
def test_the_crop_square_shares_the_centre_of_the_box(x: float, y: float, w: float, h: float, margin: float) -> None:
    box = np.array([x, y, x + w, y + h], np.float32)
    square = crop_square(box, margin)
    np.testing.assert_allclose((square[:2] + square[2:]) / 2, (box[:2] + box[2:]) / 2, atol=1e-2)
    np.testing.assert_allclose(box_size(square), margin * max(box_size(box)), rtol=1e-3)


def test_rotation_turns_clockwise_on_the_screen() -> None:
    # x right, y down: a quarter turn takes the point right of the centre to below it.
    turned = Affine.about((10.0, 10.0), angle=np.pi / 2).apply(np.array([[15.0, 10.0]]))
    np.testing.assert_allclose(turned, [[10, 15]], atol=1e-5)


def test_overlap_of_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 20]], np.float32)
    expected = np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(box_iou(boxes, boxes), expected, atol=1e-6)


def test_a_flat_map_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="singular"):
        Affine(np.zeros((2, 3))).inverse()
