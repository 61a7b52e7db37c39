"""From rows of finds and labelled faces to figures: precision, recall, average precision, false finds per picture.

What is surely false is known only in pictures whose faces are all labelled (``Scene.complete``).  Precision, average
precision and false finds are therefore of these pictures alone, and NaN where there are none; recall is of all.
Finds on ignored faces, and those faces, are in no figure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float64

from canthus.evaluation.detection import FALSE, HIT, DetectionRows

SIZE_EDGES = (0.0, 10.0, 16.0, 32.0, 64.0, 128.0, math.inf)
"""Bins of face size: square root of the area of the set's own box, in pixels of the picture."""


@final
@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall at every score that occurs, descending; finds of equal score come in together.

    Attributes:
        scores: finds of at least this score count.
        precision: share of hits among them.
        recall: share of the labelled faces that they hit.
    """

    scores: Float64[np.ndarray, " n"]
    precision: Float64[np.ndarray, " n"]
    recall: Float64[np.ndarray, " n"]

    def area(self) -> float:
        """Exact area under the interpolated curve, ``interpolated_area`` of its points."""
        return interpolated_area(self.precision, self.recall)


@final
@dataclass(frozen=True)
class AtScore:
    """What a detector does at one score.

    Attributes:
        recall: share of all labelled faces found.
        precision: share of hits among the finds in completely labelled pictures.
        false_per_picture: false finds in a completely labelled picture.
        other_per_picture: finds on no labelled face in a picture whose labels are incomplete: false, or unlabelled.
    """

    recall: float
    precision: float
    false_per_picture: float
    other_per_picture: float


def precision_recall(rows: DetectionRows) -> PrecisionRecall:
    """The curve over the completely labelled pictures; empty where nothing was found in them."""
    finds, truths = rows.finds, rows.truths
    counted = rows.complete[finds.pictures] & ((finds.verdicts == HIT) | (finds.verdicts == FALSE))
    faces = int((rows.complete[truths.pictures] & ~truths.ignored).sum())
    scores, place = np.unique(-finds.scores[counted].astype(np.float64), return_inverse=True)
    hits = np.cumsum(np.bincount(place, weights=finds.verdicts[counted] == HIT, minlength=len(scores)))
    total = np.cumsum(np.bincount(place, minlength=len(scores)))
    recall = hits / faces if faces else np.full(len(hits), np.nan)
    return PrecisionRecall(-scores, hits / np.maximum(total, 1), recall)


def interpolated_area(precision: Float[np.ndarray, " n"], recall: Float[np.ndarray, " n"]) -> float:
    """Exact area under the interpolated precision-recall curve.

    The interpolated precision at recall r is the best precision at any recall of at least r; its steps are added up
    without sampling: Everingham et al. (2015), section 4.2, as in VOC from 2010 and in WIDER FACE.

    Args:
        precision: fractions.
        recall: fractions, ascending.

    Returns:
        A fraction in [0, 1]; 0 without points, NaN where recall is not known.
    """
    envelope = np.maximum.accumulate(np.asarray(precision, np.float64)[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def average_precision(rows: DetectionRows) -> float:
    """Average precision over the completely labelled pictures; NaN where they have no face that counts."""
    if not (rows.complete[rows.truths.pictures] & ~rows.truths.ignored).any():
        return math.nan
    return precision_recall(rows).area()


def recall_at_false_finds(rows: DetectionRows, per_picture: float) -> float:
    """Largest recall at which a completely labelled picture has on average at most ``per_picture`` false finds.

    Args:
        rows: of one detector.
        per_picture: false finds allowed, as a mean over the completely labelled pictures.

    Returns:
        Share of all labelled faces; NaN without such pictures or faces.
    """
    pictures = int(rows.complete.sum())
    if pictures == 0:
        return math.nan
    false = np.sort(rows.finds.scores[_false(rows) & rows.complete[rows.finds.pictures]])[::-1]
    # A hair of slack, or 0.1 of 30 pictures would allow 2 and not 3.
    allowed = math.floor(per_picture * pictures + 1e-9)
    barred = -math.inf if len(false) <= allowed else float(false[allowed])
    return _share(rows.truths.scores > barred, ~rows.truths.ignored)


def at_score(rows: DetectionRows, score: float) -> AtScore:
    """Recall, precision and false finds among finds of at least ``score``."""
    finds = rows.finds
    shown = finds.scores >= score
    complete = rows.complete[finds.pictures]
    hits = int((shown & complete & (finds.verdicts == HIT)).sum())
    false = int((shown & complete & _false(rows)).sum())
    other = int((shown & ~complete & _false(rows)).sum())
    pictures = int(rows.complete.sum())
    return AtScore(
        recall=_share(rows.truths.scores >= score, ~rows.truths.ignored),
        precision=hits / (hits + false) if hits + false else math.nan,
        false_per_picture=false / pictures if pictures else math.nan,
        other_per_picture=other / (len(rows.complete) - pictures) if pictures < len(rows.complete) else math.nan,
    )


def recall_by_size(
    rows: DetectionRows, score: float, *, edges: tuple[float, ...] = SIZE_EDGES
) -> dict[str, tuple[int, float]]:
    """Faces and recall at ``score`` in bins of face size, each with its lower edge; empty bins are left out."""
    found, counts = rows.truths.scores >= score, ~rows.truths.ignored
    bins = {}
    for low, high in pairwise(edges):
        members = counts & (rows.truths.sizes >= low) & (rows.truths.sizes < high)
        if members.any():
            bins[_bin_name(low, high)] = int(members.sum()), _share(found, members)
    return bins


def recall_by_label(rows: DetectionRows, score: float) -> Mapping[str, tuple[int, float]]:
    """Faces and recall at ``score`` for each label, in alphabetical order; nothing where the set has no labels."""
    found, labels = rows.truths.scores >= score, np.array(rows.truths.labels, np.str_)
    members = {name: (labels == name) & ~rows.truths.ignored for name in sorted(set(rows.truths.labels))}
    if set(members) <= {""}:
        return {}
    return {
        name or "(none)": (int(faces.sum()), _share(found, faces)) for name, faces in members.items() if faces.any()
    }


def _false(rows: DetectionRows) -> Bool[np.ndarray, " n"]:
    return np.asarray(rows.finds.verdicts == FALSE)


def _share(found: Bool[np.ndarray, " m"], members: Bool[np.ndarray, " m"]) -> float:
    """Share of the members that were found; NaN scores of missed faces compare as not found."""
    return float(found[members].mean()) if members.any() else math.nan


def _bin_name(low: float, high: float) -> str:
    if low == 0:
        return f"<{high:g}"
    return f">={low:g}" if math.isinf(high) else f"{low:g}-{high:g}"
