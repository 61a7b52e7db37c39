"""Cover parts of a face: masks of a wanted share of the face, and occluders that look like things.

The share that is covered is always counted in the mask, within the hull of the landmarks; nothing is taken for granted.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from canthus.data.occlusion_face import FacePlace, covered_points, covered_share, place_face
from canthus.data.occlusion_fills import FILLS, SOLID, USUAL_FILLS
from canthus.data.occlusion_shapes import NATURAL, SHAPES, Mask, Shape
from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.types import Image, Sample

_UP_TO = np.cumsum([0.22, 0.16, 0.10, 0.14, 0.07, 0.06, 0.09, 0.05, 0.07])
"""Chances of the shapes ``NATURAL`` in their order, summed up; the last one has the rest."""

_LEAST_FACE_MASK = 0.3
"""Share of the face below which nobody wears a mask; glasses hide as little."""

_TRIES = 200


def random_cover(sample: Sample, rng: np.random.Generator, *, chance: float, most: float = 0.6) -> Sample:
    """Hide up to the share ``most`` of a face behind one to three things, and say which points they hide.

    Args:
        sample: a crop of one face.
        rng: source of all randomness.
        chance: of covering anything.
        most: largest share of the hull of the landmarks that is covered, about.

    Returns:
        The picture with the occluders, and ``visible`` False for the points behind them.
    """
    if rng.random() >= chance:
        return sample
    face = place_face(sample.points, sample.scheme, len(sample.image))
    if face is None:
        return sample
    things = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    shares = rng.uniform(0, most) * np.cumsum(rng.dirichlet(np.full(things, 2.0)))
    image, hidden = sample.image, np.zeros_like(face.region)
    for share in shares:
        kind = NATURAL[np.searchsorted(_UP_TO, rng.random())]
        if kind == "face_mask" and share < _LEAST_FACE_MASK:
            kind = "glasses"
        mask = grown(SHAPES[kind](rng, face), hidden, face, share, tolerance=0.03)
        fills = USUAL_FILLS.get(kind, tuple(FILLS))
        image = painted(image, mask, rng, face, fill=fills[rng.integers(len(fills))])
        hidden = np.maximum(hidden, mask)
    return replace(sample, image=image, visible=seen_points(sample, hidden))


def seen_points(sample: Sample, mask: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, " k"]:
    """``visible`` of a sample whose picture is covered where ``mask`` is 128 or more."""
    uncovered = ~covered_points(mask, sample.points)
    return uncovered if sample.visible is None else uncovered & sample.visible


def random_mask(rng: np.random.Generator, face: FacePlace, *, low: float, high: float, kinds: Sequence[str]) -> Mask:
    """A mask that covers a share of the face from ``low`` up to ``high``, counted.

    Args:
        rng: source of all randomness.
        face: where the face is.
        low: least share of the face's region.
        high: the share stays below this.
        kinds: keys of ``SHAPES`` to draw from.

    Returns:
        0 where the picture is seen and 255 where it is covered, nothing between.

    Raises:
        ConfigError: unknown shape, or these shapes do not come to such a share.
    """
    shapes = [lookup(SHAPES, kind, kind="shape of an occluder") for kind in kinds]
    margin = 0.1 * (high - low)
    for _ in range(_TRIES):
        wanted = rng.uniform(low + margin, high - margin)
        mask = np.zeros_like(face.region)
        for part in np.cumsum(rng.dirichlet(np.full(rng.integers(1, 4), 2.0))):
            shape = shapes[rng.integers(len(shapes))](rng, face)
            own = grown(shape, mask, face, part * wanted, tolerance=margin / 2)
            mask = np.maximum(mask, cv2.threshold(own, 127, 255, cv2.THRESH_BINARY)[1])
        if low <= covered_share(mask, face) < high:
            return mask
    raise ConfigError(f"Shapes {', '.join(kinds)} do not come to a covered share of {low:.0%} to {high:.0%}")


def grown(shape: Shape, before: Mask, face: FacePlace, share: float, *, tolerance: float) -> Mask:
    """Draw a shape as large as it must be to cover, with ``before``, ``share`` of the face: bisection.

    Args:
        shape: what to draw.
        before: what is covered already.
        face: where the face is.
        share: wanted of the face's region.
        tolerance: difference of shares at which to stop.

    Returns:
        The shape alone; it covers less than wanted where it cannot cover as much.
    """
    low, high = 0.0, 1.0
    mask = np.zeros_like(before)
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
    """The picture with an occluder in it: its shade on the face, its rim darker, its edge sharp or soft.

    Args:
        image: the crop.
        mask: 255 where the occluder is, less at its edge.
        rng: source of all randomness.
        face: where the face is.
        fill: key of ``FILLS``.
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
    """A mask with a wide soft edge: made small and large again, which is quicker than a wide blur."""
    size = len(mask)
    side = max(2, round(size / pixels))
    small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
