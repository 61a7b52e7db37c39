"""Drawn faces: shapes with a pose, and pictures of them with exact labels.

A picture is drawn four times as large as asked for and averaged down, so that edges are smooth.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import cv2
import numpy as np
from jaxtyping import Float64, Int32, UInt8

from canthus.data.formats import write_pts
from canthus.data.occluders import BITS
from canthus.images import write_image
from canthus.schemes import IBUG_68
from canthus.types import Sample

_NOSE = np.array([
    (0, -0.06, 0.36), (0, 0.11, 0.46), (0, 0.28, 0.57), (0, 0.45, 0.68),
    (-0.20, 0.58, 0.36), (-0.10, 0.62, 0.45), (0, 0.64, 0.50), (0.10, 0.62, 0.45), (0.20, 0.58, 0.36),
])  # fmt: skip

_DEPTH = 4.0
"""Distance of the camera in half face widths: perspective as in an ordinary portrait."""


@final
@dataclass(frozen=True)
class FaceShape:
    """Pose and expression of a drawn face.

    Attributes:
        yaw: turn to the left of the picture, in radians.
        pitch: turn downwards, in radians.
        roll: turn clockwise on the screen, in radians.
        eyes: openness; 0 is shut, 1 wide open.
        mouth: openness; 0 is shut, 1 a yawn.
        smile: -1 sad, 1 a broad smile.
        brows: -1 frowning, 1 raised.
        width: width of the face over that of the mean one.
        length: length of the lower face over that of the mean one.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    eyes: float = 0.6
    mouth: float = 0.1
    smile: float = 0.0
    brows: float = 0.0
    width: float = 1.0
    length: float = 1.0


def random_shape(rng: np.random.Generator) -> FaceShape:
    """A random pose and expression; eyes and mouth are sometimes shut."""
    return FaceShape(
        yaw=float(rng.uniform(-0.38, 0.38)),
        pitch=float(rng.uniform(-0.2, 0.25)),
        roll=float(rng.normal(0, 0.15)),
        eyes=0.0 if rng.random() < 0.1 else float(rng.uniform(0.25, 1)),
        mouth=0.0 if rng.random() < 0.4 else float(rng.uniform(0, 1)),
        smile=float(rng.uniform(-0.5, 1)),
        brows=float(rng.uniform(-1, 1)),
        width=float(rng.uniform(0.92, 1.08)),
        length=float(rng.uniform(0.92, 1.1)),
    )


def head_points(shape: FaceShape) -> tuple[Float64[np.ndarray, "68 2"], Float64[np.ndarray, "m 2"]]:
    """Landmarks and the line of the skull, seen from the front.

    Returns:
        The 68 points and the skull from the left ear (point 16) over the top to the right ear (point 0), in half face
        widths about the middle of the face, y down.
    """
    brow, eye = _brow(shape), _eye(shape)
    right_brow, right_eye = brow[::-1] * (-1, 1, 1), eye[[3, 2, 1, 0, 5, 4]] * (-1, 1, 1)
    face = np.concatenate([_jaw(shape), right_brow, brow, _NOSE, right_eye, eye, _mouth(shape)])
    turned = (np.arange(1, 16) / 16) * np.pi
    skull = np.stack([np.cos(turned), -0.02 - 1.12 * np.sin(turned), -0.5 + 0.35 * np.sin(turned)], axis=1)
    both = np.concatenate([face, skull])
    both[:, 0] *= shape.width
    below = both[:, 1] > 0
    both[below, 1] *= shape.length
    seen = _project(both, shape)
    return seen[:68], seen[68:]


def _jaw(shape: FaceShape) -> Float64[np.ndarray, "17 3"]:
    t = np.linspace(0, np.pi, 17)
    x, down = -np.cos(t), np.sin(t)
    chin = 1.42 + 0.26 * shape.mouth
    narrowing = 1 - 0.1 * down**2 * (1 - down)
    return np.stack([x * narrowing, -0.02 + chin * down**1.1, -0.5 + 0.65 * down**1.5], axis=1)


def _brow(shape: FaceShape) -> Float64[np.ndarray, "5 3"]:
    """The left brow, from the nose outwards."""
    x = np.array([0.16, 0.29, 0.43, 0.58, 0.71])
    y = np.array([-0.30, -0.38, -0.41, -0.385, -0.29])
    inner = np.array([1.0, 0.7, 0.4, 0.2, 0.1])
    return np.stack([x, y - 0.05 * shape.brows - 0.04 * shape.brows * inner, 0.32 - 0.45 * x**2], axis=1)


def _eye(shape: FaceShape) -> Float64[np.ndarray, "6 3"]:
    """The left eye in the order of points 42 to 47: inner corner, upper lid, outer corner, lower lid."""
    up, down = 0.015 + 0.11 * shape.eyes, -0.015 + 0.07 * shape.eyes
    x = np.array([0.24, 0.34, 0.48, 0.59, 0.48, 0.34])
    y = np.array([0.02, -up, -up, -0.01, down, down])
    return np.stack([x, y, 0.30 - 0.4 * x**2], axis=1)


def _mouth(shape: FaceShape) -> Float64[np.ndarray, "20 3"]:
    wide = 0.36 + 0.06 * shape.smile - 0.06 * shape.mouth
    corner = 0.95 - 0.07 * shape.smile + 0.08 * shape.mouth
    gap = 0.30 * shape.mouth
    upper = [(-wide, corner), (-0.22, 0.895), (-0.09, 0.855), (0, 0.87), (0.09, 0.855), (0.22, 0.895), (wide, corner)]
    lower = [(0.22, 1.035 + 0.8 * gap), (0.10, 1.075 + gap), (0, 1.085 + gap)]
    lower += [(-x, y) for x, y in lower[1::-1]]
    inner = wide - 0.06
    lips = [(-inner, corner), (-0.13, 0.94), (0, 0.945), (0.13, 0.94), (inner, corner)]
    lips += [(0.13, 0.955 + 0.95 * gap), (0, 0.96 + gap), (-0.13, 0.955 + 0.95 * gap)]
    points = np.array(upper + lower + lips, np.float64)
    sides = np.abs(points[:, 0]) / 0.36
    bent = points[:, 1] - 0.05 * shape.smile * sides**2 * ~np.isin(np.arange(20), [0, 6, 12, 16])
    return np.stack([points[:, 0], bent, 0.42 - 0.16 * sides**2], axis=1)


def _project(points: Float64[np.ndarray, "n 3"], shape: FaceShape) -> Float64[np.ndarray, "n 2"]:
    cos, sin = np.cos([shape.yaw, shape.pitch, shape.roll]), np.sin([shape.yaw, shape.pitch, shape.roll])
    yaw = np.array([[cos[0], 0, -sin[0]], [0, 1, 0], [sin[0], 0, cos[0]]])
    pitch = np.array([[1, 0, 0], [0, cos[1], sin[1]], [0, -sin[1], cos[1]]])
    centre = np.array([0, 0.45, -0.4])
    turned = (points - centre) @ yaw.T @ pitch.T
    flat = turned[:, :2] * (_DEPTH / (_DEPTH - turned[:, 2:]))
    roll = np.array([[cos[2], -sin[2]], [sin[2], cos[2]]])
    return np.asarray(flat @ roll.T)


def draw_face(rng: np.random.Generator, *, size: int = 160, shape: FaceShape | None = None) -> Sample:
    """Draw one face with its 68 points.

    Args:
        size: side of the picture in pixels; the face is about half of that.
        shape: pose and expression; random where None.

    Returns:
        The picture and the points that it was drawn from, exact to a fraction of a pixel.

    Raises:
        ValueError: ``size`` is below 32 pixels.
    """
    if size < 32:
        raise ValueError(f"expected at least 32 pixels, found {size}")
    points, skull = head_points(random_shape(rng) if shape is None else shape)
    everything = np.concatenate([points, skull])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = size * rng.uniform(0.52, 0.7) / (high - low).max()
    corner = (size - scale * (high - low)) * rng.uniform(0.25, 0.75, 2)
    points, skull = (scale * (part - low) + corner for part in (points, skull))
    image = _paint_face(rng, points, skull, size)
    return Sample(image=image, points=points.astype(np.float32), scheme=IBUG_68)


_PLACES = (
    "helen/trainset", "lfpw/trainset", "helen/trainset", "afw", "helen/testset",
    "helen/trainset", "lfpw/testset", "lfpw/trainset", "ibug", "helen/trainset",
)  # fmt: skip
"""Folders of ten faces in a row: seven for training, three for test."""
_NAMES = {"lfpw": "image_{number:04d}.png", "ibug": "image_{number:03d}_1.jpg"}
"""File names as in the published set; ``{photo}_{face}.jpg`` in the other folders."""


def write_synthetic_300w(
    folder: str | os.PathLike[str], count: int, rng: np.random.Generator, *, size: int = 160
) -> None:
    """Write drawn faces in the official layout of 300-W, to be read with ``load_dataset("300w", folder, split)``.

    Args:
        folder: made where it is missing.
        count: number of faces; with ten or more, every public split has some.
        size: side of the pictures in pixels.
    """
    for index in range(count):
        place, block = _PLACES[index % len(_PLACES)], index // len(_PLACES)
        name = _NAMES.get(place.partition("/")[0], "{photo}_{face}.jpg")
        face = 1 + (index % len(_PLACES) == 2)
        photo = 1000000 + block * 10 + (index % len(_PLACES) if face == 1 else 0)
        path = Path(folder) / place / name.format(number=index + 1, photo=photo, face=face)
        sample = draw_face(rng, size=size)
        write_image(path, sample.image)
        write_pts(path.with_suffix(".pts"), sample.points)


_FINER = 4

_SKINS = np.array([(255, 224, 196), (236, 188, 152), (198, 140, 100), (141, 85, 54), (84, 52, 36)], np.float64)
_HAIRS = np.array([(28, 22, 20), (70, 44, 26), (132, 90, 48), (205, 170, 110), (150, 150, 150)], np.float64)
_IRISES = np.array([(60, 40, 24), (70, 110, 150), (80, 120, 80), (40, 30, 26)], np.float64)

_TURN = np.arange(24) / 24 * 2 * np.pi
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)

_Color = Float64[np.ndarray, " 3"]


@final
@dataclass(frozen=True)
class _Colors:
    skin: _Color
    hair: _Color
    iris: _Color
    lips: _Color
    cloth: _Color


@final
@dataclass(frozen=True)
class _Canvas:
    """A picture ``_FINER`` times too large that takes coordinates of the final one."""

    pixels: UInt8[np.ndarray, "h w 3"]

    def fill(self, points: Float64[np.ndarray, "n 2"], color: _Color) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.pixels, [_fixed(points)], color.tolist(), cv2.LINE_AA, BITS)

    def line(self, points: Float64[np.ndarray, "n 2"], color: _Color, width: float, *, closed: bool = False) -> None:
        """Draw a line, ``width`` pixels of the final picture wide."""
        thickness = max(1, round(width * _FINER))
        cv2.polylines(self.pixels, [_fixed(points)], closed, color.tolist(), thickness, cv2.LINE_AA, BITS)

    def dot(self, centre: Float64[np.ndarray, " 2"], radius: float, color: _Color) -> None:
        """Draw a filled circle."""
        x, y = _fixed(centre[None])[0].tolist()
        cv2.circle(self.pixels, (x, y), round(radius * _FINER * (1 << BITS)), color.tolist(), -1, cv2.LINE_AA, BITS)


def _paint_face(
    rng: np.random.Generator, points: Float64[np.ndarray, "68 2"], skull: Float64[np.ndarray, "m 2"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Paint background, head and features from the points and the line of the skull, in pixels of the picture."""
    canvas = _Canvas(_background(rng, size))
    colors = _random_colors(rng)
    unit = float(np.linalg.norm(points[45] - points[36]))
    _paint_head(canvas, points, skull, colors, long_hair=rng.random() < 0.4)
    canvas = _Canvas(_lit(rng, canvas.pixels))
    for eye in (points[36:42], points[42:48]):
        _paint_eye(canvas, eye, colors, look=rng.uniform(-0.15, 0.15))
    for brow in (points[17:22], points[22:27]):
        canvas.line(_smooth(brow), colors.hair * 0.8, 0.055 * unit)
    _paint_nose(canvas, points[27:36], colors, unit)
    _paint_mouth(canvas, points[48:60], points[60:68], colors, unit)
    if rng.random() < 0.2:
        _paint_glasses(canvas, points, unit, dark=rng.uniform(0, 90))
    small = cv2.resize(canvas.pixels, (size, size), interpolation=cv2.INTER_AREA).astype(np.float64)
    noisy = small + rng.normal(0, rng.uniform(0, 6), small.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def _random_colors(rng: np.random.Generator) -> _Colors:
    place = rng.uniform(0, len(_SKINS) - 1)
    lower = min(int(place), len(_SKINS) - 2)
    skin = _SKINS[lower] + (place - lower) * (_SKINS[lower + 1] - _SKINS[lower]) + rng.normal(0, 5, 3)
    skin = np.clip(skin, 20, 255)
    lips = 0.6 * skin + 0.4 * np.array([190.0, 45.0, 60.0]) * rng.uniform(0.6, 1)
    return _Colors(
        skin=skin,
        hair=np.clip(_HAIRS[rng.integers(len(_HAIRS))] + rng.normal(0, 8, 3), 0, 255),
        iris=_IRISES[rng.integers(len(_IRISES))],
        lips=np.clip(lips, 0, 255),
        cloth=rng.uniform(20, 230, 3),
    )


def _background(rng: np.random.Generator, size: int) -> UInt8[np.ndarray, "h w 3"]:
    """Two colours blending, and a few shapes."""
    side = size * _FINER
    ramp = np.linspace(0, 1, side)[:, None, None]
    a, b = rng.uniform(0, 255, (2, 3))
    pixels = np.broadcast_to(a + (b - a) * ramp, (side, side, 3)).astype(np.uint8)
    if rng.random() < 0.5:
        pixels = pixels.transpose(1, 0, 2)
    canvas = _Canvas(np.ascontiguousarray(pixels))
    for _ in range(rng.integers(2, 9)):
        color, centre = rng.uniform(0, 255, 3), rng.uniform(0, size, 2)
        if rng.random() < 0.5:
            canvas.dot(centre, float(rng.uniform(0.03, 0.2) * size), color)
        else:
            canvas.fill(centre + rng.uniform(-0.25, 0.25, (4, 2)) * size, color)
    return canvas.pixels


def _paint_head(
    canvas: _Canvas,
    points: Float64[np.ndarray, "68 2"],
    skull: Float64[np.ndarray, "m 2"],
    colors: _Colors,
    *,
    long_hair: bool,
) -> None:
    jaw = points[:17]
    middle = (jaw[0] + jaw[16]) / 2
    down = jaw[8] - middle
    across = jaw[16] - jaw[0]
    shoulders = [jaw[8] + 0.9 * down + side * 1.3 * across for side in (-1, 1)]
    neck = [jaw[4] + 0.1 * across, jaw[12] - 0.1 * across]
    canvas.fill(np.array([neck[0] + 0.55 * down, shoulders[0], shoulders[1], neck[1] + 0.55 * down]), colors.cloth)
    canvas.fill(np.array([*neck, neck[1] + 0.65 * down, neck[0] + 0.65 * down]), colors.skin * 0.8)
    hair = [jaw[16], *(middle + 1.13 * (skull - middle)), jaw[0]]
    if long_hair:
        fall = [jaw[3] - 0.13 * across + 0.2 * down, jaw[13] + 0.13 * across + 0.2 * down]
        hair = [fall[1], jaw[16] + 0.12 * across, *hair[1:-1], jaw[0] - 0.12 * across, fall[0]]
    canvas.fill(np.array(hair), colors.hair)
    for at, side in ((1, -1), (15, 1)):
        ear = jaw[at] + 0.03 * side * across - 0.02 * down
        canvas.fill(ear + 0.075 * _CIRCLE @ np.array([across * 0.7, down * 1.3]), colors.skin * 0.88)
    canvas.fill(np.concatenate([_smooth(jaw), skull]), colors.skin)
    top = skull[3:-3]
    fringe = middle + 0.84 * (top[::-1] - middle)
    canvas.fill(np.concatenate([middle + 1.1 * (top - middle), fringe]), colors.hair)
    canvas.line(_smooth(jaw), colors.skin * 0.62, 0.012 * float(np.linalg.norm(across)))


def _paint_eye(canvas: _Canvas, eye: Float64[np.ndarray, "6 2"], colors: _Colors, *, look: float) -> None:
    width = float(np.linalg.norm(eye[3] - eye[0]))
    outline = _smooth(np.concatenate([eye, eye[:1]]))
    inside = np.zeros(canvas.pixels.shape[:2], np.uint8)
    cv2.fillPoly(inside, [_fixed(outline)], 255, cv2.LINE_AA, BITS)
    ball = _Canvas(canvas.pixels.copy())
    ball.fill(outline, np.array([240.0, 238.0, 235.0]))
    centre = eye.mean(axis=0) + look * (eye[3] - eye[0])
    ball.dot(centre, 0.25 * width, colors.iris)
    ball.dot(centre, 0.12 * width, np.array([10.0, 10.0, 12.0]))
    ball.dot(centre - 0.06 * width, 0.045 * width, np.array([255.0, 255.0, 255.0]))
    share = inside[:, :, None] / 255.0
    canvas.pixels[:] = np.round(share * ball.pixels + (1 - share) * canvas.pixels).astype(np.uint8)
    canvas.line(outline, colors.skin * 0.45, 0.03 * width, closed=True)
    canvas.line(_smooth(eye[:4]), np.array([25.0, 20.0, 20.0]), 0.07 * width)


def _paint_nose(canvas: _Canvas, nose: Float64[np.ndarray, "9 2"], colors: _Colors, unit: float) -> None:
    canvas.line(nose[:4], np.minimum(colors.skin * 1.12 + 8, 255), 0.05 * unit)
    wings = nose[[4, 8]] + 0.35 * (nose[[3, 3]] - nose[[4, 8]])
    canvas.line(_smooth(np.array([wings[0], *nose[4:], wings[1]])), colors.skin * 0.55, 0.025 * unit)
    for nostril in (nose[5], nose[7]):
        canvas.dot(nostril - 0.01 * unit, 0.028 * unit, colors.skin * 0.35)
    canvas.dot(nose[3], 0.03 * unit, np.minimum(colors.skin * 1.2 + 14, 255))


def _paint_mouth(
    canvas: _Canvas,
    outer: Float64[np.ndarray, "12 2"],
    inner: Float64[np.ndarray, "8 2"],
    colors: _Colors,
    unit: float,
) -> None:
    canvas.fill(outer, colors.lips)
    canvas.fill(inner, np.array([60.0, 15.0, 20.0]))
    opening = float(np.linalg.norm(inner[6] - inner[2]))
    if opening > 0.06 * unit:
        teeth = np.concatenate([inner[:5], 0.7 * inner[3:0:-1] + 0.3 * inner[5:8]])
        canvas.fill(teeth, np.array([235.0, 232.0, 222.0]))
    canvas.line(outer, colors.lips * 0.75, 0.012 * unit, closed=True)
    canvas.line(inner[:5], colors.lips * 0.4, 0.018 * unit)


def _paint_glasses(canvas: _Canvas, points: Float64[np.ndarray, "68 2"], unit: float, *, dark: float) -> None:
    frame = np.array([dark, dark, dark])
    for eye in (points[36:42], points[42:48]):
        ring = eye.mean(axis=0) + 0.24 * unit * _CIRCLE * (1, 0.85)
        canvas.line(ring, frame, 0.025 * unit, closed=True)
    for start, end, width in ((39, 42, 0.025), (0, 36, 0.02), (45, 16, 0.02)):
        canvas.line(points[[start, end]], frame, width * unit)


def _lit(rng: np.random.Generator, pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Light from one side."""
    side = len(pixels)
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.35) * (np.cos(angle) * x + np.sin(angle) * y)
    return np.asarray(np.clip(np.round(pixels * light[:, :, None]), 0, 255), dtype=np.uint8)


def _fixed(points: Float64[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n 2"]:
    """Coordinates of the final picture as OpenCV's fixed-point ones of the large picture."""
    large = (points + 0.5) * _FINER - 0.5
    return np.round(large * (1 << BITS)).astype(np.int32)


def _smooth(points: Float64[np.ndarray, "n 2"], *, steps: int = 6) -> Float64[np.ndarray, "m 2"]:
    """A curve through all the points (Catmull-Rom)."""
    before = np.concatenate([2 * points[:1] - points[1:2], points[:-1]])[:-1]
    after = np.concatenate([points[1:], 2 * points[-1:] - points[-2:-1]])[1:]
    t = (np.arange(steps) / steps)[None, :, None]
    a, b = points[:-1, None], points[1:, None]
    m, n = (b - before[:, None]) / 2, (after[:, None] - a) / 2
    curve = (2 * t**3 - 3 * t**2 + 1) * a + (t**3 - 2 * t**2 + t) * m + (3 * t**2 - 2 * t**3) * b + (t**3 - t**2) * n
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])
