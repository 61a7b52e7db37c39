"""Five points for faces of WIDER FACE, from the ``label.txt`` that came with RetinaFace.

Layout: ``retinaface_gt_v1.1/train/label.txt`` beside the other folders of WIDER FACE, or ``retinaface_gt/train/``, or
``WIDER_train/``; it may be missing.  A line ``# <event>/<name>.jpg`` begins a picture; a face is x, y, width, height,
five times x, y and a flag, and a number for the blur; -1 stands for what is not labelled.  Lines of four numbers hold a
box alone.  Deng et al. (2020), "RetinaFace: Single-Shot Multi-Level Face Localisation in the Wild".
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32

from canthus.data.problems import DAMAGED, Problem
from canthus.errors import DataError

Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height as the lists have them, by which a face is known again."""

FivePoints: TypeAlias = dict[str, dict[Box, Float32[np.ndarray, "5 2"]]]
"""Picture -> box -> points of the scheme ``five``; faces without points are left out."""

_FIELDS = 4 + 5 * 3 + 1


def read_five_points(root: Path, part: str) -> tuple[FivePoints, list[Problem]]:
    """Points of one part (``train``, ``val``), and every line that cannot be read; nothing where there is no file.

    Raises:
        DataError: the file is there and cannot be read.
    """
    places = [root / folder / "label.txt" for folder in (f"retinaface_gt_v1.1/{part}", f"retinaface_gt/{part}")]
    path = next((p for p in [*places, root / f"WIDER_{part}" / "label.txt"] if p.is_file()), None)
    if path is None:
        return {}, []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    found: FivePoints = {}
    problems: list[Problem] = []
    name = ""
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith("#"):
            name = text[1:].strip()
        elif text:
            try:
                box, points = _face(text.split(), name)
            except DataError as error:
                problems.append(Problem(DAMAGED, f"{path.relative_to(root).as_posix()}:{number}", str(error)))
                continue
            if not np.isnan(points).all():
                found.setdefault(name, {}).setdefault(box, points)
    return found, problems


def _face(fields: list[str], name: str) -> tuple[Box, Float32[np.ndarray, "5 2"]]:
    if not name:
        raise DataError("expected a line '# <picture>' before the first face")
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise DataError(f"expected {_FIELDS} numbers: {error}") from error
    if len(numbers) not in (4, _FIELDS):
        raise DataError(f"expected {_FIELDS} numbers, or the 4 of a box alone, found {len(numbers)}")
    if not np.isfinite(numbers).all():
        raise DataError("expected finite numbers, found inf or nan")
    points = np.full((5, 2), np.nan, np.float32)
    if len(numbers) == _FIELDS:
        points = np.array(numbers[4:-1], np.float32).reshape(5, 3)[:, :2]
        points[(points == -1).all(axis=1)] = np.nan
    x, y, width, height = numbers[:4]
    return (x, y, width, height), points
