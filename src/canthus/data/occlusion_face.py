"""Where a face lies in a crop, as occluders see it: its region, its centre and its axes."""

import math
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64, Int32, UInt8

from canthus.schemes import Scheme

BITS = 4
"""Fractional bits of the coordinates that OpenCV draws with."""


@final
@dataclass(frozen=True)
class FacePlace:
    """A face in a crop, with a frame of its own in which occluders are thought out.

    In that frame u points to the subject's left and v to the chin; the extremes of the landmarks are at -1 and 1.

    Attributes:
        region: 255 inside the hull of the landmarks, the area that covered shares count.
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
        """From u and v to the fixed-point pixels that OpenCV draws with."""
        return np.asarray(np.round((points @ self.axes + self.centre) * (1 << BITS)), np.int32)

    def width(self, share: float) -> int:
        """Whole pixels of a line ``share`` half widths of the face wide, at least one."""
        return max(1, round(share * math.hypot(*self.axes[0])))


def place_face(points: Float[np.ndarray, "k 2"], scheme: Scheme, size: int) -> FacePlace | None:
    """Find the face's region and frame from its landmarks.

    Args:
        points: in pixels of the crop; NaN where unknown.
        scheme: numbering of the points.
        size: side of the crop in pixels.

    Returns:
        None where fewer than three points are known or they lie on a line.
    """
    wide = points.astype(np.float64)
    known = wide[np.isfinite(wide).all(axis=1)]
    if len(known) < 3:
        return None
    down = _down(wide, scheme)
    across = np.array([down[1], -down[0]])
    place = known @ np.stack([across, down]).T
    low, high = place.min(axis=0), place.max(axis=0)
    half = (high - low) / 2
    if (half < 1).any():
        return None
    hull = cv2.convexHull(known.astype(np.float32))[:, 0].astype(np.float64)
    region = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(region, np.round(hull * (1 << BITS)).astype(np.int32), 255, cv2.LINE_8, BITS)
    middle = (low + high) / 2
    frame = np.stack([across, down])
    centre = middle @ frame
    axes = frame * half[:, None]
    return FacePlace(
        region=region,
        area=max(1, cv2.countNonZero(region)),
        centre=centre,
        axes=axes,
        hull=_to_frame(hull, centre, axes),
        eyes=_eyes(wide, scheme, centre, axes),
    )


def covered_share(mask: UInt8[np.ndarray, "s s"], face: FacePlace) -> float:
    """Share of the face's region under a mask: pixels of at least half cover, counted."""
    return cv2.countNonZero(cv2.bitwise_and(_binary(mask), face.region)) / face.area


def covered_points(mask: UInt8[np.ndarray, "h w"], points: Float[np.ndarray, "k 2"]) -> Bool[np.ndarray, " k"]:
    """Which points lie under a mask of at least half cover; points outside the picture do not."""
    height, width = mask.shape
    inside = np.isfinite(points).all(axis=1)
    x, y = np.rint(np.where(inside[:, None], points, -1.0)).astype(int).T
    inside &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.asarray(inside & (mask[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] >= 128), bool)


def _binary(mask: UInt8[np.ndarray, "s s"]) -> UInt8[np.ndarray, "s s"]:
    return np.asarray(cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _down(points: Float64[np.ndarray, "k 2"], scheme: Scheme) -> Float64[np.ndarray, " 2"]:
    """Unit vector from between the eyes to the mouth; of the picture where these are unknown or coincide."""
    mouth = [i for name, group in scheme.groups.items() if "mouth" in name for i in group]
    eyes = [i for group in scheme.pupils for i in group]
    step = points[mouth].mean(axis=0) - points[eyes].mean(axis=0)
    length = float(np.linalg.norm(step))
    return step / length if length > 1e-3 else np.array([0.0, 1.0])


def _eyes(
    points: Float64[np.ndarray, "k 2"],
    scheme: Scheme,
    centre: Float64[np.ndarray, " 2"],
    axes: Float64[np.ndarray, "2 2"],
) -> Float64[np.ndarray, "2 2"]:
    pupils = np.stack([points[list(group)].mean(axis=0) for group in scheme.pupils])
    places = _to_frame(pupils, centre, axes)
    return np.where(np.isfinite(places).all(), places, np.array([[-0.4, -0.55], [0.4, -0.55]]))


def _to_frame(
    points: Float64[np.ndarray, "n 2"], centre: Float64[np.ndarray, " 2"], axes: Float64[np.ndarray, "2 2"]
) -> Float64[np.ndarray, "n 2"]:
    """From pixels to u and v; the axes are at right angles."""
    return np.asarray((points - centre) @ (axes / np.square(axes).sum(axis=1, keepdims=True)).T, np.float64)
