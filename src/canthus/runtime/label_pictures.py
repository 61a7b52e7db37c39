"""Label pictures with a model and write the labels in files that the dataset readers read."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.errors import ConfigError, DataError, ImageError
from canthus.files import write_text
from canthus.geometry import box_size
from canthus.images import IMAGE_SUFFIXES, read_images
from canthus.runtime.pipeline import Pipeline

_SEPARATORS = {".csv": ",", ".txt": " "}


@final
@dataclass(frozen=True)
class PseudoLabel:
    """Landmarks that a model found in one picture.

    Attributes:
        name: path of the picture relative to the folder.
        points: points of the largest face in pixels; None if there is no face.
        reason: why there are no points, or "".
    """

    name: str
    points: Float32[np.ndarray, "k 2"] | None
    reason: str = ""


def pictures_below(folder: Path) -> list[Path]:
    """Every picture below a folder, by name.

    Raises:
        DataError: the folder holds no pictures.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{folder}: expected a folder with pictures, found none")
    return paths


def label_pictures(folder: Path, paths: Sequence[Path], pipeline: Pipeline) -> Iterator[PseudoLabel]:
    """Find the points of the largest face of each picture, in order, or the reason why there are none."""
    for path, image in read_images(paths):
        name = Path(path).relative_to(folder).as_posix()
        if isinstance(image, ImageError):
            yield PseudoLabel(name, None, str(image))
            continue
        frame = pipeline(image)
        if len(frame) == 0:
            yield PseudoLabel(name, None, "no face found")
            continue
        largest = int(box_size(frame.faces.boxes).prod(axis=1).argmax())
        yield PseudoLabel(name, frame.landmarks.points[largest])


def check_label_path(path: str | os.PathLike[str]) -> None:
    """Refuse a file that ``write_labels`` cannot write, before any picture is labelled.

    Raises:
        ConfigError: the suffix is neither ``.csv`` nor ``.txt``.
    """
    if Path(path).suffix not in _SEPARATORS:
        raise ConfigError(f"{path}: labels are written as .csv or .txt, found {Path(path).suffix!r}")


def write_labels(path: str | os.PathLike[str], labels: Sequence[PseudoLabel]) -> int:
    """Write one line per face: name and 0-based coordinates. Missing folders are created.

    Returns:
        Number of lines.

    Raises:
        ConfigError: another suffix, or a name with a blank in a ``.txt`` or a comma in a ``.csv``.
        OutputError: the file cannot be written.
    """
    check_label_path(path)
    path = Path(path)
    separator = _SEPARATORS[path.suffix]
    lines = []
    for label in labels:
        if label.points is None:
            continue
        if separator in label.name:
            raise ConfigError(f"{label.name!r} holds a {separator!r}, which parts the fields of {path.suffix} files")
        lines.append(separator.join([label.name, *(f"{value:.3f}" for value in label.points.ravel())]))
    write_text(path, "".join(f"{line}\n" for line in lines))
    return len(lines)
