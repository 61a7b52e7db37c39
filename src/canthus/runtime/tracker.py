"""Follow faces through a video, and check that landmarks have the shape of a face."""

import math
from dataclasses import asdict, dataclass, field
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float32

from canthus.errors import ConfigError
from canthus.geometry import box_iou, box_size, shared_areas
from canthus.images import checked_image
from canthus.runtime.detectors import found_faces, frame_detector
from canthus.runtime.landmarker import Landmarker, kept_turn, turned_box
from canthus.runtime.pipeline import Pipeline
from canthus.runtime.smoother import OneEuroFilter
from canthus.schemes import Scheme, own_scheme
from canthus.types import Faces, Frame, Image, Landmarks, TrackedFrame


@final
@dataclass(frozen=True)
class Plausibility:
    """Limits for points to count as a face; lengths are in longer sides of the face box.

    The confidence of the points does not replace this check: it is only defined for crops that show a face
    (``docs/confidence.md``).

    Attributes:
        least_pixels: longer side of the smallest face, in pixels.
        aspect: width of the box over its height; profiles are narrow, laughing faces of children are wide.
        eye_distance: distance of the outer eye corners; profiles are near the lower limit.  This and ``aspect`` are
            judged for schemes with a jaw line, whose hull is the whole face.
        inside: smallest share of the box inside the picture.
        jump: largest shift of the centre between two frames, ...
        jump_per_s: ... plus this for each second between them.
        growth: largest factor between the sizes in two frames.
    """

    least_pixels: float = 16.0
    aspect: tuple[float, float] = (0.5, 1.8)
    eye_distance: tuple[float, float] = (0.15, 0.95)
    inside: float = 0.5
    jump: float = 0.25
    jump_per_s: float = 5.0
    growth: float = 1.4

    def is_face(self, points: Float32[np.ndarray, "k 2"], scheme: Scheme, *, width: int, height: int) -> bool:
        """Whether the points have the proportions of a face, in a picture of this size in pixels."""
        if not np.isfinite(points).all():
            return False
        x1, y1, x2, y2 = scheme.face_boxes(points).tolist()
        w, h = x2 - x1, y2 - y1
        side = max(w, h)
        if side == 0:  # a single point
            return bool(0 <= x1 <= width and 0 <= y1 <= height)
        shown = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
        if side < self.least_pixels or shown < self.inside * w * h:
            return False
        return self._has_proportions(points, scheme, w=w, h=h) and _mouth_below_eyes(points, scheme)

    def _has_proportions(self, points: Float32[np.ndarray, "k 2"], scheme: Scheme, *, w: float, h: float) -> bool:
        """Whether the box has the sides of a face, and the eyes their distance, where the hull is the whole face."""
        if not scheme.has_jaw_line or scheme.face_box is not None:
            return True
        if not self.aspect[0] <= w / max(h, 1e-6) <= self.aspect[1]:
            return False
        if not scheme.eye_corners:
            return True
        right, left = (points[index] for index in scheme.eye_corners)
        distance = math.dist(left.tolist(), right.tolist()) / max(w, h)
        return self.eye_distance[0] <= distance <= self.eye_distance[1]

    def follows(self, box: Float32[np.ndarray, " 4"], before: Float32[np.ndarray, " 4"], *, step_s: float) -> bool:
        """Whether a face can move from the box ``before`` to ``box`` in ``step_s`` seconds."""
        (x1, y1, x2, y2), (left, top, right, bottom) = box.tolist(), before.tolist()
        side, side_before = max(x2 - x1, y2 - y1), max(right - left, bottom - top)
        shift = math.hypot(x1 + x2 - left - right, y1 + y2 - top - bottom) / 2
        ratio = side / max(side_before, 1e-6)
        grown = max(ratio, 1 / max(ratio, 1e-6))
        return bool(shift <= side_before * (self.jump + self.jump_per_s * step_s) and grown <= self.growth)


def _mouth_below_eyes(points: Float32[np.ndarray, "k 2"], scheme: Scheme) -> bool:
    """Whether the mouth is below the line through the eyes, in the frame of the head, if the scheme has both."""
    middles = scheme.middles(points)
    if middles is None:
        return True
    (right_x, right_y), (left_x, left_y), (x, y) = middles
    down = (left_x - right_x) * (y - (left_y + right_y) / 2) - (left_y - right_y) * (x - (left_x + right_x) / 2)
    return down > 0


@final
@dataclass(frozen=True)
class Smoothing:
    """Settings of ``OneEuroFilter``."""

    min_cutoff_hz: float = 0.5
    beta: float = 30.0
    derivative_cutoff_hz: float = 4.0


@final
@dataclass(frozen=True)
class TrackerSettings:
    """When to run the detector, and when to give up a face; all periods are in seconds, none in frames.

    Attributes:
        detect_every_s: period of the detector while faces are followed.
        search_every_s: period of the detector while no face is followed, or a face was lost.
        unconfirmed_s: a face that the detector has not found for this long is given up, because a landmark network puts
            points on a wall as well.  Longer than a face is usually hidden by a hand or turned aside.
        remember_s: a face that reappears at the same place within this time keeps its number.
        most_faces: most faces that are followed, those of the best scores first; None for all.
        sure_every_s: period of the detector while ``most_faces`` are followed, the last run found each of them, and
            their landmarks are sure (``SURE``): the landmark model then confirms them in each frame.
        same_overlap: a detection belongs to a followed face if their boxes overlap by more (intersection over union).
        drift_overlap: if they overlap by less, the landmarks are found again from the detection.
        smoothing: None for no smoothing.
        plausibility: limits for points to count as a face.

    Raises:
        ConfigError: a time is negative, ``unconfirmed_s`` is not above ``detect_every_s``, or ``most_faces`` below 1.
    """

    detect_every_s: float = 1.0
    search_every_s: float = 0.2
    unconfirmed_s: float = 5.0
    remember_s: float = 3.0
    same_overlap: float = 0.2
    drift_overlap: float = 0.5
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    plausibility: Plausibility = field(default_factory=Plausibility)
    most_faces: int | None = None
    sure_every_s: float = 4.0

    def __post_init__(self) -> None:
        times = (self.detect_every_s, self.search_every_s, self.unconfirmed_s, self.remember_s, self.sure_every_s)
        if min(times) < 0 or self.unconfirmed_s <= self.detect_every_s:
            raise ConfigError(
                f"Expected times of 0 s or more, and unconfirmed_s above detect_every_s; found {times} "
                "(detect_every_s, search_every_s, unconfirmed_s, remember_s, sure_every_s)"
            )
        if self.most_faces is not None and self.most_faces < 1:
            raise ConfigError(f"Expected to follow at least 1 face, found {self.most_faces}")


SURE = 0.9
"""Confidence of a face from which the landmark model confirms it without the detector."""


@final
@dataclass
class _Track:
    """One followed face; ``seen_s`` is the time of its last landmarks, ``confirmed_s`` of its last detection.

    ``turn`` is the turn of its next crop in radians, 0 for a face that is nearly upright.
    """

    number: int
    points: Float32[np.ndarray, "k 2"]
    confidence: Float32[np.ndarray, " k"] | None
    box: Float32[np.ndarray, " 4"]
    score: float
    seen_s: float
    confirmed_s: float
    filter: OneEuroFilter | None
    turn: float = 0.0


@final
class Tracker:
    """Follow the faces of one video.

    The next frame is cropped around the landmarks of the last one, so the detector runs only at the start, every
    ``detect_every_s``, and every ``search_every_s`` after a face was lost.  A face is lost if its points jump or do not
    look like a face (``Plausibility``), if the detector has not found it for ``unconfirmed_s``, or if its points move
    onto another face.  A face starts as ``Pipeline`` keeps a find: its score is sure enough, or the landmarks call it a
    face.

    Args:
        pipeline: detector and landmark model.  The next box is the face box that the scheme makes of the points: their
            hull, or what a scheme of one's own states.  A scheme of canthus needs a jaw line for this.

    Attributes:
        detections: number of runs of the detector.

    Raises:
        ConfigError: the scheme of the model is one of canthus without a jaw line.

    Example:
        >>> tracker = Tracker(load_pipeline())
        >>> for image, time_s in read_video("drive.mp4"):
        ...     print(tracker(image, time_s).ids)
    """

    def __init__(self, pipeline: Pipeline, settings: TrackerSettings | None = None) -> None:
        scheme = pipeline.landmarker.session.scheme
        if not scheme.has_jaw_line and own_scheme(scheme) is None:
            raise ConfigError(
                f"Tracking crops each frame around the hull of the last points, which needs a jaw line; {scheme.name} "
                "has none. Use a model with 68 or 98 points, or of a scheme of your own."
            )
        # The hull of a few points is small within the box of the face.
        whole = scheme.has_jaw_line or scheme.face_box is not None or scheme.count == 1
        self._overlaps = box_iou if whole else _shares_of_smaller
        self.settings = settings or TrackerSettings()
        self.detections = 0
        self._pipeline = pipeline
        self._detector = frame_detector(pipeline.detector)
        # One pass is enough, because the hull of the last points is a good box.
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
            time_s: time of the frame, later than that of the previous one; steps may differ.

        Raises:
            TypeError: ``image`` is not an array, or the time is not a number.
            ValueError: the time is not finite or did not advance, or ``image`` is not an RGB picture.
        """
        image = checked_image(image)
        if not isinstance(time_s, int | float | np.integer | np.floating):
            raise TypeError(f"Expected the time of the frame in seconds, found {type(time_s).__name__}")
        if not np.isfinite(time_s):
            raise ValueError(f"Expected a finite time of the frame, found {time_s} s")
        if self._time_s is not None and not time_s > self._time_s:
            raise ValueError(f"Time must advance: {time_s} s after {self._time_s} s")
        self._time_s = time_s
        self._follow(image, time_s)
        if self._search_is_due(time_s):
            self._search(image, time_s)
        self._lost = [track for track in self._lost if time_s - track.seen_s <= self.settings.remember_s]
        tracked = self._result(time_s)
        sure = self._pipeline.is_sure(tracked.frame.landmarks)
        return tracked if sure.all() else tracked[sure]  # a doubtful face is followed on, with its number

    def _follow(self, image: Image, time_s: float) -> None:
        """Find the landmarks of the known faces around their last boxes; move lost faces to ``_lost``."""
        if not self._tracks:
            return
        for track in self._tracks:
            track.turn = kept_turn(track.points, self._scheme, track.turn)
        turns = np.array([track.turn for track in self._tracks], np.float32)
        boxes = [turned_box(t.points, t.turn, self._scheme) if t.turn else t.box for t in self._tracks]
        marks = self._follower(image, np.stack(boxes), turns=turns)
        good = self._are_faces(image, marks.points)
        kept: list[_Track] = []
        for index, (track, found, plausible) in enumerate(zip(self._tracks, marks.points, good, strict=True)):
            box = self._box(found, track.box, before=track.points)
            fits = plausible and self.settings.plausibility.follows(box, track.box, step_s=time_s - track.seen_s)
            confirmed = time_s - track.confirmed_s <= self.settings.unconfirmed_s
            apart = not any(self._overlap(box, other.box) > self.settings.drift_overlap for other in kept)
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
        # The margin absorbs rounding: frames every 0.04 s always reach a period of 0.2 s after five frames.
        waited_s = time_s - self._searched_s + 1e-6
        return waited_s >= every_s and (waited_s >= self.settings.sure_every_s or not self._knows_all_faces())

    def _knows_all_faces(self) -> bool:
        """Whether as many faces are followed as may be, and the landmark model is sure of them."""
        most = self.settings.most_faces
        if most is None or len(self._tracks) < most:
            return False
        confidence = self._follower.landmarks(
            np.stack([track.points for track in self._tracks]), self._scores(self._tracks)
        ).face_confidence
        found = all(track.confirmed_s == self._searched_s for track in self._tracks)
        return found and confidence is not None and bool((confidence >= SURE).all())

    def _search(self, image: Image, time_s: float) -> None:
        """Run the detector: confirm or correct the followed faces, and add new ones."""
        self._searched_s = time_s
        self.detections += 1
        faces = found_faces(self._detector, image)
        taken = self._confirm(image, faces, time_s)
        fresh = [index for index in range(len(faces)) if index not in taken]
        if not fresh:
            return
        marks = self._pipeline.landmarker.of_faces(image, faces[fresh])
        good = self._are_faces(image, marks.points) & self._pipeline.is_kept(Frame(faces[fresh], marks))
        for place, (index, plausible) in enumerate(zip(fresh, good, strict=True)):
            if self.settings.most_faces is not None and len(self._tracks) >= self.settings.most_faces:
                return
            box = self._box(marks.points[place], faces.boxes[index])
            if plausible and not any(
                self._overlap(box, track.box) > self.settings.drift_overlap for track in self._tracks
            ):
                track = self._take_up(marks.points[place], box, float(faces.scores[index]), time_s)
                track.confidence = _row(marks, place)
                self._tracks.append(track)

    def _confirm(self, image: Image, faces: Faces, time_s: float) -> set[int]:
        """Match detections to followed faces, best overlap first; return the indices of the matched detections."""
        if not self._tracks or not len(faces):
            return set()
        overlaps = self._overlaps(np.stack([track.box for track in self._tracks]), faces.boxes)
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
                self._correct(image, track, faces[int(column)])
        return taken

    def _correct(self, image: Image, track: _Track, face: Faces) -> None:
        """Find the landmarks again from the detected face, if that gives a face."""
        marks = self._pipeline.landmarker.of_faces(image, face)
        if self._are_faces(image, marks.points)[0]:
            track.points, track.confidence = marks.points[0], _row(marks, 0)
            track.box = self._box(marks.points[0], face.boxes[0])

    def _box(
        self,
        points: Float32[np.ndarray, "k 2"],
        otherwise: Float32[np.ndarray, " 4"],
        before: Float32[np.ndarray, "k 2"] | None = None,
    ) -> Float32[np.ndarray, " 4"]:
        """Face box of points, or another one, moved as the points since ``before``, if they lie on one spot."""
        box = self._scheme.face_boxes(points)
        if box_size(box).max() > 0:
            return box
        return otherwise if before is None else otherwise + np.tile((points - before).mean(axis=0), 2)

    def _overlap(self, a: Float32[np.ndarray, " 4"], b: Float32[np.ndarray, " 4"]) -> float:
        return float(self._overlaps(a[None], b[None])[0, 0])

    def _take_up(
        self, points: Float32[np.ndarray, "k 2"], box: Float32[np.ndarray, " 4"], score: float, time_s: float
    ) -> _Track:
        """Track of a new face, or of one that was lost here within ``remember_s``."""
        overlaps = [self._overlap(box, track.box) for track in self._lost]
        smoothing = OneEuroFilter(**asdict(self.settings.smoothing)) if self.settings.smoothing else None
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
        landmarks = self._follower.landmarks(smoothed, self._scores(tracks))
        return TrackedFrame(Frame(faces, landmarks), numbers, measured, time_s)

    def _scores(self, tracks: list[_Track]) -> Float32[np.ndarray, "n k"] | None:
        """Confidence of the points of this frame before smoothing."""
        if not self._follower.session.gives_scores:
            return None
        rows = [track.confidence for track in tracks if track.confidence is not None]
        return np.stack(rows) if rows else np.zeros((0, self._scheme.count), np.float32)


def _row(marks: Landmarks, index: int) -> Float32[np.ndarray, " k"] | None:
    return None if marks.scores is None else marks.scores[index]


def _shares_of_smaller(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float32[np.ndarray, "n m"]:
    """Area that two boxes share over that of the smaller one, for each pair."""
    smaller = np.minimum(box_size(a).prod(axis=-1)[:, None], box_size(b).prod(axis=-1)[None])
    return np.asarray(shared_areas(a, b) / np.maximum(smaller, 1e-6), np.float32)
