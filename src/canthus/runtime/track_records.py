"""Tracked frames as JSON lines and CSV, written frame by frame so that hours of video need no memory."""

import csv
import json
from collections.abc import Mapping
from typing import Any, TypedDict, final

from canthus.runtime.records import FaceRecord, TextTarget, face_record, point_columns, point_values
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
