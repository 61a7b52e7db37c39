"""Text that commands write to a file or to standard output."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeAlias, final

from rich.console import Console
from rich.markup import escape

from canthus.errors import printable
from canthus.evaluation.summary import null_for_nan
from canthus.files import STANDARD_OUTPUT, LineFile, written
from canthus.runtime.landmarker import CropModel, gives_face_confidence
from canthus.runtime.measures import FaceMeasures
from canthus.runtime.records import (
    FRAME_COLUMNS,
    PICTURE_COLUMNS,
    CsvWriter,
    JsonLinesWriter,
    JsonWriter,
    TextTarget,
    frame_of,
)
from canthus.schemes import Scheme
from canthus.types import SCHEMA_VERSION

Writer: TypeAlias = Callable[[Mapping[str, Any]], None]


@contextmanager
def opened_text(name: str) -> Iterator[TextIO]:
    """A text file that appears whole at the end of the block, or standard output for ``-``; missing folders are made.

    File names in the text may hold bytes that are not UTF-8; they are written unchanged.

    Raises:
        OutputError: the file cannot be written.
    """
    if name == STANDARD_OUTPUT:
        yield _standard_output()
        return
    with written(name) as aside, aside.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield file


def _standard_output(*, by_line: bool = False) -> TextIO:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape", line_buffering=by_line)
    return sys.stdout


@final
class _ParquetWriter:
    """Write one row a face, with the columns of ``canthus.batch.faces_of``, then those of the ratios.

    The numbers are those of the JSON; a record without faces adds no row.

    Args:
        scheme: of the points that are written.
        measures: of each face.  The pose is also written without them, where the points tell it.
        source: picture of the records that name none.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, scheme: Scheme, measures: FaceMeasures, source: str) -> None:
        from canthus.batch.rows import FaceRows

        self._scheme, self._measures, self._source = scheme, measures.columns, source
        self._rows, self._values = FaceRows(scheme), list[Mapping[str, float | None]]()

    @contextmanager
    def open(self, path: Path) -> Iterator[Writer]:
        """Yield what takes the records; the file appears whole at the end."""
        from pyarrow import parquet

        with written(path) as aside, parquet.ParquetWriter(aside, self._table().schema) as file:

            def write(record: Mapping[str, Any]) -> None:
                if record["faces"]:
                    self._add(record)
                if len(self._rows) >= _ROWS_AT_ONCE:
                    file.write_table(self._table())

            yield write
            file.write_table(self._table())

    def _add(self, record: Mapping[str, Any]) -> None:
        place = {name: record.get(key) for name, key in (("width", "width"), ("height", "height"), ("number", "frame"))}
        self._rows.add(record.get("image", self._source), frame_of(record, self._scheme), **place)
        self._values += [{**face.get("pose", {}), **face.get("ratios", {})} for face in record["faces"]]

    def _table(self) -> Any:
        """The rows so far; the next table begins anew."""
        import pyarrow as pa

        from canthus.batch.rows import faces_of

        table = faces_of(self._rows.table())
        for name in self._measures:
            column = pa.array([values[name] for values in self._values], pa.float32())
            place = table.schema.get_field_index(name)
            table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
        self._values = []
        return table


_ROWS_AT_ONCE = 2_000
"""Faces in one group of rows of a Parquet file, and in memory."""


@final
@dataclass(frozen=True)
class RecordFiles:
    """The files that ``detect`` and ``track`` write records to; None where an option is not given.

    ``source`` is the video that records without the name of a picture are about.
    """

    json: str | None = None
    jsonl: str | None = None
    csv: str | None = None
    parquet: Path | None = None
    source: str = ""

    def targets(self) -> dict[str, str | Path | None]:
        """Option -> file, for ``files.check_targets``."""
        return {"--json": self.json, "--jsonl": self.jsonl, "--csv": self.csv, "--parquet": self.parquet}

    def writers(
        self, stack: ExitStack, model: CropModel, measures: FaceMeasures, scheme: Scheme | None, *, video: bool
    ) -> list[Writer]:
        """Open all files but the JSON lines; each result takes one record of a picture or frame.

        The CSV of ``track`` grows line by line, so that it can be read meanwhile; other files appear at the end.

        Raises:
            OutputError: a file cannot be written.
        """
        writers: list[Writer] = []
        if self.json:
            writers.append(stack.enter_context(JsonWriter(stack.enter_context(opened_text(self.json)))).write)
        if self.csv:
            table = CsvWriter(
                stack.enter_context((opened_lines if video else opened_text)(self.csv)),
                points=(scheme or model.scheme).count,
                confidence=model.gives_scores,
                face_confidence=gives_face_confidence(model),
                columns=FRAME_COLUMNS if video else PICTURE_COLUMNS,
                measures=measures.columns,
            )
            writers.append(table.write)
        if self.parquet:
            rows = _ParquetWriter(scheme or model.scheme, measures, self.source)
            writers.append(stack.enter_context(rows.open(self.parquet)))
        return writers

    def line_writers(
        self, stack: ExitStack, settings: Mapping[str, Any] | None = None, *, keep: int | None = None
    ) -> list[Writer]:
        """Open the JSON lines, if there are any; see ``JsonLinesWriter`` and ``LineFile`` for the settings.

        Raises:
            OutputError: the file cannot be written.
        """
        if not self.jsonl:
            return []
        return [JsonLinesWriter(stack.enter_context(opened_lines(self.jsonl, keep=keep)), settings).write]


def opened_lines(name: str, *, keep: int | None = None) -> AbstractContextManager[TextTarget]:
    """A text file that grows by whole lines, or standard output for ``-``; missing folders are made.

    Args:
        keep: number of bytes of an existing file that stay.

    Raises:
        OutputError: the file cannot be written.
    """
    return nullcontext(_standard_output(by_line=True)) if name == STANDARD_OUTPUT else LineFile(name, keep=keep)


def write_json(name: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON to a file, or to standard output for ``-``; numbers that are not finite become null.

    The object, or each object of a list, gets the version of its layout (``docs/schema``).

    Raises:
        OutputError: the file cannot be written.
    """
    with opened_text(name) as file:
        file.write(json.dumps(versioned(null_for_nan(value)), indent=1, allow_nan=False) + "\n")


def versioned(value: Any) -> Any:
    """An object of JSON, or each object of a list, with the version of its layout (``docs/schema``) as the last key."""
    if isinstance(value, Mapping):
        return {**value, "schema_version": SCHEMA_VERSION}
    return [versioned(entry) for entry in value]


def markup(text: object) -> str:
    """Text for Rich: brackets are no markup, and control characters become escapes."""
    return escape(printable(str(text)))


def line_writer(console: Console) -> Callable[[str], None]:
    """A function that prints a line of text as it is, with names of files or without."""
    return lambda text: console.print(markup(text), soft_wrap=True)


def plural(number: int, thing: str) -> str:
    """``1 face`` or ``2 faces``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def number(value: float, digits: int = 3) -> str:
    """Text of a number; ``-`` for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def percent(fraction: float, digits: int = 1) -> str:
    """Text of a fraction in percent, without the sign; ``-`` for NaN."""
    return number(100 * fraction, digits)
