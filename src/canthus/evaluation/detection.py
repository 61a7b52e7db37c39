"""Found faces against labelled ones: which find is a hit, which is false, which faces were missed.

One row per find and one per labelled face; every figure of a detector (``evaluation.detection_figures``) is made from
these rows and from nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int8, Int64

from canthus.geometry import box_iou, box_size
from canthus.types import Faces, Scene

MIN_OVERLAP = 0.5
"""A find is a labelled face where the intersection over union of their boxes is at least this: VOC, WIDER FACE."""
HIT, FALSE, IGNORED = 1, 0, -1
"""Verdicts on a find."""


@final
@dataclass(frozen=True)
class Finds:
    """What a detector found, one row per find, in the order of the pictures and by descending score within each.

    Attributes:
        pictures: which picture, an index into ``DetectionRows.keys``.
        scores: of the detector.
        verdicts: ``HIT``, ``FALSE`` or ``IGNORED`` (on a face that need not be found: neither hit nor false).
        overlaps: intersection over union with the labelled face it hits; else the largest with any labelled face.
        truths: row of the labelled face it hits; -1 where none.
        boxes: face boxes, as the detector gave them.
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
        pictures: which picture, an index into ``DetectionRows.keys``.
        sizes: square root of the area of the set's own box, in pixels of the picture.
        labels: what the set says of the face, or "".
        ignored: faces that count neither as found nor as missed.
        scores: of the find that hits the face; NaN where it was missed.
        boxes: face boxes, by the set's habit.
    """

    pictures: Int64[np.ndarray, " m"]
    sizes: Float32[np.ndarray, " m"]
    labels: tuple[str, ...]
    ignored: Bool[np.ndarray, " m"]
    scores: Float32[np.ndarray, " m"]
    boxes: Float32[np.ndarray, "m 4"]

    def __len__(self) -> int:
        return len(self.scores)


@final
@dataclass(frozen=True)
class DetectionRows:
    """All rows of one detector on one set.

    Attributes:
        keys: of the pictures, those without any face as well.
        complete: pictures in which all faces are labelled, so that another find is surely false.
        finds: what was found.
        truths: what is labelled.
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
    """Judge the finds of one picture.

    In order of descending score each find takes, of the labelled faces that are not yet taken and overlap it by at
    least ``min_overlap`` (intersection over union), the one it overlaps most.  One that gets none is left out where at
    least that share of its own area lies in a single ignored box, and is false otherwise: so is a second find of a
    face.

    Differs: VOC and the official WIDER FACE script look only at the labelled face that a find overlaps most, taken or
    not; here, as in COCO, a find may take the second of two faces that overlap.

    Args:
        own: finds by descending score, in the habit of the labelled boxes.
        truth: labelled boxes.
        ignored: labelled faces that need not be found.
        min_overlap: above 0, at most 1.

    Returns:
        Verdict, taken face (-1 where none) and overlap of each find, see ``Finds``.

    Raises:
        ValueError: ``min_overlap`` is out of range.
    """
    if not 0 < min_overlap <= 1:
        raise ValueError(f"Boxes match from an overlap above 0 up to 1, found {min_overlap}")
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
    """Judge the finds of many pictures.

    Finds are brought into the habit of each set (``BoxHabit.own_boxes``) and compared with its boxes as they are.

    Args:
        scenes: the truth.
        found: faces of each picture, in the same order; any order of scores.
        min_overlap: see ``match_finds``.

    Returns:
        The rows.

    Raises:
        ValueError: there are not as many results as pictures, or ``min_overlap`` is out of range.
    """
    finds: list[Finds] = []
    truths: list[Truths] = []
    offset = 0
    for number, (scene, faces) in enumerate(zip(scenes, found, strict=True)):
        here, there = _match_scene(scene, faces, number=number, min_overlap=min_overlap)
        finds.append(_shifted(here, offset))
        truths.append(there)
        offset += len(there)
    return DetectionRows(
        keys=tuple(scene.key for scene in scenes),
        complete=np.array([scene.complete for scene in scenes], np.bool_),
        finds=_joined_finds(finds),
        truths=_joined_truths(truths),
    )


def _match_scene(scene: Scene, faces: Faces, *, number: int, min_overlap: float) -> tuple[Finds, Truths]:
    """Rows of one picture; faces are counted from 0."""
    order = np.argsort(-faces.scores, kind="stable")
    boxes, scores = faces.boxes[order], faces.scores[order]
    own = scene.habit.own_boxes(boxes)
    verdicts, taken, overlaps = match_finds(own, scene.boxes, scene.ignored, min_overlap=min_overlap)
    hits = verdicts == HIT
    reached = np.full(len(scene.boxes), np.nan, np.float32)
    reached[taken[hits]] = scores[hits]
    finds = Finds(np.full(len(boxes), number, np.int64), scores, verdicts, overlaps, taken, boxes)
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
    """Share of each box's area that lies in each region; 0 for empty boxes."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = np.clip(box_size(boxes), 0, None).prod(axis=-1)[:, None]
    share = np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
    return np.asarray(share, dtype=np.float32)


def _shifted(finds: Finds, offset: int) -> Finds:
    """The same finds, their faces counted through the whole set."""
    truths = np.where(finds.truths < 0, -1, finds.truths + offset)
    return Finds(finds.pictures, finds.scores, finds.verdicts, finds.overlaps, truths, finds.boxes)


def _joined_finds(parts: Sequence[Finds]) -> Finds:
    if not parts:
        none = np.zeros(0, np.float32)
        whole = np.zeros(0, np.int64)
        return Finds(whole, none, np.zeros(0, np.int8), none, whole, np.zeros((0, 4), np.float32))
    return Finds(
        pictures=np.concatenate([part.pictures for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        verdicts=np.concatenate([part.verdicts for part in parts]),
        overlaps=np.concatenate([part.overlaps for part in parts]),
        truths=np.concatenate([part.truths for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
    )


def _joined_truths(parts: Sequence[Truths]) -> Truths:
    if not parts:
        none = np.zeros(0, np.float32)
        return Truths(np.zeros(0, np.int64), none, (), np.zeros(0, np.bool_), none, np.zeros((0, 4), np.float32))
    return Truths(
        pictures=np.concatenate([part.pictures for part in parts]),
        sizes=np.concatenate([part.sizes for part in parts]),
        labels=tuple(label for part in parts for label in part.labels),
        ignored=np.concatenate([part.ignored for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
    )


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
