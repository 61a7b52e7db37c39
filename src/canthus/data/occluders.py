"""Shapes that cover faces: masks, glasses, hands, hair and others."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64, Int32, UInt8

from canthus.schemes import Scheme

BITS = 4
"""Fractional bits of the coordinates that OpenCV draws with."""


@final
@dataclass(frozen=True)
class FacePlace:
    """A face in a crop, with a frame of its own in which occluders are drawn.

    In that frame u points to the subject's left and v to the chin; the outermost landmarks are at -1 and 1.

    Attributes:
        region: 255 inside the hull of the landmarks; covered shares are shares of this area.
        area: pixels of the region.
        centre: origin of the frame in pixels of the crop.
        axes: rows are u and v, in pixels.
        hull: corners of the region, u and v.
        eyes: right and left pupil, u and v.
    """

    region: UInt8[np.ndarray, "s s"]
    area: int
    centre: Float64[np.ndarray, " 2"]
    axes: Float64[np.ndarray, "2 2"]
    hull: Float64[np.ndarray, "m 2"]
    eyes: Float64[np.ndarray, "2 2"]

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return len(self.region)

    def to_pixels(self, points: Float[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n 2"]:
        """Convert u and v to the fixed-point pixels that OpenCV draws with."""
        return np.asarray(np.round((points @ self.axes + self.centre) * (1 << BITS)), np.int32)

    def width(self, share: float) -> int:
        """Width in pixels, at least one, of a line that is ``share`` half widths of the face wide."""
        return max(1, round(share * math.hypot(*self.axes[0])))


def place_face(points: Float[np.ndarray, "k 2"], scheme: Scheme, size: int) -> FacePlace | None:
    """Find the region and the frame of a face from its landmarks (pixels of the crop; NaN where unknown).

    Returns:
        None where fewer than three points are known or they lie on a line.
    """
    wide = points.astype(np.float64)
    known = wide[np.isfinite(wide).all(axis=1)]
    if len(known) < 3:
        return None
    down = _down(wide, scheme)
    frame = np.array([[down[1], -down[0]], down])
    place = known @ frame.T
    low, high = place.min(axis=0), place.max(axis=0)
    half = (high - low) / 2
    if (half < 1).any():
        return None
    hull = cv2.convexHull(known.astype(np.float32))[:, 0].astype(np.float64)
    region = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(region, np.round(hull * (1 << BITS)).astype(np.int32), 255, cv2.LINE_8, BITS)
    centre, axes = (low + high) / 2 @ frame, frame * half[:, None]
    pupils = np.array([wide[list(group)].mean(axis=0) for group in scheme.pupils]).reshape(-1, 2)
    known_eyes = len(pupils) == 2 and np.isfinite(pupils).all()
    eyes = _to_frame(pupils, centre, axes) if known_eyes else np.array([[-0.4, -0.55], [0.4, -0.55]])
    area = max(1, cv2.countNonZero(region))
    return FacePlace(region, area, centre, axes, hull=_to_frame(hull, centre, axes), eyes=eyes)


def place_picture(corners: Float[np.ndarray, "4 2"], size: int) -> FacePlace:
    """The place of a whole picture in a crop of ``size`` pixels, to cover shares of the picture instead of the face.

    ``corners`` are top left, top right, bottom right and bottom left of a rectangle, in pixels.
    """
    centre, (u, v) = corners.mean(axis=0), (corners[[1, 3]] - corners[0]) / 2
    region = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(region, np.round(corners * (1 << BITS)).astype(np.int32), 255, cv2.LINE_8, BITS)
    hull = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return FacePlace(region, max(1, cv2.countNonZero(region)), centre, np.stack([u, v]), hull, 0.25 * hull[:2])


def covered_share(mask: UInt8[np.ndarray, "s s"], face: FacePlace) -> float:
    """Share of the face's region under a mask; a pixel counts from half cover on."""
    covered = np.asarray(cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1], np.uint8)
    return cv2.countNonZero(cv2.bitwise_and(covered, face.region)) / face.area


def covered_points(mask: UInt8[np.ndarray, "h w"], points: Float[np.ndarray, "k 2"]) -> Bool[np.ndarray, " k"]:
    """Whether each point lies under a mask of at least half cover; points outside the picture do not."""
    height, width = mask.shape
    inside = np.isfinite(points).all(axis=1)
    x, y = np.rint(np.where(inside[:, None], points, -1.0)).astype(int).T
    inside &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.asarray(inside & (mask[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] >= 128), bool)


def _down(points: Float64[np.ndarray, "k 2"], scheme: Scheme) -> Float64[np.ndarray, " 2"]:
    """Unit vector from the middle of the eyes to the mouth; straight down where these are unknown or coincide."""
    mouth, eyes = list(scheme.mouth), [i for group in scheme.pupils for i in group]
    if not (mouth and eyes):
        return np.array([0.0, 1.0])
    step = points[mouth].mean(axis=0) - points[eyes].mean(axis=0)
    length = float(np.linalg.norm(step))
    return step / length if length > 1e-3 else np.array([0.0, 1.0])


def _to_frame(
    points: Float64[np.ndarray, "n 2"], centre: Float64[np.ndarray, " 2"], axes: Float64[np.ndarray, "2 2"]
) -> Float64[np.ndarray, "n 2"]:
    """Convert pixels to u and v; the axes are at right angles."""
    return np.asarray((points - centre) @ (axes / np.square(axes).sum(axis=1, keepdims=True)).T, np.float64)


Mask: TypeAlias = UInt8[np.ndarray, "s s"]
Shape: TypeAlias = Callable[[Mask, float], None]
"""(mask to paint into, level in [0, 1])."""


def strokes(rng: np.random.Generator, face: FacePlace) -> Shape:
    """One to four wandering brush strokes, which grow wider."""
    lines = []
    for _ in range(rng.integers(1, 5)):
        turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.8, rng.integers(4, 10)))
        steps = rng.uniform(0.2, 0.7, (len(turns), 1)) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        lines.append((rng.uniform(-0.9, 0.9, 2) + np.cumsum(steps, axis=0), rng.uniform(0.5, 1.0)))

    def draw(mask: Mask, level: float) -> None:
        for line, part in lines:
            _line(mask, face, line, 1.6 * level * part)

    return draw


def blob(rng: np.random.Generator, face: FacePlace) -> Shape:
    """A smooth closed curve about a place in the face."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(1, 6):
        radius += rng.normal(0, 0.45 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return _growing(rng, face, np.maximum(radius, 0.25)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def polygon(rng: np.random.Generator, face: FacePlace) -> Shape:
    """A shape of three to eight corners about a place in the face."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
    radius = rng.uniform(0.5, 1.3, (len(angle), 1))
    return _growing(rng, face, radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def box(rng: np.random.Generator, face: FacePlace) -> Shape:
    """A turned rectangle: a phone, a book, a sign."""
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * (1, rng.uniform(0.4, 1.0))
    return _growing(rng, face, corners @ _turn(rng.uniform(-np.pi, np.pi)))


def bar(rng: np.random.Generator, face: FacePlace) -> Shape:
    """A strip across the whole face: a pole, a strap, a censor's bar."""
    ends = np.array([[-4.0, rng.uniform(0.7, 1.0)], [4.0, rng.uniform(0.7, 1.0)]])
    turn, place = _turn(rng.uniform(-np.pi / 2, np.pi / 2)), rng.uniform(-0.8, 0.8, 2)

    def draw(mask: Mask, level: float) -> None:
        upper, lower = ends * (1, -1.1 * level), ends[::-1] * (1, 1.1 * level)
        _polygon(mask, face, place + np.concatenate([upper, lower]) @ turn)

    return draw


def side(rng: np.random.Generator, face: FacePlace) -> Shape:
    """A wavy edge that reaches in from one side: hair, a scarf, a wall, a shoulder."""
    t = np.linspace(-4, 4, 60)
    edge = sum(rng.normal(0, 0.22 / wave) * np.sin(1.7 * wave * t + rng.uniform(0, 2 * np.pi)) for wave in (1, 2, 4))
    far = np.array([[4.0, 9.0], [-4.0, 9.0]])
    turn = _turn(rng.uniform(-np.pi, np.pi))

    def draw(mask: Mask, level: float) -> None:
        curve = np.stack([t, 1.5 - 3.0 * level + edge], axis=1)
        _polygon(mask, face, np.concatenate([curve, far]) @ turn)

    return draw


def hand(rng: np.random.Generator, face: FacePlace) -> Shape:
    """Palm, forearm, four fingers and a thumb; the hand moves in from outside."""
    spread, bent = rng.uniform(0.0, 0.24), rng.uniform(0.55, 1.0, 4)
    bent = np.maximum(bent, rng.uniform(0.3, 1.0))
    thumb = float(rng.choice([-1.0, 1.0]))
    angles = (np.arange(4) - 1.5) * spread + rng.normal(0, 0.04, 4)
    roots = np.stack([(np.arange(4) - 1.5) * 0.25, np.array([-0.48, -0.55, -0.55, -0.46])], axis=1)
    lengths = np.array([0.75, 0.95, 0.9, 0.7]) * bent
    tips = roots + lengths[:, None] * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    out = rng.uniform(0.5, 1.1)
    thumb_line = np.array([[0.3, 0.25], [0.62, -0.1], [0.62 + 0.4 * np.sin(out), -0.1 - 0.45 * np.cos(out)]])
    palm = np.array([[-0.42, -0.5], [0.42, -0.5], [0.4, 0.2], [0.25, 0.55], [-0.25, 0.55], [-0.4, 0.2]])
    arm = np.array([[-0.27, 0.3], [0.27, 0.3], [0.36, 5.0], [-0.36, 5.0]])
    # In half widths of the face; a hand is about as long as a face from brow to chin.
    larger = rng.uniform(0.8, 1.2)
    turn, aim = _turn(rng.uniform(-0.75 * np.pi, 0.75 * np.pi)), rng.uniform(-0.5, 0.5, 2)

    def draw(mask: Mask, level: float) -> None:
        def at(points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
            return np.asarray(aim + larger * (points + np.array([0.0, 3.2 * (1 - level)])) @ turn, np.float64)

        _polygon(mask, face, at(arm))
        _polygon(mask, face, at(palm))
        _line(mask, face, at(np.concatenate([palm, palm[:1]])), 0.2 * larger)
        for root, tip in zip(roots, tips, strict=True):
            _line(mask, face, at(np.stack([root, tip])), 0.235 * larger)
        _line(mask, face, at(thumb_line * (thumb, 1)), 0.26 * larger)

    return draw


def face_mask(rng: np.random.Generator, face: FacePlace) -> Shape:
    """A mask of cloth over chin and mouth, with straps; its upper edge rises from the mouth over the nose."""
    wide = face.hull * (1.05, 1.04) + (0, 0.02)
    t = np.linspace(-1.6, 1.6, 25)
    rise, tilt = rng.uniform(0.05, 0.35), rng.normal(0, 0.06)
    nose = float(np.clip(face.eyes.mean(axis=0)[0], -0.9, 0.9))
    bow = rise * np.exp(-np.square((t - nose) / 0.45)) + tilt * t
    above = np.array([[1.6, -3.0], [-1.6, -3.0]])
    straps = rng.random() < 0.7

    def draw(mask: Mask, level: float) -> None:
        own = np.zeros_like(mask)
        top = 0.25 - 0.95 * level
        _polygon(own, face, wide)
        _polygon(own, face, np.concatenate([np.stack([t, top - bow], axis=1), above]), 0)
        if straps:
            ends = (top + 0.25, -0.45)
            for outward in (-1.0, 1.0):
                _line(own, face, np.array([[outward * 0.93, ends[0]], [outward * 1.15, ends[1]]]), 0.03)
        np.maximum(mask, own, out=mask)

    return draw


def glasses(rng: np.random.Generator, face: FacePlace) -> Shape:
    """Two dark lenses with bridge and arms, or one visor over both eyes."""
    right, left = face.eyes
    apart = max(float(np.linalg.norm(left - right)), 0.3)
    high, square = rng.uniform(0.6, 1.0), rng.uniform(2.0, 5.0)
    visor = rng.random() < 0.25
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    round_ = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lens = np.sign(round_) * np.abs(round_) ** (2 / square)
    arm = np.array([[0.35 * apart, 0.0], [2.0 * apart, 0.05]])
    lines = (right + arm * (-1, 1), left + arm, face.eyes)

    def draw(mask: Mask, level: float) -> None:
        reach = (0.25 + 0.37 * level) * apart
        if visor:
            _polygon(mask, face, (right + left) / 2 + lens * (0.5 * apart + 1.2 * reach, 1.3 * high * reach))
            return
        for eye in face.eyes:
            _polygon(mask, face, eye + (0, 0.15 * reach) + lens * (reach, high * reach))
        for line in lines:
            _line(mask, face, line - (0, 0.2 * reach), 0.05 + 0.05 * level)

    return draw


def clouds(rng: np.random.Generator, face: FacePlace) -> Shape:
    """Patches where a smooth random field is high: leaves, spray, dirt on the lens."""
    cells = int(rng.integers(4, 11))
    field = cv2.resize(rng.random((cells, cells), np.float32), (face.size, face.size), interpolation=cv2.INTER_CUBIC)
    low, high = float(field.min()), float(field.max())

    def draw(mask: Mask, level: float) -> None:
        mask[field > high - level * (high - low)] = 255

    return draw


def centre_square(rng: np.random.Generator, face: FacePlace) -> Shape:
    """An upright square about the centre of the face; nothing is random."""

    def draw(mask: Mask, level: float) -> None:
        half = level * float(np.linalg.norm(face.axes, axis=1).max())
        (x1, y1), (x2, y2) = (np.rint(face.centre + sign * half).astype(int) for sign in (-1, 1))
        mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 255

    return draw


def _growing(rng: np.random.Generator, face: FacePlace, outline: Float64[np.ndarray, "n 2"]) -> Shape:
    """An outline about a random place in the face, growing until it hides all of it."""
    centre = rng.uniform(-0.9, 0.9, 2)

    def draw(mask: Mask, level: float) -> None:
        _polygon(mask, face, centre + 4.0 * level * outline)

    return draw


def _polygon(mask: Mask, face: FacePlace, points: Float64[np.ndarray, "n 2"], value: int = 255) -> None:
    cv2.fillPoly(mask, [face.to_pixels(points)], value, cv2.LINE_AA, BITS)


def _line(mask: Mask, face: FacePlace, points: Float64[np.ndarray, "n 2"], width: float) -> None:
    cv2.polylines(mask, [face.to_pixels(points)], False, 255, face.width(width), cv2.LINE_AA, BITS)


def _turn(angle: float) -> Float64[np.ndarray, "2 2"]:
    """Rotation for points kept in rows."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


SHAPES: dict[str, Callable[[np.random.Generator, FacePlace], Shape]] = {
    shape.__name__: shape
    for shape in (strokes, blob, polygon, box, bar, side, hand, face_mask, glasses, clouds, centre_square)
}
"""Every shape by name."""

IRREGULAR = ("strokes", "blob", "polygon", "clouds")
"""Irregular masks, as inpainting papers use them."""

NATURAL = ("hand", "face_mask", "glasses", "side", "bar", "box", "blob", "polygon", "strokes", "clouds")
"""Shapes of things that hide faces in photos, most likely first, and irregular masks."""
