"""Suppression keeps a set of boxes apart, and drops only what a better box covers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from canthus.geometry import box_iou
from canthus.runtime.canthus_detector import distinct_boxes

CORNERS = st.integers(0, 40).map(float)
BOXES = st.integers(0, 60).flatmap(lambda count: arrays(np.float32, (count, 4), elements=CORNERS))
LIMITS = st.sampled_from([0.0, 0.3, 0.45, 0.9, 1.0])


def _boxes(corners: np.ndarray) -> np.ndarray:
    """Boxes from a corner and a size; no side is below a quarter of a pixel."""
    return np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:] + 0.25], axis=1).astype(np.float32)


@given(BOXES, LIMITS)
def test_kept_boxes_are_apart_and_dropped_ones_overlap_a_better_kept_one(corners: np.ndarray, limit: float) -> None:
    boxes = _boxes(corners)
    kept = distinct_boxes(boxes, most_overlap=limit)
    overlap = box_iou(boxes, boxes)
    among = overlap[np.ix_(kept, kept)] - np.eye(len(kept))
    assert (among <= limit + 1e-6).all()
    for index in set(range(len(boxes))) - set(kept.tolist()):
        better = kept[kept < index]
        assert overlap[index, better].max() > limit - 1e-6


@given(BOXES, LIMITS)
def test_no_kept_box_lies_within_a_better_one(corners: np.ndarray, limit: float) -> None:
    boxes = _boxes(corners)
    kept = boxes[distinct_boxes(boxes, most_overlap=1.0, most_within=limit)]
    sides = np.minimum(kept[:, None, 2:], kept[None, :, 2:]) - np.maximum(kept[:, None, :2], kept[None, :, :2])
    share = np.clip(sides, 0, None).prod(axis=-1) / (kept[:, 2:] - kept[:, :2]).prod(axis=-1)
    assert (np.triu(share, k=1) <= limit + 1e-6).all()


@given(BOXES, LIMITS)
def test_suppression_of_kept_boxes_changes_nothing(corners: np.ndarray, limit: float) -> None:
    boxes = _boxes(corners)
    kept = distinct_boxes(boxes, most_overlap=limit)
    assert sorted(kept.tolist()) == kept.tolist()
    assert distinct_boxes(boxes[kept], most_overlap=limit).tolist() == list(range(len(kept)))
