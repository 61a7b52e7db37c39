"""Adapt the labels of one dataset to the habits of another: where along a contour its points lie, and how far outside.

Datasets of one scheme differ in their habits, and a network that learns from both learns the mean of two habits.  A
linear map, fitted on faces that have labels of the one habit and points of a model that learned the other, takes the
labels over (E. Wood et al., "Fake it till you make it", 2021, adapt a network's answers in the same way).
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.data.datasets import Progress
from canthus.errors import ConfigError, DataError
from canthus.evaluation.errors import inter_ocular, normalized_error
from canthus.files import read_arrays, written
from canthus.geometry import Affine
from canthus.images import read_image
from canthus.lookup import unknown_name
from canthus.plain_data import from_values, json_table, to_values
from canthus.runtime.landmarker import Landmarker
from canthus.schemes import Scheme, carried_scheme, own_scheme
from canthus.types import Annotation

RIDGE = 0.1
"""Weight of the squared map in the fit, with points in sides of the face: small maps are preferred."""
OUTLIER = 0.08
"""Faces whose mapped labels are further from the model's points, in inter-ocular distances, are left out of the fit."""
_ROUNDS = 3
_MOST_BYTES = 100_000_000


@final
@dataclass(frozen=True)
class Habit:
    """A linear map from the labels of one habit to those of another, ``x + (x - mean) matrix + shift``.

    ``x`` are the coordinates of all points of a face in its own frame: relative to the centre of their hull, in units
    of its longer side.

    Attributes:
        about: plain data on how the map was made: dataset, split, model, number of faces, errors.
    """

    scheme: Scheme
    mean: Float32[np.ndarray, " c"]
    matrix: Float32[np.ndarray, "c c"]
    shift: Float32[np.ndarray, " c"]
    about: Mapping[str, Any]

    def points(self, labels: Float[np.ndarray, "n k 2"]) -> Float32[np.ndarray, "n k 2"]:
        """Labels in the other habit, in the same pixels; NaN for faces of which a point is not known."""
        flat, centre, side = _in_own_frame(labels)
        mapped = flat + (flat - self.mean) @ self.matrix + self.shift
        return np.asarray(mapped.reshape(labels.shape) * side + centre, np.float32)

    def face(self, face: Annotation) -> Annotation:
        """A face with mapped labels; a box that was the hull of its labels becomes that of the mapped ones.

        Raises:
            DataError: the face has points of another scheme, or a point is not known.
        """
        if face.scheme != self.scheme:
            raise DataError(f"{face.key}: has points of {face.scheme.name}; the adaptation is for {self.scheme.name}")
        if not np.isfinite(face.points).all():
            raise DataError(f"{face.key}: a point has no position; labels are adapted where all points are known")
        points = self.points(face.points[None])[0]
        is_hull = np.allclose(face.box, self.scheme.face_boxes(face.points), atol=0.01)
        return replace(face, points=points, box=self.scheme.face_boxes(points) if is_hull else face.box)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file.

        Raises:
            ConfigError: the name does not end in ``.npz``.
            OutputError: the file cannot be written.
        """
        check_habit_path(path)
        own = own_scheme(self.scheme)
        carried = {"scheme": self.scheme.name, "own_scheme": None if own is None else to_values(own)}
        header = np.array(json.dumps({**carried, "about": self.about}))
        with written(path) as aside:
            np.savez_compressed(aside, habit=header, mean=self.mean, matrix=self.matrix, shift=self.shift)


def check_habit_path(path: str | os.PathLike[str]) -> None:
    """Refuse a name that does not end in ``.npz``.

    Raises:
        ConfigError: it does not.
    """
    if Path(path).suffix != ".npz":
        raise ConfigError(f"{path}: an adaptation is written to a file whose name ends in .npz")


def habit_names() -> list[str]:
    """Names of the adaptations in the package."""
    entries = files("canthus.recipes").iterdir()
    return sorted(entry.name.removesuffix(".npz") for entry in entries if entry.name.endswith(".npz"))


def find_habit(name: str) -> Habit:
    """Read an adaptation of labels.

    Args:
        name: a name that ``habit_names`` lists, or the path of a file of ``canthus data adapt``.

    Raises:
        ConfigError: no such name.
        DataError: the file is missing or damaged, or no adaptation.
    """
    if not name.endswith(".npz"):
        if name not in habit_names():
            raise unknown_name(name, habit_names(), kind="adaptation of labels")
        name = str(files("canthus.recipes").joinpath(f"{name}.npz"))
    arrays = read_arrays(name, max_bytes=_MOST_BYTES)
    if set(arrays) != {"habit", "mean", "matrix", "shift"} or arrays["habit"].dtype.kind != "U":
        raise DataError(f"{name}: not an adaptation of labels, which 'canthus data adapt' writes")
    header = json_table(str(arrays.pop("habit")), source=f"{name}: the header", error=DataError)
    own, about = header.get("own_scheme"), header.get("about", {})
    try:
        scheme = carried_scheme(str(header.get("scheme")), None if own is None else from_values(Scheme, own))
    except ConfigError as error:
        raise DataError(f"{name}: {error}") from error
    wide = 2 * scheme.count
    if [value.shape for value in arrays.values()] != [(wide,), (wide, wide), (wide,)] or not all(
        value.dtype == np.float32 and np.isfinite(value).all() for value in arrays.values()
    ):
        raise DataError(f"{name}: expected finite numbers of 32 bits for the {scheme.count} points of {scheme.name}")
    return Habit(scheme=scheme, about=about, **arrays)


def adapted(faces: list[Annotation], name: str) -> list[Annotation]:
    """Faces with labels adapted by the named adaptation; as they are where the name is empty.

    Raises:
        ConfigError, DataError: as ``find_habit`` and ``Habit.face``.
    """
    if not name:
        return faces
    habit = find_habit(name)
    return [habit.face(face) for face in faces]


def fit_habit(
    labels: Float[np.ndarray, "n k 2"], wanted: Float[np.ndarray, "n k 2"], scheme: Scheme, about: Mapping[str, Any]
) -> Habit:
    """The map that brings labels closest to the wanted points of the same faces: a robust ridge regression.

    Raises:
        DataError: fewer faces than points are near enough to the wanted points.
    """
    flat, centre, side = _in_own_frame(labels)
    change, scale = ((wanted - centre) / side).reshape(flat.shape) - flat, inter_ocular(labels, scheme)
    wide = flat.shape[1]
    mean, matrix, shift = np.zeros(wide), np.zeros((wide, wide)), np.median(change, axis=0)
    for _ in range(_ROUNDS):
        keep = normalized_error(_as_habit(scheme, mean, matrix, shift).points(labels), wanted, scale) < OUTLIER
        if keep.sum() < scheme.count:
            raise DataError(
                f"The labels and the points of the model agree on {keep.sum()} of {len(keep)} faces to {OUTLIER:.0%} "
                f"of the inter-ocular distance; an adaptation needs at least {scheme.count} such faces"
            )
        mean, shift = flat[keep].mean(axis=0), change[keep].mean(axis=0)
        spread = flat[keep] - mean
        matrix = np.linalg.solve(spread.T @ spread + RIDGE * np.eye(wide), spread.T @ (change[keep] - shift))
    return replace(_as_habit(scheme, mean, matrix, shift), about=about)


def _as_habit(scheme: Scheme, *numbers: Float64[np.ndarray, "..."]) -> Habit:
    mean, matrix, shift = (value.astype(np.float32) for value in numbers)
    return Habit(scheme, mean, matrix, shift, {})


@final
@dataclass(frozen=True)
class Agreement:
    """Mean distance of labels and of adapted labels from the points of a model, in inter-ocular distances."""

    faces: int
    before: float
    after: float


def agreement(habit: Habit, labels: Float[np.ndarray, "n k 2"], wanted: Float[np.ndarray, "n k 2"]) -> Agreement:
    """How far labels are from the wanted points before and after they are adapted."""
    scale = inter_ocular(labels, habit.scheme)
    before, after = (float(normalized_error(each, wanted, scale).mean()) for each in (labels, habit.points(labels)))
    return Agreement(len(labels), before, after)


def model_points(
    faces: Sequence[Annotation], landmarker: Landmarker, progress: Progress = lambda done, total: None
) -> Float32[np.ndarray, "n k 2"]:
    """Points of a model for labelled faces: the mean of those in the picture and in its mirror image.

    Raises:
        ConfigError: the model has another scheme than the labels, or a scheme without eye corners.
        ImageError: a picture cannot be read.
    """
    scheme = landmarker.session.scheme
    if not scheme.eye_corners:
        raise ConfigError(f"{scheme.name} has no eye corners, whose distance is the unit of the fit")
    if other := next((face.scheme.name for face in faces if face.scheme != scheme), None):
        raise ConfigError(f"The labels have points of {other}, the model gives {scheme.name}; choose another model")
    mirror, found = list(scheme.mirror), np.empty((len(faces), scheme.count, 2), np.float32)
    for index, face in enumerate(faces):
        image = read_image(face.path)
        points = landmarker(image, face.box[None]).points[0]
        turned = Affine.flip(image.shape[1])
        x1, y1, x2, y2 = face.box
        box = np.array([image.shape[1] - x2, y1, image.shape[1] - x1, y2], np.float32)
        mirrored = landmarker(np.ascontiguousarray(image[:, ::-1]), box[None]).points[0]
        found[index] = (points + turned.apply(mirrored[mirror])) / 2
        progress(index + 1, len(faces))
    return found


def _in_own_frame(
    points: Float[np.ndarray, "n k 2"],
) -> tuple[Float64[np.ndarray, "n c"], Float64[np.ndarray, "n 1 2"], Float64[np.ndarray, "n 1 1"]]:
    """Coordinates relative to the centre of each hull in units of its longer side; the centres; the sides."""
    points = points.astype(np.float64)
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    centre, side = (low + high) / 2, (high - low).max(axis=2, keepdims=True)
    return ((points - centre) / side).reshape(len(points), -1), centre, side
