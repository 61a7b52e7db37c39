"""Augmentation moves points with the pixels, and does nothing when all strengths are zero."""

import numpy as np
import pytest

from canthus.data.transforms import (
    Augmentation,
    View,
    augment,
    plain_view,
    random_blur,
    random_flip,
    random_grey,
    random_light,
    random_noise,
    random_occlusion,
)
from canthus.schemes import IBUG_68
from canthus.types import Sample

VIEW = View(size=112, margin=1.3, pack_margin=1.8)
STRONG = Augmentation(
    flip=0.5,
    rotation_deg=30.0,
    scale=0.2,
    shift=0.08,
    stretch=0.1,
    light=0.3,
    grey=0.3,
    blur=0.3,
    noise=0.3,
    occlude=0.5,
)


def dotted_sample(seed: int = 0) -> Sample:
    """Black picture with a white blob on each of 68 well-separated points."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(8)), -1).reshape(-1, 2)[:68]
    points = (60 + grid * 9 + rng.uniform(-1, 1, (68, 2))).astype(np.float32)
    image = np.zeros((192, 192, 3), np.uint8)
    for x, y in np.rint(points).astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    return Sample(image=image, points=np.rint(points).astype(np.float32), scheme=IBUG_68)


def brightness_at(sample: Sample) -> np.ndarray:
    inside = ((sample.points > 1) & (sample.points < sample.image.shape[0] - 2)).all(axis=1)
    x, y = np.rint(sample.points[inside]).astype(int).T
    return np.asarray(sample.image[y, x, 0])


@pytest.mark.parametrize("seed", range(8))
def test_points_stay_on_their_pixels(seed: int) -> None:
    geometry = Augmentation(flip=0.5, rotation_deg=30.0, scale=0.2, shift=0.08, stretch=0.1)
    moved = augment(dotted_sample(seed), np.random.default_rng(seed), geometry, VIEW)
    # Blobs of 3 px shrink to about 2.4 px, so the pixel nearest to each centre stays bright.
    assert (brightness_at(moved) > 100).all()
    assert moved.image.shape == (112, 112, 3)


def test_no_strength_is_the_plain_crop() -> None:
    sample = dotted_sample()
    drawn = augment(sample, np.random.default_rng(0), Augmentation(), VIEW)
    plain = plain_view(sample, VIEW)
    np.testing.assert_array_equal(drawn.image, plain.image)
    np.testing.assert_allclose(drawn.points, plain.points, atol=1e-4)


def test_the_same_generator_draws_the_same_picture() -> None:
    a, b = (augment(dotted_sample(), np.random.default_rng(5), STRONG, VIEW) for _ in range(2))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.points, b.points)


def test_flipping_twice_is_nothing() -> None:
    sample = dotted_sample()
    twice = random_flip(random_flip(sample, np.random.default_rng(0), chance=1.0), np.random.default_rng(0), chance=1.0)
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_allclose(twice.points, sample.points, atol=1e-4)


def test_flipping_renumbers_left_and_right() -> None:
    sample = dotted_sample()
    flipped = random_flip(sample, np.random.default_rng(0), chance=1.0)
    # The subject's right eye corner (36) of the mirrored face is where the left one (45) was mirrored to.
    np.testing.assert_allclose(flipped.points[36], [191 - sample.points[45, 0], sample.points[45, 1]], atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda s, rng: random_light(s, rng, amount=0.5),
        lambda s, rng: random_grey(s, rng, chance=1.0),
        lambda s, rng: random_occlusion(s, rng, chance=1.0),
        lambda s, rng: random_blur(s, rng, chance=1.0),
        lambda s, rng: random_noise(s, rng, chance=1.0),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_colour_changes_leave_points_and_the_original_alone(change, seed: int) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    sample = Sample(image=image.copy(), points=dotted_sample().points, scheme=IBUG_68)
    changed = change(sample, rng)
    assert (changed.image != image).any()
    assert changed.image.shape == image.shape
    np.testing.assert_array_equal(changed.points, sample.points)
    np.testing.assert_array_equal(sample.image, image)


def test_grey_pictures_have_equal_channels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    sample = Sample(image=image, points=dotted_sample().points, scheme=IBUG_68)
    grey = random_grey(sample, np.random.default_rng(0), chance=1.0).image
    np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
