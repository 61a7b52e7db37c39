"""Precision and recall of yawns, nods and looks away on drawn faces with known motions.

Usage: python benchmarks/motions.py [--clips 8] [--first 0] [--model NAME|FILE]

Each clip shows one drawn head at 15 or 25 frames per second and goes through detector and landmark network like any
video.  In random order the head yawns, nods and looks away (left, right, up), and does things that are none of these:
it talks, laughs, calls out for a second, glances aside for half a second, looks down for long, tilts, blinks.

An event matches a motion if they overlap and are of one kind; each event counts once.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from canthus.data.synthetic import FaceShape, draw_face
from canthus.fatigue.events import Event
from canthus.fatigue.measures import Observation, observe
from canthus.fatigue.monitor import FatigueMonitor
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.tracker import Tracker, TrackerSettings
from canthus.types import Image
from canthus.zoo import FATIGUE

KINDS = ("yawn", "nod", "away")
SIZE = 180


@dataclass(frozen=True)
class Motion:
    """One thing that the head does: changes of its shape that come and go within ``ramp_s``.

    Attributes:
        name: what it is.
        kind: event that it should be, or "" for none.
        start_s: beginning.
        end_s: end.
        ramp_s: time of coming, and of going.
        change: by field of ``FaceShape``.
        beat_hz: how often it comes and goes meanwhile, as in talking; 0 for staying.
    """

    name: str
    kind: str
    start_s: float
    end_s: float
    ramp_s: float
    change: dict[str, float]
    beat_hz: float = 0.0

    def strength(self, time_s: float) -> float:
        """How far it has come, 0 to 1."""
        ramps = [self.start_s, self.start_s + self.ramp_s, self.end_s - self.ramp_s, self.end_s]
        beat = 0.5 - 0.5 * np.cos(2 * np.pi * self.beat_hz * (time_s - self.start_s)) if self.beat_hz else 1.0
        return float(np.interp(time_s, ramps, [0, 1, 1, 0]) * beat)


def course(rng: np.random.Generator) -> list[Motion]:
    """Motions one after the other."""
    side = float(rng.choice([-1, 1]))
    plans: list[tuple[str, str, float, float, dict[str, float], float]] = [
        ("yawn", "yawn", rng.uniform(3.5, 6), 0.8, {"mouth": rng.uniform(0.75, 0.9), "eyes": -0.3, "pitch": -0.05}, 0),
        ("yawn", "yawn", rng.uniform(3.5, 6), 0.8, {"mouth": rng.uniform(0.75, 0.9), "eyes": -0.1}, 0),
        ("nod", "nod", rng.uniform(0.8, 1.8), 0.3, {"pitch": rng.uniform(0.35, 0.5)}, 0),
        ("nod", "nod", rng.uniform(0.8, 1.8), 0.3, {"pitch": rng.uniform(0.35, 0.5), "eyes": -0.4}, 0),
        ("away", "away", rng.uniform(2, 4), 0.3, {"yaw": side * rng.uniform(0.5, 0.7)}, 0),
        ("away", "away", rng.uniform(2, 4), 0.3, {"yaw": -side * rng.uniform(0.5, 0.7)}, 0),
        ("talk", "", rng.uniform(3, 6), 0.2, {"mouth": rng.uniform(0.4, 0.7)}, rng.uniform(2, 4)),
        ("laugh", "", rng.uniform(2, 4), 0.3, {"mouth": 0.3, "smile": 1.0, "eyes": -0.25}, 0),
        ("call", "", 1.0, 0.2, {"mouth": 0.8}, 0),
        ("glance", "", 0.7, 0.2, {"yaw": side * 0.5}, 0),
        ("look down", "", 4.0, 0.4, {"pitch": 0.35}, 0),
        ("tilt", "", 2.0, 0.4, {"roll": side * 0.3}, 0),
        ("blink", "", 0.3, 0.1, {"eyes": -1.0}, 0),
        ("blink", "", 0.3, 0.1, {"eyes": -1.0}, 0),
    ]  # fmt: skip
    now, motions = 6.0, []
    for index in rng.permutation(len(plans)):
        name, kind, length, ramp_s, change, beat_hz = plans[index]
        motions.append(Motion(name, kind, now, now + float(length), ramp_s, change, float(beat_hz)))
        now += float(length) + float(rng.uniform(1.5, 3.0))
    return motions


def frames(motions: list[Motion], seed: int) -> Iterator[tuple[Image, float]]:
    """The drawn head, swaying a little, with noise; and the time."""
    rng = np.random.default_rng(seed)
    rate_hz = float(rng.choice([15.0, 25.0]))
    still = FaceShape(eyes=0.7, width=rng.uniform(0.93, 1.07), length=rng.uniform(0.93, 1.08))
    noise = rng.normal(scale=3, size=(2 * SIZE, 2 * SIZE, 3)).round().astype(np.int16)
    drawn: dict[tuple[tuple[str, float], ...], Image] = {}  # drawing takes long; steps of a fiftieth are not seen
    for index in range(round((motions[-1].end_s + 3) * rate_hz)):
        now = index / rate_hz
        change: dict[str, float] = {}
        for motion in motions:
            if motion.start_s < now < motion.end_s:
                strength = round(50 * motion.strength(now)) / 50
                change |= {name: strength * value for name, value in motion.change.items()}
        key = tuple(sorted(change.items()))
        if key not in drawn:
            fields = {name: getattr(still, name) + value for name, value in change.items()}
            shape = replace(still, **(fields | {"eyes": max(fields.get("eyes", still.eyes), 0.0)}))
            drawn[key] = draw_face(np.random.default_rng(seed), size=SIZE, shape=shape).image
        sway = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), 2 * np.sin(0.7 * now), 1 + 0.01 * np.sin(1.3 * now))
        sway[:, 2] += (0.015 * SIZE * np.sin(0.9 * now), 0.015 * SIZE * np.sin(1.6 * now))
        moved = cv2.warpAffine(drawn[key], sway, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
        x, y = rng.integers(0, SIZE, 2)
        yield np.clip(moved + noise[y : y + SIZE, x : x + SIZE], 0, 255).astype(np.uint8), now


def watch(pipeline: Pipeline, pictures: Iterator[tuple[Image, float]]) -> Iterator[Observation]:
    """What is measured of each frame."""
    tracker = Tracker(pipeline, TrackerSettings(smoothing=None))
    for image, time_s in pictures:
        tracked = tracker(image, time_s)
        yield observe(tracked.measured[0], time_s) if len(tracked) else Observation(time_s)


def match(events: list[Event], motions: list[Motion]) -> tuple[Counter[str], Counter[str], list[str]]:
    """Motions found, events that are none, by kind; and what went wrong, in words."""
    found, false = Counter[str](), Counter[str]()
    wrong: list[str] = []
    left = [event for event in events if event.kind in KINDS]
    for motion in motions:
        hits = [e for e in left if e.kind == motion.kind and e.start_s < motion.end_s and e.end_s > motion.start_s]
        if hits:
            left.remove(hits[0])
            found[motion.kind] += 1
        elif motion.kind:
            wrong.append(f"{motion.name} at {motion.start_s:.1f} s missed")
    for event in left:
        false[event.kind] += 1
        during = [m.name for m in motions if m.start_s < event.end_s and m.end_s > event.start_s]
        wrong.append(f"false {event.kind} at {event.start_s:.1f} s during {', '.join(during) or 'nothing'}")
    return found, false, wrong


def main() -> None:
    """Run the clips and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="number of the first clip; another course for each")
    parser.add_argument("--model", default=FATIGUE)
    options = parser.parse_args()
    pipeline = load_pipeline(options.model)
    true, found, false = Counter[str](), Counter[str](), Counter[str]()
    for number in range(options.first, options.first + options.clips):
        motions = course(np.random.default_rng((number, 1)))
        monitor, events = FatigueMonitor(), list[Event]()
        for seen in watch(pipeline, frames(motions, number)):
            events += monitor.update(seen)
        hits, wrongs, words = match(events + monitor.finish(), motions)
        true.update(motion.kind for motion in motions if motion.kind)
        found.update(hits)
        false.update(wrongs)
        print(f"clip {number}: face lost for {monitor.lost_s:.1f} s; {'; '.join(words) or 'all right'}", flush=True)
    for kind in KINDS:
        print(f"{kind}: {true[kind]} true, {found[kind]} found, {false[kind]} false")


if __name__ == "__main__":
    main()
