"""Files that ``canthus detect`` and ``canthus track`` write: JSON, JSON lines and CSV.

A record is what ``Frame.to_dict`` or ``TrackedFrame.to_dict`` returns.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol, final, runtime_checkable

from canthus.errors import DataError
from canthus.files import csv_line

PICTURE_COLUMNS = ("image", "width", "height", "face")
"""First columns of a CSV about pictures; ``face`` counts the faces of a picture from 0."""
FRAME_COLUMNS = ("frame", "time_s", "id")
"""First columns of a CSV about a video."""


@runtime_checkable
class TextTarget(Protocol):
    """Anything that text can be written to."""

    def write(self, text: str, /) -> object:
        """Write text."""
        ...


def _json(record: Mapping[str, Any]) -> str:
    """One line of JSON.

    Raises:
        DataError: a number is not finite, which JSON cannot hold.
    """
    try:
        return json.dumps(record, allow_nan=False)
    except ValueError as error:
        raise DataError("A point, box or score is not a finite number; nothing of this picture is written") from error


@final
class JsonWriter:
    """Write records as one JSON list.

    Use it as a context manager: the list is closed even if an exception ends the block.
    """

    def __init__(self, file: TextTarget) -> None:
        self._file = file
        self._separator = "[\n"

    def __enter__(self) -> "JsonWriter":
        return self

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record."""
        # Plain ASCII is valid in every encoding, and file names that are not valid text survive.
        self._file.write(self._separator + _json(record))
        self._separator = ",\n"

    def __exit__(self, *_: object) -> None:
        self._file.write("[]\n" if self._separator == "[\n" else "\n]\n")


@final
class JsonLinesWriter:
    """Write each record as one line of JSON; the lines written so far stay readable if the run is interrupted."""

    def __init__(self, file: TextTarget) -> None:
        self._file = file

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line."""
        self._file.write(_json(record) + "\n")


@final
class CsvWriter:
    """Write one row a face: ``columns``, box, score, scheme, points, then the confidence of each point and of the face.

    A record without faces adds no row.

    Args:
        file: opened with ``newline=""``.
        columns: ``PICTURE_COLUMNS`` or ``FRAME_COLUMNS``.
        points: number of points of a face.
        confidence: whether the points have a confidence.
        face_confidence: whether the whole face has one.
    """

    def __init__(
        self,
        file: TextTarget,
        *,
        points: int,
        confidence: bool = False,
        face_confidence: bool = False,
        columns: tuple[str, ...] = PICTURE_COLUMNS,
    ) -> None:
        self._file, self._columns = file, columns
        places = [f"point_{index}_{axis}" for index in range(points) for axis in "xy"]
        places += [f"point_{index}_confidence" for index in range(points) if confidence]
        places += ["face_confidence"] if face_confidence else []
        file.write(csv_line([*columns, "x1", "y1", "x2", "y2", "score", "scheme", *places]))

    def write(self, record: Mapping[str, Any]) -> None:
        """Add the faces of one record."""
        for index, face in enumerate(record["faces"]):
            values = {**record, "face": index, **face}
            start = [values[column] for column in self._columns]
            places = [value for point in face["points"] for value in point] + face.get("confidence", [])
            places += [face["face_confidence"]] if "face_confidence" in face else []
            self._file.write(csv_line([*start, *face["box"], face["score"], face["scheme"], *places]))
