"""Faces of real photos that move: lids, gaze, brows, mouth, cheeks and head along given courses.

A ``Puppet`` is one photo with its 68 points.  ``draw`` moves the points, and every triangle of the photo between them:
lids close, the jaw falls, corners of the mouth rise, and the head turns as a solid of rough depth.  What no photo of a
closed mouth shows is drawn: the inside of the mouth, teeth, and a hand.
"""

from dataclasses import dataclass, fields
from typing import final

import cv2
import numpy as np
from jaxtyping import Float, Float64, Int

from canthus.runtime.measures import LEFT_EYE, RIGHT_EYE
from canthus.types import Image

SIDE = 224
"""Side of the frames in pixels."""
EYES_PX = 62.0
"""Distance of the outer corners of the eyes in them; lengths below are in this unit."""
_PLACE = (SIDE / 2, 0.4 * SIDE)
_PIVOT = (0.0, 1.0, -0.7)
"""Where the head turns: x and y from between the eyes, and z towards the camera."""
_RING = 0.75


@final
@dataclass(frozen=True)
class Look:
    """How a face looks at one time; all zero is the photo.

    Attributes:
        lids: how far the upper lids fall: 0 as in the photo, 1 shut.
        lower: how far the lower lids rise, in heights of the eye.
        gaze: how far the eyes look down, in heights of the eye.
        aside: how far they look to the right of the picture, in widths of the eye.
        brows: rise of the brows.
        mouth: opening of the mouth.
        smile: 1 for a broad smile: corners of the mouth and cheeks rise, the mouth widens.
        yaw: turn of the head to the left of the picture, radians.
        pitch: turn down, radians.
        roll: clockwise, radians.
        x: shift to the right.
        y: shift down.
        hand: how far a hand covers the mouth, 0 to 1.
    """

    lids: float = 0.0
    lower: float = 0.0
    gaze: float = 0.0
    aside: float = 0.0
    brows: float = 0.0
    mouth: float = 0.0
    smile: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0
    hand: float = 0.0


LOOKS = tuple(field.name for field in fields(Look))


def _depths(points: Float64[np.ndarray, "68 2"]) -> Float64[np.ndarray, " 68"]:
    """Rough depth of each point towards the camera, in distances of the outer corners of the eyes."""
    z = np.zeros(68)
    turn = np.abs(np.arange(17) - 8) / 8
    z[:17] = 0.12 - 0.75 * turn**1.5
    z[17:27] = 0.2 - 0.55 * np.abs(points[17:27, 0])
    z[27:31] = (0.22, 0.3, 0.38, 0.45)
    z[31:36] = (0.23, 0.27, 0.3, 0.27, 0.23)
    z[36:48] = 0.12 - 0.35 * np.abs(points[36:48, 0])
    z[48:68] = 0.26 - 0.45 * np.abs(points[48:68, 0])
    return z


@final
class Puppet:
    """One face that can be moved.

    Args:
        photo: a frontal face with open eyes and a closed mouth.
        points: its 68 points in ``ibug_68`` order, in pixels.
    """

    def __init__(self, photo: Image, points: Float[np.ndarray, "68 2"]) -> None:
        right, left = points[36].astype(float), points[45].astype(float)
        (dx, dy), middle = left - right, (left + right) / 2
        turn = cv2.getRotationMatrix2D((0, 0), np.degrees(np.arctan2(dy, dx)), EYES_PX / float(np.hypot(dx, dy)))
        turn[:, 2] = np.array(_PLACE) - turn[:, :2] @ middle
        self._photo = cv2.warpAffine(photo, turn, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
        flat = (points @ turn[:, :2].T + turn[:, 2] - _PLACE) / EYES_PX
        self._still = self._solid(flat.astype(np.float64))
        self._triangles = _triangles(self._pixels(self._still[:, :2]))
        self._source = _with_ones(self._pixels(self._still[:, :2]))[self._triangles]
        self._least, self._most = self._source[..., :2].min(axis=1), self._source[..., :2].max(axis=1)
        self._gap = self._open_mouth(self._still)
        self._skin = np.median(self._photo[_patch(self._pixels(self._still[29:30, :2])[0], 12)].reshape(-1, 3), axis=0)
        # Every second pixel: the map bends at the edges of the triangles only, and is continuous.
        y, x = np.mgrid[0.5:SIDE:2, 0.5:SIDE:2].astype(np.float32)
        self._grid = x.ravel(), y.ravel()

    @staticmethod
    def _pixels(flat: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        return flat * EYES_PX + _PLACE

    @staticmethod
    def _solid(flat: Float64[np.ndarray, "68 2"]) -> Float64[np.ndarray, "n 3"]:
        """The 68 points, pupils, cheeks, forehead, a ring about the head, and the frame, with depths."""
        z = _depths(flat)
        pupils = [flat[list(eye)].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE)]
        cheeks = [(flat[a] + flat[b]) / 2 for a, b in ((41, 48), (46, 54), (2, 48), (14, 54))]
        brow = flat[17:27].mean(axis=0)
        above = zip((flat[17], flat[19], brow, flat[24], flat[26]), (0.45, 0.6, 0.75, 0.6, 0.45), strict=True)
        forehead = np.array([place - (0, rise) for place, rise in above])
        middle = np.array([0.0, 0.25])
        ring = middle + (np.concatenate([flat[0:17:2], forehead]) - middle) * 1.45
        edge = np.array([(x, y) for x in (-1.81, -0.6, 0.6, 1.81) for y in (-1.45, 0.4, 2.17)])
        edge = edge[(np.abs(edge[:, 0]) > 1) | (np.abs(edge[:, 1] - 0.4) > 1)]
        parts = [flat, np.array(pupils), np.array(cheeks), forehead, ring, edge]
        eyes = [float(z[list(eye)].mean()) + 0.02 for eye in (RIGHT_EYE, LEFT_EYE)]
        depth = [*z, *eyes, 0.08, 0.08, -0.15, -0.15, -0.1, 0.1, 0.15, 0.1, -0.1, *[-0.7] * (len(ring) + len(edge))]
        return np.column_stack([np.concatenate(parts), depth])

    @staticmethod
    def _open_mouth(points: Float64[np.ndarray, "n d"]) -> float:
        return float(np.linalg.norm(points[[61, 62, 63], :2] - points[[67, 66, 65], :2], axis=1).mean())

    def points(self, look: Look) -> Float64[np.ndarray, "n 3"]:
        """All points of the mesh, in pixels, and their depth; the first 68 are those of the face."""
        p = self._still.copy()
        _move_lids(p, look)
        p[17:27, 1] -= look.brows
        p[[74, 75, 76, 77, 78], 1] -= 0.4 * look.brows
        _move_mouth(p, look)
        rings = slice(79, 93)
        turned = _turned(p, look)
        turned[rings] = p[rings] + _RING * (turned[rings] - p[rings])
        turned[93:] = p[93:]
        turned[:, :2] = self._pixels(turned[:, :2])
        return turned

    def draw(self, look: Look) -> Image:
        """The face; its pixels are those of the photo, moved with the points."""
        points = self.points(look)
        corners = points[:, :2][self._triangles]
        (x0, y0), (x1, y1), (x2, y2) = np.moveaxis(corners, 0, -1)
        area = np.abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
        order = np.argsort(points[:, 2][self._triangles].mean(axis=1))
        order = order[area[order] > 0.5]  # of a shut eye nothing is seen
        index = np.zeros((SIDE // 2, SIDE // 2), np.int32)
        whole = np.round((corners - 0.5) * 8).astype(np.int32)
        for number in order.tolist():
            cv2.fillConvexPoly(index, whole[number], number, shift=4)
        # No pixel shows what lies beyond its triangle: those of a slit, as of an eye nearly shut, bend the map most.
        rows = [_inverse_maps(corners, self._source).reshape(-1, 6), self._least, self._most]
        a, b, c, d, e, f, *ends = np.concatenate(rows, axis=1, dtype=np.float32).T[:, index.ravel()]
        x, y = self._grid
        halves = [
            np.clip(place, least, most).reshape(SIDE // 2, SIDE // 2)
            for place, least, most in ((a * x + b * y + c, *ends[::2]), (d * x + e * y + f, *ends[1::2]))
        ]
        xs, ys = (np.asarray(cv2.resize(half, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)) for half in halves)
        drawn = cv2.remap(self._photo, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        gap = self._open_mouth(points) / EYES_PX - self._gap
        if gap > 0.02:
            drawn = _with_mouth(drawn, points, min((gap - 0.02) / 0.05, 1.0), self._skin, teeth=look.smile > 0.3)
        return drawn if look.hand <= 0 else self._with_hand(drawn, points, look.hand)

    def _with_hand(self, drawn: Image, points: Float64[np.ndarray, "n 3"], share: float) -> Image:
        """A fist with four fingers before the mouth, coming from below."""
        x, y = points[48:68, :2].mean(axis=0).tolist()
        y += (1 - share) * 1.6 * EYES_PX
        canvas = drawn.copy()
        skin = self._skin * 0.92
        wide, high = 0.5 * EYES_PX, 0.42 * EYES_PX
        cv2.ellipse(canvas, ((x, y + 0.9 * EYES_PX), (0.8 * EYES_PX, 1.6 * EYES_PX), 0), skin.tolist(), -1, cv2.LINE_AA)
        for finger in range(4):
            place = (x, y + (finger - 1.5) * high * 0.55)
            shade = (skin * (0.86 + 0.05 * (finger % 2))).tolist()
            cv2.ellipse(canvas, (place, (2.1 * wide, 0.7 * high), 4.0), shade, -1, cv2.LINE_AA)
            cv2.ellipse(canvas, (place, (2.1 * wide, 0.7 * high), 4.0), (skin * 0.6).tolist(), 1, cv2.LINE_AA)
        return canvas


def _move_lids(p: Float64[np.ndarray, "n 3"], look: Look) -> None:
    for eye, pupil in ((RIGHT_EYE, 68), (LEFT_EYE, 69)):
        upper, lower = list(eye[1:3]), [eye[5], eye[4]]
        height = p[lower] - p[upper]
        width = float(np.linalg.norm(p[eye[3], :2] - p[eye[0], :2]))
        p[lower] -= min(look.lower, 0.9) * height
        p[lower, 1] += 0.12 * look.gaze * height[:, 1]  # the lower lid follows the eye
        p[upper] += look.lids * (p[lower] - p[upper])
        p[pupil, :2] = p[[*upper, *lower], :2].mean(axis=0)
        p[pupil, 1] += look.gaze * 0.3 * float(height[:, 1].mean()) * (1 - look.lids)
        p[pupil, 0] += look.aside * width


def _move_mouth(p: Float64[np.ndarray, "n 3"], look: Look) -> None:
    low = np.zeros(len(p))
    low[[55, 56, 57, 58, 59, 65, 66, 67]] = (0.75, 0.95, 1, 0.95, 0.75, 0.9, 1, 0.9)
    low[[48, 60, 54, 64]] = 0.35
    low[3:14] = (0.1, 0.35, 0.65, 0.85, 0.95, 1, 0.95, 0.85, 0.65, 0.35, 0.1)
    p[:, 1] += look.mouth * low
    p[[50, 51, 52, 61, 62, 63], 1] -= 0.06 * look.mouth
    mouth = slice(48, 68)
    middle = float(p[mouth, 0].mean())
    p[mouth, 0] = middle + (p[mouth, 0] - middle) * (1 + 0.32 * look.smile - 0.25 * look.mouth)
    p[[48, 60, 54, 64], 1] -= 0.1 * look.smile
    p[[49, 53, 59, 55], 1] -= 0.04 * look.smile
    p[70:72, 1] -= 0.09 * look.smile
    p[72:74, 0] += np.array([-0.04, 0.04]) * look.smile


def _turned(p: Float64[np.ndarray, "n 3"], look: Look) -> Float64[np.ndarray, "n 3"]:
    (cy, cp, cr), (sy, sp, sr) = (np.array([f(look.yaw), f(look.pitch), f(look.roll)]) for f in (np.cos, np.sin))
    x, y, z = (p - _PIVOT).T
    x, z = cy * x - sy * z, sy * x + cy * z
    y, z = cp * y + sp * z, -sp * y + cp * z
    x, y = cr * x - sr * y, sr * x + cr * y
    return np.column_stack([x, y, z]) + _PIVOT + (look.x, look.y, 0)


def _triangles(pixels: Float64[np.ndarray, "n 2"]) -> Int[np.ndarray, "t 3"]:
    """Delaunay triangles of the points of the photo."""
    division = cv2.Subdiv2D((-1000, -1000, 3000, 3000))
    keys = {}
    for number, (x, y) in enumerate(pixels.tolist()):
        division.insert((x + number * 1e-4, y + number * 1e-4))  # no two at one place
        keys[round(x + number * 1e-4, 2), round(y + number * 1e-4, 2)] = number
    found = []
    for triangle in np.asarray(division.getTriangleList()).reshape(-1, 3, 2).tolist():
        corners = [keys.get((round(x, 2), round(y, 2))) for x, y in triangle]
        if None not in corners:
            found.append(corners)
    return np.array(found, np.int64)


def _inverse_maps(
    corners: Float64[np.ndarray, "t 3 2"], source: Float64[np.ndarray, "t 3 3"]
) -> Float[np.ndarray, "t 2 3"]:
    """For each triangle the affine map from the frame to the photo; any for those without an area."""
    (x0, y0), (x1, y1), (x2, y2) = np.moveaxis(corners, 0, -1)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    area = np.where(np.abs(area) < 1e-3, 1e-3, area)
    weights = np.array([[y1 - y2, x2 - x1, x1 * y2 - x2 * y1], [y2 - y0, x0 - x2, x2 * y0 - x0 * y2],
                        [y0 - y1, x1 - x0, x0 * y1 - x1 * y0]]) / area  # fmt: skip
    return (source[:, :, :2].transpose(0, 2, 1) @ weights.transpose(2, 0, 1)).astype(np.float32)


def _with_ones(points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 3"]:
    return np.column_stack([points, np.ones(len(points))])


def _patch(centre: Float64[np.ndarray, " 2"], half: int) -> tuple[slice, slice]:
    x, y = (round(float(value)) for value in centre)
    return slice(max(y - half, 0), y + half), slice(max(x - half, 0), x + half)


def _with_mouth(
    drawn: Image, points: Float64[np.ndarray, "n 3"], share: float, skin: Float64[np.ndarray, " 3"], *, teeth: bool
) -> Image:
    """The inside of the open mouth."""
    lips = points[60:68, :2]
    left, top = np.floor(lips.min(axis=0)).astype(int) - 3
    right, bottom = np.ceil(lips.max(axis=0)).astype(int) + 4
    left, top = max(left, 0), max(top, 0)
    part = drawn[top:bottom, left:right].astype(np.float32)
    if part.size == 0:
        return drawn
    mask = np.zeros(part.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.round((lips - (left, top)) * 16).astype(np.int32)], share, cv2.LINE_8, shift=4)
    soft = np.asarray(cv2.GaussianBlur(mask, (3, 3), 0))[..., None]
    inside = np.full_like(part, skin * (0.32, 0.2, 0.2))
    if teeth:
        edge = lips[4:0:-1] + np.array([0, 0.35 * float(np.ptp(lips[:, 1]))])
        upper = np.concatenate([lips[:5], edge])
        cv2.fillPoly(
            inside, [np.round(upper - (left, top)).astype(np.int32)], np.minimum(skin * (1.15, 1.3, 1.4), 235).tolist()
        )
    canvas = drawn.copy()
    canvas[top:bottom, left:right] = np.round(soft * inside + (1 - soft) * part).astype(np.uint8)
    return canvas
