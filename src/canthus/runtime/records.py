"""Results as JSON and CSV, written picture by picture."""

import csv
import json
from typing import Any, NotRequired, Protocol, TypedDict, final, runtime_checkable

import numpy as np
from jaxtyping import Float

from canthus.types import Frame, Image


@runtime_checkable
class TextTarget(Protocol):
    """Anything that text can be written to."""

    def write(self, text: str, /) -> object:
        """Add text."""
        ...


class FaceRecord(TypedDict):
    """One face, in pixels of the upright picture; ``five_points`` are the detector's, where it finds any."""

    box: list[float]
    score: float
    scheme: str
    points: list[list[float]]
    five_points: NotRequired[list[list[float]]]


class PictureRecord(TypedDict):
    """One picture."""

    image: str
    width: int
    height: int
    faces: list[FaceRecord]


def picture_record(name: str, image: Image, frame: Frame) -> PictureRecord:
    """What is written about one picture; coordinates to a hundredth of a pixel, scores to 1e-4."""
    scheme = frame.landmarks.scheme.name
    faces: list[FaceRecord] = [
        {"box": _rounded(box, 2), "score": round(float(score), 4), "scheme": scheme, "points": _rounded(points, 2)}
        for box, score, points in zip(frame.faces.boxes, frame.faces.scores, frame.landmarks.points, strict=True)
    ]
    if frame.faces.points is not None:
        for face, five in zip(faces, frame.faces.points, strict=True):
            face["five_points"] = _rounded(five, 2)
    height, width = image.shape[:2]
    return {"image": name, "width": width, "height": height, "faces": faces}


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
    """One row a face: picture, its sides, index of the face, box, score, scheme, then x and y of every point.

    Args:
        file: opened with ``newline=""``.
        points: number of points, for the header.
    """

    def __init__(self, file: TextTarget, *, points: int) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        columns = ["image", "width", "height", "face", "x1", "y1", "x2", "y2", "score", "scheme"]
        self._rows.writerow(columns + [f"point_{index}_{axis}" for index in range(points) for axis in "xy"])

    def write(self, record: PictureRecord) -> None:
        """Add the faces of one picture; a picture without faces adds no row."""
        start: list[Any] = [record["image"], record["width"], record["height"]]
        for index, face in enumerate(record["faces"]):
            flat = [value for point in face["points"] for value in point]
            self._rows.writerow([*start, index, *face["box"], face["score"], face["scheme"], *flat])


def _rounded(values: Float[np.ndarray, "..."], digits: int) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()
