"""How far points lie off, how much they tremble, and how far open lids seem, on photos whose faces move.

Usage: python benchmarks/moved_points.py DATASET ROOT [--people 6] [--frames 1200] [--model NAME|FILE]...

The people and their motions are those of fatigue_day.py; where each point is drawn is known. One line a model:

error: mean distance of the points from where they are drawn, in percent of the distance of the outer eye corners.
tremble: what changes of that from one frame to the next, root mean square over the points, median over all frames.
lids: the ratio of height to width of the eyes over that of the person's open eyes, median over the frames whose drawn
ratio lies in the band; "head down" are those with the head pitched down by 0.15 rad or more.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import final

import cv2
import numpy as np
from fatigue_day import frames, puppets, random_course
from jaxtyping import Float
from puppet import Look, Puppet

from canthus.data import load_dataset
from canthus.runtime.measures import LEFT_EYE, RIGHT_EYE, eye_aspect_ratio
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.tracker import Tracker, TrackerSettings
from canthus.types import Image
from canthus.zoo import DEFAULT, FATIGUE

RATE_HZ = 20.0
DOWN_RAD = 0.15
BANDS = ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.2))


def eye_ratio(points: Float[np.ndarray, "68 2"]) -> float:
    """Mean of both eyes' aspect ratios."""
    return float(np.mean([float(eye_aspect_ratio(points[list(eye)])) for eye in (RIGHT_EYE, LEFT_EYE)]))


@final
class Seen:
    """What one model sees of all people."""

    def __init__(self) -> None:
        self.errors: list[float] = []
        self.trembles: list[float] = []
        self.lids: dict[str, list[float]] = defaultdict(list)
        self.missed = 0

    def add(self, points: list[Float[np.ndarray, "68 2"] | None], truth: list[Float[np.ndarray, "68 2"]],
            looks: list[Look]) -> None:  # fmt: skip
        """The frames of one person: points found (None where there is no face), points drawn, and how it looks."""
        self.missed += sum(found is None for found in points)
        pairs = [
            None if f is None else (f - t) / np.linalg.norm(t[45] - t[36]) for f, t in zip(points, truth, strict=True)
        ]
        self.errors += [float(np.linalg.norm(off, axis=1).mean()) for off in pairs if off is not None]
        for one, other in pairwise(pairs):
            if one is not None and other is not None:
                self.trembles.append(float(np.sqrt(np.square(other - one).sum(axis=1).mean())))
        rest = [n for n, (look, found) in enumerate(zip(looks, points, strict=True))
                if found is not None and look.lids < 0.05 and abs(look.pitch) < DOWN_RAD]  # fmt: skip
        if not rest:
            return
        drawn_open = np.median([eye_ratio(truth[n]) for n in rest])
        seen_open = np.median([eye_ratio(found) for n in rest if (found := points[n]) is not None])
        for found, true, look in zip(points, truth, looks, strict=True):
            if found is not None:
                band = band_of(eye_ratio(true) / float(drawn_open), look)
                self.lids[band].append(eye_ratio(found) / float(seen_open))

    def line(self) -> str:
        """The row of the table."""
        cells = [f"{100 * np.mean(self.errors):.2f}", f"{100 * np.median(self.trembles):.3f}", str(self.missed)]
        cells += [f"{np.median(self.lids[band]):.2f}" if self.lids[band] else "-" for band in bands()]
        return " | ".join(cells)


def band_of(ratio: float, look: Look) -> str:
    """Name of the band of a drawn ratio."""
    low, high = next(((a, b) for a, b in BANDS if ratio < b), BANDS[-1])
    return f"{low:g}-{high:g}" + (" head down" if look.pitch >= DOWN_RAD else "")


def bands() -> list[str]:
    """Names of all bands, in order."""
    return [f"{low:g}-{high:g}{place}" for place in ("", " head down") for low, high in BANDS]


def watched(
    pipeline: Pipeline, shown: list[Image], truth: list[Float[np.ndarray, "68 2"]]
) -> Iterator[np.ndarray | None]:
    """The points of the face nearest to the drawn one in each frame, without smoothing."""
    tracker = Tracker(pipeline, TrackerSettings(smoothing=None))
    for number, (image, true) in enumerate(zip(shown, truth, strict=True)):
        found = tracker(image, number / RATE_HZ).measured
        yield min(found, key=lambda p: float(np.linalg.norm(p - true, axis=1).mean()), default=None)


def show(people: list[tuple[str, Puppet]], pipelines: Mapping[str, Pipeline], count: int) -> dict[str, Seen]:
    """Every person's first frames to every model."""
    seen = {name: Seen() for name in pipelines}
    for number, (key, puppet) in enumerate(people):
        course = random_course(count / RATE_HZ + 20, np.random.default_rng([number, 0]), tired=False, rate_hz=RATE_HZ)
        shown = [image for image, _ in islice(frames(puppet, course), count)]
        looks = [course.at(n) for n in range(len(shown))]
        truth = [puppet.points(look)[:68, :2] for look in looks]
        for name, pipeline in pipelines.items():
            seen[name].add(list(watched(pipeline, shown, truth)), truth, looks)
        print(f"{number + 1}/{len(people)} {key}", flush=True)
    return seen


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--frames", type=int, default=1200, help="of each person")
    parser.add_argument("--model", action="append", help="may be repeated")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    models = options.model or sorted({DEFAULT, FATIGUE})
    people = puppets(load_dataset(options.dataset, options.root, options.split), load_pipeline(FATIGUE), options.people)
    seen = show(people, {model: load_pipeline(model) for model in models}, options.frames)
    print(" | ".join(("model", "error %", "tremble %", "missed", *(f"lids {band}" for band in bands()))))
    for model in models:
        print(f"{model} | {seen[model].line()}")


if __name__ == "__main__":
    main()
