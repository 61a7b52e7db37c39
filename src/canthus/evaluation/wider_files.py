"""Found faces as text files in the layout of the WIDER FACE evaluation: one file a picture, in a folder per event.

``<event>/<picture>.txt`` holds the name of the picture, the number of faces, and one line ``x y w h score`` each, with
boxes in the habit of the set.  Files of other sets lie in the folders that their pictures lie in.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from canthus.errors import DataError
from canthus.types import Faces, Scene


def prediction_key(scene: Scene) -> str:
    """How the file of a picture is called: its key without suffix, and without the subset where that leads it."""
    return str(PurePosixPath(scene.key.removeprefix(f"{scene.subset}/")).with_suffix(""))


def write_wider_predictions(folder: str | os.PathLike[str], scenes: Sequence[Scene], found: Iterable[Faces]) -> None:
    """Write one file per picture, faces by descending score.

    Args:
        folder: made where absent.
        scenes: the pictures.
        found: faces of each, in the same order; their boxes are brought into the habit of the set.

    Raises:
        DataError: a file cannot be written, or two pictures would share one.
    """
    written: dict[str, str] = {}
    for scene, faces in zip(scenes, found, strict=True):
        key = prediction_key(scene)
        if key in written:
            raise DataError(f"{scene.key} and {written[key]} would share the file {key}.txt; evaluate fewer pictures")
        written[key] = scene.key
        order = np.argsort(-faces.scores, kind="stable")
        own = scene.habit.own_boxes(faces.boxes[order]).astype(np.float64)
        sides = own[:, 2:] - own[:, :2]
        lines = [scene.path.name, str(len(order))]
        lines += [
            f"{x:.3f} {y:.3f} {w:.3f} {h:.3f} {score:.8f}"
            for (x, y), (w, h), score in zip(own[:, :2], sides, faces.scores[order], strict=True)
        ]
        path = Path(folder) / f"{key}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def read_wider_predictions(folder: str | os.PathLike[str], scenes: Sequence[Scene]) -> list[Faces]:
    """Read the faces of each picture; their boxes become face boxes by the habit of the set.

    Raises:
        DataError: the file of a picture is missing or damaged.
    """
    return [_read_file(Path(folder) / f"{prediction_key(scene)}.txt", scene) for scene in scenes]


def _read_file(path: Path, scene: Scene) -> Faces:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected one file per picture, <event>/<picture>.txt"
        ) from error
    try:
        count = int(float(lines[1]))
        numbers = np.array([[float(field) for field in line.split()] for line in lines[2:] if line.strip()])
        rows = numbers.reshape(count, 5)
    except (IndexError, ValueError) as error:
        raise DataError(
            f"{path}: expected the name, the number of faces, and that many lines 'x y w h score' ({error})"
        ) from error
    if not np.isfinite(rows).all():
        raise DataError(f"{path}: holds numbers that are not finite")
    own = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
    return Faces(scene.habit.face_boxes(own), rows[:, 4].astype(np.float32))
