"""What an occluder shows: flat colours, skin, cloth, noise, other parts of the picture."""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from canthus.data.occlusion_face import FacePlace
from canthus.types import Image

Fill = Callable[[np.random.Generator, Image, FacePlace], Image]
"""(rng, the picture, where its face is) -> a picture of the same size, of which the occluder shows its part."""


def black(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """Nothing: the picture times the mask, as the MobileNet-L paper has it."""
    return np.zeros_like(image)


def flat(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """One colour."""
    return np.full_like(image, rng.integers(0, 256, 3, dtype=np.uint8))


def speckle(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """Noise, fine or coarse."""
    cells = face.size // (1 << int(rng.integers(4)))
    noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (face.size, face.size), interpolation=cv2.INTER_LINEAR), np.uint8)


def patch(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """The same picture turned and shifted, so that colours and sharpness fit."""
    size = face.size
    centre = ((size - 1) / 2, (size - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, float(rng.uniform(0, 360)), float(rng.uniform(0.8, 1.5)))
    moved = matrix + np.array([[0.0, 0.0, 1.0]]) * rng.uniform(-0.4, 0.4, (2, 1)) * size
    return np.asarray(cv2.warpAffine(image, moved, (size, size), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def skin(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """The colour of this face, somewhat lighter or darker, shaded: a hand of the same person."""
    color = np.median(_face_colors(rng, image, face), axis=0) * rng.uniform(0.7, 1.2) + rng.normal(0, 6, 3)
    return _shaded(rng, color, face.size, depth=0.25, grain=3.0)


def cloth(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """A colour of fabric with folds, sometimes with stripes or checks."""
    color = _FABRICS[rng.integers(len(_FABRICS))] if rng.random() < 0.6 else rng.uniform(0, 255, 3)
    picture = _shaded(rng, np.asarray(color, np.float64), face.size, depth=0.3, grain=4.0).astype(np.float32)
    kind = rng.integers(4)
    if kind < 3:
        # Folds along one direction; with stripes along both, checks.
        for _ in range(2 if kind == 2 else 1):
            picture *= (1 + _stripes(rng, face, rng.uniform(0.05, 0.35)))[:, :, None]
    return _as_image(picture)


def dark(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """Almost black glass or plastic, with a gradient."""
    return _shaded(rng, rng.uniform(0, 60) + rng.normal(0, 8, 3), face.size, depth=0.8, grain=1.0)


def hair(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """Fine strands, all in one direction."""
    color = _HAIRS[rng.integers(len(_HAIRS))]
    size = face.size
    random = rng.standard_normal((1, 3 * size), np.float32)
    field = np.repeat(cv2.GaussianBlur(random, (0, 0), float(rng.uniform(0.6, 1.4))), 3 * size, axis=0)
    turned = cv2.getRotationMatrix2D((1.5 * size, 1.5 * size), float(rng.uniform(-60, 60)), 1.0)
    matrix = turned - np.array([[0.0, 0.0, size]])  # its middle third
    lines = cv2.warpAffine(field, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    base = _shaded(rng, np.asarray(color, np.float64), size, depth=0.35, grain=2.0).astype(np.float32)
    return _as_image(base * (1 + 0.35 * lines)[:, :, None])


def _face_colors(rng: np.random.Generator, image: Image, face: FacePlace) -> UInt8[np.ndarray, "n 3"]:
    """Pixels at random places of the middle of the face."""
    places = (rng.uniform(-0.5, 0.5, (24, 2)) @ face.axes + face.centre).round().astype(int)
    x, y = np.clip(places, 0, face.size - 1).T
    return np.asarray(image[y, x])


def _shaded(
    rng: np.random.Generator, color: Float64[np.ndarray, " 3"], size: int, *, depth: float, grain: float
) -> Image:
    """A colour under uneven light, with noise of a standard deviation of ``grain`` grey levels on a mean grey."""
    light = rng.normal(0, depth / 2, (4, 4)).astype(np.float32)
    light += np.linspace(-depth / 2, depth / 2, 4, dtype=np.float32)[:, None] * rng.choice([-1, 1])
    noise = (rng.integers(0, 256, (size, size), np.uint8) - np.float32(127.5)) * np.float32(grain / 74 / 128)
    field = 1 + noise + cv2.resize(light, (size, size), interpolation=cv2.INTER_CUBIC)
    return _as_image(field[:, :, None] * np.clip(color, 0, 255).astype(np.float32))


def _stripes(rng: np.random.Generator, face: FacePlace, strength: float) -> Float32[np.ndarray, "s s"]:
    """A wave across the picture, smooth or hard-edged."""
    angle, period = rng.uniform(0, np.pi), face.size * rng.uniform(0.03, 0.25)
    along = np.arange(face.size, dtype=np.float32) * np.float32(2 * np.pi / period)
    wave = np.sin(np.float32(np.cos(angle)) * along[None] + np.float32(np.sin(angle)) * along[:, None])
    wave = np.sign(wave) if rng.random() < 0.3 else wave
    return np.asarray(np.float32(strength) * wave, np.float32)


def _as_image(picture: Float32[np.ndarray, "s s 3"]) -> Image:
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


_FABRICS = (
    (150, 195, 225),
    (235, 238, 240),
    (25, 25, 28),
    (60, 70, 90),
    (190, 60, 60),
    (110, 130, 100),
    (225, 190, 200),
)
_HAIRS = ((25, 20, 18), (60, 40, 26), (105, 72, 45), (190, 155, 100), (150, 148, 145))

FILLS: dict[str, Fill] = {
    "black": black,
    "flat": flat,
    "speckle": speckle,
    "patch": patch,
    "skin": skin,
    "cloth": cloth,
    "dark": dark,
    "hair": hair,
}
"""Every fill by name."""

USUAL_FILLS: dict[str, tuple[str, ...]] = {
    "hand": ("skin", "skin", "skin", "skin", "cloth", "flat"),
    "face_mask": ("cloth", "cloth", "cloth", "flat", "black"),
    "glasses": ("dark", "dark", "dark", "black", "flat", "patch"),
    "side": ("hair", "hair", "cloth", "skin", "patch", "flat", "black"),
    "bar": ("flat", "dark", "cloth", "hair", "patch", "black"),
    "box": ("flat", "dark", "cloth", "patch", "speckle", "black"),
}
"""What a shape most often shows; one of these is drawn.  Other shapes show anything."""

SOLID = frozenset({"flat", "skin", "cloth", "dark", "hair"})
"""Fills that cast a shade and darken at their rim."""
