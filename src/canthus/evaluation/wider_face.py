"""The evaluation protocol of WIDER FACE, and its files of detections."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float64

from canthus.data.widerface import SUBSETS, read_subset
from canthus.errors import DataError
from canthus.evaluation.detection import interpolated_area
from canthus.files import write_text
from canthus.geometry import BoxHabit
from canthus.types import Faces, Scene


def prediction_key(scene: Scene) -> str:
    """Name of the file of a picture: its key without suffix, and without a leading subset."""
    return str(PurePosixPath(scene.key.removeprefix(f"{scene.subset}/")).with_suffix(""))


def write_wider_predictions(folder: str | os.PathLike[str], scenes: Sequence[Scene], found: Iterable[Faces]) -> None:
    """Write one file per picture, faces by descending score.

    Args:
        found: detected faces of each picture, in the same order; boxes are converted to the habit of the dataset.

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
        write_text(path, "\n".join(lines) + "\n")


def read_wider_predictions(folder: str | os.PathLike[str], scenes: Sequence[Scene]) -> list[Faces]:
    """Read the detected faces of each picture; boxes are converted to face boxes by the habit of the dataset.

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


LEVELS = SUBSETS
MIN_OVERLAP = 0.5
THRESHOLDS = 1000


@final
@dataclass(frozen=True)
class WiderPicture:
    """Ground truth of one picture.

    Attributes:
        key: event and name of the picture without suffix, ``0--Parade/0_Parade_marchingband_1_20``.
        counted: for each of ``LEVELS``, which faces belong to it.
    """

    key: str
    boxes: Float[np.ndarray, "n 4"]
    counted: Mapping[str, Bool[np.ndarray, " n"]]


@final
@dataclass(frozen=True)
class WiderPrecision:
    """Average precision of one level.

    Attributes:
        official: computed at 1000 evenly spaced scores, like published numbers.
        exact: computed at every score that occurs.
    """

    official: float
    exact: float
    faces: int


def read_wider_truth(root: str | os.PathLike[str]) -> list[WiderPicture]:
    """Read the four ground-truth files of the official evaluation, see ``canthus.data.widerface``.

    Raises:
        DataError: a file is missing or damaged, or the files do not match.
        MissingExtraError: scipy is not installed.
    """
    levels = [read_subset(Path(root), level) for level in LEVELS]
    pictures = []
    for same in zip(*levels, strict=True):
        corner, side = same[0].boxes[:, :2], same[0].boxes[:, 2:]
        counted = {level: picture.counted for level, picture in zip(LEVELS, same, strict=True)}
        key = str(PurePosixPath(same[0].name).with_suffix(""))
        pictures.append(WiderPicture(key, np.hstack([corner, corner + side]), counted))
    return pictures


def wider_precision(
    truth: Sequence[WiderPicture], found: Mapping[str, Faces], *, level: str, habit: BoxHabit | None = None
) -> WiderPrecision:
    """Average precision on one level.

    Differs: precision is 0 and not 0 / 0 while no detection counts; equal scores are normalized to 1 and not to 0 / 0.

    Args:
        truth: all pictures of the validation set; pictures missing from ``found`` have no detections.
        found: key of a picture -> detected faces.
        habit: converts face boxes to boxes of WIDER FACE; None if the boxes are such boxes already.
    """
    everything = np.concatenate([np.zeros(0), *(faces.scores for faces in found.values())])
    lowest, highest = (everything.min(), everything.max()) if len(everything) else (0.0, 0.0)
    thresholds = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    sums = np.zeros((2, THRESHOLDS))
    scores, proposals, recalled, faces = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)], 0
    for picture in truth:
        faces += int(picture.counted[level].sum())
        finds = found.get(picture.key)
        if finds is None or len(finds) == 0 or len(picture.boxes) == 0:
            continue
        order = np.argsort(-finds.scores, kind="stable")
        own = finds.boxes[order] if habit is None else habit.own_boxes(finds.boxes[order])
        spread = finds.scores[order].astype(np.float64) - lowest
        score = spread / (highest - lowest) if highest > lowest else np.ones(len(spread))
        proposal, first = _judged(own, picture.boxes, picture.counted[level])
        shown = np.searchsorted(-score, -thresholds, side="right")
        sums += [np.concatenate([[0], np.cumsum(values)])[shown] for values in (proposal, first)]
        scores.append(score)
        proposals.append(proposal)
        recalled.append(first)
    exact = _exact_sums(np.concatenate(scores), np.concatenate(proposals), np.concatenate(recalled))
    return WiderPrecision(official=_area(sums, faces), exact=_area(exact, faces), faces=faces)


def _judged(
    finds: Float[np.ndarray, "n 4"], truth: Float[np.ndarray, "m 4"], counted: Bool[np.ndarray, " m"]
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Which detections count, and which are the first on a face of the level; detections come by descending score."""
    overlaps = _overlaps(finds, truth)
    face = overlaps.argmax(axis=1)
    matched = overlaps.max(axis=1) >= MIN_OVERLAP
    proposal = ~(matched & ~counted[face])
    hits = np.flatnonzero(matched & counted[face])
    first = np.zeros(len(finds), np.bool_)
    first[hits[np.unique(face[hits], return_index=True)[1]]] = True
    return proposal, first


def _overlaps(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float64[np.ndarray, "n m"]:
    """Intersection over union as in the official code: the last pixel belongs to the box, so sides are one longer."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    shared = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=-1) for boxes in (a, b)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))


def _exact_sums(
    scores: Float64[np.ndarray, " n"], proposals: Float[np.ndarray, " n"], recalled: Float[np.ndarray, " n"]
) -> Float64[np.ndarray, "2 k"]:
    """Counted detections and recalled faces at every score that occurs."""
    distinct, place = np.unique(-scores, return_inverse=True)
    parts = [np.bincount(place, weights=values, minlength=len(distinct)) for values in (proposals, recalled)]
    return np.cumsum(parts, axis=1)


def _area(sums: Float64[np.ndarray, "2 k"], faces: int) -> float:
    if faces == 0:
        return math.nan
    proposals, recalled = sums
    return interpolated_area(recalled / np.maximum(proposals, 1), recalled / faces)
