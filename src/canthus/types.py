"""Values that cross the borders between the parts of the package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from canthus.geometry import Affine, BoxHabit
from canthus.schemes import Scheme, convert

Image: TypeAlias = UInt8[np.ndarray, "h w 3"]
"""RGB picture."""


@final
@dataclass(frozen=True)
class Faces:
    """Faces found in one picture, best first.

    Attributes:
        boxes: face boxes in pixels of the picture; see ``docs/coordinates.md`` for what a face box is.
        scores: confidence of the detector in [0, 1].
        points: the five points of the scheme ``five`` in pixels of the picture, where the detector finds them.
    """

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    points: Float32[np.ndarray, "n 5 2"] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: Int64[np.ndarray, " m"]) -> "Faces":
        """The faces of these indices, in their order."""
        points = None if self.points is None else self.points[chosen]
        return Faces(self.boxes[chosen], self.scores[chosen], points)

    def moved(self, affine: Affine) -> "Faces":
        """The same faces in another frame; the map must not turn them, or boxes would be none."""
        # Corners of boxes are edges, half a pixel from the centres that the map speaks of.
        corners = affine.apply(self.boxes.reshape(-1, 2, 2) - np.float32(0.5)) + np.float32(0.5)
        points = None if self.points is None else affine.apply(self.points)
        return Faces(corners.reshape(-1, 4), self.scores, points)

    @staticmethod
    def empty() -> "Faces":
        """No face, from a detector without points."""
        return Faces(boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32))


@final
@dataclass(frozen=True)
class Landmarks:
    """Landmarks of the ``n`` faces of one picture.

    Attributes:
        points: in pixels of the picture; may lie outside it.
        scheme: the numbering.
        scores: confidence of each point in [0, 1]: the probability that it is right, see ``docs/confidence.md``; None
            where the model gives none.
    """

    points: Float32[np.ndarray, "n k 2"]
    scheme: Scheme
    scores: Float32[np.ndarray, "n k"] | None = None

    def __len__(self) -> int:
        return len(self.points)

    def convert(self, target: Scheme, *, variant: str | None = None) -> "Landmarks":
        """The same faces in another scheme; see ``canthus.schemes`` for what exists.

        A point made of several has the mean of their scores, weighted as their positions are.

        Raises:
            ConfigError: no such conversion or variant.
        """
        points = convert(self.points, self.scheme, target, variant=variant)
        if self.scores is None:
            return Landmarks(points, target)
        twice = np.stack([self.scores, self.scores], axis=-1)
        return Landmarks(points, target, convert(twice, self.scheme, target, variant=variant)[..., 0])


@final
@dataclass(frozen=True)
class Frame:
    """What the pipeline found in one picture: face ``i`` has box ``faces.boxes[i]`` and ``landmarks.points[i]``."""

    faces: Faces
    landmarks: Landmarks

    def __len__(self) -> int:
        return len(self.faces)


@final
@dataclass(frozen=True)
class TrackedFrame:
    """Faces of one frame of a video; row ``i`` of everything is the face ``ids[i]``.

    Attributes:
        frame: boxes, and landmarks after smoothing; a score is the detector's, from when it last saw the face.
        ids: numbers that stay with a face while it is followed, from 0 in order of appearance.
        measured: the points before smoothing, for what must not lag, such as the eyelids.
        time_s: from the first frame of the video.
    """

    frame: Frame
    ids: Int64[np.ndarray, " n"]
    measured: Float32[np.ndarray, "n k 2"]
    time_s: float

    def __len__(self) -> int:
        return len(self.ids)


@final
@dataclass(frozen=True)
class Annotation:
    """Truth of one face, without pixels.

    Attributes:
        key: unique within the dataset, stable between machines (a relative path, usually).
        path: the picture.
        points: in pixels of the picture; NaN where the set gives no position.
        scheme: the numbering.
        box: truth face box in pixels; the hull of the points where the set has no box of its own.
        visible: False for points marked as hidden.
        group: what must stay on one side of a split: the photo, or the person.
        subset: part of the set the face comes from (``afw``, ``ibug``), or "".
        attributes: yes/no properties (``pose``, ``blur``), where the set has them.
    """

    key: str
    path: Path
    points: Float32[np.ndarray, "k 2"]
    scheme: Scheme
    box: Float32[np.ndarray, " 4"]
    visible: Bool[np.ndarray, " k"]
    group: str
    subset: str = ""
    attributes: Mapping[str, bool] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Scene:
    """Truth of all faces of one picture, without pixels: what face detectors learn from and are measured on.

    Attributes:
        key: unique within the dataset, stable between machines (a relative path, usually).
        path: the picture.
        boxes: as the set has them, in pixels of the picture; ``habit`` leads to face boxes.
        points: the five points of the scheme ``five``; NaN where the set gives none.
        ignored: faces that need not be found, and may be (too small, unclear); neither hits nor misses.
        labels: what the set says of each face (``with_mask``), or "".
        complete: False where faces of the picture may be unlabelled, so that nothing else in it is surely no face.
        habit: how ``boxes`` lie to face boxes.
        group: what must stay on one side of a split.
        subset: part of the set the picture comes from, or "".
    """

    key: str
    path: Path
    boxes: Float32[np.ndarray, "n 4"]
    points: Float32[np.ndarray, "n 5 2"]
    ignored: Bool[np.ndarray, " n"]
    labels: tuple[str, ...]
    complete: bool
    habit: BoxHabit
    group: str
    subset: str = ""

    def face_boxes(self) -> Float32[np.ndarray, "n 4"]:
        """Face boxes by the package's one definition."""
        return self.habit.face_boxes(self.boxes)


@final
@dataclass(frozen=True)
class Sample:
    """A picture of one face with its points, as augmentation sees it.

    Attributes:
        image: the crop.
        points: in pixels of the crop.
        scheme: the numbering.
        visible: False for points that something covers; None where nothing is known to.
    """

    image: Image
    points: Float32[np.ndarray, "k 2"]
    scheme: Scheme
    visible: Bool[np.ndarray, " k"] | None = None
