"""Precision and recall of blinks on clips rendered from real faces whose lids are pulled shut at known times.

Usage: python benchmarks/blinks.py 300w path/to/sets/300w [--split validation] [--half tuning|test] [--model NAME|FILE]

Each clip shows one labelled photo that sways a little, with noise, at 15, 25 or 30 frames per second.  The face blinks,
shuts its eyes for about a second once, and does two things that are not blinks: its lids sink by a third for a while,
and single frames are blurred.  Faces are frontal, open-eyed and at least 100 pixels large.  Faces with even numbers are
the tuning half, on which thresholds may be chosen; the others are the test half.

An event matches a true closing if they overlap; each event counts once.  The script prints counts, and the aspect ratio
of shut eyes over that of open eyes.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from canthus.data import load_dataset
from canthus.data.transforms import close_eyes
from canthus.fatigue.events import Event
from canthus.fatigue.measures import Observation, observe
from canthus.fatigue.monitor import FatigueMonitor
from canthus.geometry import box_size, crop_square
from canthus.images import crop_image, read_image
from canthus.runtime.measures import LEFT_EYE, RIGHT_EYE, eye_aspect_ratio
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.tracker import Tracker, TrackerSettings
from canthus.schemes import IBUG_68
from canthus.types import Annotation
from canthus.zoo import FATIGUE

RATES_HZ = (15.0, 25.0, 30.0)
SECONDS = 26.0
SIDE = 320
"""Side of the frames in pixels; the face takes up half of it."""


@dataclass(frozen=True)
class Closing:
    """Eyes that shut, are shut, and open again: times in seconds, ``share`` of the way that the lids go."""

    start_s: float
    shut_s: float
    opening_s: float
    end_s: float
    share: float = 1.0

    def at(self, time_s: float) -> float:
        """How far the eyes are shut."""
        course = (self.start_s, self.shut_s, self.opening_s, self.end_s)
        return self.share * float(np.interp(time_s, course, [0, 1, 1, 0]))


@dataclass
class Score:
    """Counts over clips."""

    true: int = 0
    found: int = 0
    false: int = 0
    kind_right: int = 0

    @property
    def precision(self) -> float:
        """Share of the events that are true."""
        return self.found / max(self.found + self.false, 1)

    @property
    def recall(self) -> float:
        """Share of the closings that were found."""
        return self.found / max(self.true, 1)


def is_usable(face: Annotation) -> bool:
    """Large, frontal, eyes open and to be seen."""
    right, left = (eye_aspect_ratio(face.points[list(eye)]) for eye in (RIGHT_EYE, LEFT_EYE))
    x = face.points[:, 0]
    turned = abs((x[30] - x[0]) - (x[16] - x[30])) / (x[16] - x[0])
    if not (box_size(face.box).max() >= 100 and min(right, left) > 0.22 and turned < 0.2):
        return False
    _, shut = close_eyes(read_image(face.path), face.points, IBUG_68, (1.0, 1.0))
    return all(float(eye_aspect_ratio(shut[list(eye)])) < 0.1 for eye in (RIGHT_EYE, LEFT_EYE))


def closings(rng: np.random.Generator) -> tuple[list[Closing], list[Closing], list[float]]:
    """Blinks and one long closing; lids that sink but do not shut; times of smeared frames."""
    true: list[Closing] = []
    sunk: list[Closing] = []
    smeared: list[float] = []
    now = 5.0 + float(rng.uniform(0, 1))
    for turn in range(100):
        if now > SECONDS - 3:
            break
        down, held, up = rng.uniform(0.06, 0.1), rng.uniform(0.03, 0.15), rng.uniform(0.1, 0.2)
        if turn in (3, 6):
            closing = Closing(now, now + 0.3, now + 1.5, now + 2.0, share=0.33)
            sunk.append(closing)
        else:
            held = rng.uniform(0.7, 1.4) if turn == 4 else held
            closing = Closing(now, now + down, now + down + held, now + down + held + up)
            true.append(closing)
        now = closing.end_s + float(rng.uniform(1.0, 3.0))
        if turn in (1, 5, 8):
            smeared.append(closing.end_s + (now - closing.end_s) / 2)
    return true, sunk, smeared


def clip(face: Annotation, rng: np.random.Generator) -> tuple[list[Closing], Iterator[tuple[np.ndarray, float, float]]]:
    """True closings; and frames, their times, and how far the eyes are shut, NaN in smeared frames."""
    image, affine = crop_image(read_image(face.path), crop_square(face.box, 2.0), SIDE)
    true, sunk, smeared = closings(rng)
    return true, _frames(image, affine.apply(face.points), [*true, *sunk], smeared, rng)


def _frames(
    image: np.ndarray, points: np.ndarray, courses: list[Closing], smeared: list[float], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, float, float]]:
    rate_hz = float(rng.choice(RATES_HZ))
    phases = rng.uniform(0, 6, 3)
    noise = rng.normal(scale=3, size=(2 * SIDE, 2 * SIDE, 3)).round().astype(np.int16)
    waiting = list(smeared)
    for index in range(round(SECONDS * rate_hz)):
        now = index / rate_hz
        share = max(course.at(now) for course in courses)
        frame = close_eyes(image, points, IBUG_68, (share, share))[0] if share > 0 else image
        dx, dy, angle = np.sin(phases + now * np.array([1.1, 1.7, 0.9])) * [0.02 * SIDE, 0.015 * SIDE, 2.0]
        sway = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), float(angle), 1.0)
        sway[:, 2] += dx, dy
        moved = cv2.warpAffine(frame, sway, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        if waiting and now >= waiting[0]:
            waiting.pop(0)
            moved, share = cv2.blur(moved, (3, 25)), float("nan")
        x, y = rng.integers(0, SIDE, 2)
        yield np.clip(moved + noise[y : y + SIDE, x : x + SIDE], 0, 255).astype(np.uint8), now, share


def match(events: list[Event], true: list[Closing], score: Score) -> None:
    """Add the counts of one clip."""
    left = [event for event in events if event.kind in ("blink", "closure")]
    score.true += len(true)
    for closing in true:
        hits = [event for event in left if event.start_s < closing.end_s and event.end_s > closing.start_s]
        if hits:
            left.remove(hits[0])
            score.found += 1
            score.kind_right += hits[0].kind == ("closure" if closing.end_s - closing.start_s > 0.65 else "blink")
    score.false += len(left)


def observations(
    pipeline: Pipeline, frames: Iterator[tuple[np.ndarray, float, float]]
) -> Iterator[tuple[Observation, float]]:
    """What is measured of each frame, and how far its eyes are truly shut."""
    tracker = Tracker(pipeline, TrackerSettings(smoothing=None))
    for image, time_s, share in frames:
        tracked = tracker(image, time_s)
        yield observe(tracked.measured[0], time_s) if len(tracked) else Observation(time_s), share


def chosen_faces(dataset: str, root: Path, split: str, half: str) -> list[tuple[int, Annotation]]:
    """Usable faces of one half with their numbers."""
    faces = [face for face in load_dataset(dataset, root, split) if is_usable(face)]
    return [(i, face) for i, face in enumerate(faces) if half == "all" or i % 2 == (half == "test")]


def main() -> None:
    """Run the clips and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--half", choices=("tuning", "test", "all"), default="test")
    parser.add_argument("--faces", type=int, default=1000, help="at most so many")
    parser.add_argument("--model", default=FATIGUE)
    options = parser.parse_args()
    pipeline = load_pipeline(options.model)
    score, shares = Score(), []
    chosen = chosen_faces(options.dataset, options.root, options.split, options.half)[: options.faces]
    for number, face in chosen:
        true, frames = clip(face, np.random.default_rng(number))
        monitor, events = FatigueMonitor(), list[Event]()
        ratios: dict[bool, list[float]] = {True: [], False: []}
        for seen, share in observations(pipeline, frames):
            events += monitor.update(seen)
            if share in (0.0, 1.0) and seen.has_face:
                ratios[share == 1.0].append((seen.right_eye + seen.left_eye) / 2)
        match(events + monitor.finish(), true, score)
        shares.append(float(np.median(ratios[True]) / np.median(ratios[False])) if ratios[False] else np.nan)
        kinds = ", ".join(f"{event.kind} {event.start_s:.1f}" for event in events)
        print(f"{face.key}: {len(true)} closings, {shares[-1]:.2f}; {kinds}", flush=True)
    print(f"{len(chosen)} clips, {score.true} closings: {score.found} found, {score.false} false;")
    print(f"recall {score.recall:.3f}, precision {score.precision:.3f};")
    print(f"of those found {score.kind_right} of {score.found} told blink from closure rightly")
    print(f"shut over open eye: median {np.nanmedian(shares):.2f}, {np.nanmin(shares):.2f} to {np.nanmax(shares):.2f}")


if __name__ == "__main__":
    main()
