"""Augmentation with OpenCV: every function takes a sample and a random generator and returns a new sample.

Geometry (rotation, scale, shift and the crop itself) is one warp, so a training picture is resampled once.
"""

from dataclasses import dataclass, replace
from typing import final

import cv2
import numpy as np
from jaxtyping import UInt8

from canthus.data.lids import random_closed_eyes
from canthus.data.occlusion import random_cover, seen_points
from canthus.geometry import Affine
from canthus.images import warp
from canthus.types import Image, Sample


@final
@dataclass(frozen=True)
class Augmentation:
    """Strengths of the random changes; all zero means: the plain crop.

    Attributes:
        flip: chance of mirroring.
        rotation_deg: half range of the rotation, degrees.
        scale: half range of the zoom; 0.15 draws factors from 1/1.15 to 1.15.
        shift: standard deviation of the shift, fraction of the longer side of the face box.
        stretch: half range of the change of aspect.
        light: half range of brightness, contrast, gamma and per-channel gain, as fractions.
        grey: chance of losing all colour.
        blur: chance of Gaussian blur, or of a resolution loss.
        noise: chance of pixel noise.
        occlude: chance of covering parts with one to three boxes.
        close_eyes: chance of pulling the upper lids down over the eyes, see ``data.lids``.
        cover: chance of covering parts with things of many shapes, see ``data.occlusion``.
        cover_most: largest share of the face that ``cover`` hides.
    """

    flip: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0
    light: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    occlude: float = 0.0
    close_eyes: float = 0.0
    cover: float = 0.0
    cover_most: float = 0.6


@final
@dataclass(frozen=True)
class View:
    """How a packed crop becomes the input of a network.

    Attributes:
        size: side of the input in pixels.
        margin: side of the network's crop over the longer side of the face box.
        pack_margin: the same for the packed crop.
    """

    size: int
    margin: float
    pack_margin: float


def plain_view(sample: Sample, view: View) -> Sample:
    """The crop exactly as inference cuts it."""
    return _see(sample, view, Affine.identity())


def augment(sample: Sample, rng: np.random.Generator, settings: Augmentation, view: View) -> Sample:
    """Draw one training picture.

    Args:
        sample: a packed crop, see ``data.crops``.
        rng: source of all randomness.
        settings: strengths.
        view: what the network sees of the packed crop.
    """
    sample = random_closed_eyes(sample, rng, chance=settings.close_eyes)
    sample = random_view(sample, rng, settings, view)
    sample = random_flip(sample, rng, chance=settings.flip)
    sample = random_light(sample, rng, amount=settings.light)
    sample = random_grey(sample, rng, chance=settings.grey)
    sample = random_occlusion(sample, rng, chance=settings.occlude)
    if settings.cover > 0:  # no draw where unused, so that recipes without it see the pictures they always saw
        sample = random_cover(sample, rng, chance=settings.cover, most=settings.cover_most)
    sample = random_blur(sample, rng, chance=settings.blur)
    return random_noise(sample, rng, chance=settings.noise)


def random_view(sample: Sample, rng: np.random.Generator, settings: Augmentation, view: View) -> Sample:
    """Rotate, zoom, stretch and shift the face, then crop: one warp.

    The shift follows a normal distribution cut at two standard deviations, which is how detector boxes err.
    """
    side = sample.image.shape[0]
    centre = ((side - 1) / 2, (side - 1) / 2)
    angle = np.deg2rad(settings.rotation_deg) * rng.uniform(-1, 1)
    scale = (1 + settings.scale) ** rng.uniform(-1, 1)
    dx, dy = np.clip(rng.normal(size=2), -2, 2) * settings.shift * side / view.pack_margin
    stretch = (1 + settings.stretch) ** rng.uniform(-0.5, 0.5)
    widen = Affine(np.array([[stretch, 0, centre[0] * (1 - stretch)], [0, 1 / stretch, centre[1] * (1 - 1 / stretch)]]))
    return _see(sample, view, Affine.about(centre, angle=angle, scale=scale, shift=(dx, dy)).then(widen))


def _see(sample: Sample, view: View, moved: Affine) -> Sample:
    """Move the face within the packed crop, then cut the network's crop out of its middle."""
    side = sample.image.shape[0]
    border = side * (1 - view.margin / view.pack_margin) / 2
    square = np.array([border, border, side - border, side - border])
    affine = moved.then(Affine.crop(square, view.size))
    return replace(sample, image=warp(sample.image, affine, view.size), points=affine.apply(sample.points))


def random_flip(sample: Sample, rng: np.random.Generator, *, chance: float = 0.5) -> Sample:
    """Mirror picture and points, and renumber the points by the scheme's mirror order."""
    if rng.random() >= chance:
        return sample
    mirrored = Affine.flip(sample.image.shape[1]).apply(sample.points)
    return replace(
        sample,
        image=np.ascontiguousarray(sample.image[:, ::-1]),
        points=mirrored[list(sample.scheme.mirror)],
        visible=None if sample.visible is None else sample.visible[list(sample.scheme.mirror)],
    )


def random_light(sample: Sample, rng: np.random.Generator, *, amount: float) -> Sample:
    """Change brightness, contrast, gamma and the gain of each channel by one look-up table."""
    if amount <= 0:
        return sample
    ramp = np.linspace(0, 1, 256)[:, None]
    gamma = (1 + amount) ** rng.uniform(-1, 1)
    contrast = (1 + amount) ** rng.uniform(-1, 1)
    gains = contrast * (1 + amount / 2) ** rng.uniform(-1, 1, size=3)
    offset = amount / 2 * rng.uniform(-1, 1)
    table = np.clip(255 * ((ramp**gamma - 0.5) * gains + 0.5 + offset), 0, 255).astype(np.uint8)
    return replace(sample, image=_as_image(cv2.LUT(sample.image, table[:, None, :])))


def random_grey(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Drop the colour, as infrared and old cameras do."""
    if rng.random() >= chance:
        return sample
    grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
    return replace(sample, image=_as_image(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)))


def random_occlusion(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Cover one to three rectangles of 10-45 % of the side with a flat colour, noise, or another patch."""
    if rng.random() >= chance:
        return sample
    image = sample.image.copy()
    size = image.shape[0]
    hidden = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 4)):
        w, h = (rng.uniform(0.1, 0.45, size=2) * size).astype(int)
        x, y = int(rng.uniform(-w / 2, size - w / 2)), int(rng.uniform(-h / 2, size - h / 2))
        target = image[max(y, 0) : y + h, max(x, 0) : x + w]
        target[:] = _cover(sample.image, target.shape[:2], rng)
        hidden[max(y, 0) : y + h, max(x, 0) : x + w] = 255
    return replace(sample, image=image, visible=seen_points(sample, hidden))


def _cover(image: Image, shape: tuple[int, int], rng: np.random.Generator) -> UInt8[np.ndarray, "..."]:
    """What a covered rectangle shows: a colour, noise, or a piece of the picture from elsewhere."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, size=3, dtype=np.uint8)
    if kind == 1:
        return rng.integers(0, 256, size=(*shape, 3), dtype=np.uint8)
    y = int(rng.integers(0, image.shape[0] - shape[0] + 1))
    x = int(rng.integers(0, image.shape[1] - shape[1] + 1))
    return np.asarray(image[y : y + shape[0], x : x + shape[1]][::-1])


def random_blur(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Gaussian blur, or down and up again: out of focus, or far away."""
    if rng.random() >= chance:
        return sample
    image, size = sample.image, sample.image.shape[0]
    if rng.random() < 0.5:
        return replace(sample, image=_as_image(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))))
    small = int(size * rng.uniform(0.3, 0.8))
    shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return replace(sample, image=_as_image(cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)))


def random_noise(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Additive Gaussian noise of 2-12 grey levels."""
    if rng.random() >= chance:
        return sample
    noise = rng.standard_normal(sample.image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 12))
    return replace(sample, image=np.clip(sample.image + noise, 0, 255).astype(np.uint8))


def _as_image(picture: object) -> Image:
    return np.asarray(picture, dtype=np.uint8)
