"""Cutting out squares: where pixels land, at any size of the square, inside and outside the picture."""

import numpy as np
import pytest

from canthus.images import crop_image


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
