"""Text that commands write to a file or to standard output."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from canthus.errors import ConfigError
from canthus.runtime.landmarker import CropModel
from canthus.runtime.records import FRAME_COLUMNS, PICTURE_COLUMNS, CsvWriter, JsonLinesWriter, JsonWriter


@contextmanager
def opened_text(name: str) -> Iterator[TextIO]:
    """A text file for writing, or standard output for ``-``; missing folders are made.

    File names in the text may hold bytes that are not UTF-8; they are written unchanged.

    Raises:
        ConfigError: the file cannot be written.
    """
    if name == "-":
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        return
    try:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be written ({error.strerror}); choose another file") from error
    with file:
        yield file


def record_writers(
    stack: ExitStack, json_file: str | None, csv_file: str | None, model: CropModel, *, video: bool
) -> list[Callable[[Mapping[str, Any]], None]]:
    """Open the JSON and CSV files of ``detect`` or ``track``; each result takes one record of a picture or frame.

    Raises:
        ConfigError: a file cannot be written.
    """
    writers: list[Callable[[Mapping[str, Any]], None]] = []
    if json_file:
        file = stack.enter_context(opened_text(json_file))
        writers.append(JsonLinesWriter(file).write if video else stack.enter_context(JsonWriter(file)).write)
    if csv_file:
        file = stack.enter_context(opened_text(csv_file))
        columns = FRAME_COLUMNS if video else PICTURE_COLUMNS
        points, confidence = model.scheme.count, model.gives_scores
        writers.append(CsvWriter(file, points=points, confidence=confidence, columns=columns).write)
    return writers


def write_json(name: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON to a file, or to standard output for ``-``.

    Raises:
        ConfigError: the file cannot be written.
    """
    with opened_text(name) as file:
        file.write(json.dumps(value, indent=1) + "\n")


def check_outputs(json_file: str | None, csv_file: str | None, *, source: str = "", out: Path | None = None) -> None:
    """Refuse outputs that would overwrite the video ``source``, or mix on standard output.

    Raises:
        ConfigError: they would.
    """
    if out is not None and Path(source).exists() and out.resolve() == Path(source).resolve():
        raise ConfigError(f"--out {out} would overwrite the input video; choose another file")
    if json_file == csv_file == "-":
        raise ConfigError("--json - and --csv - would mix on standard output; write one of them to a file")


def plural(number: int, thing: str) -> str:
    """``1 face`` or ``2 faces``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def number(value: float, digits: int = 3) -> str:
    """Text of a number; ``-`` for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def percent(fraction: float, digits: int = 1) -> str:
    """Text of a fraction in percent, without the sign; ``-`` for NaN."""
    return number(100 * fraction, digits)
