"""Draw boxes and landmarks on pictures."""

import itertools

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.geometry import shared_areas
from canthus.images import checked_image
from canthus.pose import rotation_matrix
from canthus.schemes import Scheme
from canthus.types import Frame, Image, TrackedFrame

Color = tuple[int, int, int]
"""RGB, each 0 to 255."""

SHIFT = 4
"""OpenCV draws at sixteenths of a pixel: coordinates are integers with this many binary places."""
FAR = 2.0**20
"""Points further from the picture's corner than this, in pixels, are not drawn; nor are NaN."""

BOX_COLOR = (255, 255, 255)
POINT_COLOR = (255, 255, 255)
POINT_EDGE = (20, 20, 20)
GROUP_COLORS = {
    "jaw": (90, 200, 250),
    "brow": (255, 204, 64),
    "nose": (120, 230, 130),
    "eye": (80, 240, 240),
    "mouth": (255, 120, 140),
}
"""Part of a group's name -> color of its line, RGB."""
DOUBT_COLORS = ((235, 40, 40), (255, 150, 40), POINT_COLOR)
"""Points of confidence 0, 0.5 and 1, RGB; between them in proportion."""
HOLLOW_BELOW = 0.5
"""Points of less confidence are drawn as rings."""
AXES = (((-1, 0, 0), (255, 90, 90)), ((0, -1, 0), (90, 220, 90)), ((0, 0, -1), (90, 150, 255)))
"""Directions of a head at zero pose and their colors, RGB: to the subject's right, to the crown, out of the face."""
OTHER_COLOR = (230, 230, 230)
CLOSED = ("eye", "mouth")
"""Groups whose name ends so are drawn as closed lines, if they have four points or more."""
LOOSE = ("points", "other")
"""Groups without an order, which are drawn without lines."""


def draw_frame(image: Image, frame: Frame, *, angles: Float32[np.ndarray, "n 3"] | None = None) -> Image:
    """Draw boxes, contours and points on a copy of the picture; line widths scale with the size of each face.

    A doubtful face, whose points are more likely wrong than right, has an orange to red box that says so.

    Args:
        angles: yaw, pitch and roll of each face in radians, as ``head_pose`` gives them, to draw the axes of the head.

    Raises:
        TypeError: not an array, or not a ``Frame``.
        ValueError: not an RGB picture, uint8 ``(h, w, 3)``.
    """
    if not isinstance(frame, Frame):
        raise TypeError(f"Expected the Frame that a pipeline returns, found {type(frame).__name__}")
    canvas = np.ascontiguousarray(checked_image(image)).copy()
    # Large faces first, so that small ones in front of them stay visible.
    sides = (frame.faces.boxes[:, 2:] - frame.faces.boxes[:, :2]).max(axis=1, initial=0.0)
    for index in np.argsort(-sides, kind="stable"):
        size = float(sides[index])
        face = frame[int(index)]
        color = BOX_COLOR if face.face_confidence is None or not face.doubtful else doubt_color(face.face_confidence)
        draw_box(canvas, face.box, width=line_width(size), color=color)
        draw_points(canvas, face.points, face.scheme, size=size, scores=face.confidence)
        if angles is not None:
            draw_axes(canvas, (face.box[:2] + face.box[2:]) / 2, angles[index], size=size)
        if face.doubtful:
            height = max(8.0, 0.07 * size)
            draw_text(
                canvas, "doubtful", (float(face.box[0]), float(face.box[3]) + 1.5 * height), height=height, color=color
            )
    return canvas


def draw_tracked(image: Image, tracked: TrackedFrame, *, angles: Float32[np.ndarray, "n 3"] | None = None) -> Image:
    """Draw a frame as ``draw_frame`` does, with the number of each face above its box."""
    canvas = draw_frame(image, tracked.frame, angles=angles)
    for identity, box in zip(tracked.ids, tracked.frame.faces.boxes, strict=True):
        draw_text(
            canvas, f"#{identity}", (float(box[0]), float(box[1]) - 5), height=max(8.0, 0.09 * float(box[3] - box[1]))
        )
    return canvas


def draw_text(
    canvas: Image, text: str, place: tuple[float, float], *, height: float = 12.0, color: Color = POINT_COLOR
) -> None:
    """Write one line of ASCII text onto ``canvas``, with a dark outline.

    Args:
        place: left end of the baseline in pixels; moved into the picture if it lies outside.
        height: of a capital letter, in pixels.
    """
    scale = height / 22  # Hershey's simplex capitals are 22 pixels high at scale 1
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = round(min(max(place[0], 2), max(canvas.shape[1] - width - 2, 2)))
    y = round(min(max(place[1], height + 2), canvas.shape[0] - 3))
    stroke = max(1, round(height / 10))
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, POINT_EDGE, stroke + 2, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, color, stroke, cv2.LINE_AA)


def line_width(size: float) -> int:
    """Width in pixels of the lines of a face ``size`` pixels large."""
    return max(1, round(size / 220))


def draw_box(canvas: Image, box: Float[np.ndarray, " 4"], *, width: int, color: Color = BOX_COLOR) -> None:
    """Draw a box onto ``canvas``: thick corners and thin, faint sides."""
    x1, y1, x2, y2 = (float(v) - 0.5 for v in box)
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    faint = canvas.copy() if canvas.size < 3_000_000 else canvas
    _line(faint, corners, color, width=1, closed=True)
    if faint is not canvas:
        cv2.addWeighted(faint, 0.45, canvas, 0.55, 0, dst=canvas)
    arm = 0.16 * min(x2 - x1, y2 - y1)
    for corner, before, after in zip(corners, np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0), strict=True):
        ends = [corner + arm * (end - corner) / max(float(np.abs(end - corner).max()), 1e-6) for end in (before, after)]
        _line(canvas, np.array([ends[0], corner, ends[1]]), color, width=width + 1, closed=False)


def draw_points(
    canvas: Image,
    points: Float[np.ndarray, "k 2"],
    scheme: Scheme,
    *,
    size: float,
    scores: Float[np.ndarray, " k"] | None = None,
) -> None:
    """Draw contour lines per group of the scheme, then the points, onto ``canvas``.

    Points turn from white over orange to red as their confidence falls; below ``HOLLOW_BELOW`` they are rings.

    Args:
        points: in pixels of the canvas.
        size: of the face in pixels; sets the widths.
        scores: confidence of each point in [0, 1]; if None, all points look the same.
    """
    for name, indices in scheme.groups.items():
        if name in LOOSE:
            continue
        closed = name.endswith(CLOSED) and len(indices) >= 4
        _line(canvas, points[list(indices)], group_color(name), width=line_width(size), closed=closed)
    radius = max(0.5, size / 140)
    for index, (x, y) in enumerate(points):
        score = 1.0 if scores is None else float(scores[index])
        place = (float(x), float(y))
        if score < HOLLOW_BELOW:
            _circle(canvas, place, 1.7 * radius, doubt_color(score), line_width(size))
            continue
        if radius > 1:  # on small faces dark edges would run together
            _circle(canvas, place, 1.4 * radius, POINT_EDGE, cv2.FILLED)
        _circle(canvas, place, radius, doubt_color(score), cv2.FILLED)


def draw_axes(canvas: Image, centre: Float[np.ndarray, " 2"], angles: Float[np.ndarray, " 3"], *, size: float) -> None:
    """Draw the axes of a head onto ``canvas``, as seen from the camera; nothing for angles that are NaN.

    Args:
        centre: where they start, in pixels.
        angles: yaw, pitch and roll in radians.
        size: of the face in pixels; the axes are half as long.
    """
    if not np.isfinite(angles).all():
        return
    turn = rotation_matrix(angles)
    for axis, color in AXES:
        end = centre + 0.5 * size * (turn @ np.array(axis, np.float64))[:2]
        _line(canvas, np.stack([centre, end]), POINT_EDGE, width=line_width(size) + 3, closed=False)
        _line(canvas, np.stack([centre, end]), color, width=line_width(size) + 1, closed=False)


_PAPER, _PALE, _EMPTY = (28, 32, 38), (70, 78, 88), 0.04
"""Colors of the paper and of the lines between mirror images, RGB; and the part of the side that stays empty."""


def draw_scheme(scheme: Scheme, mean: Float[np.ndarray, "k 2"], *, side: int = 1000) -> Image:
    """The numbered points of a face on dark paper, with the lines of groups, and thin lines between mirror images.

    Args:
        mean: points of an upright face in any unit, such as a mean face.
        side: of the picture in pixels.
    """
    canvas = np.full((side, side, 3), _PAPER, np.uint8)
    height = 0.012 * side
    low, high = mean.min(axis=0), mean.max(axis=0)
    scale = side * (1 - 4 * _EMPTY) / max(float((high - low).max()), 1e-9)
    places = (mean - (low + high) / 2) * scale + side / 2
    for index, other in enumerate(scheme.mirror):
        if index < other:
            _line(canvas, places[[index, other]], _PALE, width=1, closed=False)
    draw_points(canvas, places, scheme, size=0.4 * side)
    for row, (name, indices) in enumerate(scheme.groups.items()):
        text = f"{name.encode('ascii', 'replace').decode()}: {len(indices)}"
        draw_text(canvas, text, (0.4 * height, (2 * row + 2) * height), height=height, color=group_color(name))
    spots = [places, *(_along(places[list(indices)]) for name, indices in scheme.groups.items() if name not in LOOSE)]
    taken = np.tile(np.concatenate(spots), 2) + height / 4 * np.array([-1, -1, 1, 1])
    for index, place in enumerate(places):
        text = str(index)
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, height / 22, 1)
        around = [_beside(place, angle, reach * height, width, height) for reach in (1.0, 1.8) for angle in range(8)]
        best = around[int(shared_areas(np.stack(around), taken).sum(axis=1).argmin())]
        taken = np.append(taken, best[None], axis=0)
        draw_text(canvas, text, (float(best[0]), float(best[3])), height=height)
    return canvas


def _along(points: Float[np.ndarray, "m 2"]) -> Float64[np.ndarray, "s 2"]:
    """Places on the lines from point to point."""
    steps = np.linspace(0, 1, 12)[:, None]
    return np.concatenate([points[:1], *(a + steps * (b - a) for a, b in itertools.pairwise(points))])


def _beside(
    place: Float[np.ndarray, " 2"], eighth: int, away: float, width: float, height: float
) -> Float64[np.ndarray, " 4"]:
    """The box of a text in one of eight directions from a point, the first to the right."""
    angle = eighth * np.pi / 4
    x = float(place[0]) + np.cos(angle) * (away + width / 2)
    y = float(place[1]) - np.sin(angle) * (away + height / 2)
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def doubt_color(score: float) -> Color:
    """RGB color of a point with this confidence."""
    channels = np.array(DOUBT_COLORS, np.float64).T
    red, green, blue = (round(float(np.interp(score, (0.0, 0.5, 1.0), channel))) for channel in channels)
    return red, green, blue


def group_color(name: str) -> Color:
    """RGB color of the lines of a group."""
    return next((color for part, color in GROUP_COLORS.items() if part in name), OTHER_COLOR)


def _line(canvas: Image, points: Float[np.ndarray, "m 2"], color: Color, *, width: int, closed: bool) -> None:
    # OpenCV's clipping overflows far outside the picture; no line of a face comes near this bound.
    near = points[(np.abs(points) < FAR).all(axis=1)]
    fixed = np.round(near * 2**SHIFT).astype(np.int32)
    cv2.polylines(canvas, [fixed[:, None]], closed, color, width, cv2.LINE_AA, SHIFT)


def _circle(canvas: Image, place: tuple[float, float], radius: float, color: Color, width: int) -> None:
    x, y = place
    if not max(abs(x), abs(y)) < FAR:
        return
    centre = (round(x * 2**SHIFT), round(y * 2**SHIFT))
    cv2.circle(canvas, centre, round(radius * 2**SHIFT), color, width, cv2.LINE_AA, SHIFT)
