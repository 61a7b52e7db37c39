"""Precision and recall of blinks on clips rendered from real faces whose lids are warped shut at known times.

Usage: python benchmarks/blinks.py 300w path/to/sets/300w [--split validation] [--faces 10] [--model NAME|FILE]

Each clip is one labelled photo that sways a little, with sensor noise, and blinks: the skin between brow and upper lid
is stretched over the eye.  Faces are frontal, open-eyed, and at least 100 pixels large.  An event and a true closing
belong together when they overlap.  Printed are counts, and the aspect ratio of shut eyes over that of open ones, which
is what ``FatigueSettings.closed_share`` is about.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from canthus.data import load_dataset
from canthus.fatigue.events import Event
from canthus.fatigue.monitor import FatigueMonitor
from canthus.fatigue.observation import Observation, observe
from canthus.fatigue.ratios import LEFT_EYE, RIGHT_EYE, eye_aspect_ratio
from canthus.geometry import box_size
from canthus.images import read_image
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.tracker import Tracker, TrackerSettings
from canthus.types import Annotation

FPS = 25.0
SECONDS = 24.0
RAMP_S = 0.08


@dataclass
class Score:
    """Counts over clips."""

    true: int = 0
    found: int = 0
    false: int = 0
    kind_right: int = 0


def is_usable(face: Annotation) -> bool:
    """Large, frontal, eyes open."""
    right, left = (eye_aspect_ratio(face.points[list(eye)]) for eye in (RIGHT_EYE, LEFT_EYE))
    x = face.points[:, 0]
    turned = abs((x[30] - x[0]) - (x[16] - x[30])) / (x[16] - x[0])
    return bool(box_size(face.box).max() >= 100 and min(right, left) > 0.22 and turned < 0.2)


def closings(rng: np.random.Generator) -> list[tuple[float, float]]:
    """Start and end of each closing: a blink now and then, and one long closure."""
    times: list[tuple[float, float]] = []
    now = 5.0 + float(rng.uniform(0, 1))
    while now < SECONDS - 3:
        length = float(rng.uniform(0.8, 1.6)) if len(times) == 3 else float(rng.uniform(0.2, 0.4))
        times.append((now, now + length))
        now += length + float(rng.uniform(1.0, 4.0))
    return times


def shut(image: np.ndarray, points: np.ndarray, share: float) -> np.ndarray:
    """Move the upper lids down by ``share`` of the way to the lower ones, the skin above stretched after them."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    source = rows.copy()
    for eye, brow in ((RIGHT_EYE, (17, 18, 19, 20, 21)), (LEFT_EYE, (22, 23, 24, 25, 26))):
        corner, up1, up2, other, low2, low1 = (points[index] for index in eye)
        upper = np.array([corner, up1, up2, other])
        lower = np.array([corner, low1, low2, other])
        above = 0.5 * float(points[list(eye), 1].mean() - points[list(brow), 1].mean())
        x = np.arange(image.shape[1])
        top, bottom = (np.interp(x, line[:, 0], line[:, 1]) for line in (upper, lower))
        # The lash line lies a little above the points; past the corners the shift fades out.
        inside = (x >= corner[0]) & (x <= other[0])
        top = np.where(inside, top - 0.5, bottom)
        edge = top + share * (bottom + 0.5 - top)
        start = top - above
        stretched = start + (rows - start) * above / np.maximum(edge - start, 1e-3)
        covered = inside & (rows > start) & (rows <= edge)
        source = np.where(covered, stretched, source).astype(np.float32)
    return np.asarray(cv2.remap(image, columns, source, cv2.INTER_LINEAR))


def clip(
    face: Annotation, times: list[tuple[float, float]], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, float, float]]:
    """Frames, their times, and how far the eyes are shut."""
    image = read_image(face.path)
    height, width = image.shape[:2]
    phases = rng.uniform(0, 6, 3)
    for index in range(round(SECONDS * FPS)):
        now = index / FPS
        share = max(float(np.interp(now, [a, a + RAMP_S, b - RAMP_S, b], [0, 1, 1, 0])) for a, b in times)
        frame = shut(image, face.points, share) if share > 0 else image
        dx, dy, angle = np.sin(phases + now * np.array([1.1, 1.7, 0.9])) * [0.02 * width, 0.015 * height, 2.0]
        sway = cv2.getRotationMatrix2D((width / 2, height / 2), float(angle), 1.0)
        sway[:, 2] += dx, dy
        moved = cv2.warpAffine(frame, sway, (width, height), borderMode=cv2.BORDER_REPLICATE)
        noise = rng.normal(scale=2.5, size=moved.shape)
        yield np.clip(moved + noise, 0, 255).astype(np.uint8), now, share


def match(events: list[Event], times: list[tuple[float, float]], score: Score) -> None:
    """Add the counts of one clip."""
    closed = [event for event in events if event.kind in ("blink", "closure")]
    score.true += len(times)
    for start, end in times:
        hits = [event for event in closed if event.start_s < end and event.end_s > start]
        score.found += bool(hits)
        score.kind_right += bool(hits) and hits[0].kind == ("closure" if end - start > 0.6 else "blink")
    score.false += sum(not any(e.start_s < b and e.end_s > a for a, b in times) for e in closed)


def main() -> None:
    """Run the clips and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--faces", type=int, default=10)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    faces = [face for face in load_dataset(options.dataset, options.root, options.split) if is_usable(face)]
    rng = np.random.default_rng(0)
    chosen = [faces[index] for index in rng.permutation(len(faces))[: options.faces]]
    pipeline = load_pipeline(options.model)
    score, shares = Score(), []
    for face in chosen:
        monitor, tracker = FatigueMonitor(), Tracker(pipeline, TrackerSettings(smoothing=None))
        times, events = closings(rng), []
        ratios: dict[bool, list[float]] = {True: [], False: []}
        for image, time_s, share in clip(face, times, rng):
            tracked = tracker(image, time_s)
            seen = observe(tracked.measured[0], time_s) if len(tracked) else Observation(time_s)
            events += monitor.update(seen)
            if share in (0.0, 1.0) and seen.has_face:
                ratios[share == 1.0].append((seen.right_eye + seen.left_eye) / 2)
        match(events + monitor.finish(), times, score)
        shares.append(float(np.median(ratios[True]) / np.median(ratios[False])) if ratios[False] else np.nan)
        kinds = ", ".join(f"{event.kind} {event.start_s:.1f}" for event in events)
        print(f"{face.key}: {len(times)} closings, {shares[-1]:.2f}; {kinds}")
    precision = score.found / max(score.found + score.false, 1)
    recall = score.found / max(score.true, 1)
    print(f"{len(chosen)} clips, {score.true} closings: recall {recall:.3f}, precision {precision:.3f},")
    print(f"of those found {score.kind_right} of {score.found} told blink from closure rightly")
    print(f"shut over open eye: median {np.nanmedian(shares):.2f}, {np.nanmin(shares):.2f} to {np.nanmax(shares):.2f}")


if __name__ == "__main__":
    main()
