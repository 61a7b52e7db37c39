"""Spoil pictures of faces as lenses, light, sensors and files do, in any strength from 0 to 1.

Lengths are shares of the face, so that a strength means the same in small and large pictures.  What the grain of a
sensor or the blocks of a file do is done on a face of ``GRAIN`` pixels, and enlarged where the face is larger.
Source: the kinds are those of Yu et al. (2023), "Face Keypoint Detection Method Based on Blaze_ghost Network",
Figures 3 to 6, and of Hendrycks and Dietterich (2019), "Benchmarking Neural Network Robustness to Common Corruptions".
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32

from canthus.geometry import hull_box
from canthus.types import Image, Sample

GRAIN = 128.0
"""Longer side of the face box, in pixels, at which noise, blocks of JPEG and so on have their own size."""

AROUND = 2.4
"""Side of the square that is spoiled around a face, in longer sides of its box; networks do not see more."""


class FaceSpot(NamedTuple):
    """Where a face is: the centre of its box and the longer side, in pixels."""

    x: float
    y: float
    side: float


Corruption: TypeAlias = Callable[[np.random.Generator, Image, FaceSpot, float], Image]
"""(rng, picture, its face, strength from 0 to 1) -> a picture of the same size.

What is drawn does not depend on the strength: at another strength the light comes from the same side.
"""


def gaussian_blur(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """Out of focus: a standard deviation of up to 5 % of the face."""
    sigma = 0.05 * strength * face.side
    return image if sigma <= 0 else np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def motion_blur(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """Head or camera moves by up to 25 % of the face, in any direction."""
    angle, length = rng.uniform(0, math.pi), 0.25 * strength * face.side
    size = 2 * math.ceil(length / 2) + 1
    kernel = np.zeros((size, size), np.float32)
    middle, reach = size // 2, np.array([math.cos(angle), math.sin(angle)]) * length / 2
    ends = np.round(16 * (middle + np.stack([-reach, reach]))).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def low_light(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """Night: up to twenty times less light, with the noise of the sensor."""
    return _as_image(image * np.float32(0.05**strength) + _noise(rng, image, face, 5 * strength))


def side_light(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """Light from the left or the right: one half of the face too bright, the other up to 95 % darker."""
    angle = rng.choice([0, math.pi]) + rng.uniform(-0.6, 0.6)
    x, y = _from_centre(image, face)
    shade = 1 / (1 + np.exp(np.clip(-8 * (x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))), -50, 50)))
    light = (1 + 0.5 * strength) * (1 - shade) + (1 - 0.95 * strength) * shade
    return _as_image(image * light[:, :, None].astype(np.float32))


def glare(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """A lamp or the sun: a white spot somewhere on the face, and a veil over all of the picture."""
    (dx, dy), radius = rng.uniform(-0.35, 0.35, 2), 0.15 + 0.25 * strength
    x, y = _from_centre(image, face)
    spot = np.exp(-(np.square(x - np.float32(dx)) + np.square(y - np.float32(dy))) / np.float32(radius**2))
    white = np.minimum(1.6 * strength * spot + 0.35 * strength, 1).astype(np.float32)[:, :, None]
    return _as_image(image + white * (255 - image.astype(np.float32)))


def noise(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """Noise of the sensor: a standard deviation of up to 60 grey levels."""
    return _as_image(image + _noise(rng, image, face, 60 * strength))


def jpeg(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """Blocks and smeared colours of JPEG, of a quality of 50 down to 3."""
    quality = max(1, round(50 * 0.06**strength))

    def change(small: Image) -> Image:
        _, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1]

    return _reduced(image, min(1.0, GRAIN / face.side), change)


def low_resolution(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """A face far away: of 80 down to 8 pixels, enlarged again."""
    return _reduced(image, min(1.0, 80 * 0.1**strength / face.side), lambda small: small)


def infrared(rng: np.random.Generator, image: Image, face: FaceSpot, strength: float) -> Image:
    """Near infrared, imitated: grey, mostly of the red channel, pale skin, a lamp beside the camera, and noise."""
    red = image.astype(np.float32) @ np.array([0.75, 0.2, 0.05], np.float32)
    x, y = _from_centre(image, face)
    lamp = np.float32(0.25) + np.exp(-(np.square(x) + np.square(y)) / np.float32(0.8))
    grey = 255 * np.power(red / 255, np.float32(0.7)) * lamp
    seen = (1 - strength) * image + strength * np.minimum(grey, 255)[:, :, None]
    return _as_image(seen.astype(np.float32) + _noise(rng, image, face, 8 * strength)[:, :, :1])


CORRUPTIONS: dict[str, Corruption] = {
    kind.__name__: kind
    for kind in (
        gaussian_blur, motion_blur, low_light, side_light, glare, noise, jpeg, low_resolution, infrared,
    )
}  # fmt: skip
"""Every corruption by name."""


def spoiled(
    image: Image, box: Float[np.ndarray, " 4"], rng: np.random.Generator, *, kind: str, strength: float
) -> Image:
    """Spoil a picture around one face.

    Args:
        box: of the face, in pixels.
        kind: key of ``CORRUPTIONS``.
        strength: from 0 to 1.
    """
    x1, y1, x2, y2 = box.astype(np.float64).tolist()
    face = FaceSpot((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2, max(x2 - x1, y2 - y1, 1.0))
    reach = AROUND / 2 * face.side
    height, width = image.shape[:2]
    left, top = max(0, math.floor(face.x - reach)), max(0, math.floor(face.y - reach))
    right, bottom = min(width, math.ceil(face.x + reach) + 1), min(height, math.ceil(face.y + reach) + 1)
    if left >= right or top >= bottom:
        return image
    changed = image.copy()
    there = changed[top:bottom, left:right]
    there[:] = CORRUPTIONS[kind](rng, there.copy(), face._replace(x=face.x - left, y=face.y - top), strength)
    return changed


def random_corruption(sample: Sample, rng: np.random.Generator, *, chance: float, most: float = 1.0) -> Sample:
    """With a chance, spoil a picture by one of ``CORRUPTIONS`` in a random strength of up to ``most``."""
    if rng.random() >= chance:
        return sample
    kind, strength = list(CORRUPTIONS)[rng.integers(len(CORRUPTIONS))], float(rng.uniform(0, most))
    known = sample.points[np.isfinite(sample.points).all(axis=1)]
    if not len(known):
        return sample
    return replace(sample, image=spoiled(sample.image, hull_box(known), rng, kind=kind, strength=strength))


def _from_centre(image: Image, face: FaceSpot) -> tuple[Float32[np.ndarray, "1 w"], Float32[np.ndarray, "h 1"]]:
    """Places of the columns and rows from the centre of the face, in sides of its box."""
    height, width = image.shape[:2]
    x = (np.arange(width, dtype=np.float32) - np.float32(face.x)) / np.float32(face.side)
    y = (np.arange(height, dtype=np.float32) - np.float32(face.y)) / np.float32(face.side)
    return x[None, :], y[:, None]


def _noise(rng: np.random.Generator, image: Image, face: FaceSpot, sigma: float) -> Float32[np.ndarray, "h w 3"]:
    """Gaussian noise of a standard deviation in grey levels, its grain as large as a pixel of a face of ``GRAIN``."""
    height, width = image.shape[:2]
    scale = min(1.0, GRAIN / face.side)
    small = (max(1, round(height * scale)), max(1, round(width * scale)), 3)
    grains = np.float32(sigma) * rng.standard_normal(small, np.float32)
    return np.asarray(cv2.resize(grains, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


def _reduced(image: Image, scale: float, change: Callable[[Image], Image]) -> Image:
    """Change a picture at a smaller scale, and enlarge it again."""
    height, width = image.shape[:2]
    small = max(1, round(width * scale)), max(1, round(height * scale))
    changed = change(np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8))
    return np.asarray(cv2.resize(changed, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _as_image(picture: Float32[np.ndarray, "h w 3"]) -> Image:
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)
