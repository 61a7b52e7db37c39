"""Cutting out squares: where pixels land, at any size of the square, inside and outside the picture."""

import numpy as np
import pytest

from canthus.geometry import Affine
from canthus.images import crop_image, warp


def gradient(side: int) -> np.ndarray:
    """A picture whose red is x and whose green is y, in steps of the picture's side."""
    ramp = np.linspace(0, 255, side)
    image = np.zeros((side, side, 3))
    image[..., 0], image[..., 1] = ramp[None, :], ramp[:, None]
    return image.round().astype(np.uint8)


@pytest.mark.parametrize("side", [60.0, 112.0, 223.0, 225.0, 449.0, 900.0, 1500.0])
def test_pixels_land_where_the_map_says(side: float) -> None:
    image = gradient(2000)
    square = np.array([211.3, 154.7, 211.3 + side, 154.7 + side])
    crop, affine = crop_image(image, square, 112)
    places = np.array([[5.0, 5.0], [56.0, 20.0], [100.0, 107.0]])
    x, y = affine.inverse().apply(places).T
    expected = np.stack([x, y], axis=1) * 255 / 1999
    found = crop[places[:, 1].astype(int), places[:, 0].astype(int), :2].astype(float)
    # One grey level is 7.8 pixels here; rounding to bytes happens up to five times.
    np.testing.assert_allclose(found, expected, atol=1.6)


@pytest.mark.parametrize("side", [100.0, 400.0, 1000.0])
def test_outside_the_picture_is_black(side: float) -> None:
    white = np.full((300, 300, 3), 255, np.uint8)
    crop, _ = crop_image(white, np.array([-side / 2, -side / 2, side / 2, side / 2]), 64)
    assert crop[:30, :30].max() == 0
    inside = int(min(32, 32 * 600 / side)) - 2
    assert crop[34 : 32 + inside, 34 : 32 + inside].min() == 255


def test_a_square_off_the_picture_is_black() -> None:
    white = np.full((50, 50, 3), 255, np.uint8)
    crop, _ = crop_image(white, np.array([500.0, 500.0, 1500.0, 1500.0]), 64)
    assert crop.max() == 0


def test_large_faces_do_not_alias() -> None:
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    crop, _ = crop_image(stripes, np.array([0.0, 0.0, 1200.0, 1200.0]), 112)
    # Averaged stripes are an even grey; picked ones would be black, white or bands.
    assert 120 <= crop[5:-5, 5:-5].min() <= crop[5:-5, 5:-5].max() <= 135


@pytest.mark.parametrize("long", [32_766, 32_767, 40_000, 70_000])
@pytest.mark.parametrize("upright", [False, True])
def test_pictures_of_any_length_are_cropped_alike(long: int, upright: bool) -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, long, 3), dtype=np.uint8)
    start, box = long - 300, np.array([100.25, 2.5, 114.25, 16.5])
    there, part = box + np.array([start, 0, start, 0]), image[:, start:]
    if upright:
        image, part = image.transpose(1, 0, 2), part.transpose(1, 0, 2)
        box, there = box[[1, 0, 3, 2]], there[[1, 0, 3, 2]]
    crop, affine = crop_image(np.ascontiguousarray(image), there, 32)
    expected, _ = crop_image(np.ascontiguousarray(part), box, 32)
    np.testing.assert_allclose(crop.astype(int), expected, atol=2)  # OpenCV counts a 32th of a pixel
    np.testing.assert_allclose(affine.inverse().apply(np.zeros((1, 2))), [there[:2] - 0.28], atol=0.01)


def test_a_picture_longer_than_opencv_warps_is_shown_whole() -> None:
    image = np.zeros((3, 100_000, 3), np.uint8)
    image[:, 50_000:] = 200
    crop = warp(image, Affine(np.array([[64 / 100_000, 0, 0], [0, 1.0, 30]])), 64)
    assert crop[31, 3:30].max() == 0
    np.testing.assert_array_equal(crop[31, 34:60], 200)
    assert crop[:28].max() == 0
    assert crop[36:].max() == 0


@pytest.mark.parametrize("square", [[5, 5, 5.000001, 5.000001], [-1e6, -1e6, 1e6, 1e6], [1e6, 5, 1e6 + 9, 14]])
def test_odd_squares_give_a_crop(square: list[float]) -> None:
    crop, _ = crop_image(gradient(100), np.array(square), 32)
    assert crop.shape == (32, 32, 3)
