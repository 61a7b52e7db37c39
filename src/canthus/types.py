"""Values that cross the borders between the parts of the package."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, final, overload

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from canthus.geometry import Affine, BoxHabit
from canthus.lookup import require
from canthus.schemes import Scheme, convert

Image: TypeAlias = UInt8[np.ndarray, "h w 3"]
"""RGB picture."""

Choice: TypeAlias = slice | Sequence[int] | Sequence[bool] | np.ndarray
"""Faces chosen by a slice, by indices, or by a mask with one entry a face."""


DOUBTFUL = 0.5
"""The points of a face with less confidence are more likely wrong than right."""
SCHEMA_VERSION = 1
"""Version of the layout of JSON results, ``docs/schema``; it rises when a key goes or changes its meaning."""


@final
@dataclass(frozen=True)
class Face:
    """One face of a picture or of a frame of a video.

    Attributes:
        box: face box in pixels.
        score: confidence of the detector in [0, 1].
        points: landmarks in pixels.
        confidence: confidence of each point in [0, 1]; None if the model gives none.
        five_points: the detector's own points in the scheme ``five``; None if it finds none.
        id: number of a followed face; None in a picture.
        face_confidence: confidence of the whole face in [0, 1], the probability that its points are right
            (``docs/confidence.md``); None if the model gives none.
    """

    box: Float32[np.ndarray, " 4"]
    score: float
    points: Float32[np.ndarray, "k 2"]
    scheme: Scheme
    confidence: Float32[np.ndarray, " k"] | None = None
    five_points: Float32[np.ndarray, "5 2"] | None = None
    id: int | None = None
    face_confidence: float | None = None

    @property
    def doubtful(self) -> bool:
        """Whether the points are more likely wrong than right; False if the model gives no confidence of the face."""
        return self.face_confidence is not None and self.face_confidence < DOUBTFUL

    def __getitem__(self, part: str) -> Float32[np.ndarray, "m 2"]:
        """Points of a part of the face, such as ``left_eye``.

        Raises:
            ConfigError: the scheme has no such part; the message lists its parts.
        """
        return self.points[list(self.scheme.part(part))]

    def to_dict(self) -> dict[str, Any]:
        """The face as the commands write it in JSON: coordinates to 0.01 pixels, scores to 0.0001."""
        record: dict[str, Any] = {} if self.id is None else {"id": self.id}
        record |= {
            "box": _rounded(self.box, 2),
            "score": round(self.score, 4),
            "scheme": self.scheme.name,
            "points": _rounded(self.points, 2),
        }
        if self.five_points is not None:
            record["five_points"] = _rounded(self.five_points, 2)
        if self.confidence is not None:
            record["confidence"] = _rounded(self.confidence, 4)
        if self.face_confidence is not None:
            record["face_confidence"] = round(self.face_confidence, 4)
        return record


@final
@dataclass(frozen=True)
class Faces:
    """Faces found in one picture, best first.

    Attributes:
        boxes: face boxes in pixels of the picture; ``docs/coordinates.md`` defines a face box.
        scores: confidence of the detector in [0, 1].
        points: the five points of the scheme ``five`` in pixels of the picture; None if the detector finds none.

    Other real numbers, such as the integers of many detectors, become float32.

    Raises:
        TypeError: boxes, scores or points are not arrays of real numbers.
        ValueError: their shapes are wrong or do not fit each other.
    """

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    points: Float32[np.ndarray, "n 5 2"] | None = None

    def __post_init__(self) -> None:
        # Integers would overflow in the arithmetic of boxes: 200 + 100 is 44 in uint8.
        object.__setattr__(self, "boxes", as_floats(self.boxes, "boxes", (None, 4)))
        object.__setattr__(self, "scores", as_floats(self.scores, "scores", (len(self.boxes),)))
        if self.points is not None:
            object.__setattr__(self, "points", as_floats(self.points, "five points", (len(self.boxes), 5, 2)))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: int | Choice) -> "Faces":
        """The chosen faces; a single index gives a table of one face."""
        rows = _indices(chosen, len(self))
        return Faces(self.boxes[rows], self.scores[rows], None if self.points is None else self.points[rows])

    def take(self, chosen: Int64[np.ndarray, " m"]) -> "Faces":
        """The faces at these indices.  Deprecated: write ``faces[chosen]``."""
        warnings.warn(
            "Faces.take(chosen) is now faces[chosen]; it goes in canthus 0.3", DeprecationWarning, stacklevel=2
        )
        return self[chosen]

    def moved(self, affine: Affine) -> "Faces":
        """The same faces in another frame of coordinates.  The map must not rotate, because boxes stay upright."""
        # Box corners are edges, half a pixel away from the pixel centres that the map is defined for.
        corners = affine.apply(self.boxes.reshape(-1, 2, 2) - np.float32(0.5)) + np.float32(0.5)
        points = None if self.points is None else affine.apply(self.points)
        return Faces(corners.reshape(-1, 4), self.scores, points)

    @staticmethod
    def empty() -> "Faces":
        """No faces, without points."""
        return Faces(boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32))


@final
@dataclass(frozen=True)
class Landmarks:
    """Landmarks of the ``n`` faces of one picture.

    Attributes:
        points: in pixels of the picture; a point may lie outside the picture.
        scores: confidence of each point in [0, 1], the probability that it is right (``docs/confidence.md``); None if
            the model gives none.
        face_confidence: confidence of each face in [0, 1], the probability that its points are right; None if the model
            gives none.
    """

    points: Float32[np.ndarray, "n k 2"]
    scheme: Scheme
    scores: Float32[np.ndarray, "n k"] | None = None
    face_confidence: Float32[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.points)

    @overload
    def __getitem__(self, chosen: str) -> Float32[np.ndarray, "n m 2"]: ...

    @overload
    def __getitem__(self, chosen: int | Choice) -> "Landmarks": ...

    def __getitem__(self, chosen: str | int | Choice) -> "Float32[np.ndarray, 'n m 2'] | Landmarks":
        """Points of a part of every face, by name (``left_eye``), or the landmarks of the chosen faces.

        Raises:
            ConfigError: the scheme has no such part; the message lists its parts.
        """
        if isinstance(chosen, str):
            return self.points[:, list(self.scheme.part(chosen))]
        rows = _indices(chosen, len(self))
        scores = None if self.scores is None else self.scores[rows]
        whole = None if self.face_confidence is None else self.face_confidence[rows]
        return Landmarks(self.points[rows], self.scheme, scores, whole)

    def convert(self, target: Scheme, *, variant: str | None = None) -> "Landmarks":
        """The same faces in another scheme; ``docs/schemes.md`` lists the conversions.

        The score of a point that is averaged from several points is averaged with the same weights.  The confidence of
        the whole face stays.

        Raises:
            ConfigError: no such conversion or variant.
        """
        points = convert(self.points, self.scheme, target, variant=variant)
        if self.scores is None:
            return Landmarks(points, target, face_confidence=self.face_confidence)
        twice = np.stack([self.scores, self.scores], axis=-1)
        scores = convert(twice, self.scheme, target, variant=variant)[..., 0]
        return Landmarks(points, target, scores, self.face_confidence)


@final
@dataclass(frozen=True)
class Frame:
    """Faces and landmarks of one picture: face ``i`` has box ``faces.boxes[i]`` and ``landmarks.points[i]``.

    An index or a loop gives one ``Face``; a slice, a mask or an array of indices gives a ``Frame``.

    Raises:
        ValueError: the numbers of faces differ.
    """

    faces: Faces
    landmarks: Landmarks

    def __post_init__(self) -> None:
        if len(self.faces) != len(self.landmarks):
            raise ValueError(f"Expected landmarks of {len(self.faces)} faces, found those of {len(self.landmarks)}")

    def __len__(self) -> int:
        return len(self.faces)

    def __iter__(self) -> Iterator[Face]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> Face: ...

    @overload
    def __getitem__(self, chosen: Choice) -> "Frame": ...

    def __getitem__(self, chosen: int | Choice) -> "Face | Frame":
        if not isinstance(chosen, int | np.integer):
            return Frame(self.faces[chosen], self.landmarks[chosen])
        faces, marks = self.faces, self.landmarks
        return Face(
            box=faces.boxes[chosen],
            score=float(faces.scores[chosen]),
            points=marks.points[chosen],
            scheme=marks.scheme,
            confidence=None if marks.scores is None else marks.scores[chosen],
            five_points=None if faces.points is None else faces.points[chosen],
            face_confidence=None if marks.face_confidence is None else float(marks.face_confidence[chosen]),
        )

    def convert(self, target: Scheme, *, variant: str | None = None) -> "Frame":
        """The same faces with their landmarks in another scheme; see ``Landmarks.convert``."""
        return replace(self, landmarks=self.landmarks.convert(target, variant=variant))

    def to_dict(self, name: str | None = None, image: Image | None = None) -> dict[str, Any]:
        """The faces as plain data; with the name and pixels of the picture, its entry in ``canthus detect --json``."""
        about: dict[str, Any] = {} if name is None else {"image": name}
        if image is not None:
            about |= {"width": image.shape[1], "height": image.shape[0]}
        version = {} if name is None else {"schema_version": SCHEMA_VERSION}
        return about | {"faces": [face.to_dict() for face in self]} | version

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` of one row a face, with the numbers and columns of ``canthus detect --csv``.

        ``face`` counts the faces from 0; the columns of the picture itself are left out.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return _table(self.landmarks, [{"face": number, **face.to_dict()} for number, face in enumerate(self)], "face")


@final
@dataclass(frozen=True)
class TrackedFrame:
    """Faces of one frame of a video; row ``i`` of every array belongs to the face ``ids[i]``.

    An index or a loop gives one ``Face``; a slice, a mask or an array of indices gives a ``TrackedFrame``.

    Attributes:
        frame: boxes and smoothed landmarks; a score is the detector's, from when it last found the face.
        ids: numbers that stay with a face while it is followed, from 0 in order of appearance.
        measured: the points before smoothing, for what must not lag, such as eyelids.
        time_s: time since the first frame of the video.
    """

    frame: Frame
    ids: Int64[np.ndarray, " n"]
    measured: Float32[np.ndarray, "n k 2"]
    time_s: float

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Face]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> Face: ...

    @overload
    def __getitem__(self, chosen: Choice) -> "TrackedFrame": ...

    def __getitem__(self, chosen: int | Choice) -> "Face | TrackedFrame":
        if isinstance(chosen, int | np.integer):
            return replace(self.frame[int(chosen)], id=int(self.ids[chosen]))
        rows = _indices(chosen, len(self))
        return TrackedFrame(self.frame[rows], self.ids[rows], self.measured[rows], self.time_s)

    def convert(self, target: Scheme, *, variant: str | None = None) -> "TrackedFrame":
        """The same faces with their landmarks in another scheme; see ``Landmarks.convert``."""
        measured = convert(self.measured, self.frame.landmarks.scheme, target, variant=variant)
        return replace(self, frame=self.frame.convert(target, variant=variant), measured=measured)

    def to_dict(self, number: int | None = None) -> dict[str, Any]:
        """The faces and the time as plain data; with the number of the frame, a line of ``canthus track --json``."""
        about = {} if number is None else {"frame": number}
        version = {} if number is None else {"schema_version": SCHEMA_VERSION}
        return {**about, "time_s": round(self.time_s, 4), "faces": [face.to_dict() for face in self]} | version

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` of one row a face, with the numbers and columns of ``canthus track --csv``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        rows = [{"time_s": round(self.time_s, 4), **face.to_dict()} for face in self]
        return _table(self.frame.landmarks, rows, "time_s", "id")


def face_columns(points: int, *, confidence: bool, face_confidence: bool) -> list[str]:
    """Names of the values of a face in a table with one row a face, in their order.

    Args:
        points: number of points of a face.
        confidence: whether the points have a confidence.
        face_confidence: whether the whole face has one.
    """
    names = ["x1", "y1", "x2", "y2", "score", "scheme"]
    names += [f"point_{index}_{axis}" for index in range(points) for axis in "xy"]
    names += [f"point_{index}_confidence" for index in range(points) if confidence]
    return names + (["face_confidence"] if face_confidence else [])


def face_values(face: Mapping[str, Any]) -> list[Any]:
    """The values of a face, as ``Face.to_dict`` gives it, in the order of ``face_columns``."""
    places = [value for point in face["points"] for value in point] + face.get("confidence", [])
    whole = [face["face_confidence"]] if "face_confidence" in face else []
    return [*face["box"], face["score"], face["scheme"], *places, *whole]


def _table(landmarks: Landmarks, rows: Sequence[Mapping[str, Any]], *first: str) -> Any:
    """A table of faces; ``first`` names what comes before the columns of a face."""
    pandas = require("pandas", extra="pandas")
    columns = face_columns(
        landmarks.scheme.count,
        confidence=landmarks.scores is not None,
        face_confidence=landmarks.face_confidence is not None,
    )
    return pandas.DataFrame(
        [[*(row[name] for name in first), *face_values(row)] for row in rows], columns=[*first, *columns]
    )


def as_floats(values: object, name: str, shape: tuple[int | None, ...]) -> Float32[np.ndarray, "..."]:
    """An array of real numbers as float32; one that is float32 already is returned unchanged.

    Args:
        values: what a caller passed.
        name: what it should be, for errors.
        shape: expected lengths; None for any.

    Raises:
        TypeError: not an array, or not of real numbers.
        ValueError: another shape.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.float32 and _has_shape(values, shape):
        return values
    wanted = f"float32 ({', '.join('n' if side is None else str(side) for side in shape)}{',' * (len(shape) == 1)})"
    if not isinstance(values, np.ndarray):
        raise TypeError(f"Expected {name} as an array {wanted}; found {type(values).__name__}")
    if values.dtype.kind not in "fiu":
        raise TypeError(f"Expected {name} as an array {wanted}; found {values.dtype} {values.shape}")
    if not _has_shape(values, shape):
        raise ValueError(f"Expected {name} as an array {wanted}; found {values.dtype} {values.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused as such
        return values.astype(np.float32, copy=False)


def _has_shape(values: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    return values.ndim == len(shape) and all(b in (None, a) for a, b in zip(values.shape, shape, strict=True))


def _indices(chosen: int | Choice, count: int) -> Int64[np.ndarray, " m"]:
    """Indices of the chosen rows.

    Raises:
        IndexError: an index or the length of a mask does not fit ``count`` rows.
    """
    rows = np.atleast_1d(np.arange(count, dtype=np.int64)[chosen])
    if rows.ndim != 1:
        raise IndexError(f"Expected one index or one mask entry a face, found {rows.ndim} dimensions")
    return rows


def _rounded(values: Float[np.ndarray, "..."], digits: int) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()


@final
@dataclass(frozen=True)
class Annotation:
    """Ground truth of one face, without pixels.

    Attributes:
        key: unique within the dataset and the same on every machine; usually a relative path.
        path: the picture.
        points: in pixels of the picture; NaN if the dataset gives no position.
        box: ground-truth face box in pixels; the hull of the points if the dataset has no boxes.
        visible: False for points marked as hidden.
        group: faces of one group (a photo or a person) stay on one side of a split.
        subset: part of the dataset that the face comes from (``afw``, ``ibug``), or "".
        attributes: yes/no properties (``pose``, ``blur``), if the dataset has any.
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
    """Ground truth of all faces of one picture, without pixels, for training and evaluating face detectors.

    Attributes:
        key: unique within the dataset and the same on every machine; usually a relative path.
        path: the picture.
        boxes: the dataset's own boxes in pixels of the picture; ``habit`` maps them to face boxes.
        points: the five points of the scheme ``five``; NaN if the dataset gives none.
        ignored: faces that count neither as hits nor as misses (too small, unclear).
        labels: class of each face in the dataset (``with_mask``), or "".
        complete: False if the picture may show unlabelled faces, so that its background cannot be trusted.
        habit: how ``boxes`` relate to face boxes.
        group: pictures of one group stay on one side of a split.
        subset: part of the dataset that the picture comes from, or "".
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
        """The boxes as face boxes (``docs/coordinates.md``)."""
        return self.habit.face_boxes(self.boxes)


Labelled = TypeVar("Labelled", bound=Annotation | Scene)


def by_picture(items: Iterable[Labelled]) -> dict[Path, list[Labelled]]:
    """Group labelled faces, or scenes, by the path of their picture, in order of first appearance."""
    groups: dict[Path, list[Labelled]] = {}
    for item in items:
        groups.setdefault(item.path, []).append(item)
    return groups


@final
@dataclass(frozen=True)
class Sample:
    """A crop of one face with its points, as augmentation takes and returns it.

    Attributes:
        image: the crop.
        points: in pixels of the crop.
        visible: False for covered points; None if that is unknown.
        lost: whether the crop shows the face in a way that its points cannot be found.
    """

    image: Image
    points: Float32[np.ndarray, "k 2"]
    scheme: Scheme
    visible: Bool[np.ndarray, " k"] | None = None
    lost: bool = False
