"""Files that ``canthus detect`` and ``canthus track`` write: JSON, JSON lines and CSV.

A record is what ``Frame.to_dict`` or ``TrackedFrame.to_dict`` returns.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float32

from canthus.errors import ConfigError, DataError
from canthus.files import csv_line
from canthus.schemes import Scheme
from canthus.types import Faces, Frame, Landmarks, TrackedFrame, face_columns, face_values

PICTURE_COLUMNS = ("image", "width", "height", "face")
"""First columns of a CSV about pictures; ``face`` counts the faces of a picture from 0."""
FRAME_COLUMNS = ("frame", "time_s", "id")
"""First columns of a CSV about a video."""
SETTINGS = "settings"
"""Key of the first of JSON lines that says what the records were made with."""


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


def frame_of(record: Mapping[str, Any], scheme: Scheme) -> Frame | TrackedFrame:
    """The faces of a record; the inverse of ``Frame.to_dict`` and ``TrackedFrame.to_dict`` but for rounding.

    Args:
        scheme: of the points.
    """

    def table(key: str, *shape: int) -> Float32[np.ndarray, "n *m"]:
        return np.array([face[key] for face in found], np.float32).reshape(-1, *shape)

    def given(key: str, *shape: int) -> Float32[np.ndarray, "n *m"] | None:
        return table(key, *shape) if all(key in face for face in found) else None

    found = record["faces"]
    points = table("points", scheme.count, 2)
    faces = Faces(table("box", 4), table("score"), given("five_points", 5, 2))
    frame = Frame(faces, Landmarks(points, scheme, given("confidence", scheme.count), given("face_confidence")))
    if "time_s" not in record:
        return frame
    return TrackedFrame(frame, np.array([face["id"] for face in found], np.int64), points, record["time_s"])


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
    """Write each record as one line of JSON; the lines written so far stay readable if the run is interrupted.

    Args:
        file: gets whole lines.
        settings: what the records were made with; the first line gets it, under the key ``settings``.
    """

    def __init__(self, file: TextTarget, settings: Mapping[str, Any] | None = None) -> None:
        self._file, self._settings = file, settings

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line."""
        about = {} if self._settings is None else {SETTINGS: self._settings}
        self._file.write(_json({**record, **about}) + "\n")
        self._settings = None


@final
class EarlierRecords:
    """The records of an interrupted run, read from its JSON lines one at a time.

    A last line that is not whole, as a run that was killed may leave it, does not count.

    Args:
        path: the file; one that does not exist holds no records.
        settings: what the run that goes on makes its records with.

    Attributes:
        size: bytes of the whole lines.

    Raises:
        ConfigError: the file was written with other settings, or holds lines of something else.
        DataError: the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self._path, self.size = Path(path), 0
        for number, (record, end) in enumerate(self._lines()):
            if number == 0:
                self._compare(record.get(SETTINGS), settings)
            self.size = end

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for record, _ in self._lines():
            record.pop(SETTINGS, None)
            yield record

    def _compare(self, found: Any, settings: Mapping[str, Any]) -> None:
        if not isinstance(found, Mapping):
            raise ConfigError(f"{self._path}: the first line has no 'settings', so that this run cannot go on with it")
        for name in [*settings, *found]:
            before, now = found.get(name), settings.get(name)
            if before != now:
                raise ConfigError(
                    f"{self._path}: was written with {name} {json.dumps(before)}, now it is {json.dumps(now)}; "
                    "give the same model and options, or another file"
                )

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each record, and the bytes up to its end."""
        if not self._path.exists():
            return
        end = 0
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        return
                    end += len(line)
                    yield self._record(line, number), end
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read ({error.strerror})") from error

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not (isinstance(record, dict) and isinstance(record.get("image"), str) and "faces" in record):
            raise ConfigError(f"{self._path}:{number}: is no line of canthus detect --jsonl; give another file")
        return record


@final
class CsvWriter:
    """Write one row a face: ``columns``, box, score, scheme, points, the confidence of each point and of the face.

    A record without faces adds no row.  A value that is unknown (None) is an empty cell.

    Args:
        file: opened with ``newline=""``.
        columns: ``PICTURE_COLUMNS`` or ``FRAME_COLUMNS``.
        points: number of points of a face.
        confidence: whether the points have a confidence.
        face_confidence: whether the whole face has one.
        measures: names of the measures of a face (``measures.FaceMeasures.columns``), which come last.
    """

    def __init__(
        self,
        file: TextTarget,
        *,
        points: int,
        confidence: bool = False,
        face_confidence: bool = False,
        columns: tuple[str, ...] = PICTURE_COLUMNS,
        measures: Sequence[str] = (),
    ) -> None:
        self._file, self._columns, self._measures = file, columns, measures
        names = face_columns(points, confidence=confidence, face_confidence=face_confidence)
        file.write(csv_line([*columns, *names, *measures]))

    def write(self, record: Mapping[str, Any]) -> None:
        """Add the faces of one record."""
        for index, face in enumerate(record["faces"]):
            values = {**record, "face": index, **face, **face.get("pose", {}), **face.get("ratios", {})}
            start, end = ([values[column] for column in names] for names in (self._columns, self._measures))
            self._file.write(csv_line([*start, *face_values(face), *end]))
