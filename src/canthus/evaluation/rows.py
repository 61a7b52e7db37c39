"""One row of errors per face, from which all tables, curves and pictures of an evaluation are made."""

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float64

from canthus.data import DATASETS
from canthus.data.datasets import SCALES, USUAL, WITHOUT_EYES, Protocol
from canthus.errors import ConfigError, DataError
from canthus.evaluation.errors import (
    box_diagonal,
    box_longer_side,
    box_mean_side,
    inter_ocular,
    inter_pupil,
    normalized_error,
    normalized_squared_error,
    part_error,
    unit_squared_error,
)
from canthus.evaluation.openness import RATIOS, opening_row
from canthus.evaluation.predictions import Prediction
from canthus.files import csv_line, write_text, written
from canthus.lookup import lookup, require
from canthus.schemes import Scheme
from canthus.types import Annotation


def protocol_of(dataset: str, scale: str = "") -> Protocol:
    """Protocol of a scale of ``SCALES``, or else of a dataset.

    ``USUAL`` for any other dataset, such as a file of predictions.
    """
    if scale:
        return lookup(SCALES, scale, kind="scale")
    return DATASETS[dataset].protocol if dataset in DATASETS else USUAL


BOXES = ("truth", "detector", "unstated")
"""Possible sources of face boxes; ``unstated`` if a file of predictions does not name it."""

_PART, _ATTRIBUTE = "ion/", "attribute/"
_TEXTS = ("key", "dataset", "split", "subset", "boxes")
_NUMBERS = ("overlap", "hidden", "nme_ion", "nme_ipn", "nme_box")
_LATER = (
    "nme_visible", "nme_hidden", "nmse_ipn_squared", "covered", "yaw", "confidence",
    "nme_diagonal", "nme_longer", "mse_unit",
)  # fmt: skip
"""Numbers that files of earlier versions may lack, like those of ``_OPENNESS``."""
_OPENNESS = ("nme_eyes", *(column for name in RATIOS for column in (name, f"{name}_truth")))


@final
@dataclass(frozen=True)
class FaceError:
    """Errors of one face: fractions, not percent; NaN if the face was missed.

    If the protocol of the dataset counts visible points only, every error is over the visible points, and NaN over a
    distance between eyes that are not both visible.

    Attributes:
        key: key of the face, unique within its dataset.
        dataset: name of the dataset, or of the file of predictions.
        boxes: source of the face boxes, one of ``BOXES``.
        found: False if the detector missed the face.
        overlap: intersection over union of the box used and the ground-truth box.
        hidden: share of the points that are labelled as hidden.
        nme_ion: error over the inter-ocular distance.
        nme_ipn: error over the inter-pupil distance.
        nme_box: error over sqrt(w h) of the ground-truth box.
        nme_visible, nme_hidden: error of the points labelled as visible, and as hidden, over the inter-ocular distance.
        nmse_ipn_squared: mean squared error over the squared inter-pupil distance.
        occlusion: condition under which the evaluation covered the face, or "".
        covered: share of the face that the evaluation covered.
        yaw: yaw of the head in radians, from the true points, if the evaluation needs it.
        confidence: mean over the points, if the model has confidence.
        nme_diagonal: error over the diagonal of the ground-truth box.
        nme_longer: error over the longer side of the ground-truth box.
        mse_unit: mean squared error of the coordinates in the unit frame of the crop, see ``unit_squared_error``.
        parts: error of each part of the face, over the inter-ocular distance.
        attributes: yes/no properties of the face, if the dataset has them.
        openness: ``nme_eyes``, the error of the points of both eyes over the inter-ocular distance; if the points
            convert to the 68 points, also the ratios of eyes and mouth, ``ear_right``, ``ear_left``, ``mar``, and
            ``..._truth``.
        scale: key of ``SCALES`` where the evaluation reports another error than the protocol of the dataset, or "".
    """

    key: str
    dataset: str
    split: str
    subset: str
    boxes: str
    found: bool
    overlap: float
    hidden: float
    nme_ion: float
    nme_ipn: float
    nme_box: float
    nme_visible: float = math.nan
    nme_hidden: float = math.nan
    nmse_ipn_squared: float = math.nan
    occlusion: str = ""
    covered: float = 0.0
    yaw: float = math.nan
    confidence: float = math.nan
    nme_diagonal: float = math.nan
    nme_longer: float = math.nan
    mse_unit: float = math.nan
    parts: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, bool] = field(default_factory=dict)
    openness: Mapping[str, float] = field(default_factory=dict)
    scale: str = ""

    @property
    def error(self) -> float:
        """The error that the evaluation reports, see ``protocol_of``."""
        return float(getattr(self, protocol_of(self.dataset, self.scale).error))


def scale_for(scheme: Scheme, dataset: str, asked: str | None = None) -> str:
    """The scale of an evaluation: the one asked for, ``WITHOUT_EYES`` where the usual one does not exist, or "".

    Raises:
        ConfigError: the scale is unknown, or the scheme lacks the points that it needs.
    """
    wanted = protocol_of(dataset, asked or "")
    lacking = {"nme_ion": not scheme.eye_corners, "nme_ipn": not scheme.pupils}.get(wanted.error, False)
    if asked and lacking:
        field = "eye_corners" if wanted.error == "nme_ion" else "pupils"
        raise ConfigError(
            f"The scheme {scheme.name} has no {field}, so there is no {wanted.scale}; choose the scale box, diagonal "
            f"or longer, or state {field} in the scheme"
        )
    return asked or (WITHOUT_EYES if lacking else "")


def need_eye_corners(scheme: Scheme) -> None:
    """Refuse a scheme without eye corners for what is reported over the inter-ocular distance alone.

    Raises:
        ConfigError: the scheme has none.
    """
    if not scheme.eye_corners:
        raise ConfigError(
            f"This evaluation reports errors over the inter-ocular distance, but the scheme {scheme.name} has no "
            "eye_corners; state them in the scheme, or evaluate without this option, over the face box"
        )


def face_error(prediction: Prediction, *, dataset: str, split: str, boxes: str, scale: str = "") -> FaceError:
    """Compute the errors of one prediction.

    Args:
        scale: what ``scale_for`` returned.

    Raises:
        DataError: the ground truth lacks the eye points that the scales need, its box is empty, or a found face has NaN
            points.
    """
    truth = prediction.truth
    counted = truth.visible | (not protocol_of(dataset).visible_only)
    predicted, points = prediction.points[None], np.where(counted[:, None], truth.points, np.nan)[None]
    reported = protocol_of(dataset, scale).error
    scales = _scales(truth, points, needed={"nme_ion": {"ion", "ipn"}, "nme_ipn": {"ipn"}}.get(reported, set()))
    ion = scales["ion"]
    errors = {name: float(normalized_error(predicted, points, scale)[0]) for name, scale in scales.items()}
    if prediction.found and math.isnan(errors["box"]):
        raise DataError(f"{truth.key}: the predicted points hold NaN; a face without prediction must be marked missed")
    eyes = {}
    if {"right_eye", "left_eye"} <= truth.scheme.groups.keys():
        eyes = {"nme_eyes": float(part_error(predicted, points, ion, truth.scheme.part("eyes"))[0])}
    visible, hidden = (
        _number(part_error(predicted, points, ion, np.flatnonzero(which).tolist())[0])
        for which in (truth.visible, ~truth.visible)
    )
    return FaceError(
        key=truth.key,
        dataset=dataset,
        split=split,
        subset=truth.subset,
        boxes=boxes,
        found=prediction.found,
        overlap=prediction.overlap,
        hidden=float(1 - truth.visible.mean()),
        nme_ion=errors["ion"],
        nme_ipn=errors["ipn"],
        nme_box=errors["box"],
        nme_visible=visible,
        nme_hidden=hidden,
        nmse_ipn_squared=float(normalized_squared_error(predicted, points, scales["ipn"])[0]),
        nme_diagonal=errors["diagonal"],
        nme_longer=errors["longer"],
        mse_unit=float(unit_squared_error(predicted, points, truth.box[None])[0]),
        confidence=math.nan if prediction.scores is None else float(prediction.scores.mean(dtype=np.float64)),
        parts={
            name: float(part_error(predicted, points, ion, indices)[0]) for name, indices in truth.scheme.groups.items()
        },
        attributes=dict(truth.attributes),
        openness=eyes | opening_row(prediction.points, truth.points, truth.scheme),
        scale=scale,
    )


def _scales(
    truth: Annotation, points: Float[np.ndarray, "1 k 2"], *, needed: Set[str]
) -> dict[str, Float64[np.ndarray, " 1"]]:
    """The lengths that errors are divided by; NaN distances of the eyes are refused if they are needed."""
    box = truth.box[None]
    scales = {
        "ion": inter_ocular(points, truth.scheme),
        "ipn": inter_pupil(points, truth.scheme),
        "box": box_mean_side(box),
        "diagonal": box_diagonal(box),
        "longer": box_longer_side(box),
    }
    for name, scale in scales.items():
        exists = {"ion": truth.scheme.eye_corners, "ipn": truth.scheme.pupils}.get(name, True)
        unseen = (name not in needed or not exists) and name in ("ion", "ipn") and math.isnan(scale[0])
        if not unseen and not (scale[0] > 0 and math.isfinite(scale[0])):
            raise DataError(
                f"{truth.key}: the scale {name!r} of the truth is {scale[0]}, expected a positive length; the scales "
                "box, diagonal and longer need no points of the eyes"
            )
    return scales


def check_rows_path(path: str | os.PathLike[str]) -> None:
    """Check that ``write_rows`` can write to a path, before a long evaluation.

    Raises:
        ConfigError: the suffix is neither ``.csv`` nor ``.parquet``.
        MissingExtraError: parquet without ``pyarrow``.
    """
    suffix = Path(path).suffix
    if suffix == ".parquet":
        require("pyarrow", extra="plots")
    elif suffix != ".csv":
        raise ConfigError(f"{path}: rows are written as .csv or .parquet, found {suffix!r}")


def write_rows(path: str | os.PathLike[str], rows: Sequence[FaceError]) -> None:
    """Write rows as ``.csv`` or ``.parquet`` (extra ``plots``), one column per field and ``ion/jaw`` etc. for parts.

    Missing folders are created.

    Raises:
        ConfigError: another suffix.
        OutputError: the file cannot be written.
        MissingExtraError: parquet without ``pyarrow``.
    """
    check_rows_path(path)
    path = Path(path)
    table = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in table for name in row)) or [*_TEXTS, "found", *_NUMBERS]
    if path.suffix == ".csv":
        lines = [columns, *([row.get(name, "nan") for name in columns] for row in table)]
        write_text(path, "".join(map(csv_line, lines)))
        return
    arrow, parquet = require("pyarrow", extra="plots"), require("pyarrow.parquet", extra="plots")
    with written(path) as aside:
        parquet.write_table(arrow.table({name: [row.get(name) for row in table] for name in columns}), aside)


def read_rows(path: str | os.PathLike[str]) -> list[FaceError]:
    """Read rows that ``write_rows`` wrote.

    Raises:
        ConfigError: the suffix is neither ``.csv`` nor ``.parquet``.
        DataError: columns are missing or hold no numbers.
        MissingExtraError: parquet without ``pyarrow``.
    """
    path = Path(path)
    if path.suffix == ".csv":
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return _rows(csv.DictReader(file), path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if path.suffix == ".parquet":
        parquet = require("pyarrow.parquet", extra="plots")
        try:
            return _rows(parquet.read_table(path).to_pylist(), path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as parquet ({error})") from error
    raise ConfigError(f"{path}: rows are read from .csv or .parquet, found {path.suffix!r}")


def _flat(row: FaceError) -> dict[str, Any]:
    flat = {name: getattr(row, name) for name in (*_TEXTS, "found", *_NUMBERS, *_LATER, "occlusion")}
    if row.scale:
        flat["scale"] = row.scale
    flat |= dict(row.openness)
    flat |= {_PART + name: value for name, value in row.parts.items()}
    return flat | {_ATTRIBUTE + name: value for name, value in row.attributes.items()}


def _rows(table: Iterable[Mapping[str, Any]], path: Path) -> list[FaceError]:
    rows = []
    for number, line in enumerate(table):
        missing = [name for name in (*_TEXTS, "found", *_NUMBERS) if line.get(name) is None]
        if missing:
            raise DataError(f"{path}: row {number} lacks {', '.join(missing)}; expected what 'evaluate --rows' writes")
        try:
            rows.append(_row(line))
        except ValueError as error:
            raise DataError(f"{path}: row {number}: {error}") from error
    return rows


def _row(line: Mapping[str, Any]) -> FaceError:
    parts = {name.removeprefix(_PART): float(value) for name, value in line.items() if name.startswith(_PART)}
    attributes = {
        name.removeprefix(_ATTRIBUTE): _truth(value) for name, value in line.items() if name.startswith(_ATTRIBUTE)
    }
    values: dict[str, Any] = {
        name: str(line[name]) for name in (*_TEXTS, "occlusion", "scale") if line.get(name) is not None
    }
    values |= {name: _number(line[name]) for name in (*_NUMBERS, *_LATER) if line.get(name) is not None}
    openness = {name: float(line[name]) for name in _OPENNESS if line.get(name) is not None}
    return FaceError(**values, found=_truth(line["found"]), parts=parts, attributes=attributes, openness=openness)


def _number(value: Any) -> float:
    number = float(value)
    return math.nan if math.isnan(number) else number  # the one NaN, so that rows read twice are equal


def _truth(value: Any) -> bool:
    known = {"True": True, "False": False}
    if str(value) not in known:
        raise ValueError(f"expected True or False, found {value!r}")
    return known[str(value)]


def worst_faces(
    predictions: Sequence[Prediction], rows: Sequence[FaceError], *, count: int
) -> list[tuple[Prediction, FaceError]]:
    """The ``count`` worst predictions with their rows: missed faces first, then by descending error.

    Missed faces take at most half of the places if there are enough found faces, so that a weak detector does not hide
    the errors of the network.
    """
    pairs = list(zip(predictions, rows, strict=True))
    missed = [pair for pair in pairs if not pair[1].found]
    found = sorted((pair for pair in pairs if pair[1].found), key=lambda pair: pair[1].error, reverse=True)
    places = min(len(missed), max(count // 2, count - len(found)))
    return (missed[:places] + found)[:count]
