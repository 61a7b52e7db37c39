"""Augmentation of crops with OpenCV: every function takes a sample and a random generator and returns a new sample.

Rotation, scale, shift and the crop itself are one warp, so that a training picture is resampled once.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, final

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from canthus.data.corruptions import random_corruption
from canthus.data.occlusion import SHARES_OF, MaskFolder, open_masks, random_black_mask, random_cover, seen_points
from canthus.errors import ConfigError
from canthus.geometry import Affine
from canthus.images import warp
from canthus.lookup import lookup
from canthus.plain_data import CHANCE, COUNT, NOT_NEGATIVE, POSITIVE, Range, check_ranges
from canthus.schemes import Scheme
from canthus.types import Image, Sample


@final
@dataclass(frozen=True)
class Augmentation:
    """Strengths of the random changes; with all at zero the result is the plain crop.

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
        close_eyes: chance of pulling the upper lids down over the eyes, see ``close_eyes``.
        cover: chance of covering parts with occluders of many shapes, see ``data.occlusion``.
        cover_most: largest share of the face that ``cover`` hides.
        mask: chance of a black irregular mask, see ``data.occlusion.random_black_mask``.
        mask_most: largest share that ``mask`` hides.
        mask_of: what that share is counted in: ``face``, the hull of the points, or ``picture``, the network's input.
        mask_folder: folder of masks that ``mask`` takes instead of drawing them.
        mask_white: whether the light parts of these masks hide, instead of the dark ones.
        corrupt: chance of one of ``data.corruptions.CORRUPTIONS``, in a random strength.
        corrupt_most: its largest strength, up to 1.
        lost: chance of a crop in which the points cannot be found, see ``lost_view``; only the expected errors learn
            from it.
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
    mask: float = 0.0
    mask_most: float = 0.6
    mask_of: str = "face"
    mask_folder: str = ""
    mask_white: bool = False
    corrupt: float = 0.0
    corrupt_most: float = 1.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            **dict.fromkeys(("flip", "grey", "blur", "noise", "occlude", "close_eyes", "cover", "mask"), CHANCE),
            **dict.fromkeys(("shift", "stretch", "light"), NOT_NEGATIVE),
            rotation_deg=Range(0, 180),
            scale=NOT_NEGATIVE,
            cover_most=Range(0, 1, open=True),
            mask_most=Range(0, 1, open=True),
            corrupt=CHANCE,
            corrupt_most=CHANCE,
            lost=CHANCE,
        )
        lookup(SHARES_OF, self.mask_of, kind="region for shares of masks")


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

    def __post_init__(self) -> None:
        check_ranges(
            self,
            size=COUNT,
            margin=POSITIVE,
            pack_margin=POSITIVE,
        )


def plain_view(sample: Sample, view: View) -> Sample:
    """The crop as inference cuts it."""
    return _see(sample, view, Affine.identity())


def view_affine(view: View, side: int) -> Affine:
    """From pixels of a packed crop with this side to pixels of the network's crop, which is its middle."""
    border = side * (1 - view.margin / view.pack_margin) / 2
    return Affine.crop(np.array([border, border, side - border, side - border]), view.size)


def augment(sample: Sample, rng: np.random.Generator, settings: Augmentation, view: View) -> Sample:
    """Draw one training picture from a packed crop (``data.packs``)."""
    sample = random_closed_eyes(sample, rng, chance=settings.close_eyes)
    if settings.lost > 0 and rng.random() < settings.lost:
        sample = lost_view(sample, rng, view)
    else:
        sample = random_view(sample, rng, settings, view)
    sample = random_flip(sample, rng, chance=settings.flip)
    sample = random_light(sample, rng, amount=settings.light)
    sample = random_grey(sample, rng, chance=settings.grey)
    sample = random_occlusion(sample, rng, chance=settings.occlude)
    # No draw where unused, so that recipes without it see the pictures they always saw.
    if settings.cover > 0 and not sample.lost:
        sample = random_cover(sample, rng, chance=settings.cover, most=settings.cover_most)
    if settings.mask > 0 and not sample.lost:
        sample = _masked(sample, rng, settings)
    if settings.corrupt > 0:
        sample = random_corruption(sample, rng, chance=settings.corrupt, most=settings.corrupt_most)
    sample = random_blur(sample, rng, chance=settings.blur)
    return random_noise(sample, rng, chance=settings.noise)


def masks_of(settings: Augmentation) -> MaskFolder | None:
    """The masks that the settings name; None where they are drawn or there are none.

    Raises:
        DataError: the folder holds no masks.
    """
    named = settings.mask > 0 and settings.mask_folder
    return open_masks(settings.mask_folder, white=settings.mask_white) if named else None


def _masked(sample: Sample, rng: np.random.Generator, settings: Augmentation) -> Sample:
    masks, most, of = masks_of(settings), settings.mask_most, settings.mask_of
    return random_black_mask(sample, rng, chance=settings.mask, most=most, of=of, masks=masks)


def random_view(sample: Sample, rng: np.random.Generator, settings: Augmentation, view: View) -> Sample:
    """Rotate, zoom, stretch and shift the face, then crop: one warp.

    The shift follows a normal distribution cut at two standard deviations, like the errors of detector boxes.
    """
    side = sample.image.shape[0]
    centre = ((side - 1) / 2, (side - 1) / 2)
    angle = np.deg2rad(settings.rotation_deg) * rng.uniform(-1, 1)
    scale = (1 + settings.scale) ** rng.uniform(-1, 1)
    dx, dy = np.clip(rng.normal(size=2), -2, 2) * settings.shift * side / view.pack_margin
    stretch = (1 + settings.stretch) ** rng.uniform(-0.5, 0.5)
    widen = Affine(np.array([[stretch, 0, centre[0] * (1 - stretch)], [0, 1 / stretch, centre[1] * (1 - 1 / stretch)]]))
    return _see(sample, view, Affine.about(centre, angle=angle, scale=scale, shift=(dx, dy)).then(widen))


def lost_view(sample: Sample, rng: np.random.Generator, view: View) -> Sample:
    """A crop whose points cannot be found.

    One in three each shows the face turned by 45 degrees or more, in a box that lies far off, or a small piece of the
    picture.
    """
    side = sample.image.shape[0]
    centre, box = ((side - 1) / 2, (side - 1) / 2), side / view.pack_margin
    kind, way = rng.integers(3), rng.uniform(-np.pi, np.pi)
    angle, scale, away = 0.0, 1.0, 0.0
    if kind == 0:
        angle, scale = np.sign(way) * rng.uniform(np.pi / 4, np.pi), 1.3 ** rng.uniform(-1, 1)
    elif kind == 1:
        scale, away = 1.6 ** rng.uniform(-1, 1), rng.uniform(0.4, 0.8)
    else:
        scale, away = rng.uniform(2.5, 4.0), rng.uniform(0.0, 2.0)
    shift = (away * box * np.cos(way), away * box * np.sin(way))
    moved = Affine.about(centre, angle=angle, scale=scale, shift=shift)
    seen = _see(sample, view, moved)
    if rng.random() < 0.5:  # else black is where the packed crop ends, which usual crops rarely show
        matrix = moved.then(view_affine(view, side)).matrix
        image = cv2.warpAffine(sample.image, matrix, (view.size, view.size), borderMode=cv2.BORDER_REFLECT_101)
        seen = replace(seen, image=np.asarray(image, np.uint8))
    return replace(seen, lost=True)


def _see(sample: Sample, view: View, moved: Affine) -> Sample:
    """Move the face within the packed crop, then cut the network's crop out of its middle."""
    affine = moved.then(view_affine(view, sample.image.shape[0]))
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
    return replace(sample, image=np.asarray(cv2.LUT(sample.image, table[:, None, :]), np.uint8))


def random_grey(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Remove the colour, as in pictures of infrared and old cameras."""
    if rng.random() >= chance:
        return sample
    grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
    return replace(sample, image=np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8))


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
    """Content of a covered rectangle: a colour, noise, or a piece of the picture from elsewhere."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, size=3, dtype=np.uint8)
    if kind == 1:
        return rng.integers(0, 256, size=(*shape, 3), dtype=np.uint8)
    y = int(rng.integers(0, image.shape[0] - shape[0] + 1))
    x = int(rng.integers(0, image.shape[1] - shape[1] + 1))
    return np.asarray(image[y : y + shape[0], x : x + shape[1]][::-1])


def random_blur(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Blur the picture (out of focus), or shrink and enlarge it (far away)."""
    if rng.random() >= chance:
        return sample
    image, size = sample.image, sample.image.shape[0]
    if rng.random() < 0.5:
        changed = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    else:
        small = int(size * rng.uniform(0.3, 0.8))
        shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        changed = cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)
    return replace(sample, image=np.asarray(changed, np.uint8))


def random_noise(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Additive Gaussian noise of 2-12 grey levels."""
    if rng.random() >= chance:
        return sample
    noise = rng.standard_normal(sample.image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 12))
    return replace(sample, image=np.clip(sample.image + noise, 0, 255).astype(np.uint8))


_LASHES = 0.05
"""Thickness of the line of the lashes, in eye widths; a shut lid covers as much of the lower one."""

_SKIN = 0.75
"""How far the skin above the lid is stretched: share of the way from the lid to the brow."""

_LEAST_WIDTH = 4.0
"""An eye narrower than this, in pixels, is left as it is."""

_LEAST_CHANGE = 6.0
"""Least mean change in grey levels; an eye that changes less is covered by dark glasses, hair or a hand."""


class _Eye(NamedTuple):
    """The frame of one eye: origin between its corners, x from corner to corner, y from the eye towards the brow."""

    centre: Float64[np.ndarray, " 2"]
    along: Float64[np.ndarray, " 2"]
    up: Float64[np.ndarray, " 2"]
    width: float


def close_eyes(
    image: Image, points: Float32[np.ndarray, "k 2"], scheme: Scheme, shares: tuple[float, float]
) -> tuple[Image, Float32[np.ndarray, "k 2"]]:
    """Close the eyes of one face: pull the upper lids down over the eyes, pixels and points alike.

    Closed eyes are rare in datasets, and where they are labelled nobody knows how far they were closed.  The points of
    the upper lids move by the share towards the lower lids, and the skin above is stretched.  An eye keeps its pixels
    and points where it is only a few pixels wide or closing it would not be visible.

    Args:
        image: picture that holds the face; not changed.
        points: in pixels of the picture.
        scheme: numbering of the points.
        shares: how far the right and the left eye are closed, from 0 (not at all) to 1 (completely).

    Raises:
        ConfigError: the scheme has no lids.
    """
    if not scheme.lids or not {"right_brow", "left_brow"} <= scheme.groups.keys():
        raise ConfigError(
            f"Eyes cannot be closed by points of {scheme.name}, which has no lids, or no groups right_brow and "
            "left_brow; set close_eyes = 0"
        )
    brows = (scheme.groups["right_brow"], scheme.groups["left_brow"])
    for (upper, lower), brow, share in zip(scheme.lids, brows, shares, strict=True):
        if share > 0:
            image, points = _close(image, points, (upper, lower, brow), share)
    return image, points


def random_closed_eyes(sample: Sample, rng: np.random.Generator, *, chance: float) -> Sample:
    """Close the eyes, half of the time nearly or completely, else partly; one face in ten winks.

    Raises:
        ConfigError: the chance is above 0 and the scheme has no lids.
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
    first, last = points[[upper[0], upper[-1]]].astype(np.float64)
    centre, width = (first + last) / 2, float(np.hypot(*(last - first)))
    along = (last - first) / max(width, 1e-6)
    up = np.array([along[1], -along[0]])
    eye = _Eye(centre, along, up if (points[brow].mean(axis=0) - centre) @ up > 0 else -up, width)
    if not (np.isfinite(points[upper + lower + brow]).all() and eye.width >= _LEAST_WIDTH):
        return image, points
    lids = [_seen_from(eye, points[part]) for part in (upper, lower)]
    reach = _SKIN * float(_seen_from(eye, points[brow])[:, 1].mean())
    closed = _pull(image, eye, lids, reach=reach, share=share)
    if closed is None:
        return image, points
    top, bottom = lids
    drop = share * np.maximum(top[:, 1] - np.interp(top[:, 0], *_ascending(bottom)), 0.0)
    moved = points.copy()
    moved[upper] -= (drop[:, None] * eye.up).astype(np.float32)
    return closed, moved


def _seen_from(eye: _Eye, places: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    away = places - eye.centre
    return np.stack([away @ eye.along, away @ eye.up], axis=-1)


def _ascending(line: Float64[np.ndarray, "n 2"]) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    order = np.argsort(line[:, 0])
    return line[order, 0], line[order, 1]


def _pull(
    image: Image, eye: _Eye, lids: list[Float64[np.ndarray, "n 2"]], *, reach: float, share: float
) -> Image | None:
    """The picture with one lid pulled down; None where the change would not be visible."""
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
    # Next to the edge the skin moves unchanged, which keeps the lashes; from there to the brow it is stretched.
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
