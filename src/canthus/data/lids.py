"""Close the eyes of a picture: the upper lids are pulled down over the eyes, pixels and points alike.

Shut eyes are rare in data sets, and where they are labelled nobody knows how far they were shut.
"""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.errors import ConfigError
from canthus.schemes import Scheme
from canthus.types import Image, Sample

_LASHES = 0.05
"""Thickness of the lashes' line, in eye widths; a shut lid covers as much of the lower one."""

_SKIN = 0.75
"""Skin that follows the lid reaches so far towards the brow: share of the way from the lid to the brow."""

_LEAST_WIDTH = 4.0
"""An eye narrower than this, in pixels, is left as it is."""

_LEAST_CHANGE = 6.0
"""Where closing changes an eye by fewer grey levels on average, it is not to be seen: dark glasses, hair, a hand."""


class _Eye(NamedTuple):
    """The frame of one eye: origin between its corners, x from corner to corner, y from the eye towards the brow."""

    centre: Float64[np.ndarray, " 2"]
    along: Float64[np.ndarray, " 2"]
    up: Float64[np.ndarray, " 2"]
    width: float


def close_eyes(
    image: Image, points: Float32[np.ndarray, "k 2"], scheme: Scheme, shares: tuple[float, float]
) -> tuple[Image, Float32[np.ndarray, "k 2"]]:
    """Shut the eyes of one face.

    The points of the upper lids move by the share towards the lower lids; the skin above is stretched after them.  An
    eye stays as it is, pixels and points, where it is only a few pixels wide or closing it would not be seen.

    Args:
        image: picture that holds the face; not changed.
        points: in pixels of the picture.
        scheme: their numbering; must have lids.
        shares: how far the right and the left eye are shut, 0 not at all, 1 wholly.

    Raises:
        ConfigError: the scheme has no lids.
    """
    if not scheme.lids:
        raise ConfigError(f"Eyes cannot be closed by points of {scheme.name}, which has no lids; set close_eyes = 0")
    brows = (scheme.groups["right_brow"], scheme.groups["left_brow"])
    for (upper, lower), brow, share in zip(scheme.lids, brows, shares, strict=True):
        if share > 0:
            image, points = _close(image, points, (upper, lower, brow), share)
    return image, points


def random_closed_eyes(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Shut the eyes: half of the time wholly or nearly so, else anywhere between; one face in ten winks.

    Raises:
        ConfigError: there is a chance, and the scheme has no lids.
    """
    if chance <= 0 or rng.random() >= chance:
        return sample
    share = rng.uniform(0.85, 1.0) if rng.random() < 0.5 else rng.uniform(0.2, 0.85)
    winks, right = rng.random() < 0.1, rng.random() < 0.5
    shares = (share if right or not winks else 0.0, share if not (right and winks) else 0.0)
    image, points = close_eyes(sample.image, sample.points, sample.scheme, shares)
    return replace(sample, image=image, points=points)


def _close(
    image: Image, points: Float32[np.ndarray, "k 2"], parts: tuple[tuple[int, ...], ...], share: float
) -> tuple[Image, Float32[np.ndarray, "k 2"]]:
    upper, lower, brow = (list(part) for part in parts)
    eye = _frame(points[upper[0]], points[upper[-1]], points[brow].mean(axis=0))
    if not (np.isfinite(points[upper + lower + brow]).all() and eye.width >= _LEAST_WIDTH):
        return image, points
    lids = [_seen_from(eye, points[part]) for part in (upper, lower)]
    reach = _SKIN * float(_seen_from(eye, points[brow])[:, 1].mean())
    closed = _pull(image, eye, lids, (reach, share))
    if closed is None:
        return image, points
    top, bottom = lids
    drop = share * np.maximum(top[:, 1] - np.interp(top[:, 0], *_ascending(bottom)), 0.0)
    moved = points.copy()
    moved[upper] -= (drop[:, None] * eye.up).astype(np.float32)
    return closed, moved


def _frame(first: Float32[np.ndarray, " 2"], last: Float32[np.ndarray, " 2"], brow: Float32[np.ndarray, " 2"]) -> _Eye:
    one, other = first.astype(np.float64), last.astype(np.float64)
    centre, width = (one + other) / 2, float(np.hypot(*(other - one)))
    along = (other - one) / max(width, 1e-6)
    up = np.array([along[1], -along[0]])
    return _Eye(centre, along, up if (brow - centre) @ up > 0 else -up, width)


def _seen_from(eye: _Eye, places: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    away = places - eye.centre
    return np.stack([away @ eye.along, away @ eye.up], axis=-1)


def _ascending(line: Float64[np.ndarray, "n 2"]) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    order = np.argsort(line[:, 0])
    return line[order, 0], line[order, 1]


def _pull(
    image: Image, eye: _Eye, lids: list[Float64[np.ndarray, "n 2"]], settings: tuple[float, float]
) -> Image | None:
    """The picture with one lid pulled down, or None where nothing of it would be seen."""
    reach, share = settings
    x1, y1, x2, y2 = _patch(eye, max(reach, lids[0][:, 1].max()), -lids[1][:, 1].min(), image.shape)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None
    columns = np.arange(x1, x2, dtype=np.float32)[None, :]
    rows = np.arange(y1, y2, dtype=np.float32)[:, None]
    (ax, ay), (ux, uy), (cx, cy) = (np.asarray(v, np.float32) for v in (eye.along, eye.up, eye.centre))
    place = np.rint(((columns - cx) * ax + (rows - cy) * ay) * np.float32(40 / eye.width)) + 30
    place = place.clip(0, 60).astype(np.intp)
    height = (columns - cx) * ux + (rows - cy) * uy
    top, bottom = (_curve(line, eye.width) for line in lids)
    opening = np.maximum(top - bottom, 0)
    lashes = np.float32(_LASHES * eye.width)
    drop = np.float32(share) * (opening + lashes) * np.minimum(opening / lashes, 1)
    skin = np.maximum(np.maximum(np.float32(reach) - top, 0.5 * drop) + drop - lashes, np.float32(1e-3))
    # Next to the edge the skin moves as it is, so that lashes stay lashes; from there to the brow it is stretched.
    above = height - (top - drop)[place]
    shift = drop[place] * (1 - ((above - lashes) / skin[place]).clip(0, 1))
    patch = image[y1:y2, x1:x2]
    moved = (columns - x1 + ux * shift, rows - y1 + uy * shift)
    pulled = cv2.remap(patch, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    covered = ((above + np.float32(0.5)) * (drop > 0)[place]).clip(0, 1)[..., None]
    mixed = np.rint(patch + covered * (pulled.astype(np.float32) - patch)).astype(np.uint8)
    between = (height < top[place]) & (above > -drop[place])
    if not between.any() or cv2.absdiff(mixed, patch)[between].mean() < _LEAST_CHANGE * share:
        return None
    picture = image.copy()
    picture[y1:y2, x1:x2] = mixed
    return picture


_GRID = np.linspace(-0.75, 0.75, 61)
"""Places along an eye, in eye widths: 40 to the width."""


def _curve(line: Float64[np.ndarray, "n 2"], width: float) -> Float32[np.ndarray, " 61"]:
    """Height of a lid over ``_GRID``: lines between its points, rounded and bulged; level beyond the corners."""
    straight = np.interp(_GRID * width, *_ascending(line))
    return np.convolve(straight, np.full(5, 1.1 / 5), mode="same").astype(np.float32)


def _patch(eye: _Eye, above: float, below: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The part of the picture that closing can change: x1, y1, x2, y2."""
    ends = [
        eye.centre + side * 0.65 * eye.width * eye.along + rise * eye.up
        for side in (-1, 1)
        for rise in (1.2 * above, -below - 0.1 * eye.width)
    ]
    low, high = np.floor(np.min(ends, axis=0)) - 1, np.ceil(np.max(ends, axis=0)) + 2
    x1, y1 = np.maximum(low, 0).astype(int)
    x2, y2 = np.minimum(high, [shape[1], shape[0]]).astype(int)
    return int(x1), int(y1), int(x2), int(y2)
