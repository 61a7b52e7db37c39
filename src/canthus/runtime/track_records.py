"""Tracked frames as JSON lines and CSV, written frame by frame so that hours of video need no memory."""

import csv
import json
from collections.abc import Mapping
from typing import Any, TypedDict, final

import numpy as np
from jaxtyping import Float

from canthus.runtime.records import FaceRecord, TextTarget
from canthus.types import TrackedFrame


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
    frame, scheme = tracked.frame, tracked.frame.landmarks.scheme.name
    faces: list[TrackedFaceRecord] = [
        {
            "id": int(identity),
            "box": _rounded(box),
            "score": round(float(score), 4),
            "scheme": scheme,
            "points": _rounded(points),
        }
        for identity, box, score, points in zip(
            tracked.ids, frame.faces.boxes, frame.faces.scores, frame.landmarks.points, strict=True
        )
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
    """One row a face and frame: ``frame, time_s, id``, box, score, scheme, then x and y of every point.

    Args:
        file: opened with ``newline=""``.
        points: number of points, for the header.
    """

    def __init__(self, file: TextTarget, *, points: int) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        columns = ["frame", "time_s", "id", "x1", "y1", "x2", "y2", "score", "scheme"]
        self._rows.writerow(columns + [f"point_{index}_{axis}" for index in range(points) for axis in "xy"])

    def write(self, record: TrackedFrameRecord) -> None:
        """Add the faces of one frame; a frame without faces adds no row."""
        for face in record["faces"]:
            flat = [value for point in face["points"] for value in point]
            start = [record["frame"], record["time_s"], face["id"]]
            self._rows.writerow([*start, *face["box"], face["score"], face["scheme"], *flat])


def _rounded(values: Float[np.ndarray, "..."]) -> Any:
    return np.round(values.astype(np.float64), 2).tolist()
