"""Follow faces through a video; tell faces from things that only look like one."""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Bool, Float32

from canthus.errors import ConfigError
from canthus.geometry import box_iou, box_size, hull_box
from canthus.images import checked_image
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.pipeline import Pipeline
from canthus.runtime.smoother import OneEuroFilter
from canthus.schemes import Scheme
from canthus.types import Faces, Frame, Image, Landmarks, TrackedFrame


@final
@dataclass(frozen=True)
class Plausibility:
    """Bounds within which points count as a face; all lengths in units of the longer side of the face box.

    Attributes:
        least_pixels: longer side of the smallest face.
        aspect: width of the box over its height; profiles are narrow, wide-open laughing faces of children wide.
        eye_distance: between the outer corners of the eyes; the lower bound is what a profile keeps.
        inside: least share of the box within the picture.
        jump: shift of the centre between two frames that is always allowed ...
        jump_per_s: ... and what is allowed on top for each second between them.
        growth: factor of the size between two frames that is allowed.
    """

    least_pixels: float = 16.0
    aspect: tuple[float, float] = (0.5, 1.8)
    eye_distance: tuple[float, float] = (0.15, 0.95)
    inside: float = 0.5
    jump: float = 0.25
    jump_per_s: float = 5.0
    growth: float = 1.4

    def is_face(self, points: Float32[np.ndarray, "k 2"], scheme: Scheme, *, width: int, height: int) -> bool:
        """Whether the points of one frame have the proportions of a face in a picture of this size."""
        if not np.isfinite(points).all():
            return False
        box = hull_box(points)
        w, h = (float(v) for v in box_size(box))
        side = max(w, h)
        if side < self.least_pixels or not self.aspect[0] <= w / max(h, 1e-6) <= self.aspect[1]:
            return False
        clipped = np.clip(box, 0, [width, height, width, height])
        if float(box_size(clipped).prod()) < self.inside * w * h:
            return False
        right, left = (points[index] for index in scheme.eye_corners)
        distance = float(np.linalg.norm(left - right)) / side
        return self.eye_distance[0] <= distance <= self.eye_distance[1] and _mouth_below_eyes(points, scheme)

    def follows(self, box: Float32[np.ndarray, " 4"], before: Float32[np.ndarray, " 4"], *, step_s: float) -> bool:
        """Whether a face can have come from the box ``before`` to ``box`` in ``step_s`` seconds."""
        side, side_before = float(box_size(box).max()), float(box_size(before).max())
        shift = float(np.linalg.norm((box[:2] + box[2:] - before[:2] - before[2:]) / 2))
        ratio = side / max(side_before, 1e-6)
        grown = max(ratio, 1 / max(ratio, 1e-6))
        return shift <= side_before * (self.jump + self.jump_per_s * step_s) and grown <= self.growth


def _mouth_below_eyes(points: Float32[np.ndarray, "k 2"], scheme: Scheme) -> bool:
    """The mouth lies on the lower side of the line through the eyes, however the head is rolled."""
    right, left = (points[list(indices)].mean(axis=0) for indices in scheme.pupils)
    mouth = points[[i for name, group in scheme.groups.items() if "mouth" in name for i in group]].mean(axis=0)
    (ax, ay), (bx, by) = left - right, mouth - (left + right) / 2
    return float(ax * by - ay * bx) > 0


@final
@dataclass(frozen=True)
class Smoothing:
    """Settings of the ``OneEuroFilter`` of each face."""

    min_cutoff_hz: float = 0.5
    beta: float = 30.0
    derivative_cutoff_hz: float = 4.0

    def create(self) -> OneEuroFilter:
        """A filter for one face."""
        return OneEuroFilter(
            min_cutoff_hz=self.min_cutoff_hz, beta=self.beta, derivative_cutoff_hz=self.derivative_cutoff_hz
        )


@final
@dataclass(frozen=True)
class TrackerSettings:
    """When to look for faces again, and when to give one up; nothing counts frames.

    Attributes:
        detect_every_s: the whole picture is searched this often while faces are followed ...
        search_every_s: ... and this often while there is none, or one was lost.
        unconfirmed_s: a face that the detector has not seen for as long is given up, since a landmark network finds
            "points" on a wall as well.  Longer than closed eyes, a hand at the chin or a look to the side last.
        remember_s: a face that comes back within this time, where it was, keeps its number.
        same_overlap: a detection belongs to a followed face if their boxes overlap by more (intersection over union).
        drift_overlap: if they overlap by less than this, the points are found anew from the detection.
        smoothing: None for no smoothing.
        plausibility: what counts as a face.
    """

    detect_every_s: float = 1.0
    search_every_s: float = 0.2
    unconfirmed_s: float = 5.0
    remember_s: float = 3.0
    same_overlap: float = 0.2
    drift_overlap: float = 0.5
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    plausibility: Plausibility = field(default_factory=Plausibility)

    def __post_init__(self) -> None:
        times = (self.detect_every_s, self.search_every_s, self.unconfirmed_s, self.remember_s)
        if min(times) < 0 or self.unconfirmed_s <= self.detect_every_s:
            raise ConfigError(
                f"Expected times of 0 s or more, and unconfirmed_s above detect_every_s; found {times} "
                "(detect_every_s, search_every_s, unconfirmed_s, remember_s)"
            )


@final
@dataclass
class _Track:
    """One followed face; changes from frame to frame."""

    number: int
    points: Float32[np.ndarray, "k 2"]
    confidence: Float32[np.ndarray, " k"] | None
    """Of the points, where the model gives it."""
    box: Float32[np.ndarray, " 4"]
    score: float
    seen_s: float
    """When it was last marked."""
    confirmed_s: float
    """When the detector last saw it."""
    filter: OneEuroFilter | None


@final
class Tracker:
    """Follow the faces of one video.

    The landmarks of a frame say where to cut in the next one, so the detector runs now and then only: at the start,
    every ``detect_every_s``, and when a face is lost.  A face is lost when its points cannot be a face or leapt
    (``Plausibility``), when the detector has not seen it for ``unconfirmed_s``, or when it slid onto another one.

    Args:
        pipeline: detector and landmark model; the numbering must have a jaw, as its hull steers the next crop.
        settings: see there.

    Raises:
        ConfigError: the model's points do not span a face box.

    Example:
        >>> tracker = Tracker(load_pipeline())
        >>> for image, time_s in read_video("drive.mp4"):
        ...     print(tracker(image, time_s).ids)
    """

    def __init__(self, pipeline: Pipeline, settings: TrackerSettings | None = None) -> None:
        scheme = pipeline.landmarker.session.scheme
        if len(scheme.groups.get("jaw", ())) < 5:
            raise ConfigError(
                f"Tracking cuts each frame by the hull of the last points, which needs a jaw line; {scheme.name} has "
                "none. Use a model of 68 or 98 points."
            )
        self.settings = settings or TrackerSettings()
        self.detections = 0
        """How often the detector ran."""
        self._pipeline = pipeline
        # The hull of the last points is a good box already; second passes are for the detector's boxes.
        self._follower = Landmarker(pipeline.landmarker.session)
        self._scheme = scheme
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._next_number = 0
        self._searched_s: float | None = None
        self._time_s: float | None = None

    def __call__(self, image: Image, time_s: float) -> TrackedFrame:
        """The faces of the next frame.

        Args:
            image: the frame.
            time_s: its time; later than that of the frame before, by whatever step.

        Raises:
            ValueError: time did not advance, or no RGB picture.
        """
        image = checked_image(image)
        if self._time_s is not None and not time_s > self._time_s:
            raise ValueError(f"Time must advance: {time_s} s after {self._time_s} s")
        self._time_s = time_s
        self._follow(image, time_s)
        if self._search_is_due(time_s):
            self._search(image, time_s)
        self._lost = [track for track in self._lost if time_s - track.seen_s <= self.settings.remember_s]
        return self._result(time_s)

    def _follow(self, image: Image, time_s: float) -> None:
        """Mark the known faces where they were a frame ago; what is no face any more is set aside."""
        if not self._tracks:
            return
        boxes = np.stack([track.box for track in self._tracks])
        marks = self._follower(image, boxes)
        good = self._are_faces(image, marks.points)
        kept: list[_Track] = []
        for index, (track, found, plausible) in enumerate(zip(self._tracks, marks.points, good, strict=True)):
            box = hull_box(found)
            fits = plausible and self.settings.plausibility.follows(box, track.box, step_s=time_s - track.seen_s)
            confirmed = time_s - track.confirmed_s <= self.settings.unconfirmed_s
            apart = not any(_overlap(box, other.box) > self.settings.drift_overlap for other in kept)
            if fits and confirmed and apart:
                track.points, track.confidence, track.box, track.seen_s = found, _row(marks, index), box, time_s
                kept.append(track)
            elif apart:
                self._lost.append(track)
        self._tracks = kept

    def _are_faces(self, image: Image, points: Float32[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
        height, width = image.shape[:2]
        check = self.settings.plausibility.is_face
        return np.array([check(face, self._scheme, width=width, height=height) for face in points], bool)

    def _search_is_due(self, time_s: float) -> bool:
        if self._searched_s is None:
            return True
        looking = not self._tracks or any(time_s - track.seen_s <= self.settings.remember_s for track in self._lost)
        every_s = self.settings.search_every_s if looking else self.settings.detect_every_s
        # A hair less, or frames at 0.04 s would reach a period of 0.2 s now after five frames, now after six.
        return time_s - self._searched_s >= every_s - 1e-6

    def _search(self, image: Image, time_s: float) -> None:
        """Run the detector: confirm or correct the followed faces, take up the others."""
        self._searched_s = time_s
        self.detections += 1
        faces = self._pipeline.detector(image)
        taken = self._confirm(image, faces, time_s)
        fresh = [index for index in range(len(faces)) if index not in taken]
        if not fresh:
            return
        marks = self._pipeline.landmarker(image, faces.boxes[fresh])
        good = self._are_faces(image, marks.points)
        for place, (index, plausible) in enumerate(zip(fresh, good, strict=True)):
            box = hull_box(marks.points[place])
            if plausible and not any(_overlap(box, track.box) > self.settings.drift_overlap for track in self._tracks):
                track = self._take_up(marks.points[place], box, float(faces.scores[index]), time_s)
                track.confidence = _row(marks, place)
                self._tracks.append(track)

    def _confirm(self, image: Image, faces: Faces, time_s: float) -> set[int]:
        """Match detections to followed faces, best overlap first; indices of the detections used up."""
        if not self._tracks or not len(faces):
            return set()
        overlaps = box_iou(np.stack([track.box for track in self._tracks]), faces.boxes)
        taken: set[int] = set()
        matched: set[int] = set()
        for row, column in zip(*np.unravel_index(np.argsort(-overlaps, axis=None), overlaps.shape), strict=True):
            overlap = float(overlaps[row, column])
            if overlap <= self.settings.same_overlap or int(row) in matched or int(column) in taken:
                continue
            matched.add(int(row))
            taken.add(int(column))
            track = self._tracks[row]
            track.score, track.confirmed_s = float(faces.scores[column]), time_s
            if overlap < self.settings.drift_overlap:
                self._correct(image, track, faces.boxes[column])
        return taken

    def _correct(self, image: Image, track: _Track, box: Float32[np.ndarray, " 4"]) -> None:
        """The landmark box has drifted from the detector's: mark anew from the latter if that gives a face."""
        marks = self._pipeline.landmarker(image, box[None])
        if self._are_faces(image, marks.points)[0]:
            track.points, track.confidence, track.box = marks.points[0], _row(marks, 0), hull_box(marks.points[0])

    def _take_up(
        self, points: Float32[np.ndarray, "k 2"], box: Float32[np.ndarray, " 4"], score: float, time_s: float
    ) -> _Track:
        """A new face, or one that was lost here a moment ago."""
        overlaps = [_overlap(box, track.box) for track in self._lost]
        smoothing = self.settings.smoothing.create() if self.settings.smoothing else None
        if overlaps and max(overlaps) > self.settings.same_overlap:
            number = self._lost.pop(int(np.argmax(overlaps))).number
        else:
            number, self._next_number = self._next_number, self._next_number + 1
        return _Track(number, points, None, box, score, time_s, time_s, smoothing)

    def _result(self, time_s: float) -> TrackedFrame:
        tracks = sorted(self._tracks, key=lambda track: track.number)
        count = self._scheme.count
        measured = np.stack([t.points for t in tracks]) if tracks else np.zeros((0, count, 2), np.float32)
        boxes = np.stack([t.box for t in tracks]) if tracks else np.zeros((0, 4), np.float32)
        smoothed = measured.copy()
        for index, track in enumerate(tracks):
            if track.filter:
                smoothed[index] = track.filter(track.points, time_s, size=float(box_size(track.box).max()))
        faces = Faces(boxes, np.array([track.score for track in tracks], np.float32))
        numbers = np.array([track.number for track in tracks], np.int64)
        landmarks = Landmarks(smoothed, self._scheme, self._scores(tracks))
        return TrackedFrame(Frame(faces, landmarks), numbers, measured, time_s)

    def _scores(self, tracks: list[_Track]) -> Float32[np.ndarray, "n k"] | None:
        """Confidence of the points as measured in this frame; smoothing leaves it alone."""
        if not self._follower.session.gives_scores:
            return None
        rows = [track.confidence for track in tracks if track.confidence is not None]
        return np.stack(rows) if rows else np.zeros((0, self._scheme.count), np.float32)


def _row(marks: Landmarks, index: int) -> Float32[np.ndarray, " k"] | None:
    return None if marks.scores is None else marks.scores[index]


def _overlap(a: Float32[np.ndarray, " 4"], b: Float32[np.ndarray, " 4"]) -> float:
    return float(box_iou(a[None], b[None])[0, 0])
