"""Match detections to labelled faces: hits, false detections and missed faces, one row each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, TypeVar, final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int8, Int64

from canthus.geometry import box_iou, box_size, shared_areas
from canthus.types import Faces, Scene

MIN_OVERLAP = 0.5
"""Smallest intersection over union at which a detection matches a labelled face, as in VOC and WIDER FACE."""
HIT, FALSE, IGNORED = 1, 0, -1
"""Verdicts on a detection."""


@final
@dataclass(frozen=True)
class Finds:
    """Detections, one row each, in the order of the pictures and by descending score within a picture.

    Attributes:
        pictures: index of the picture in ``DetectionRows.keys``.
        verdicts: ``HIT``, ``FALSE`` or ``IGNORED`` (on a face that need not be found: neither hit nor false).
        overlaps: intersection over union with the labelled face that it hits, or else the largest with any face.
        truths: row of the labelled face that it hits, or -1.
        boxes: face boxes of the detector.
    """

    pictures: Int64[np.ndarray, " n"]
    scores: Float32[np.ndarray, " n"]
    verdicts: Int8[np.ndarray, " n"]
    overlaps: Float32[np.ndarray, " n"]
    truths: Int64[np.ndarray, " n"]
    boxes: Float32[np.ndarray, "n 4"]

    def __len__(self) -> int:
        return len(self.scores)


@final
@dataclass(frozen=True)
class Truths:
    """Labelled faces, one row each, in the order of the pictures and of their labels.

    Attributes:
        pictures: index of the picture in ``DetectionRows.keys``.
        sizes: square root of the area of the labelled box, in pixels of the picture.
        labels: label of the face in the dataset, or "".
        ignored: faces that count neither as found nor as missed.
        scores: score of the detection that hits the face; NaN if the face was missed.
        boxes: face boxes, converted from the labelled boxes by the habit of the dataset.
    """

    pictures: Int64[np.ndarray, " m"]
    sizes: Float32[np.ndarray, " m"]
    labels: tuple[str, ...]
    ignored: Bool[np.ndarray, " m"]
    scores: Float32[np.ndarray, " m"]
    boxes: Float32[np.ndarray, "m 4"]

    def __len__(self) -> int:
        return len(self.scores)


Rows = TypeVar("Rows", Finds, Truths)


@final
@dataclass(frozen=True)
class DetectionRows:
    """All rows of one detector on one dataset.

    Attributes:
        keys: keys of all pictures, with those that have no face.
        complete: True for pictures in which all faces are labelled, so that any other detection is false.
    """

    keys: tuple[str, ...]
    complete: Bool[np.ndarray, " p"]
    finds: Finds
    truths: Truths


def match_finds(
    own: Float[np.ndarray, "n 4"],
    truth: Float[np.ndarray, "m 4"],
    ignored: Bool[np.ndarray, " m"],
    *,
    min_overlap: float = MIN_OVERLAP,
) -> tuple[Int8[np.ndarray, " n"], Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Match the detections of one picture to its labelled faces.

    In order of descending score, each detection takes the labelled face with the largest overlap among those that are
    not taken yet and overlap by at least ``min_overlap`` (intersection over union).  A detection without a face is
    ignored if at least that share of its area lies in a single ignored box.  Otherwise it is false; this includes the
    second detection of a face.

    Differs: VOC and the official WIDER FACE script compare a detection only with the labelled face of largest overlap,
    taken or not.  Here, as in COCO, a detection may take the second of two overlapping faces.

    Args:
        own: detections by descending score, in the habit of the labelled boxes.
        min_overlap: above 0, at most 1.

    Returns:
        Verdict, taken face (-1 if none) and overlap of each detection, see ``Finds``.

    Raises:
        ValueError: ``min_overlap`` is out of range.
    """
    if not 0 < min_overlap <= 1:
        raise ValueError(f"Expected a min_overlap above 0 and at most 1, found {min_overlap}")
    overlaps = box_iou(own, truth)
    verdicts = np.full(len(own), FALSE, np.int8)
    taken = np.full(len(own), -1, np.int64)
    best = overlaps.max(axis=1, initial=0.0)
    free = np.where(ignored[None], -1.0, overlaps)
    for find in np.flatnonzero((free >= min_overlap).any(axis=1)):
        face = int(free[find].argmax())
        if free[find, face] >= min_overlap:
            verdicts[find], taken[find], best[find] = HIT, face, overlaps[find, face]
            free[:, face] = -1.0
    spare = np.flatnonzero(verdicts == FALSE)
    inside = _share_inside(own[spare], truth[ignored]).max(axis=1, initial=0.0)
    verdicts[spare[inside >= min_overlap]] = IGNORED
    return verdicts, taken, best


def match_scenes(scenes: Sequence[Scene], found: Iterable[Faces], *, min_overlap: float = MIN_OVERLAP) -> DetectionRows:
    """Match the detections of many pictures to their labelled faces.

    Detections are converted to the habit of the dataset (``BoxHabit.own_boxes``) and compared with its labelled boxes.

    Args:
        found: detected faces of each picture, in the same order; scores in any order.
        min_overlap: see ``match_finds``.

    Raises:
        ValueError: the numbers of pictures and results differ, or ``min_overlap`` is out of range.
    """
    none, whole = np.zeros(0, np.float32), np.zeros(0, np.int64)
    finds = [Finds(whole, none, np.zeros(0, np.int8), none, whole, np.zeros((0, 4), np.float32))]
    truths = [Truths(whole, none, (), np.zeros(0, np.bool_), none, np.zeros((0, 4), np.float32))]
    offset = 0
    for number, (scene, faces) in enumerate(zip(scenes, found, strict=True)):
        here, there = _match_scene(scene, faces, number=number, offset=offset, min_overlap=min_overlap)
        finds.append(here)
        truths.append(there)
        offset += len(there)
    return DetectionRows(
        keys=tuple(scene.key for scene in scenes),
        complete=np.array([scene.complete for scene in scenes], np.bool_),
        finds=_joined(Finds, finds),
        truths=_joined(Truths, truths),
    )


def _match_scene(scene: Scene, faces: Faces, *, number: int, offset: int, min_overlap: float) -> tuple[Finds, Truths]:
    """Rows of one picture, whose labelled faces are numbered from ``offset``."""
    order = np.argsort(-faces.scores, kind="stable")
    boxes, scores = faces.boxes[order], faces.scores[order]
    own = scene.habit.own_boxes(boxes)
    verdicts, taken, overlaps = match_finds(own, scene.boxes, scene.ignored, min_overlap=min_overlap)
    hits = verdicts == HIT
    reached = np.full(len(scene.boxes), np.nan, np.float32)
    reached[taken[hits]] = scores[hits]
    numbered = np.where(hits, taken + offset, -1)
    finds = Finds(np.full(len(boxes), number, np.int64), scores, verdicts, overlaps, numbered, boxes)
    truths = Truths(
        pictures=np.full(len(scene.boxes), number, np.int64),
        sizes=np.sqrt(np.clip(box_size(scene.boxes), 0, None).prod(axis=-1)),
        labels=scene.labels,
        ignored=scene.ignored,
        scores=reached,
        boxes=scene.face_boxes(),
    )
    return finds, truths


def _share_inside(boxes: Float[np.ndarray, "n 4"], regions: Float[np.ndarray, "m 4"]) -> Float32[np.ndarray, "n m"]:
    """Share of the area of each box that lies in each region; 0 for empty boxes."""
    shared = shared_areas(boxes, regions)
    areas = np.clip(box_size(boxes), 0, None).prod(axis=-1)[:, None]
    share = np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
    return np.asarray(share, dtype=np.float32)


def _joined(kind: type[Rows], parts: Sequence[Rows]) -> Rows:
    """The rows of all parts in one value."""
    joined: dict[str, Any] = {}
    for field in fields(kind):
        values = [getattr(part, field.name) for part in parts]
        joined[field.name] = tuple(chain(*values)) if field.name == "labels" else np.concatenate(values)
    return kind(**joined)


def interpolated_area(precision: Float[np.ndarray, " n"], recall: Float[np.ndarray, " n"]) -> float:
    """Exact area under the interpolated precision-recall curve.

    The interpolated precision at recall r is the largest precision at any recall of at least r.  The area is the sum of
    its steps, without sampling: Everingham et al. (2015), section 4.2, as in VOC since 2010 and in WIDER FACE.

    Args:
        recall: fractions, ascending.

    Returns:
        A fraction in [0, 1]; 0 without points, NaN if recall is NaN.
    """
    envelope = np.maximum.accumulate(np.asarray(precision, np.float64)[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
