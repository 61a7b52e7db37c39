"""Explicit shape regression: random ferns move a shape step by step onto the face; numpy only.

Cao et al. (2014), "Face Alignment by Explicit Shape Regression", IJCV 107.  Shapes are rows of complex numbers
x + iy, so that rotation and scale are one complex factor.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
from jaxtyping import Bool, Complex64, Float32, Int16, Int64, UInt8

from canthus.errors import ConfigError, DataError, ModelFileError
from canthus.files import read_arrays, written
from canthus.runtime.cards import ModelCard
from canthus.runtime.sessions import FARTHEST, Answer, check_answer, check_crops

FORMAT = 1
"""Version of the file's layout."""

MOST_BYTES = 1 << 28
"""Bytes of all arrays of a cascade in its file; in memory they take four times as much."""
MOST_FEATURES = 12
"""Features of the largest fern, which has two to that power cells."""

_CROPS_AT_ONCE = 16


@final
@dataclass(frozen=True)
class EsrStage:
    """One outer stage: shape-indexed pixels, and the ferns that compare them.

    Attributes:
        near: landmark that each pixel is attached to.
        offsets: offset of each pixel from its landmark, in the frame of the mean shape.
        first: first pixel of each feature of each fern; the feature is its difference from the pixel ``second``.
        thresholds: a feature above its threshold sets one bit of the fern's cell.
        outputs: movement of the shape for each fern and cell, in the frame of the mean shape.
    """

    near: Int16[np.ndarray, " p"]
    offsets: Complex64[np.ndarray, " p"]
    first: Int16[np.ndarray, "ferns f"]
    second: Int16[np.ndarray, "ferns f"]
    thresholds: Float32[np.ndarray, "ferns f"]
    outputs: Complex64[np.ndarray, "ferns cells k"]


@final
@dataclass(frozen=True)
class EsrShapes:
    """Shapes in pixels of the crop.

    Attributes:
        mean: mean shape of the training faces.
        starts: shapes from which the regression starts; the answer is the median over them.
    """

    mean: Complex64[np.ndarray, " k"]
    starts: Complex64[np.ndarray, "r k"]


@final
class EsrModel:
    """A fitted cascade of ferns, used like a network.

    ``size_bytes`` is the size of the file, 0 if the model was not read from a file.
    """

    gives_scores = False  # ferns give no confidence

    def __init__(
        self, card: ModelCard, shapes: EsrShapes, stages: tuple[EsrStage, ...], *, size_bytes: int = 0
    ) -> None:
        self.card = card
        self.scheme = card.find_scheme()
        self.shapes = shapes
        self.stages = stages
        self.size_bytes = size_bytes

    def answer(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Answer:
        """Points of each crop, a square of ``card.size`` pixels: the median over the starts; n may be 0.

        Raises:
            ModelFileError: a point is not finite.
            TypeError: ``crops`` is no array of bytes.
            ValueError: its shape is another.
        """
        check_crops(crops, self.card.size)
        parts = [self._points(crops[i : i + _CROPS_AT_ONCE]) for i in range(0, len(crops), _CROPS_AT_ONCE)]
        points = np.concatenate(parts) if parts else np.zeros((0, self.scheme.count, 2), np.float32)
        check_answer(points, (len(crops), self.scheme.count, 2), name="points", source=self.card.name)
        return Answer(points)

    def _points(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Float32[np.ndarray, "n k 2"]:
        pictures = np.stack([grey(crop) for crop in crops])
        starts = self.shapes.starts
        owner = np.repeat(np.arange(len(crops)), len(starts))
        moving = np.tile(starts, (len(crops), 1))
        for stage in self.stages:
            values, frame = look(pictures, owner, moving, near=stage.near, offsets=stage.offsets, mean=self.shapes.mean)
            moving = moving + frame[:, None] * fern_sum(stage, values)
        each = moving.reshape(len(crops), len(starts), -1)
        return np.stack([np.median(each.real, axis=1), np.median(each.imag, axis=1)], axis=-1).astype(np.float32)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write card and arrays to an ``.npz`` file, without pickle; movements are stored in half precision.

        An earlier file is replaced when the new one is complete.

        Raises:
            ConfigError: the name does not end in ``.npz``.
            OutputError: the file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise ConfigError(f"{path}: expected a name that ends in .npz")
        arrays: dict[str, np.ndarray] = {"format": np.array(FORMAT), "card": np.array(self.card.to_json())}
        arrays |= {"mean": self.shapes.mean, "starts": self.shapes.starts, "stages": np.array(len(self.stages))}
        for number, stage in enumerate(self.stages):
            values = {name: getattr(stage, name) for name in EsrStage.__dataclass_fields__}
            outputs = values["outputs"]
            values["outputs"] = np.stack([outputs.real, outputs.imag], axis=-1).astype(np.float16)
            arrays |= {f"{name}_{number}": value for name, value in values.items()}
        with written(path) as aside:
            np.savez_compressed(aside, **arrays)  # type: ignore[arg-type]  # its stub takes them for its own flag
        return path

    @staticmethod
    def open(path: str | os.PathLike[str]) -> "EsrModel":
        """Read a file that ``save`` wrote.

        Raises:
            ModelFileError: the file is missing or damaged, was not written by ``save``, or holds more than
                ``MOST_BYTES``.
        """
        path = Path(path)
        try:
            return _read(read_arrays(path, max_bytes=MOST_BYTES), path)
        except (DataError, ValueError, KeyError) as error:
            reason = f"no array {error}" if isinstance(error, KeyError) else str(error).removeprefix(f"{path}: ")
            raise ModelFileError(f"{path}: not a cascade written by 'canthus fit' ({reason})") from error


def _read(arrays: Mapping[str, np.ndarray], path: Path) -> EsrModel:
    version, count = (int(_array(arrays, name, "i", ())) for name in ("format", "stages"))
    if version != FORMAT:
        raise ValueError(f"format {version}, expected {FORMAT}")
    card = ModelCard.from_json(str(_array(arrays, "card", "U", ())), source=str(path))
    points = card.find_scheme().count
    shapes = EsrShapes(_array(arrays, "mean", "c", (points,)), _array(arrays, "starts", "c", (None, points)))
    if len(shapes.starts) == 0 or np.ptp(shapes.mean.real) + np.ptp(shapes.mean.imag) == 0:
        raise ValueError("no starts, or a mean shape without extent")
    if not 0 <= count <= len(arrays):
        raise ValueError(f"{count} stages in {len(arrays)} arrays")
    stages = tuple(_stage(arrays, number, points) for number in range(count))
    return EsrModel(card, shapes, stages, size_bytes=path.stat().st_size)


def _stage(arrays: Mapping[str, np.ndarray], number: int, points: int) -> EsrStage:
    """A stage whose indices all lie inside the arrays that they point into.

    Raises:
        KeyError, ValueError: an array is missing, or is not what a stage needs.
    """
    near = _array(arrays, f"near_{number}", "i", (None,))
    first = _array(arrays, f"first_{number}", "i", (None, None))
    ferns, features = first.shape
    second = _array(arrays, f"second_{number}", "i", (ferns, features))
    if features > MOST_FEATURES:
        raise ValueError(f"ferns of {features} features, expected {MOST_FEATURES} at most")
    for indices, end in ((near, points), (first, len(near)), (second, len(near))):
        if indices.size and not (indices.min() >= 0 and indices.max() < end):
            raise ValueError(f"an index of stage {number} beyond the {end} that there are")
    parts = _array(arrays, f"outputs_{number}", "f", (ferns, 2**features, points, 2)).astype(np.float32)
    return EsrStage(
        near=near.astype(np.int16),
        offsets=_array(arrays, f"offsets_{number}", "c", (len(near),)).astype(np.complex64),
        first=first.astype(np.int16),
        second=second.astype(np.int16),
        thresholds=_array(arrays, f"thresholds_{number}", "f", (ferns, features)).astype(np.float32),
        outputs=(parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64),
    )


def _array(arrays: Mapping[str, np.ndarray], name: str, kind: str, shape: tuple[int | None, ...]) -> Any:
    """An array of this kind of numbers, all finite; None stands for any side.

    Raises:
        KeyError: there is no such array.
        ValueError: it has another kind or shape, or numbers that are not finite or too large.
    """
    values = arrays[name]
    fits = values.ndim == len(shape) and all(s in (None, side) for s, side in zip(shape, values.shape, strict=True))
    if values.dtype.kind != kind or not fits:
        wanted = f"({', '.join('any' if side is None else str(side) for side in shape)})"
        raise ValueError(f"{name} is {values.dtype} of shape {values.shape}, expected kind {kind!r} of shape {wanted}")
    if kind in "fc" and not float(np.abs(values).max(initial=0)) <= FARTHEST:  # NaN passes through max
        raise ValueError(f"{name} holds numbers that are not finite, or above {FARTHEST:g}")
    return values


def grey(crop: UInt8[np.ndarray, "s s 3"]) -> UInt8[np.ndarray, "s s"]:
    """Grey crop, slightly blurred, because single pixels are compared."""
    return np.asarray(cv2.blur(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (3, 3)), np.uint8)


def turn_and_zoom(
    shapes: Complex64[np.ndarray, "n k"], mean: Complex64[np.ndarray, " k"]
) -> Complex64[np.ndarray, " n"]:
    """Complex factor that rotates and scales the mean shape onto each shape, by least squares about the centres."""
    centred = mean - mean.mean()
    moved = shapes - shapes.mean(axis=1, keepdims=True)
    factor = moved @ centred.conj() / np.vdot(centred, centred).real
    return np.asarray(factor, np.complex64)


def look(
    pictures: UInt8[np.ndarray, "m s s"],
    owner: Int64[np.ndarray, " n"],
    shapes: Complex64[np.ndarray, "n k"],
    *,
    near: Int16[np.ndarray, " p"],
    offsets: Complex64[np.ndarray, " p"],
    mean: Complex64[np.ndarray, " k"],
) -> tuple[Float32[np.ndarray, "n p"], Complex64[np.ndarray, " n"]]:
    """Brightness of the shape-indexed pixels (see ``EsrStage``), and the frame of each shape.

    ``pictures`` are grey crops; ``owner`` is the index of the picture of each shape.
    """
    frame = turn_and_zoom(shapes, mean)
    places = shapes[:, near] + frame[:, None] * offsets
    side = pictures.shape[1]
    x = np.clip(np.rint(places.real), 0, side - 1).astype(np.int32)
    y = np.clip(np.rint(places.imag), 0, side - 1).astype(np.int32)
    return pictures[owner[:, None], y, x].astype(np.float32), frame


def fern_cells(bits: Bool[np.ndarray, "*n f"]) -> Int64[np.ndarray, "*n"]:
    """Index of the cell with these bits."""
    return np.asarray(bits @ (1 << np.arange(bits.shape[-1])), np.int64)


def fern_sum(stage: EsrStage, values: Float32[np.ndarray, "n p"]) -> Complex64[np.ndarray, "n k"]:
    """Sum of the movements of all ferns of a stage."""
    cells = fern_cells(values[:, stage.first] - values[:, stage.second] > stage.thresholds)
    moves = stage.outputs[np.arange(len(stage.outputs)), cells]
    return np.asarray(moves.sum(axis=1), np.complex64)
