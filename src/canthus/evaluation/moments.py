"""The moments of a video in which a face closes its eyes or opens its mouth: curves of EAR and MAR with frames."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from canthus.evaluation.sheets import PREDICTED_COLOR, draw_dots
from canthus.geometry import crop_square, hull_box
from canthus.images import crop_image
from canthus.runtime.measures import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, eye_aspect_ratio, mouth_aspect_ratio
from canthus.runtime.video import VideoFrame
from canthus.schemes import IBUG_68, Scheme, convert
from canthus.types import TrackedFrame

SHUT, YAWN = 0.7, 0.4
"""Eyes count as closing below this share of their median EAR, a mouth as wide open above this MAR."""
YAWN_S = 0.5
"""A mouth that is wide open for a shorter time speaks or laughs."""
GAP_S = 0.15
"""Two closings, or two openings, that are no further apart than this are one."""
SHOWN = 6
"""Moments of each kind that are shown, the clearest ones."""
TILE = 160
"""Side of a face in pixels."""


class Moment(NamedTuple):
    """One frame: its number in the video, its place in the curve, and its time in seconds."""

    frame: int
    place: int
    time_s: float


@final
@dataclass(frozen=True)
class FaceCurves:
    """One face through a video, a row a frame in which it was seen; ratios are NaN where they are unknown.

    Attributes:
        frames: numbers of the frames.
        ear: mean ``eye_aspect_ratio`` of both eyes.
        mar: ``mouth_aspect_ratio``.
    """

    frames: Sequence[int]
    times_s: Float64[np.ndarray, " n"]
    ear: Float64[np.ndarray, " n"]
    mar: Float64[np.ndarray, " n"]
    points: Float32[np.ndarray, "n 68 2"]

    def blinks(self) -> list[Moment]:
        """The frames in which the eyes are shut furthest, one for each time they close, in order of time."""
        if not np.isfinite(self.ear).any():
            return []
        limit = SHUT * float(np.nanmedian(self.ear))
        return self._deepest(-self.ear, -limit, least_s=0.0)

    def yawns(self) -> list[Moment]:
        """The frames in which the mouth is open widest, one for each time it opens, in order of time."""
        return self._deepest(self.mar, YAWN, least_s=YAWN_S)

    def _deepest(self, values: Float[np.ndarray, " n"], limit: float, *, least_s: float) -> list[Moment]:
        above = np.concatenate([[False], values > limit, [False]])  # NaN is not above
        starts, ends = np.flatnonzero(np.diff(above.astype(np.int8)) == 1), np.flatnonzero(above[:-1] & ~above[1:])
        apart = self.times_s[starts[1:]] - self.times_s[ends[:-1] - 1] > GAP_S
        starts, ends = starts[np.append(True, apart)[: len(starts)]], ends[np.append(apart, True)[: len(ends)]]
        runs = [(a, b) for a, b in zip(starts, ends, strict=True) if self.times_s[b - 1] - self.times_s[a] >= least_s]
        found = [int(a) + int(np.nanargmax(values[a:b])) for a, b in runs]
        peaks = sorted(found, key=lambda place: -float(values[place]))[:SHOWN]
        return [Moment(self.frames[place], place, float(self.times_s[place])) for place in sorted(peaks)]


@final
@dataclass(frozen=True)
class FaceWatch:
    """Keeps the curves of all faces of a video with points of the scheme ``source``, 600 bytes a face and frame."""

    source: Scheme
    _seen: dict[int, list[tuple[int, float, Float32[np.ndarray, "68 2"]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, number: int, tracked: TrackedFrame) -> None:
        """Take in frame ``number``; blinks show in the points before smoothing.

        Raises:
            ConfigError: the points do not convert to ``ibug_68``.
        """
        faces = convert(tracked.measured, self.source, IBUG_68)
        for face, points in zip(tracked.ids.tolist(), faces, strict=True):
            self._seen[face].append((number, tracked.time_s, points))

    def longest(self) -> FaceCurves | None:
        """The curves of the face that was seen in most frames; None if there was none."""
        if not self._seen:
            return None
        frames, times, faces = zip(*max(self._seen.values(), key=len), strict=True)
        points = np.stack(faces)
        eyes = [eye_aspect_ratio(points[:, list(eye)]) for eye in (RIGHT_EYE, LEFT_EYE)]
        mar = mouth_aspect_ratio(points[:, list(INNER_MOUTH)])
        return FaceCurves(frames, np.array(times, np.float64), np.mean(eyes, axis=0), mar, points)


def moment_tiles(
    video: Iterable[VideoFrame], curves: FaceCurves, moments: Sequence[Moment]
) -> dict[int, UInt8[np.ndarray, "s s 3"]]:
    """Cut the face out of the frames of some moments, with the points of lids and lips: frame -> picture.

    The video is read to the last of them and no further.
    """
    wanted = {moment.frame: moment for moment in moments}
    tiles = {}
    for number, (image, _) in enumerate(video):
        if number in wanted:
            points = curves.points[wanted[number].place]
            tile, affine = crop_image(image, crop_square(hull_box(points), 1.4), TILE)
            shown = [*RIGHT_EYE, *LEFT_EYE, *INNER_MOUTH]
            draw_dots(tile, affine.apply(points[shown]), PREDICTED_COLOR, radius=1)
            tiles[number] = tile
        if len(tiles) == len(wanted):
            break
    return tiles
