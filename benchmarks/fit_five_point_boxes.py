"""Fit the face box of five points to the hull of 68: ``FIVE.face_box`` in ``canthus/schemes.py``.

Run:    python benchmarks/fit_five_point_boxes.py path/to/300w
Prints: medians of the offset and size from the square around the hull of the five points to the hull of the 68 points,
over the training faces of 300-W; the remaining sigma; and the overlap of the converted boxes with the true boxes.
"""

import argparse
from pathlib import Path

import numpy as np

from canthus.data import load_dataset
from canthus.geometry import BoxHabit, box_iou, box_size
from canthus.schemes import FIVE, convert


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    faces = load_dataset("300w", parser.parse_args().root, "train")
    hulls = np.stack([face.box for face in faces])
    five = np.stack([convert(face.points, face.scheme, FIVE) for face in faces])
    low, high = five.min(axis=1), five.max(axis=1)
    middle, side = (low + high) / 2, (high - low).max(axis=1, keepdims=True)
    squares = np.concatenate([middle - side / 2, middle + side / 2], axis=1)

    centre = ((hulls[:, :2] + hulls[:, 2:]) / 2 - middle) / side
    size = box_size(hulls) / side
    habit = BoxHabit(tuple(np.median(centre, axis=0).tolist()), tuple(np.median(size, axis=0).tolist()))
    overlap = np.array([box_iou(a[None], b[None])[0, 0] for a, b in zip(habit.face_boxes(squares), hulls, strict=True)])
    print(f"{len(faces)} faces: {habit}")
    print(f"sigma: centre {centre.std(axis=0).round(3)}, size {size.std(axis=0).round(3)}")
    print(f"overlap: mean {overlap.mean():.3f}, tenth percentile {np.quantile(overlap, 0.1):.3f}")


if __name__ == "__main__":
    main()
