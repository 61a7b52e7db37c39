"""The ``.pts`` text format of iBUG: one face, one point a line."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from canthus.errors import DataError


def read_pts(path: str | os.PathLike[str]) -> Float32[np.ndarray, "k 2"]:
    """Read a ``.pts`` file, with or without the header ``version / n_points / {``.

    The files count pixels from one, as their authors' MATLAB does; one is subtracted here.

    Returns:
        Points in pixels, the centre of the top-left pixel being (0, 0).

    Raises:
        DataError: the file is missing, a line is no pair of finite numbers, or the header names another count.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    promised: int | None = None
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip().lstrip("\ufeff")
        if text == "}":
            break
        if not text or text == "{" or text.startswith("version"):
            continue
        if text.startswith("n_points"):
            promised = _count(text, source=f"{path}:{number}")
            continue
        rows.append(_pair(text, source=f"{path}:{number}"))
    if not rows:
        raise DataError(f"{path}: holds no point; expected one 'x y' pair a line")
    if promised is not None and promised != len(rows):
        raise DataError(f"{path}: the header promises {promised} points, found {len(rows)}. Is the file cut off?")
    return (np.array(rows, np.float64) - 1).astype(np.float32)


def write_pts(path: str | os.PathLike[str], points: Float[np.ndarray, "k 2"]) -> None:
    """Write points (pixels, counted from zero) as a ``.pts`` file, which counts from one."""
    body = "".join(f"{x + 1:.3f} {y + 1:.3f}\n" for x, y in points.astype(np.float64))
    Path(path).write_text(f"version: 1\nn_points: {len(points)}\n{{\n{body}}}\n", encoding="utf-8")


def _count(text: str, *, source: str) -> int:
    try:
        return int(text.partition(":")[2])
    except ValueError as error:
        raise DataError(f"{source}: expected 'n_points: <number>', found {text[:60]!r}") from error


def _pair(text: str, *, source: str) -> tuple[float, float]:
    fields = text.replace(",", " ").split()
    try:
        x, y = (float(field) for field in fields)
    except ValueError as error:
        raise DataError(f"{source}: expected two numbers 'x y', found {text[:60]!r}") from error
    if not np.isfinite((x, y)).all():
        raise DataError(f"{source}: expected finite numbers, found {text[:60]!r}")
    return x, y
