"""``fit_image`` and ``halve_image``: where every pixel goes."""

import numpy as np
import pytest

from canthus.images import fit_image, halve_image


def _blob(height: int, width: int, x: float, y: float, *, radius: float = 12) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    bright = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return np.repeat(bright[..., None], 3, axis=2).astype(np.uint8)


def _centre(image: np.ndarray) -> np.ndarray:
    weight = image[..., 0].astype(float)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.asarray(np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum())


@pytest.mark.parametrize("shape", [(480, 640), (481, 643), (1080, 1920), (1301, 977), (200, 300), (640, 100)])
def test_the_map_leads_back_to_the_picture(shape: tuple[int, int]) -> None:
    height, width = shape
    image = _blob(height, width, 0.6 * width, 0.4 * height)
    canvas, back = fit_image(image, 320, multiple=32)
    np.testing.assert_allclose(back.apply(_centre(canvas)), _centre(image), atol=0.1)


@pytest.mark.parametrize(
    ("shape", "fitted"),
    [
        ((480, 640), (480, 640)),
        ((960, 1280), (480, 640)),
        ((480, 641), (480, 640)),
        ((500, 640), (512, 640)),
        ((100, 200), (224, 416)),
        ((1, 1), (32, 32)),
        ((3, 5000), (32, 640)),
        ((5000, 1), (640, 32)),
    ],
)
def test_sides_are_padded_to_multiples(shape: tuple[int, int], fitted: tuple[int, int]) -> None:
    canvas, _ = fit_image(np.full((*shape, 3), 200, np.uint8), 640, multiple=32)
    assert canvas.shape == (*fitted, 3)
    assert canvas.flags.c_contiguous
    assert canvas[0, 0].tolist() == [200, 200, 200]


def test_the_padding_is_black_and_the_rest_is_not() -> None:
    canvas, back = fit_image(np.full((50, 90, 3), 255, np.uint8), 90, multiple=32)
    assert canvas.shape == (64, 96, 3)
    assert (canvas[:50, :90] == 255).all()
    assert canvas.sum() == 50 * 90 * 3 * 255
    np.testing.assert_array_equal(back.matrix, np.eye(2, 3))


def test_a_picture_that_fits_is_not_copied() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    assert fit_image(image, 640, multiple=32)[0] is image


def test_mirrored_views_are_taken() -> None:
    image = _blob(100, 200, 50, 40)
    canvas, back = fit_image(image[:, ::-1], 100)
    assert canvas.shape == (50, 100, 3)
    np.testing.assert_allclose(back.apply(_centre(canvas)), [149, 40], atol=0.1)


def test_growth_is_bounded() -> None:
    image = _blob(40, 60, 20, 30, radius=6)
    canvas, back = fit_image(image, 640, most_growth=2.0)
    assert canvas.shape == (80, 120, 3)
    np.testing.assert_allclose(back.apply(_centre(canvas)), _centre(image), atol=0.1)


def test_fine_patterns_become_grey_not_moire() -> None:
    board = (np.indices((1024, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)
    canvas, _ = fit_image(np.repeat(board[..., None], 3, axis=2), 300)
    assert canvas.std() < 2
    assert canvas.mean() == pytest.approx(127.5, abs=2)


def test_halving_averages_and_leaves_odd_ends_out() -> None:
    image = np.zeros((5, 7, 3), np.uint8)
    image[:2, :2] = [[[10] * 3, [20] * 3], [[30] * 3, [40] * 3]]
    image[4], image[:, 6] = 255, 255
    halved = halve_image(image)
    assert halved.shape == (2, 3, 3)
    assert halved[0, 0, 0] == 25
    assert halved[1].max() == 0
    assert halve_image(np.full((1, 9, 3), 7, np.uint8)).shape == (1, 4, 3)
