"""Text that commands write to a file or to standard output."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from io import TextIOWrapper
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape

from canthus.errors import printable
from canthus.evaluation.summary import null_for_nan
from canthus.files import STANDARD_OUTPUT, LineFile, written
from canthus.runtime.landmarker import CropModel, gives_face_confidence
from canthus.runtime.records import (
    FRAME_COLUMNS,
    PICTURE_COLUMNS,
    CsvWriter,
    JsonLinesWriter,
    JsonWriter,
    TextTarget,
)


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


def _standard_output() -> TextIO:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    return sys.stdout


def record_writers(
    stack: ExitStack, json_file: str | None, csv_file: str | None, model: CropModel, *, video: bool
) -> list[Callable[[Mapping[str, Any]], None]]:
    """Open the JSON and CSV files of ``detect`` or ``track``; each result takes one record of a picture or frame.

    The files of ``track`` grow line by line, so that they can be read meanwhile; those of ``detect`` appear at the end.

    Raises:
        OutputError: a file cannot be written.
    """
    writers: list[Callable[[Mapping[str, Any]], None]] = []
    opened = opened_lines if video else opened_text
    if json_file:
        file = stack.enter_context(opened(json_file))
        writers.append(JsonLinesWriter(file).write if video else stack.enter_context(JsonWriter(file)).write)
    if csv_file:
        file = stack.enter_context(opened(csv_file))
        columns = FRAME_COLUMNS if video else PICTURE_COLUMNS
        table = CsvWriter(
            file,
            points=model.scheme.count,
            confidence=model.gives_scores,
            face_confidence=gives_face_confidence(model),
            columns=columns,
        )
        writers.append(table.write)
    return writers


def opened_lines(name: str) -> AbstractContextManager[TextTarget]:
    """A text file that grows by whole lines, or standard output for ``-``; missing folders are made.

    Raises:
        OutputError: the file cannot be written.
    """
    return nullcontext(_standard_output()) if name == STANDARD_OUTPUT else LineFile(name)


def write_json(name: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON to a file, or to standard output for ``-``; numbers that are not finite become null.

    Raises:
        OutputError: the file cannot be written.
    """
    with opened_text(name) as file:
        file.write(json.dumps(null_for_nan(value), indent=1, allow_nan=False) + "\n")


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
