"""Fit the conversion of OpenCV's cascade squares to face boxes: the constants in ``canthus/runtime/haar_detector.py``.

Run:    python benchmarks/fit_haar_boxes.py path/to/300w
Prints: the conversion (medians), the remaining offsets, the logistic curve of the score, recall against false squares.

A square matches the labelled face if its centre is within 0.4 longer sides of the face box of the centre of that box,
and its side is between 0.5 and 2 longer sides.  It is false if its centre is more than 0.6 away.  300-W does not label
other people in a picture, so the count of false squares is slightly too high.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float64

from canthus.data import load_dataset
from canthus.geometry import hull_box
from canthus.images import read_image
from canthus.runtime.haar_detector import MARGIN_ORIGIN, HaarDetector, HaarSightings


@dataclass(frozen=True)
class Squares:
    """All squares of all pictures; ``offset`` and ``size`` of the true box are in sides of the square."""

    on_face: Bool[np.ndarray, " n"]
    false: Bool[np.ndarray, " n"]
    best: Bool[np.ndarray, " n"]
    offset: Float64[np.ndarray, "n 2"]
    size: Float64[np.ndarray, "n 2"]
    counts: Float64[np.ndarray, " n"]
    margins: Float64[np.ndarray, " n"]


def compare(sightings: HaarSightings, box: Float[np.ndarray, " 4"]) -> Squares:
    """Squares of one picture against its labelled face."""
    centre, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    away = np.abs(sightings.centres - centre).max(axis=1) / sides.max()
    ratio = sightings.sides / sides.max()
    on_face = (away < 0.4) & (ratio > 0.5) & (ratio < 2)
    counts = np.where(on_face, sightings.counts, -1)
    best = on_face & (np.arange(len(counts)) == (counts.argmax() if len(counts) else 0))
    scale = sightings.sides[:, None].astype(np.float64)
    return Squares(
        on_face, away > 0.6, best, (centre - sightings.centres) / scale, sides / scale,
        sightings.counts.astype(np.float64), sightings.margins.astype(np.float64),
    )  # fmt: skip


def collect(root: Path) -> tuple[Squares, int]:
    """Squares of the whole training split, and the number of faces."""
    detector = HaarDetector()
    annotations = load_dataset("300w", root, "train")
    parts = [compare(detector.sightings(read_image(a.path)), hull_box(a.points)) for a in annotations]
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Squares.__dataclass_fields__]
    return Squares(*joined), len(annotations)


def sigma(values: Float[np.ndarray, " n"]) -> float:
    """Standard deviation by the median absolute deviation: 1.4826 MAD."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def print_map(squares: Squares) -> None:
    """The map and its residuals."""
    offset, size = squares.offset[squares.best], squares.size[squares.best]
    typical_offset, typical_size = np.median(offset, axis=0), np.median(size, axis=0)
    print(f"CENTRE_OFFSET = ({typical_offset[0]:.4f}, {typical_offset[1]:.4f})")
    print(f"FACE_SIZE = ({typical_size[0]:.3f}, {typical_size[1]:.3f})")
    longer = size.max(axis=1)
    remaining = {
        "shift x / longer side": (typical_offset[0] - offset[:, 0]) / longer,
        "shift y / longer side": (typical_offset[1] - offset[:, 1]) / longer,
        "log scale of longer side": np.log(typical_size.max() / longer),
    }
    for name, values in remaining.items():
        low, high = np.percentile(values, [2.5, 97.5])
        print(
            f"  {name}: median {np.median(values):+.3f}, sigma {sigma(values):.3f}, "
            f"std {values.std():.3f}, 95 % within {low:+.3f} to {high:+.3f}"
        )


def fit_logistic(
    features: Float64[np.ndarray, "n f"], positive: Bool[np.ndarray, " n"], *, ridge: float = 1e-4
) -> Float64[np.ndarray, " f"]:
    """Weights of the logistic curve by Newton's method."""
    weights = np.zeros(features.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (chance - positive) / len(features) + ridge * weights
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features / len(features)
        weights = weights - np.linalg.solve(curvature + ridge * np.eye(len(weights)), gradient)
    return weights


def print_scores(squares: Squares, faces: int) -> None:
    """The score's constants, and what its thresholds mean."""
    features = np.stack([np.ones(len(squares.counts)), np.log(squares.counts), squares.margins - MARGIN_ORIGIN], axis=1)
    used = squares.on_face | squares.false
    bias, per_count, per_margin = fit_logistic(features[used], squares.on_face[used])
    print(f"SCORE_BIAS = {bias:.2f}\nSCORE_PER_LOG_SIGHTING = {per_count:.2f}\nSCORE_PER_MARGIN = {per_margin:.2f}")
    score = 1 / (1 + np.exp(-features @ np.array([bias, per_count, per_margin])))
    for least in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        found, wrong = squares.best & (score >= least), squares.false & (score >= least)
        print(f"  least score {least}: {found.sum() / faces:.1%} of {faces} faces, {wrong.sum()} false squares")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of 300-W, with afw, helen and lfpw below it")
    squares, faces = collect(parser.parse_args().root)
    print(f"{int(squares.best.sum())} of {faces} faces have a square")
    print_map(squares)
    print_scores(squares, faces)


if __name__ == "__main__":
    main()
