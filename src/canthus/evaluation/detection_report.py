"""Precision, recall and other figures of a detector on a dataset."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float64

from canthus.evaluation.boxes import BoxOffsets, box_offsets, robust_sigma
from canthus.evaluation.detection import FALSE, HIT, IGNORED, DetectionRows, interpolated_area
from canthus.evaluation.errors import mean_or_nan
from canthus.evaluation.summary import null_for_nan
from canthus.evaluation.wider_face import WiderPrecision
from canthus.files import csv_line, written
from canthus.geometry import BoxHabit
from canthus.types import Faces, Scene

Recalls: TypeAlias = dict[str, tuple[int, float]]
"""Group of faces -> their number, and the recall at a score."""
SIZE_EDGES = (0.0, 10.0, 16.0, 32.0, 64.0, 128.0, math.inf)
"""Edges of the bins of face size: the square root of the area of the labelled box, in pixels of the picture."""


@final
@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall at every score that occurs, in descending order.

    Attributes:
        scores: smallest score of the detections that count.
        precision: share of hits among them.
        recall: share of the labelled faces that they hit.
    """

    scores: Float64[np.ndarray, " n"]
    precision: Float64[np.ndarray, " n"]
    recall: Float64[np.ndarray, " n"]


@final
@dataclass(frozen=True)
class AtScore:
    """Figures of a detector at one score.

    Attributes:
        recall: share of all labelled faces that were found.
        precision: share of hits among the detections in completely labelled pictures.
        false_per_picture: mean number of false detections in a completely labelled picture.
        other_per_picture: mean number of detections on no labelled face in a picture with incomplete labels; they are
            false or on unlabelled faces.
    """

    recall: float
    precision: float
    false_per_picture: float
    other_per_picture: float


def precision_recall(rows: DetectionRows) -> PrecisionRecall:
    """The curve over the completely labelled pictures; empty if nothing was found in them."""
    finds, truths = rows.finds, rows.truths
    counted = rows.complete[finds.pictures] & ((finds.verdicts == HIT) | (finds.verdicts == FALSE))
    faces = int((rows.complete[truths.pictures] & ~truths.ignored).sum())
    scores, place = np.unique(-finds.scores[counted].astype(np.float64), return_inverse=True)
    hits = np.cumsum(np.bincount(place, weights=finds.verdicts[counted] == HIT, minlength=len(scores)))
    total = np.cumsum(np.bincount(place, minlength=len(scores)))
    recall = hits / faces if faces else np.full(len(hits), np.nan)
    return PrecisionRecall(-scores, hits / np.maximum(total, 1), recall)


def average_precision(rows: DetectionRows) -> float:
    """Area under ``precision_recall``, see ``interpolated_area``; NaN if no face counts."""
    if not (rows.complete[rows.truths.pictures] & ~rows.truths.ignored).any():
        return math.nan
    curve = precision_recall(rows)
    return interpolated_area(curve.precision, curve.recall)


def recall_at_false_finds(rows: DetectionRows, per_picture: float) -> float:
    """Largest recall with at most ``per_picture`` false detections per completely labelled picture, on average.

    The recall is a share of all labelled faces; NaN without such pictures or faces.
    """
    pictures = int(rows.complete.sum())
    if pictures == 0:
        return math.nan
    false = np.sort(rows.finds.scores[_false(rows) & rows.complete[rows.finds.pictures]])[::-1]
    # Without the slack, 0.1 per picture would allow 2 and not 3 in 30 pictures.
    allowed = math.floor(per_picture * pictures + 1e-9)
    barred = -math.inf if len(false) <= allowed else float(false[allowed])
    return mean_or_nan((rows.truths.scores > barred)[~rows.truths.ignored])


def at_score(rows: DetectionRows, score: float) -> AtScore:
    """Recall, precision and false detections among the detections with at least ``score``."""
    finds = rows.finds
    shown = finds.scores >= score
    complete = rows.complete[finds.pictures]
    hits = int((shown & complete & (finds.verdicts == HIT)).sum())
    false = int((shown & complete & _false(rows)).sum())
    other = int((shown & ~complete & _false(rows)).sum())
    pictures = int(rows.complete.sum())
    return AtScore(
        recall=mean_or_nan((rows.truths.scores >= score)[~rows.truths.ignored]),
        precision=hits / (hits + false) if hits + false else math.nan,
        false_per_picture=false / pictures if pictures else math.nan,
        other_per_picture=other / (len(rows.complete) - pictures) if pictures < len(rows.complete) else math.nan,
    )


def recall_by_size(rows: DetectionRows, score: float) -> Recalls:
    """Recall at ``score`` between ``SIZE_EDGES``, lower edges included; empty bins are left out."""
    sizes = rows.truths.sizes
    bins = {_bin_name(low, high): (sizes >= low) & (sizes < high) for low, high in pairwise(SIZE_EDGES)}
    return _recall_of(bins, rows, score)


def recall_by_label(rows: DetectionRows, score: float) -> Recalls:
    """Recall at ``score`` by label, in alphabetical order; empty if the dataset has no labels."""
    labels, names = np.array(rows.truths.labels, np.str_), sorted(set(rows.truths.labels))
    if set(names) <= {""}:
        return {}
    return _recall_of({name or "(none)": labels == name for name in names}, rows, score)


def _recall_of(groups: Mapping[str, Bool[np.ndarray, " m"]], rows: DetectionRows, score: float) -> Recalls:
    found = rows.truths.scores >= score
    counted = {name: members & ~rows.truths.ignored for name, members in groups.items()}
    return {name: (int(m.sum()), mean_or_nan(found[m])) for name, m in counted.items() if m.any()}


def _false(rows: DetectionRows) -> Bool[np.ndarray, " n"]:
    return np.asarray(rows.finds.verdicts == FALSE)


def _bin_name(low: float, high: float) -> str:
    if low == 0:
        return f"<{high:g}"
    return f">={low:g}" if math.isinf(high) else f"{low:g}-{high:g}"


FALSE_FINDS = (0.05, 0.1, 1.0)
"""False detections per picture at which recall is reported."""
_VERDICTS = {HIT: "hit", FALSE: "false", IGNORED: "ignored"}
_COLUMNS = (
    "detector", "row", "picture", "complete", "x1", "y1", "x2", "y2", "score", "verdict", "overlap", "size", "label",
)  # fmt: skip


@final
@dataclass(frozen=True)
class DetectorReport:
    """The result of one detector on one dataset.

    Attributes:
        min_overlap: smallest intersection over union at which a detection matches a labelled face.
        usual_score: score threshold in normal use.
        found: detected faces of each picture, with all scores.
        seconds: time for each picture; empty if detections were read from files.
        official: average precision by the protocol of WIDER FACE, by level; empty if it was not asked for.
    """

    detector: str
    dataset: str
    split: str
    min_overlap: float
    usual_score: float
    scenes: Sequence[Scene]
    found: Sequence[Faces]
    rows: DetectionRows
    seconds: Float64[np.ndarray, " t"]
    official: Mapping[str, WiderPrecision] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class DetectorFigures:
    """Figures of one report: fractions, and NaN if there is nothing to measure.

    Attributes:
        pictures: number of pictures, and of completely labelled pictures.
        faces: number of faces that count; ignored faces are in no figure.
        average_precision: over the completely labelled pictures.
        recall_at: false detections per completely labelled picture -> recall.
        usual: figures at the usual score, like ``by_size`` and ``by_label``.
        median_ms: median time for a picture, without reading the file.
        offsets: offsets of detected from labelled face boxes, if the dataset has face boxes: number of pairs, then
            median and sigma of each offset.
    """

    pictures: tuple[int, int]
    faces: int
    average_precision: float
    recall_at: Mapping[float, float]
    usual: AtScore
    by_size: Recalls
    by_label: Recalls
    median_ms: float
    offsets: Mapping[str, float]


def detector_figures(report: DetectorReport) -> DetectorFigures:
    """Compute all figures of a report from its rows."""
    rows, score = report.rows, report.usual_score
    of_faces = bool(report.scenes) and all(scene.habit == BoxHabit() for scene in report.scenes)
    return DetectorFigures(
        pictures=(len(rows.keys), int(rows.complete.sum())),
        faces=int((~rows.truths.ignored).sum()),
        average_precision=average_precision(rows),
        recall_at={allowed: recall_at_false_finds(rows, allowed) for allowed in FALSE_FINDS},
        usual=at_score(rows, score),
        by_size=recall_by_size(rows, score),
        by_label=recall_by_label(rows, score),
        median_ms=1e3 * float(np.median(report.seconds)) if len(report.seconds) else math.nan,
        offsets=_offset_figures(found_offsets(report)) if of_faces else {},
    )


def found_offsets(report: DetectorReport) -> BoxOffsets:
    """Offsets of the detections that are hits at the usual score from the labelled face boxes."""
    finds, truths = report.rows.finds, report.rows.truths
    chosen = (finds.verdicts == HIT) & (finds.scores >= report.usual_score)
    return box_offsets(truths.boxes[finds.truths[chosen]], finds.boxes[chosen])


def detector_json(report: DetectorReport) -> dict[str, Any]:
    """All figures of a report as plain values for ``json``: fractions, and null if there is nothing to measure."""
    figures = detector_figures(report)
    values = {
        "detector": report.detector,
        "dataset": report.dataset,
        "split": report.split,
        "min_overlap": report.min_overlap,
        "pictures": figures.pictures[0],
        "complete_pictures": figures.pictures[1],
        "faces": figures.faces,
        "average_precision": figures.average_precision,
        "recall_at_false_per_picture": {f"{key:g}": value for key, value in figures.recall_at.items()},
        "usual_score": report.usual_score,
        **asdict(figures.usual),
        "by_size": _groups(figures.by_size),
        "by_label": _groups(figures.by_label),
        "median_ms": figures.median_ms,
        "box_offsets": figures.offsets,
    }
    if report.official:
        values["wider_face"] = {level: asdict(result) for level, result in report.official.items()}
    return dict(null_for_nan(values))


def write_detection_rows(path: str | os.PathLike[str], reports: Sequence[DetectorReport]) -> None:
    """Write the rows of all reports as CSV: one line per detection, and one per labelled face.

    Raises:
        OutputError: the file cannot be written.
    """
    with written(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        file.write(csv_line(_COLUMNS))
        for report in reports:
            file.writelines(csv_line([report.detector, *line]) for line in _lines(report.rows))


def _lines(rows: DetectionRows) -> Iterator[list[object]]:
    """Lines of the CSV, without the detector."""
    finds, truths = rows.finds, rows.truths
    for index, picture in enumerate(finds.pictures):
        box = [round(float(side), 3) for side in finds.boxes[index]]
        verdict, overlap = _VERDICTS[int(finds.verdicts[index])], round(float(finds.overlaps[index]), 4)
        size = float(np.sqrt((finds.boxes[index, 2:] - finds.boxes[index, :2]).clip(0).prod()))
        where = [rows.keys[picture], bool(rows.complete[picture])]
        yield ["find", *where, *box, float(finds.scores[index]), verdict, overlap, round(size, 3), ""]
    best = np.zeros(len(truths), np.float32)
    hits = finds.verdicts == HIT
    best[finds.truths[hits]] = finds.overlaps[hits]
    for index, picture in enumerate(truths.pictures):
        box = [round(float(side), 3) for side in truths.boxes[index]]
        score = float(truths.scores[index])
        verdict = "ignored" if truths.ignored[index] else "missed" if math.isnan(score) else "found"
        where = [rows.keys[picture], bool(rows.complete[picture])]
        shown = "" if math.isnan(score) else score
        size, overlap = round(float(truths.sizes[index]), 3), round(float(best[index]), 4)
        yield ["face", *where, *box, shown, verdict, overlap, size, truths.labels[index]]


def _offset_figures(offsets: BoxOffsets) -> dict[str, float]:
    figures = {"pairs": float(len(offsets))}
    for name in ("x", "y", "log_scale"):
        values = getattr(offsets, name)
        figures[f"{name}_median"] = float(np.median(values)) if len(values) else math.nan
        figures[f"{name}_sigma"] = robust_sigma(values)
    return figures


def _groups(groups: Recalls) -> dict[str, dict[str, float | int]]:
    return {name: {"faces": faces, "recall": recall} for name, (faces, recall) in groups.items()}
