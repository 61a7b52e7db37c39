"""Predicted landmarks with their ground truth, in memory and as JSON files that can be scored without the model."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from canthus.errors import DataError
from canthus.evaluation.boxes import match_boxes
from canthus.files import write_text
from canthus.geometry import box_iou, hull_box
from canthus.plain_data import to_values
from canthus.schemes import Scheme, own_scheme
from canthus.types import Annotation, by_picture


@final
@dataclass(frozen=True)
class Prediction:
    """Ground truth and predicted points of one face.

    Attributes:
        points: in pixels of the picture; NaN if the face was missed.
        found: False if no detected face overlaps the true box enough.
        box: face box in which the points were predicted; NaN if the face was missed.
        overlap: IoU of that box and the true box; IoU of the best box if the face was missed.
        scores: confidence of each point in [0, 1]; None if the model gives none.
    """

    truth: Annotation
    points: Float32[np.ndarray, "k 2"]
    found: bool
    box: Float32[np.ndarray, " 4"]
    overlap: float
    scores: Float32[np.ndarray, " k"] | None = None

    @staticmethod
    def missed(truth: Annotation, *, overlap: float = 0.0) -> "Prediction":
        """The prediction of a face that was not found."""
        nothing = np.full(truth.points.shape, np.nan, np.float32)
        return Prediction(truth, nothing, found=False, box=np.full(4, np.nan, np.float32), overlap=overlap)


def write_predictions(
    path: str | os.PathLike[str], predictions: Sequence[Prediction], *, boxes: str, tolerance: float | None = None
) -> None:
    """Write predictions as a JSON list, one face per line, which ``parse_predictions`` reads.

    Fields: image, subset, scheme, truth, predicted and box (null for a missed face), boxes, and confidence (one number
    per point) if the model gives it.  Coordinates are pixels, rounded to a thousandth.  The first entry also has the
    scheme itself, own_scheme, if it is none of canthus.

    Args:
        boxes: source of the face boxes, the same for all faces.
        tolerance: a point is right if its error is at most this fraction of the longer side of the face box; None
            without confidence.
    """
    common = {"boxes": boxes} | ({} if tolerance is None else {"tolerance": tolerance})
    entries = [_entry(prediction) | common for prediction in predictions]
    if predictions and (own := own_scheme(predictions[0].truth.scheme)):
        entries[0]["own_scheme"] = to_values(own)
    lines = [json.dumps(entry) for entry in entries]
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def read_json_list(path: str | os.PathLike[str]) -> list[Mapping[str, Any]]:
    """Read a JSON file that holds a list of objects.

    Raises:
        DataError: the file is missing, is not JSON, or does not hold a list of objects.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: expected a list of objects, one per face or one per picture")
    return entries


def carries_truth(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether entries hold their own ground truth (one per face) and not detected faces (one per picture)."""
    return "truth" in entries[0]


def parse_predictions(
    entries: Sequence[Mapping[str, Any]], scheme: Scheme, *, root: Path, source: str
) -> list[Prediction]:
    """Read predictions from a list of ``{"image", "truth", "predicted", "subset", "box"}``.

    ``predicted`` is null for a missed face.  ``subset`` and ``box`` are optional; the default box is the hull of the
    true points.

    Args:
        entries: one per face, in pixels of the picture.
        scheme: scheme of the true and the predicted points.
        root: folder that picture names are relative to.

    Raises:
        DataError: a field is missing, or the number of points does not fit the scheme.
    """
    seen: dict[str, int] = {}
    predictions = []
    for number, entry in enumerate(entries):
        where = f"{source}: entry {number}"
        image = _text(entry, "image", where)
        repeat = seen[image] = seen.get(image, 0) + 1
        points = _points(entry, "truth", scheme, where)
        truth = Annotation(
            key=image if repeat == 1 else f"{image}#{repeat}",
            path=root / image,
            points=points,
            scheme=scheme,
            box=scheme.face_boxes(points),
            visible=np.ones(scheme.count, np.bool_),
            group=image,
            subset=str(entry.get("subset", "")),
        )
        predictions.append(_with_points(truth, entry, where))
    return predictions


def match_detections(
    entries: Sequence[Mapping[str, Any]],
    annotations: Sequence[Annotation],
    *,
    root: Path,
    min_overlap: float,
    source: str,
) -> list[Prediction]:
    """Match the output of ``canthus detect --json`` to the ground truth of a dataset, see ``match_boxes``.

    Args:
        entries: one per picture, ``{"image", "faces": [{"points", "box"}]}``; the box is optional, its default is the
            hull of the points.
        root: folder that picture names may be relative to.
        min_overlap: a labelled face counts as found if its IoU with a detected face is above this.

    Raises:
        DataError: a labelled picture has no entry, or an entry is malformed.
    """
    entries = [entry for entry in entries if not entry.get("error")]  # pictures that canthus detect could not read
    faces = by_picture(annotations)
    found = _find_pictures(entries, list(faces), root=root, source=source)
    pairs = zip(found, faces.values(), strict=True)
    return [face for entry, truths in pairs for face in _match_picture(entry, truths, min_overlap, source)]


def _match_picture(
    entry: Mapping[str, Any], truths: Sequence[Annotation], min_overlap: float, source: str
) -> list[Prediction]:
    scheme, where = truths[0].scheme, f"{source}: {entry['image']}"
    faces = entry.get("faces")
    if not isinstance(faces, list):
        raise DataError(f"{where}: expected 'faces', a list of detected faces; found {faces!r}")
    for face in faces:
        if face.get("scheme", scheme.name) != scheme.name:
            raise DataError(f"{where}: points are {face['scheme']}, the truth is {scheme.name}")
    points = [_points(face, "points", scheme, where) for face in faces]
    boxes = [
        hull_box(own) if face.get("box") is None else _box(face["box"], where)
        for face, own in zip(faces, points, strict=True)
    ]
    detected = np.array(boxes, np.float32).reshape(-1, 4)
    matches = match_boxes(np.stack([truth.box for truth in truths]), detected, min_overlap=min_overlap)
    return [
        Prediction(
            truth,
            points[match.index],
            found=True,
            box=detected[match.index],
            overlap=match.overlap,
            scores=_scores(faces[match.index], scheme, where),
        )
        if match.found
        else Prediction.missed(truth, overlap=match.overlap)
        for truth, match in zip(truths, matches, strict=True)
    ]


def _find_pictures(
    entries: Sequence[Mapping[str, Any]], paths: Sequence[Path], *, root: Path, source: str
) -> list[Mapping[str, Any]]:
    """The entry of each labelled picture, whose name is relative to the current folder or to ``root``."""
    named: dict[Path, Mapping[str, Any]] = {}
    for number, entry in enumerate(entries):
        image = Path(_text(entry, "image", f"{source}: entry {number}"))
        for path in (image, root / image):
            named.setdefault(path.resolve(), entry)
    lacking = [path for path in paths if path.resolve() not in named]
    if lacking:
        raise DataError(
            f"{source}: no entry for {len(lacking)} of {len(paths)} labelled pictures, the first {lacking[0]}. "
            f"Picture names are relative to the current folder or to {root}; "
            "a picture without a detected face needs an entry with empty 'faces'."
        )
    return [named[path.resolve()] for path in paths]


def _entry(prediction: Prediction) -> dict[str, Any]:
    truth, scores = prediction.truth, prediction.scores
    entry = {
        "image": truth.key,
        "subset": truth.subset,
        "scheme": truth.scheme.name,
        "truth": _rounded(truth.points),
        "predicted": _rounded(prediction.points) if prediction.found else None,
        "box": _rounded(prediction.box) if prediction.found else None,
    }
    return entry if scores is None else entry | {"confidence": np.round(scores.astype(np.float64), 4).tolist()}


def _rounded(values: Float32[np.ndarray, "..."]) -> Any:
    """Nested lists with null in place of NaN, which JSON does not have."""
    exact = np.round(values.astype(np.float64), 3)
    return np.where(np.isnan(exact), np.array(None), exact.astype(object)).tolist()


def _with_points(truth: Annotation, entry: Mapping[str, Any], where: str) -> Prediction:
    if entry.get("predicted", "") is None:
        return Prediction.missed(truth)
    points = _points(entry, "predicted", truth.scheme, where)
    if not np.isfinite(points).all():
        raise DataError(f"{where}: 'predicted' holds NaN or infinite points; for a missed face write null for the list")
    scores = _scores(entry, truth.scheme, where)
    box = truth.box if entry.get("box") is None else _box(entry["box"], where)
    overlap = float(box_iou(truth.box[None], box[None])[0, 0])
    return Prediction(truth, points, found=True, box=box, overlap=overlap, scores=scores)


def _text(entry: Mapping[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a string {name!r}, found {value!r}; fields: {', '.join(sorted(entry))}")
    return value


def _points(entry: Mapping[str, Any], name: str, scheme: Scheme, where: str) -> Float32[np.ndarray, "k 2"]:
    points = _numbers(entry.get(name), name, where)
    if points.shape != (scheme.count, 2):
        shape = " x ".join(map(str, points.shape)) or "no list"
        raise DataError(f"{where}: expected {name!r} to be {scheme.count} x 2 numbers ({scheme.name}), found {shape}")
    return points


def _scores(entry: Mapping[str, Any], scheme: Scheme, where: str) -> Float32[np.ndarray, " k"] | None:
    if entry.get("confidence") is None:
        return None
    scores = _numbers(entry["confidence"], "confidence", where)
    if scores.shape != (scheme.count,) or not ((scores >= 0) & (scores <= 1)).all():
        raise DataError(f"{where}: expected 'confidence' to be {scheme.count} numbers from 0 to 1, one per point")
    return scores


def _box(value: Any, where: str) -> Float32[np.ndarray, " 4"]:
    box = _numbers(value, "box", where)
    if box.shape != (4,):
        raise DataError(f"{where}: expected 'box' to be 4 numbers x1, y1, x2, y2, found {value!r}")
    return box


def _numbers(value: Any, name: str, where: str) -> Float32[np.ndarray, "..."]:
    try:
        return np.asarray(np.array(value, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected {name!r} to be a list of numbers ({error})") from error
