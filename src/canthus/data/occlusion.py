"""Cover parts of faces: shapes, their fills, and the points that they hide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from canthus.data.occluders import (
    IRREGULAR,
    NATURAL,
    SHAPES,
    FacePlace,
    Mask,
    Shape,
    covered_points,
    covered_share,
    place_face,
    place_picture,
)
from canthus.errors import ConfigError, DataError
from canthus.images import IMAGE_SUFFIXES, read_image
from canthus.lookup import lookup
from canthus.types import Image, Sample

Fill = Callable[[np.random.Generator, Image, FacePlace], Image]
"""(rng, picture, place of its face) -> a picture of the same size; the occluder shows the part of it under its mask."""


def black(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """Black: the picture times the mask, as in the MobileNet-L paper."""
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
    """The same picture rotated and shifted, so that colours and sharpness fit."""
    size = face.size
    middle = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), float(rng.uniform(0, 360)), float(rng.uniform(0.8, 1.5)))
    moved = matrix + np.array([[0.0, 0.0, 1.0]]) * rng.uniform(-0.4, 0.4, (2, 1)) * size
    return np.asarray(cv2.warpAffine(image, moved, (size, size), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def skin(rng: np.random.Generator, image: Image, face: FacePlace) -> Image:
    """The colour of this face, a little lighter or darker, with shading: a hand of the same person."""
    places = (rng.uniform(-0.5, 0.5, (24, 2)) @ face.axes + face.centre).round().astype(int)
    x, y = np.clip(places, 0, face.size - 1).T
    color = np.median(image[y, x], axis=0) * rng.uniform(0.7, 1.2) + rng.normal(0, 6, 3)
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
    (150, 195, 225), (235, 238, 240), (25, 25, 28), (60, 70, 90), (190, 60, 60), (110, 130, 100), (225, 190, 200),
)  # fmt: skip
_HAIRS = ((25, 20, 18), (60, 40, 26), (105, 72, 45), (190, 155, 100), (150, 148, 145))

FILLS: dict[str, Fill] = {fill.__name__: fill for fill in (black, flat, speckle, patch, skin, cloth, dark, hair)}
"""Every fill by name."""

USUAL_FILLS: dict[str, tuple[str, ...]] = {
    "hand": ("skin", "skin", "skin", "skin", "cloth", "flat"),
    "face_mask": ("cloth", "cloth", "cloth", "flat", "black"),
    "glasses": ("dark", "dark", "dark", "black", "flat", "patch"),
    "side": ("hair", "hair", "cloth", "skin", "patch", "flat", "black"),
    "bar": ("flat", "dark", "cloth", "hair", "patch", "black"),
    "box": ("flat", "dark", "cloth", "patch", "speckle", "black"),
}
"""Fills of each shape, of which one is drawn; other shapes use any fill."""

SOLID = frozenset({"flat", "skin", "cloth", "dark", "hair"})
"""Fills that may cast a shadow and darken at their rim."""


_UP_TO = np.cumsum([0.22, 0.16, 0.10, 0.14, 0.07, 0.06, 0.09, 0.05, 0.07])
"""Cumulative chances of the shapes ``NATURAL`` in their order; the last one has the rest."""

_LEAST_FACE_MASK = 0.3
"""Least share of the face that a mask covers; below it, glasses are drawn instead."""

_TRIES = 200


def random_cover(sample: Sample, rng: np.random.Generator, *, chance: float, most: float = 0.6) -> Sample:
    """With a chance, cover up to about the share ``most`` of the hull of the landmarks by one to three occluders.

    Returns:
        The picture with the occluders, and ``visible`` False for the points behind them.
    """
    if rng.random() >= chance:
        return sample
    face = place_face(sample.points, sample.scheme, len(sample.image))
    if face is None:
        return sample
    image, hidden = natural_cover(sample.image, rng, face, most=most)
    return replace(sample, image=image, visible=seen_points(sample, hidden))


def natural_cover(image: Image, rng: np.random.Generator, face: FacePlace, *, most: float = 0.6) -> tuple[Image, Mask]:
    """Cover up to about the share ``most`` of a face by one to three occluders; return the picture and their mask."""
    things = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    shares = rng.uniform(0, most) * np.cumsum(rng.dirichlet(np.full(things, 2.0)))
    hidden = np.zeros_like(face.region)
    for share in shares:
        kind = NATURAL[np.searchsorted(_UP_TO, rng.random())]
        if kind == "face_mask" and share < _LEAST_FACE_MASK:
            kind = "glasses"
        mask = grown(SHAPES[kind](rng, face), hidden, face, share, tolerance=0.03)
        fills = USUAL_FILLS.get(kind, tuple(FILLS))
        image = painted(image, mask, rng, face, fill=fills[rng.integers(len(fills))])
        hidden = np.maximum(hidden, mask)
    return image, hidden


def seen_points(sample: Sample, mask: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, " k"]:
    """Visibility of the points of a sample that is covered where ``mask`` is 128 or more."""
    uncovered = ~covered_points(mask, sample.points)
    return uncovered if sample.visible is None else uncovered & sample.visible


def random_mask(rng: np.random.Generator, face: FacePlace, *, low: float, high: float, kinds: Sequence[str]) -> Mask:
    """A mask that covers at least the share ``low`` of the face's region and less than ``high``.

    ``kinds`` are the keys of ``SHAPES`` to draw from.  The mask is 255 where the picture is covered, else 0.

    Raises:
        ConfigError: unknown shape, or these shapes do not reach such a share.
    """
    for kind in kinds:
        lookup(SHAPES, kind, kind="shape of an occluder")
    margin = 0.1 * (high - low)
    for _ in range(_TRIES):
        mask = _shapes_of_share(rng, face, rng.uniform(low + margin, high - margin), kinds, tolerance=margin / 2)
        if low <= covered_share(mask, face) < high:
            return mask
    raise ConfigError(f"Shapes {', '.join(kinds)} do not reach a covered share of {low:.0%} to {high:.0%}")


def _shapes_of_share(
    rng: np.random.Generator, face: FacePlace, share: float, kinds: Sequence[str], *, tolerance: float
) -> Mask:
    """One to three shapes that together cover about a share of the region."""
    mask = np.zeros_like(face.region)
    for part in np.cumsum(rng.dirichlet(np.full(rng.integers(1, 4), 2.0))):
        shape = SHAPES[kinds[int(rng.integers(len(kinds)))]](rng, face)
        own = grown(shape, mask, face, part * share, tolerance=tolerance)
        mask = np.maximum(mask, cv2.threshold(own, 127, 255, cv2.THRESH_BINARY)[1])
    return mask


@final
@dataclass(frozen=True)
class MaskFolder:
    """Masks that somebody else drew: a picture is hidden where its mask is dark, with ``white`` where it is light."""

    folder: str
    white: bool
    files: tuple[Path, ...]

    def draw(self, rng: np.random.Generator, place: FacePlace, *, low: float, high: float, within: FacePlace) -> Mask:
        """Lay a random mask over a place, perhaps mirrored and turned by quarters.

        It covers at least the share ``low`` of the region of ``within``, and less than ``high``.

        Raises:
            ConfigError: the masks do not cover such a share.
            ImageError: a mask cannot be read.
        """
        size = place.size
        for _ in range(_TRIES):
            hidden = _read_mask(self.files[rng.integers(len(self.files))], size, white=self.white)
            hidden = np.rot90(hidden[:, ::-1] if rng.random() < 0.5 else hidden, int(rng.integers(4)))
            scale = 2 / size * np.eye(2)  # pixels of the mask to u and v
            to = np.column_stack([place.axes.T @ scale, place.centre + (1 / size - 1) * place.axes.sum(axis=0)])
            laid = cv2.warpAffine(np.ascontiguousarray(hidden), to, (size, size), flags=cv2.INTER_NEAREST)
            if low <= covered_share(laid, within) < high:
                return np.asarray(laid, np.uint8)
        raise ConfigError(
            f"{self.folder}: none of {_TRIES} masks drawn from {len(self.files)} files covers {low:.0%} to {high:.0%}; "
            "add masks of that share, or say whether the light or the dark part hides"
        )


@lru_cache(maxsize=8)
def open_masks(folder: str, *, white: bool = False) -> MaskFolder:
    """The pictures of a folder and its sub-folders as masks.

    Raises:
        DataError: there are none.
    """
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not files:
        raise DataError(f"{folder}: holds no masks; expected a folder of pictures in black and white")
    return MaskFolder(folder, white, tuple(files))


@lru_cache(maxsize=1024)
def _read_mask(path: Path, size: int, *, white: bool) -> Mask:
    light = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
    kind = cv2.THRESH_BINARY if white else cv2.THRESH_BINARY_INV
    return np.asarray(cv2.threshold(cv2.resize(light, (size, size)), 127, 255, kind)[1], np.uint8)


SHARES_OF = dict.fromkeys(("face", "picture"))
"""What covered shares are counted in: the hull of the landmarks, or the whole picture."""


def random_black_mask(
    sample: Sample, rng: np.random.Generator, *, chance: float, most: float, of: str = "face", masks: MaskFolder | None
) -> Sample:
    """With a chance, multiply the picture with an irregular mask, as the MobileNet-L paper does.

    Args:
        most: largest share that is hidden.
        of: key of ``SHARES_OF``.
        masks: masks to draw from, each laid over the whole picture; None draws strokes, blobs, polygons and clouds.

    Returns:
        The picture, black under the mask, and ``visible`` False for the points there.
    """
    if rng.random() >= chance:
        return sample
    size = len(sample.image)
    picture = place_picture((size - 1) * np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), size)
    counted = place_face(sample.points, sample.scheme, size) if of == "face" else picture
    if counted is None:
        return sample
    if masks:
        hidden = masks.draw(rng, picture, low=0, high=max(most, 1e-3), within=counted)
    else:
        hidden = _shapes_of_share(rng, counted, rng.uniform(0, most), IRREGULAR, tolerance=0.03)
    image = np.where(hidden[:, :, None] > 0, np.uint8(0), sample.image)
    return replace(sample, image=image, visible=seen_points(sample, hidden))


def grown(shape: Shape, before: Mask, face: FacePlace, share: float, *, tolerance: float) -> Mask:
    """Find by bisection the size at which a shape, together with the mask ``before``, covers a share of the face.

    Returns:
        The mask of the shape alone; it covers less than wanted where the shape cannot cover as much.
    """
    low, high = 0.0, 1.0
    for _ in range(12):
        level = (low + high) / 2
        mask = np.zeros_like(before)
        shape(mask, level)
        found = covered_share(np.maximum(mask, before), face)
        if abs(found - share) <= tolerance:
            break
        low, high = (level, high) if found < share else (low, level)
    return mask


def painted(image: Image, mask: Mask, rng: np.random.Generator, face: FacePlace, *, fill: str) -> Image:
    """Paint an occluder into a crop, with its shadow on the face, a darker rim, and a sharp or soft edge.

    ``mask`` is 255 where the occluder is, less at its edge; ``fill`` is a key of ``FILLS``.
    """
    content = FILLS[fill](rng, image, face)
    shaded, soft = fill in SOLID and rng.random() < 0.7, rng.random() < 0.3
    around = _spread(mask, rng.uniform(3.0, 8.0)) if shaded else mask
    if soft:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 2.0)), np.uint8)
    x, y, w, h = cv2.boundingRect(np.maximum(mask, around))
    there = slice(y, y + h), slice(x, x + w)
    front, behind = content[there].astype(np.float32), image[there].astype(np.float32)
    if shaded:
        near = around[there].astype(np.float32)[:, :, None] / 255
        rim, shade = rng.uniform(0, 0.6), rng.uniform(0, 0.5)
        front *= 1 - rim + rim * near
        behind *= 1 - shade * near
    front -= behind
    front *= mask[there].astype(np.float32)[:, :, None] / 255
    picture = image.copy()
    picture[there] = behind + front
    return picture


def _spread(mask: Mask, pixels: float) -> Mask:
    """A mask with a wide soft edge.  It is shrunk and enlarged, which is faster than a wide blur."""
    size = len(mask)
    side = max(2, round(size / pixels))
    small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
