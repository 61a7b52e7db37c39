"""Augmentation for face detectors: views of scenes at many scales, alone or several in one picture (a mosaic).

A view is one warp of one scene.  A face of which too little is left in view, or which has become too small to see, is
ignored: it is neither to be found nor background.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from canthus.data.backgrounds import draw_background
from canthus.data.occluders import place_picture
from canthus.data.occlusion import natural_cover
from canthus.data.packs import SceneSample
from canthus.data.transforms import random_blur, random_grey, random_light, random_noise
from canthus.errors import ConfigError
from canthus.geometry import Affine, face_turn
from canthus.plain_data import CHANCE, NOT_NEGATIVE, POSITIVE, Range, check_ranges
from canthus.schemes import FIVE
from canthus.types import Image, Sample

KNOWN_SHARE = 0.35
"""In an incomplete picture, a margin around each labelled face counts as known: this share of its longer side."""
LEAST_IN_VIEW = 0.5
"""Least share of its box that lies in the view, for a face that is to be found."""


@final
@dataclass(frozen=True)
class SceneAugmentation:
    """Strengths of the random changes of scenes.

    ``flip``, ``rotation_deg``, ``stretch``, ``light``, ``grey``, ``blur`` and ``noise`` mean the same as in
    ``canthus.data.transforms.Augmentation``.

    Attributes:
        smallest: least longer side, in pixels, of the face that a view is centred on.
        largest: largest such side; sizes between are equally frequent on a logarithmic scale.
        zoom: largest factor by which a picture is enlarged.
        least_face: faces with a shorter longer side, in pixels, are ignored.
        covered: least share of each side of a view that the scene fills.
        mosaic: chances of pictures of 1, 2 x 2, 3 x 3, ... views.
        elsewhere: chance of a view of a random place instead of a face.
        cover: chance of covering a part of a face by a rectangle.
        dark: chance of a picture with a twentieth to a half of its brightness.
        turned: chance of a view that is turned to any side, half of them by quarter turns, besides ``rotation_deg``.
        close: chance of a view that its face fills by 0.6 to 1 of the shorter side.
        shade: chance of a view of which one side lies in the dark.
        occluder: chance of natural occluders, such as a hand, on a face.
        drawn: chance of a view of drawn things without faces in place of the scene.
    """

    smallest: float = 10.0
    largest: float = 250.0
    zoom: float = 2.5
    least_face: float = 7.0
    covered: float = 0.75
    mosaic: tuple[float, ...] = (0.35, 0.35, 0.2, 0.0, 0.1)
    elsewhere: float = 0.1
    flip: float = 0.5
    rotation_deg: float = 20.0
    stretch: float = 0.1
    cover: float = 0.15
    light: float = 0.4
    grey: float = 0.1
    blur: float = 0.15
    noise: float = 0.05
    dark: float = 0.05
    turned: float = 0.0
    close: float = 0.0
    shade: float = 0.0
    occluder: float = 0.0
    drawn: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            **dict.fromkeys(("elsewhere", "flip", "cover", "grey", "blur", "noise", "dark", "mosaic"), CHANCE),
            **dict.fromkeys(("turned", "close", "shade", "occluder", "drawn"), CHANCE),
            **dict.fromkeys(("smallest", "largest", "zoom"), POSITIVE),
            **dict.fromkeys(("stretch", "light", "least_face"), NOT_NEGATIVE),
            rotation_deg=Range(0, 180),
            covered=CHANCE,
        )
        if not sum(self.mosaic) > 0:
            raise ConfigError(f"The setting mosaic is {list(self.mosaic)}; expected a chance above 0")


@final
@dataclass(frozen=True)
class Scenery:
    """A training picture of a face detector, or one view in it.

    Attributes:
        image: RGB.
        boxes: face boxes to be found.
        points: of the scheme ``five``; NaN where unknown.
        known: True at pixels that are background unless a face of ``boxes`` is there.
    """

    image: Image
    boxes: Float32[np.ndarray, "n 4"]
    points: Float32[np.ndarray, "n 5 2"]
    known: Bool[np.ndarray, "h w"]


def random_scenery(
    scenes: list[SceneSample], rng: np.random.Generator, settings: SceneAugmentation, size: int
) -> Scenery:
    """One training picture of ``size`` pixels a side: a mosaic of views, one of each of a square number of scenes."""
    image = np.zeros((size, size, 3), np.uint8)
    known = np.ones((size, size), np.bool_)
    boxes, points = [np.zeros((0, 4), np.float32)], [np.zeros((0, 5, 2), np.float32)]
    side = math.isqrt(len(scenes))
    columns, rows = _borders(side, size, rng), _borders(side, size, rng)
    for index, scene in enumerate(scenes):
        x1, x2 = columns[index % side : index % side + 2]
        y1, y2 = rows[index // side : index // side + 2]
        view = _random_part(scene, rng, settings, (x2 - x1, y2 - y1))
        image[y1:y2, x1:x2], known[y1:y2, x1:x2] = view.image, view.known
        boxes.append(view.boxes + np.array([x1, y1, x1, y1], np.float32))
        points.append(view.points + np.array([x1, y1], np.float32))
    found, five = np.concatenate(boxes), np.concatenate(points)
    _cover_faces(image, found, rng, chance=settings.cover)
    if settings.occluder > 0:
        _put_before_faces(image, found, five, rng, chance=settings.occluder)
    return Scenery(_change_colours(image, rng, settings), found, five, known)


def random_mosaic(rng: np.random.Generator, settings: SceneAugmentation) -> int:
    """Draw the number of views of the next picture, a square number."""
    chances = np.array(settings.mosaic)
    return int(rng.choice(len(chances), p=chances / chances.sum()) + 1) ** 2


def _borders(parts: int, size: int, rng: np.random.Generator) -> list[int]:
    """Borders that cut a side of ``size`` pixels into parts of unequal lengths."""
    cuts = np.arange(parts + 1) + np.concatenate([[0], rng.uniform(-0.25, 0.25, size=parts - 1), [0]])
    return [round(cut * size / parts) for cut in cuts]


def _random_part(
    scene: SceneSample, rng: np.random.Generator, settings: SceneAugmentation, shape: tuple[int, int]
) -> Scenery:
    """One part of a mosaic: a view of a scene or, with the chances of the settings, in shade or of drawn things."""
    if settings.drawn > 0 and rng.random() < settings.drawn:
        picture, known = draw_background(rng, *shape), np.ones(shape[::-1], np.bool_)
        return Scenery(picture, np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), known)
    view = random_view(scene, rng, settings, shape)
    if settings.shade > 0 and rng.random() < settings.shade:
        return replace(view, image=_shaded(view.image, rng))
    return view


def random_view(
    scene: SceneSample, rng: np.random.Generator, settings: SceneAugmentation, shape: tuple[int, int]
) -> Scenery:
    """A window of ``shape`` (width, height) around one face of a scene, at a random scale."""
    centre, target, scale = _aim(scene, rng, settings, shape)
    angle = _random_turn(rng, settings)
    stretch = (1 + settings.stretch) ** rng.uniform(-0.5, 0.5)
    sides = np.array([scale * stretch, scale / stretch])
    linear = sides[:, None] * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flipped = rng.random() < settings.flip
    if flipped:
        linear = np.diag([-1.0, 1.0]) @ linear
    affine = Affine(np.hstack([linear, (target - linear @ centre)[:, None]]))
    centres = affine.apply((scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2 - 0.5) + 0.5
    halves = _turned_halves(scene.boxes[:, 2:] - scene.boxes[:, :2], angle) * sides.astype(np.float32)
    boxes = np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)
    points = affine.apply(scene.points)
    if flipped:
        points = points[:, list(FIVE.mirror)]
    around = rng.integers(0, 256, size=3).tolist() if settings.turned > 0 and rng.random() < 0.5 else (0, 0, 0)
    picture = _warp(scene.image, affine, sides.max(), shape, around=around)
    return _judge(scene, picture, boxes, points, least=settings.least_face)


def _aim(
    scene: SceneSample, rng: np.random.Generator, settings: SceneAugmentation, shape: tuple[int, int]
) -> tuple[Float64[np.ndarray, " 2"], Float64[np.ndarray, " 2"], float]:
    """A place of the scene, where it goes in the window of ``shape``, and the scale."""
    middle = (np.array(shape) - 1) / 2
    filling = settings.covered * max(shape[0] / scene.image.shape[1], shape[1] / scene.image.shape[0])
    clear = np.flatnonzero(~scene.ignored)
    if not (len(clear) and rng.random() >= settings.elsewhere):
        centre = rng.uniform(0, 1, size=2) * scene.image.shape[1::-1]
        return centre, middle, max(settings.zoom ** rng.uniform(-1, 1), filling)
    box = scene.boxes[rng.choice(clear)].astype(np.float64)
    centre, side = (box[:2] + box[2:]) / 2 - 0.5, float(max(box[2:] - box[:2]))
    if settings.close > 0 and rng.random() < settings.close:
        wanted = rng.uniform(0.6, 1.0) * min(shape)
        return centre, middle + rng.uniform(-0.1, 0.1, size=2) * shape, min(settings.zoom, wanted / side)
    largest = min(settings.largest, 0.9 * min(shape))
    wanted = settings.smallest * (largest / settings.smallest) ** rng.random()
    scale = max(min(settings.zoom, wanted / side), filling)
    reach = np.maximum(np.array(shape) / 2 - 0.55 * side * scale, 0)
    return centre, middle + rng.uniform(-1, 1, size=2) * reach, scale


def _random_turn(rng: np.random.Generator, settings: SceneAugmentation) -> float:
    """Angle of a view in radians."""
    tilt = float(np.deg2rad(settings.rotation_deg) * rng.uniform(-1, 1))
    if settings.turned <= 0 or rng.random() >= settings.turned:
        return tilt
    return float(rng.uniform(-np.pi, np.pi)) if rng.random() < 0.5 else tilt + int(rng.integers(1, 4)) * np.pi / 2


def _shaded(image: Image, rng: np.random.Generator) -> Image:
    """The picture with one side in the dark, and a soft or sharp edge near the middle."""
    height, width = image.shape[:2]
    angle, dark = rng.uniform(-np.pi, np.pi), rng.uniform(0.03, 0.4)
    x, y = np.arange(width, dtype=np.float32) / width - 0.5, np.arange(height, dtype=np.float32) / height - 0.5
    along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y[:, None]
    lit = np.clip((along - rng.uniform(-0.25, 0.25)) / rng.uniform(0.02, 0.4) + 0.5, 0, 1)
    return np.asarray(image * (dark + (1 - dark) * lit)[..., None], np.uint8)


def _warp(
    image: Image, affine: Affine, scale: float, shape: tuple[int, int], *, around: Sequence[int]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Warp the picture into a window of ``shape``; where it shrinks much, it is first halved by averaging.

    Args:
        around: colour outside of the picture.
    """
    small = image
    while scale < 0.6 and min(small.shape[:2]) > 8:
        half = (small.shape[1] // 2, small.shape[0] // 2)
        small = np.asarray(cv2.resize(small, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        scale *= 2
    ratio = np.array(image.shape[1::-1]) / np.array(small.shape[1::-1])
    grow = Affine(np.hstack([np.diag(ratio), (0.5 * ratio - 0.5)[:, None]]))
    matrix = grow.then(affine).matrix
    return np.asarray(cv2.warpAffine(small, matrix, shape, flags=cv2.INTER_LINEAR, borderValue=around), dtype=np.uint8)


def _turned_halves(extent: Float32[np.ndarray, "n 2"], angle: float) -> Float32[np.ndarray, "n 2"]:
    """Half width and height of the rotated ellipse inside each box; a face is closer to it than to the box."""
    w, h = extent.T / 2
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return np.stack([np.hypot(w * cos, h * sin), np.hypot(w * sin, h * cos)], axis=1).astype(np.float32)


def _judge(
    scene: SceneSample,
    picture: Image,
    boxes: Float32[np.ndarray, "n 4"],
    points: Float32[np.ndarray, "n 5 2"],
    *,
    least: float,
) -> Scenery:
    """Divide faces into those to be found, ignored and out of view, and mark where background is known."""
    height, width = picture.shape[:2]
    inside = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    side = boxes[:, 2:] - boxes[:, :2]
    shown = (inside[:, 2:] - inside[:, :2]).prod(axis=1) / np.maximum(side.prod(axis=1), 1e-6)
    found = ~scene.ignored & (shown >= LEAST_IN_VIEW) & (side.max(axis=1, initial=0) >= least)
    known = np.full((height, width), scene.complete)
    if not scene.complete:
        pad = KNOWN_SHARE * side[found].max(axis=1, initial=0)[:, None] * np.array([-1, -1, 1, 1], np.float32)
        _fill(known, boxes[found] + pad, True)
    _fill(known, boxes[~found & (shown > 0)], False)
    return Scenery(picture, boxes[found], points[found], known)


def _fill(mask: Bool[np.ndarray, "h w"], boxes: Float32[np.ndarray, "n 4"], value: bool) -> None:
    for x1, y1, x2, y2 in np.maximum(np.rint(boxes), 0).astype(int):
        mask[y1:y2, x1:x2] = value


def _cover_faces(image: Image, boxes: Float32[np.ndarray, "n 4"], rng: np.random.Generator, *, chance: float) -> None:
    """Cover a third to a half of some faces by a rectangle, as a mask, a hand or a phone does."""
    for x1, y1, x2, y2 in boxes:
        if rng.random() >= chance:
            continue
        w, h = (x2 - x1) * rng.uniform(0.4, 1.0), (y2 - y1) * rng.uniform(0.3, 0.55)
        x = int(max(0, rng.uniform(x1, x2 - w)))
        y = int(max(0, rng.uniform(y1 + 0.2 * (y2 - y1), y2 - 0.8 * h)))
        image[y : y + int(h), x : x + int(w)] = rng.integers(0, 256, size=3)


LEAST_COVERED = 20
"""Faces with a shorter longer side, in pixels, get no natural occluder, which would be a few pixels large."""
_EYES = np.array([[-0.4, -0.4], [0.4, -0.4]])
"""Where the eyes are in a face box: 1 and -1 are its edges."""


def _put_before_faces(
    image: Image,
    boxes: Float32[np.ndarray, "n 4"],
    points: Float32[np.ndarray, "n 5 2"],
    rng: np.random.Generator,
    *,
    chance: float,
) -> None:
    """Put hands, masks, glasses, hair and other things before some faces, the way their heads are turned."""
    for box, five in zip(boxes, points, strict=True):
        side = float((box[2:] - box[:2]).max())
        if side < LEAST_COVERED or rng.random() >= chance:
            continue
        x1, y1 = np.maximum(np.rint((box[:2] + box[2:]) / 2 - 0.8 * side), 0).astype(int)
        part = image[y1 : y1 + round(1.6 * side), x1 : x1 + round(1.6 * side)]
        size = max(part.shape[:2])
        square = np.zeros((size, size, 3), np.uint8)
        square[: part.shape[0], : part.shape[1]] = part
        turn = float(face_turn(five))
        axes = side / 2 * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        corners = (box[:2] + box[2:]) / 2 - 0.5 - (x1, y1) + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ axes
        place = replace(place_picture(corners, size), eyes=_EYES)
        part[:] = natural_cover(square, rng, place)[0][: part.shape[0], : part.shape[1]]


def _change_colours(image: Image, rng: np.random.Generator, settings: SceneAugmentation) -> Image:
    sample = Sample(image=image, points=np.zeros((FIVE.count, 2), np.float32), scheme=FIVE)
    sample = random_light(sample, rng, amount=settings.light)
    sample = random_grey(sample, rng, chance=settings.grey)
    sample = random_blur(sample, rng, chance=settings.blur)
    picture = random_noise(sample, rng, chance=settings.noise).image
    if rng.random() < settings.dark:
        table = (np.arange(256) * rng.uniform(0.05, 0.5)).astype(np.uint8)
        picture = np.asarray(cv2.LUT(picture, table), dtype=np.uint8)
    return picture
