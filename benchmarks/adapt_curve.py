"""How many labelled faces ``canthus adapt`` needs: the error on other faces against the number of faces of the fit.

Run:    python benchmarks/adapt_curve.py DATA --dataset ytf [--model NAME] [--plot FILE.png]
        DATA holds the folder of the dataset, which has the parts fit and validation
Prints: for each number of faces, the mean and the deviation of the error over draws of faces, true boxes.

The map is applied to the points of the model; ``canthus adapt`` puts it into the file, whose rounding moves points by
hundredths of a pixel.  No two draws of one number of faces share a face; there are as many as that allows, ten at most.
"""

import argparse
from pathlib import Path

import numpy as np

from canthus.data import landmark_sets
from canthus.recipes.held_out import HeldOut, load_held_out
from canthus.recipes.point_map import fit_point_map
from canthus.runtime.downloads import cache_folder
from canthus.runtime.sessions import LandmarkSession

COUNTS = (10, 20, 50, 100, 200, 500, 1000)
DRAWS = 10


def held(data: Path, name: str, session: LandmarkSession) -> tuple[HeldOut, np.ndarray]:
    """The faces of ``dataset/split`` and the points of the model on them."""
    root = {name.partition("/")[0]: data / name.partition("/")[0]}
    faces = load_held_out(name, session.card, root, cache_folder(), lambda *_: None, complete=True)
    return faces, session(faces.crops)


def errors(seen: HeldOut, points: np.ndarray, other: HeldOut, other_points: np.ndarray, count: int) -> list[float]:
    """The error on other faces by maps that were fitted on ``count`` faces, drawn anew for each."""
    order = np.random.default_rng(count).permutation(len(points))
    labels = np.stack([sample.points for sample in seen.samples])
    found = []
    for start in range(0, max(1, min(DRAWS, len(order) // count)) * count, count):
        drawn = order[start : start + count]
        fit = fit_point_map(points[drawn], labels[drawn], [seen.groups[index] for index in drawn])
        found.append(other.error(fit.map.points(other_points).astype(np.float32)))
    return found


def plot(path: Path, counts: list[int], found: list[list[float]], before: float, title: str) -> None:
    """Error against the number of faces, on a logarithmic axis."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    means, spreads = (np.array([100 * how(values) for values in found]) for how in (np.mean, np.std))
    axes.axhline(100 * before, color="0.5", linestyle="--", label="the model as it is")
    axes.errorbar(counts, means, spreads, color="C0", marker="o", capsize=3, label="adapted, mean and deviation")
    axes.set(xscale="log", xlabel="labelled faces of the fit", ylabel="error (%)", title=title, ylim=(0, None))
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Fit, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", default="ytf", choices=sorted(landmark_sets()))
    parser.add_argument("--model", default="default")
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    session = LandmarkSession.open(chosen.model)
    seen, points = held(chosen.data, f"{chosen.dataset}/fit", session)
    other, other_points = held(chosen.data, f"{chosen.dataset}/validation", session)
    before = other.error(other_points)
    print(
        f"{other.name}, {len(other_points)} faces, over the {other.scale}: {before:.2%} by {session.card.name} as it is"
    )
    counts = [*(count for count in COUNTS if count < len(points)), len(points)]
    found = [errors(seen, points, other, other_points, count) for count in counts]
    for count, values in zip(counts, found, strict=True):
        print(f"{count:5d} faces: {np.mean(values):.2%} ± {np.std(values):.2%} ({len(values)} draws)")
    if chosen.plot:
        plot(chosen.plot, counts, found, before, f"{session.card.name} on the labels of {other.name}")


if __name__ == "__main__":
    main()
