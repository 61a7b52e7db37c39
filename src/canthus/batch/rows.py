"""Rows of faces as Arrow tables; ``docs/batch.md`` describes the columns.

One flat table holds everything: one row a face (in a video: a face and frame), and one row with nulls for a picture
without faces.  ``faces_of`` and ``pictures_of`` take its two sides apart.
"""

from itertools import chain
from typing import Any, final

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64

from canthus.pose import head_pose
from canthus.schemes import CONVERSIONS, Scheme, find_scheme
from canthus.types import Frame, Landmarks, TrackedFrame

DONE, DAMAGED, FAILED = "done", "damaged", "failed"
"""Status of a picture or video: all of it was read; its end or parts of it are missing; nothing was read."""

PICTURE_FIELDS = (
    ("picture", pa.string()),
    ("status", pa.string()),
    ("error", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("frames", pa.int32()),
)
"""Columns about a picture or video; ``frames`` is null for a picture."""
_POSE_SCHEME = "ibug_68"


def row_schema(scheme: Scheme) -> pa.Schema:
    """The columns of the flat table for faces with points in this scheme of ``k`` points.

    ``points`` holds ``2 k`` numbers x, y, x, y, ...; ``confidence`` holds ``k``.
    """
    return pa.schema([*PICTURE_FIELDS, *_place_fields(), *_face_fields(scheme)])


def _place_fields() -> list[tuple[str, Any]]:
    """Where in its picture or video a face is found."""
    return [("face", pa.int32()), ("frame", pa.int32()), ("time_s", pa.float64()), ("id", pa.int32())]


def _face_fields(scheme: Scheme) -> list[tuple[str, Any]]:
    def numbers(count: int) -> Any:
        return pa.list_(pa.float32(), count)

    return [
        ("box", numbers(4)),
        ("score", pa.float32()),
        ("scheme", pa.string()),
        ("points", numbers(2 * scheme.count)),
        ("confidence", numbers(scheme.count)),
        ("face_confidence", pa.float32()),
        ("five_points", numbers(10)),
        ("yaw_deg", pa.float32()),
        ("pitch_deg", pa.float32()),
        ("roll_deg", pa.float32()),
    ]


@final
class FaceRows:
    """Collect the faces of pictures and of frames of videos, and give them as an Arrow table.

    Args:
        scheme: of the points of all faces.

    Example:
        >>> rows = FaceRows(pipeline.landmarker.session.scheme)
        >>> rows.add("portrait.jpg", pipeline(image), width=image.shape[1], height=image.shape[0])
        >>> rows.add_failure("broken.jpg", "the file is empty")
        >>> pyarrow.parquet.write_table(rows.table(), "rows.parquet")
    """

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._frames: list[Frame] = []
        self._about: list[tuple[Any, ...]] = []  # PICTURE_FIELDS, number of the first face, frame, time, ids
        self._count = self._next = 0
        self._picture = ""

    def __len__(self) -> int:
        """Number of rows."""
        return self._count

    def add(
        self,
        picture: str,
        found: Frame | TrackedFrame,
        *,
        width: int | None = None,
        height: int | None = None,
        number: int | None = None,
    ) -> None:
        """Add the faces of a picture, or of one frame of a video; a frame without faces adds no row.

        Args:
            picture: name of the picture or video.
            found: its faces.
            width: of the picture, in pixels.
            height: the same.
            number: of the frame in its video, from 0.
        """
        about = (as_text(picture), DONE, None, width, height, None)
        if isinstance(found, Frame):
            self._picture, self._next = picture, 0
            self._add(about, (0, number, None, None), found)
        elif len(found):
            if picture != self._picture:
                self._picture, self._next = picture, 0
            self._add(about, (self._next, number, found.time_s, found.ids.tolist()), found.frame)
            self._next += len(found)

    def add_failure(self, picture: str, error: str, *, status: str = FAILED) -> None:
        """Add the row of a picture or video without faces, and why nothing was found."""
        self._add((as_text(picture), status, as_text(error) or None, None, None, None), (None,) * 4, None)

    def _add(self, about: tuple[Any, ...], place: tuple[Any, ...], frame: Frame | None) -> None:
        faces = 0 if frame is None else len(frame)
        self._about.append((*about, *place, faces))
        if frame is not None and faces:
            self._frames.append(frame)
        self._count += max(1, faces)

    def table(self) -> pa.Table:
        """The rows so far, in the order in which they were added; the next table begins anew."""
        rows = _flat(self._about, self._frames, self._scheme)
        self._about, self._frames, self._count = [], [], 0
        return rows


def _flat(about: list[tuple[Any, ...]], frames: list[Frame], scheme: Scheme) -> pa.Table:
    """The flat table of ``FaceRows``."""
    schema = row_schema(scheme)
    columns = [list(column) for column in zip(*about, strict=True)] or [[] for _ in range(len(PICTURE_FIELDS) + 5)]
    *common, firsts, numbers, times, ids, counts = columns
    repeats = np.maximum(np.array(counts, np.int64), 1)
    entries = pa.table(
        {name: pa.array(values, kind) for (name, kind), values in zip(PICTURE_FIELDS, common, strict=True)}
        | {"frame": pa.array(numbers, pa.int32()), "time_s": pa.array(times, pa.float64())}
    ).take(pa.array(np.repeat(np.arange(len(about)), repeats)))
    places = {
        "face": chain.from_iterable(
            range(first, first + count) if count else [None] for first, count in zip(firsts, counts, strict=True)
        ),
        "id": chain.from_iterable(ids[i] or [None] * int(repeats[i]) for i in range(len(ids))),
    }
    which = np.repeat(np.array(counts, np.int64) > 0, repeats)  # rows that have a face
    faces = _faces(frames, scheme).take(pa.array(np.maximum(np.cumsum(which) - 1, 0), mask=~which))
    found = {name: entries[name] for name in entries.column_names}
    found |= {name: pa.array(list(values), pa.int32()) for name, values in places.items()}
    found |= {name: faces[name] for name in faces.column_names}
    return pa.table([found[name] for name in schema.names], schema=schema)


def _faces(frames: list[Frame], scheme: Scheme) -> pa.Table:
    """Boxes, points and so on, one row a face."""

    def column(arrays: list[np.ndarray | None], size: int | None = None) -> Any:
        """A number, or a list of ``size`` numbers, a face; null for the faces of frames without an array."""
        kind = pa.float32() if size is None else pa.list_(pa.float32(), size)
        parts = [
            pa.nulls(len(frame), kind) if array is None else _as_arrow(array)
            for array, frame in zip(arrays, frames, strict=True)
        ]
        return pa.chunked_array(parts, kind)

    marks = [frame.landmarks for frame in frames]
    angles = _angles(np.concatenate([np.zeros((0, scheme.count, 2), np.float32), *(m.points for m in marks)]), scheme)
    columns = {
        "box": column([frame.faces.boxes for frame in frames], 4),
        "score": column([frame.faces.scores for frame in frames]),
        "scheme": pa.array([scheme.name] * len(angles), pa.string()),
        "points": column([m.points for m in marks], 2 * scheme.count),
        "confidence": column([m.scores for m in marks], scheme.count),
        "face_confidence": column([m.face_confidence for m in marks]),
        "five_points": column([frame.faces.points for frame in frames], 10),
    }
    for index, name in enumerate(("yaw_deg", "pitch_deg", "roll_deg")):
        columns[name] = pa.array(angles[:, index], pa.float32(), mask=~np.isfinite(angles[:, index]))
    return pa.table(columns)


def _as_arrow(array: Float32[np.ndarray, "n *m"]) -> pa.Array:
    """Numbers, or lists of a fixed size where a row has several."""
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return flat if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))


def _angles(points: Float32[np.ndarray, "n k 2"], scheme: Scheme) -> Float64[np.ndarray, "n 3"]:
    """Yaw, pitch and roll in degrees; NaN where they are unknown, as in schemes that do not give 68 points."""
    target = find_scheme(_POSE_SCHEME)
    if scheme != target:
        if (scheme.name, target.name) not in CONVERSIONS:
            return np.full((len(points), 3), np.nan)
        points = Landmarks(points, scheme).convert(target).points
    return np.degrees(head_pose(points).angles.astype(np.float64))


def faces_of(rows: pa.Table) -> pa.Table:
    """The rows of faces, without the columns about how reading went."""
    return rows.filter(rows["face"].is_valid()).drop_columns(["status", "error", "frames"])


def pictures_of(rows: pa.Table) -> pa.Table:
    """One row a picture or video, with the number of its faces (in a video: of its faces and frames)."""
    first = np.asarray(rows["face"].fill_null(0)) == 0
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], rows.num_rows)
    counts = np.where(np.asarray(rows["face"].is_valid())[starts], ends - starts, 0)
    table = rows.select([name for name, _ in PICTURE_FIELDS]).take(pa.array(starts, pa.int64()))
    return table.append_column("faces", pa.array(counts, pa.int32()))


def as_text(name: str) -> str:
    """Text that Parquet can hold: the bytes of a file name that are not UTF-8 become escapes."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")
