"""What the commands write about pictures and videos: JSON and csv."""

import csv
import json
from collections.abc import Mapping
from typing import Any, NotRequired, Protocol, TypedDict, final, runtime_checkable

import numpy as np
from jaxtyping import Float

from canthus.types import Frame, Image, TrackedFrame


@runtime_checkable
class TextTarget(Protocol):
    """Anything that text can be written to."""

    def write(self, text: str, /) -> object:
        """Add text."""
        ...


class FaceRecord(TypedDict):
    """One face, in pixels of the upright picture; ``five_points`` and ``confidence`` where a network gives them."""

    box: list[float]
    score: float
    scheme: str
    points: list[list[float]]
    five_points: NotRequired[list[list[float]]]
    confidence: NotRequired[list[float]]


class PictureRecord(TypedDict):
    """One picture."""

    image: str
    width: int
    height: int
    faces: list[FaceRecord]


def picture_record(name: str, image: Image, frame: Frame) -> PictureRecord:
    """What is written about one picture; coordinates to a hundredth of a pixel, scores to 1e-4."""
    height, width = image.shape[:2]
    faces = [face_record(frame, index) for index in range(len(frame))]
    return {"image": name, "width": width, "height": height, "faces": faces}


def face_record(frame: Frame, index: int) -> FaceRecord:
    """What is written about one face of a frame."""
    marks = frame.landmarks
    record: FaceRecord = {
        "box": _rounded(frame.faces.boxes[index], 2),
        "score": round(float(frame.faces.scores[index]), 4),
        "scheme": marks.scheme.name,
        "points": _rounded(marks.points[index], 2),
    }
    if frame.faces.points is not None:
        record["five_points"] = _rounded(frame.faces.points[index], 2)
    if marks.scores is not None:
        record["confidence"] = _rounded(marks.scores[index], 4)
    return record


def point_columns(points: int, *, confidence: bool) -> list[str]:
    """Names of the columns that ``point_values`` fills."""
    places = [f"point_{index}_{axis}" for index in range(points) for axis in "xy"]
    return places + [f"point_{index}_confidence" for index in range(points) if confidence]


def point_values(face: FaceRecord) -> list[float]:
    """The values x, y of every point, then, where the model gives it, the confidence of every point."""
    return [value for point in face["points"] for value in point] + face.get("confidence", [])


@final
class JsonWriter:
    """A JSON list of ``PictureRecord``; as a context manager, so that the list is closed whatever happens."""

    def __init__(self, file: TextTarget) -> None:
        self._file = file
        self._separator = "[\n"

    def __enter__(self) -> "JsonWriter":
        return self

    def write(self, record: PictureRecord) -> None:
        """Add one picture."""
        # Plain ASCII: valid in every encoding, and file names that are no valid text survive.
        self._file.write(self._separator + json.dumps(record))
        self._separator = ",\n"

    def __exit__(self, *_: object) -> None:
        self._file.write("[]\n" if self._separator == "[\n" else "\n]\n")


@final
class CsvWriter:
    """One row a face: picture, its sides, index of the face, box, score, scheme, then ``point_values``.

    Args:
        file: opened with ``newline=""``.
        points: number of points, for the header.
        confidence: whether faces carry the confidence of their points, for the header.
    """

    def __init__(self, file: TextTarget, *, points: int, confidence: bool = False) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        columns = ["image", "width", "height", "face", "x1", "y1", "x2", "y2", "score", "scheme"]
        self._rows.writerow(columns + point_columns(points, confidence=confidence))

    def write(self, record: PictureRecord) -> None:
        """Add the faces of one picture; a picture without faces adds no row."""
        start: list[Any] = [record["image"], record["width"], record["height"]]
        for index, face in enumerate(record["faces"]):
            self._rows.writerow([*start, index, *face["box"], face["score"], face["scheme"], *point_values(face)])


def _rounded(values: Float[np.ndarray, "..."], digits: int) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()


class TrackedFaceRecord(FaceRecord):
    """One face of one frame: a ``FaceRecord`` with the number that stays with it."""

    id: int


class TrackedFrameRecord(TypedDict):
    """One frame; faces in order of their numbers."""

    frame: int
    time_s: float
    faces: list[TrackedFaceRecord]


def tracked_record(number: int, tracked: TrackedFrame) -> TrackedFrameRecord:
    """What is written about one frame: times and scores to 1e-4, coordinates to a hundredth of a pixel."""
    faces: list[TrackedFaceRecord] = [
        {"id": int(identity), **face_record(tracked.frame, index)} for index, identity in enumerate(tracked.ids)
    ]
    return {"frame": number, "time_s": round(tracked.time_s, 4), "faces": faces}


@final
class JsonLinesWriter:
    """One JSON object a line, each whole when the next begins; what was written stays readable if the run ends."""

    def __init__(self, file: TextTarget) -> None:
        self._file = file

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line."""
        self._file.write(json.dumps(record) + "\n")


@final
class TrackCsvWriter:
    """One row a face and frame: ``frame, time_s, id``, box, score, scheme, then ``point_values``.

    Args:
        file: opened with ``newline=""``.
        points: number of points, for the header.
        confidence: whether faces carry the confidence of their points, for the header.
    """

    def __init__(self, file: TextTarget, *, points: int, confidence: bool = False) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        columns = ["frame", "time_s", "id", "x1", "y1", "x2", "y2", "score", "scheme"]
        self._rows.writerow(columns + point_columns(points, confidence=confidence))

    def write(self, record: TrackedFrameRecord) -> None:
        """Add the faces of one frame; a frame without faces adds no row."""
        for face in record["faces"]:
            start = [record["frame"], record["time_s"], face["id"]]
            self._rows.writerow([*start, *face["box"], face["score"], face["scheme"], *point_values(face)])
