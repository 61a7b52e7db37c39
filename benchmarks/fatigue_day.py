"""An hour of wakeful and an hour of tired faces: what ``canthus fatigue`` finds, how late, and how often it errs.

Usage: python benchmarks/fatigue_day.py ytf DIR/ytf [--split validation] [--minutes 60] [--faces 20] [--first 0]
       [--model NAME|FILE]
       python benchmarks/fatigue_day.py video DIR        # a frame of each video file in DIR

Photos of people, or of each video the usable frame with the eyes widest open, become puppets (``puppet.py``) that move
by courses drawn from a seed.  Awake, they blink, talk, laugh, look down at a dashboard or a telephone, look aside,
squint, sneeze and hold a hand before the mouth.  Tired, they also yawn, with and without a hand, blink slowly, shut the
eyes for 0.6 to 4 s with the head at rest or sinking, nod and sleep.  Each face takes an equal part of each hour.
Thresholds are set on the first 32 people of 300-W alone; reports are of ``--first 32`` and beyond, of ``ytf``, or of
videos.

An event matches a motion of its kind if they overlap; each counts once.  The delay is that of the alert, from the
beginning of the motion.  Blinks during another act but talking are counted in a line of their own, and so are those for
which the renderer moves nothing, because the act has shut the lids already; the F1 of all blinks counts them as well.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import final

import cv2
import numpy as np
from jaxtyping import Float, Float64
from puppet import LOOKS, SIDE, Look, Puppet

from canthus.data import load_dataset
from canthus.fatigue.alerts import Alert, AlertWatch
from canthus.fatigue.events import Event
from canthus.fatigue.measures import brightness_under_eyes
from canthus.fatigue.monitor import FatigueMonitor
from canthus.geometry import box_size
from canthus.images import read_image
from canthus.runtime.measures import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, eye_aspect_ratio, mouth_aspect_ratio
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.tracker import Tracker, TrackerSettings
from canthus.runtime.video import read_video
from canthus.types import Annotation, Frame, Image
from canthus.zoo import FATIGUE

RATES_HZ = (15.0, 20.0)
VIDEOS = {".avi", ".mkv", ".mov", ".mp4"}
"""Endings of video files."""
REST_S = 6.0
"""Seconds at the beginning of a course in which the face only blinks."""


@final
@dataclass(frozen=True)
class Motion:
    """Something that a face does from ``start_s`` to ``end_s``; ``told`` is the kind of its event, "" for none."""

    name: str
    told: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@final
class Course:
    """Looks over time, and the motions that they are made of."""

    def __init__(self, seconds: float, rng: np.random.Generator, rate_hz: float) -> None:
        self.rng, self.rate_hz = rng, rate_hz
        self.times_s = np.arange(0, seconds, 1 / rate_hz)
        self.looks = {name: np.zeros(len(self.times_s)) for name in LOOKS}
        self.motions: list[Motion] = []

    def bump(self, start_s: float, end_s: float, rise_s: float, fall_s: float) -> Float64[np.ndarray, " n"]:
        """From 0 to 1 within ``rise_s`` and back within ``fall_s``, smoothly."""
        line = np.interp(self.times_s, [start_s, start_s + rise_s, end_s - fall_s, end_s], [0, 1, 1, 0])
        return np.asarray(line * line * (3 - 2 * line))

    def add(self, values: Float64[np.ndarray, " n"], **amounts: float) -> None:
        """Move by the amounts, as far as the values say; of lids, the lowest counts."""
        for name, amount in amounts.items():
            if name in ("lids", "lower", "gaze", "hand"):
                self.looks[name] = np.maximum(self.looks[name], amount * values)
            else:
                self.looks[name] += amount * values

    def note(self, name: str, told: str, start_s: float, end_s: float) -> float:
        """Keep a motion; return its end."""
        self.motions.append(Motion(name, told, start_s, end_s))
        return end_s

    def waves(self, hz: float) -> Float64[np.ndarray, " n"]:
        """Uneven waves between 0 and 1."""
        phases, pace = self.rng.uniform(0, 6, 3), hz * self.rng.uniform(0.8, 1.2, 3) * (1, 0.62, 0.23)
        parts = np.sin(2 * np.pi * np.outer(self.times_s, pace) + phases)
        return np.asarray(np.clip(0.5 + 0.28 * parts.sum(axis=1), 0, 1))

    def fall(self, motion: Motion) -> float:
        """How much further the lids are during the motion than in the moment before or after it."""
        lids, (start_s, end_s) = self.looks["lids"], (motion.start_s, motion.end_s)
        inside = lids[(self.times_s >= start_s) & (self.times_s <= end_s)]
        beside = [lids[(self.times_s >= a) & (self.times_s <= b)] for a, b in
                  ((start_s - 0.15, start_s), (end_s, end_s + 0.15))]  # fmt: skip
        return float(inside.max(initial=0) - max(part.mean() if len(part) else 0.0 for part in beside))

    def at(self, index: int) -> Look:
        """The look of one frame."""
        return Look(**{name: float(values[index]) for name, values in self.looks.items()})


def _blink(course: Course, now: float, *, slow: bool = False) -> float:
    u = course.rng.uniform
    fall, held, rise = (
        (u(0.1, 0.18), u(0.05, 0.15), u(0.18, 0.26)) if slow else (u(0.06, 0.1), u(0.02, 0.08), u(0.1, 0.2))
    )
    end = now + fall + held + rise
    course.add(course.bump(now, end, fall, rise), lids=u(0.9, 1.0))
    return course.note("blink", "blink", now, end)


def _talk(course: Course, now: float) -> float:
    u = course.rng.uniform
    end = now + u(3, 14)
    shape = course.bump(now, end, 0.3, 0.3)
    course.add(shape * course.waves(3.5), mouth=u(0.08, 0.22))
    course.add(shape * (course.waves(0.4) - 0.5), yaw=u(0, 0.25), pitch=u(0, 0.14), brows=u(0, 0.08), roll=u(0, 0.1))
    if u() < 0.4:
        course.add(shape, smile=u(0.2, 0.5))
    return course.note("talk", "", now, end)


def _laugh(course: Course, now: float) -> float:
    u = course.rng.uniform
    end = now + u(1.5, 5)
    shape = course.bump(now, end, u(0.2, 0.5), u(0.3, 0.8))
    course.add(shape, lids=u(0.15, 0.6), lower=u(0.2, 0.5), smile=u(0.7, 1.1), mouth=u(0.05, 0.22), pitch=u(-0.2, 0.15))
    course.add(shape * course.waves(4), mouth=0.06, pitch=u(0, 0.06), y=0.02)
    return course.note("laugh", "laugh", now, end)


def _dashboard(course: Course, now: float) -> float:
    u = course.rng.uniform
    end = now + u(0.5, 1.6)
    shape = course.bump(now, end, u(0.1, 0.2), u(0.1, 0.2))
    course.add(shape, lids=u(0.25, 0.55), gaze=u(0.5, 1.0), pitch=u(0.0, 0.15), yaw=u(-0.1, 0.1))
    return course.note("dashboard", "", now, end)


def _telephone(course: Course, now: float) -> float:
    u = course.rng.uniform
    end = now + u(1.5, 9)
    shape = course.bump(now, end, u(0.2, 0.5), u(0.2, 0.5))
    lids = course.bump(now + u(0, 0.15), end, u(0.12, 0.3), u(0.12, 0.3))
    course.add(shape, pitch=u(0.18, 0.42), yaw=u(-0.15, 0.15), y=0.05)
    course.add(lids, lids=u(0.4, 0.85), gaze=1.0)
    if u() < 0.3:
        course.add(shape * course.waves(3), mouth=0.12)
    return course.note("telephone", "look_down", now, end)


def _aside(course: Course, now: float) -> float:
    u, side = course.rng.uniform, float(course.rng.choice([-1, 1]))
    end, turn = now + u(0.6, 3), u(0.2, 0.55)
    course.add(course.bump(now, end, u(0.15, 0.4), u(0.15, 0.4)), yaw=side * turn, aside=-side * 0.15, lids=u(0, 0.2))
    return course.note("aside", "away" if turn > 0.5 and end - now > 1.4 else "", now, end)


def _squint(course: Course, now: float) -> float:
    u = course.rng.uniform
    end = now + u(1, 5)
    shape = course.bump(now, end, u(0.2, 0.4), u(0.2, 0.4))
    course.add(shape, lids=u(0.15, 0.4), lower=u(0.15, 0.35), brows=-u(0.02, 0.09), smile=u(0, 0.3))
    return course.note("squint", "", now, end)


def _sneeze(course: Course, now: float) -> float:
    u = course.rng.uniform
    end = now + u(1.2, 1.8)
    course.add(course.bump(now, now + 0.8, 0.4, 0.3), mouth=u(0.15, 0.35), pitch=-u(0.1, 0.25))
    course.add(course.bump(now + 0.3, end, 0.2, 0.3), lids=1.0, brows=-0.06)
    course.add(course.bump(now + 0.7, end, 0.15, 0.5), pitch=u(0.25, 0.45), y=0.1)
    return course.note("sneeze", "", now, end)


def _hand(course: Course, now: float) -> float:
    end = now + course.rng.uniform(2, 5)
    course.add(course.bump(now, end, 0.4, 0.4), hand=1.0)
    return course.note("hand", "", now, end)


def _yawn(course: Course, now: float) -> float:
    u, hand = course.rng.uniform, course.rng.random() < 0.4
    end = now + u(3.5, 6)
    shape = course.bump(now, end, u(0.8, 1.3), u(0.6, 1.0))
    course.add(shape, mouth=u(0.42, 0.6), pitch=-u(0, 0.15), brows=u(0, 0.06), lower=u(0, 0.2))
    course.add(course.bump(now + 1, end - 0.4, 0.6, 0.6), lids=u(0.3, 1.0))
    if hand:
        course.add(course.bump(now + u(0.6, 1.2), end - 0.2, 0.4, 0.4), hand=1.0)
    return course.note("yawn behind a hand" if hand else "yawn", "yawn", now, end)


def _microsleep(course: Course, now: float) -> float:
    u = course.rng.uniform
    return _shut(course, now, float(np.exp(u(np.log(0.6), np.log(4.0)))), "microsleep")


def _sleep(course: Course, now: float) -> float:
    return _shut(course, now, course.rng.uniform(6, 15), "sleep")


def _shut(course: Course, now: float, seconds: float, name: str) -> float:
    """Lids sink slowly and rise again; the head stays, or sinks after them and jerks up at the end."""
    u = course.rng.uniform
    fall, rise = u(0.2, 0.6), u(0.12, 0.35)
    shut, opening = now + fall / 2, now + fall / 2 + seconds
    course.add(course.bump(now, opening + rise / 2, fall, rise), lids=u(0.93, 1.0))
    if seconds > 1.2 and u() < 0.5:
        sunk = now + fall + u(0.4, 0.8)
        course.add(course.bump(sunk, opening + 0.3, min(u(0.6, 1.5), opening - sunk), 0.3), pitch=u(0.12, 0.4), y=0.05)
    course.note(name, "closure", shut, opening)
    return opening + rise / 2


def _nod(course: Course, now: float) -> float:
    u = course.rng.uniform
    end = now + u(0.8, 1.8)
    course.add(course.bump(now, end, u(0.3, 0.6), u(0.15, 0.3)), pitch=u(0.4, 0.55), lids=u(0, 0.35), y=0.05)
    return course.note("nod", "nod", now, end)


AWAKE = {_talk: 5, _laugh: 3, _dashboard: 5, _telephone: 3, _aside: 4, _squint: 2, _sneeze: 0.5, _hand: 1}
TIRED = {_talk: 1.5, _laugh: 0.5, _dashboard: 2, _telephone: 0.5, _aside: 2, _squint: 0.5, _hand: 0.5, _yawn: 1.5,
         _microsleep: 6, _sleep: 0.7, _nod: 1}  # fmt: skip


def random_course(seconds: float, rng: np.random.Generator, *, tired: bool, rate_hz: float = 20.0) -> Course:
    """Acts one after the other, with blinks among them; the head sways all the time."""
    course = Course(seconds, rng, rate_hz)
    acts = TIRED if tired else AWAKE
    shares = np.array(list(acts.values())) / sum(acts.values())
    now, kinds = REST_S, list(acts)
    while now < seconds - 18:
        now = kinds[int(rng.choice(len(kinds), p=shares))](course, now) + float(rng.uniform(0.5, 4))
    if tired:  # lids that hang for a while
        for start in np.arange(20, seconds - 20, 50):
            course.add(course.bump(start, start + 25, 4, 4), lids=float(rng.uniform(0, 0.3)))
    now = 1.0
    while now < seconds - 1:
        busy = [m for m in course.motions if m.told == "closure" and m.start_s - 1 < now < m.end_s + 0.6]
        now = (busy[0].end_s + 0.6) if busy else _blink(course, now, slow=tired and rng.random() < 0.4)
        now += float(rng.gamma(3, 0.9)) + 0.3
    for name, hz, size in (
        ("x", 0.15, 0.06),
        ("y", 0.2, 0.05),
        ("yaw", 0.1, 0.08),
        ("pitch", 0.13, 0.06),
        ("roll", 0.1, 0.06),
    ):
        course.looks[name] += size * (course.waves(hz) - 0.5)
    return course


def frames(puppet: Puppet, course: Course) -> Iterator[tuple[Image, float]]:
    """The pictures of a course, with noise, and their times."""
    noise = course.rng.normal(scale=3, size=(2 * SIDE, 2 * SIDE, 3)).round().astype(np.int16)
    for index, time_s in enumerate(course.times_s.tolist()):
        x, y = course.rng.integers(0, SIDE, 2)
        drawn = puppet.draw(course.at(index)) + noise[y : y + SIDE, x : x + SIDE]
        yield np.clip(drawn, 0, 255).astype(np.uint8), time_s


def usable(points: Float[np.ndarray, "68 2"]) -> bool:
    """Frontal, 40 pixels between the outer eye corners or more, eyes open and mouth closed."""
    x, eyes = points[:, 0], [float(eye_aspect_ratio(points[list(eye)])) for eye in (RIGHT_EYE, LEFT_EYE)]
    turned = abs((x[30] - x[0]) - (x[16] - x[30])) / max(float(x[16] - x[0]), 1e-6)
    wide = float(np.linalg.norm(points[45] - points[36])) > 40
    closed = float(mouth_aspect_ratio(points[list(INNER_MOUTH)])) < 0.2
    return wide and closed and turned < 0.25 and min(eyes) > 0.22


def is_watched(puppet: Puppet, found: Frame) -> bool:
    """Whether the largest face of the picture, which ``canthus fatigue`` watches, is the puppet's, not another."""
    if not len(found):
        return False
    largest = found.landmarks.points[np.argmax(box_size(found.faces.boxes).max(axis=1))]
    points = puppet.points(Look())[:68, :2]
    return bool(np.linalg.norm(largest - points, axis=1).mean() < np.linalg.norm(points[45] - points[36]) / 2)


def puppets(faces: list[Annotation], pipeline: Pipeline, most: int) -> list[tuple[str, Puppet]]:
    """The largest usable face of each person, without dark glasses and larger faces beside it: key and puppet."""
    largest: dict[str, tuple[float, str, Puppet]] = {}
    for face in (face for face in faces if usable(face.points)):
        person, wide = face.group or face.key, float(np.linalg.norm(face.points[45] - face.points[36]))
        if person in largest and largest[person][0] >= wide:
            continue
        puppet = Puppet(read_image(face.path), face.points)
        still = puppet.draw(Look())
        found = pipeline(still)
        if is_watched(puppet, found) and brightness_under_eyes(still, found.landmarks.points[0]) > 0.6:
            largest[person] = (wide, face.key, puppet)
    return [(key, puppet) for _, key, puppet in largest.values()][:most]


def video_puppets(root: Path, pipeline: Pipeline) -> list[tuple[str, Puppet]]:
    """Of each video file of a folder, the usable frame with the eyes furthest open, with the points found in it."""
    people = []
    for path in sorted(path for path in root.iterdir() if path.suffix in VIDEOS):
        best: tuple[float, Puppet] | None = None
        for image, _ in islice(read_video(path), 0, None, 12):
            for points in pipeline(image).landmarks.points[:1]:
                eyes = min(float(eye_aspect_ratio(points[list(eye)])) for eye in (RIGHT_EYE, LEFT_EYE))
                if usable(points) and (best is None or eyes > best[0]):
                    best = (eyes, Puppet(image, points))
        if best:
            people.append((path.name, best[1]))
    return people


@final
class Score:
    """Counts over courses."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.alarms, self.false = Counter[str](), Counter[str]()
        self.during = Counter[str]()
        self.true, self.found, self.right = Counter[str](), Counter[str](), Counter[str]()
        self.delays_s: dict[str, list[float]] = defaultdict(list)
        self.states = Counter[str]()

    def add(self, course: Course, events: list[Event], alerts: list[Alert]) -> None:
        """Match the events and alerts of one course."""
        self.seconds += float(course.times_s[-1])
        self.alarms.update(alert.kind for alert in alerts if alert.kind in ("tired", "asleep"))
        left = list(events)
        for motion in course.motions:
            if not motion.told:
                continue
            row = self._row(motion, course)
            self.true[row] += 1
            hits = [event for event in left if event.kind == motion.told and _meets(motion, event.start_s, event.end_s)]
            if hits:
                left.remove(hits[0])
                self.found[row] += 1
                self.right[motion.told] += 1
            kinds = {motion.told, "asleep"} if motion.told == "closure" else {motion.told}
            told = [alert for alert in alerts if alert.kind in kinds and _meets(motion, alert.since_s, alert.time_s)]
            if told:
                self.delays_s[row].append(max(told[0].time_s - motion.start_s, 0.0))
        for event in left:
            over = {motion.name for motion in course.motions if _meets(motion, event.start_s, event.end_s)}
            # A sleep may come in parts, and a head that sinks in it nods; blinks are not counted behind a yawn.
            sleeps = over & {"microsleep", "sleep"} and event.kind in ("blink", "closure", "nod")
            if not (sleeps or (event.kind == "blink" and any("yawn" in name for name in over))):
                self.false[event.kind] += 1
                self.during[f"{event.kind} during {', '.join(sorted(over - {'blink'})) or 'nothing'}"] += 1

    @staticmethod
    def _row(motion: Motion, course: Course) -> str:
        if motion.told == "closure":
            return "closure of 1 s or more" if motion.duration_s >= 1 else "shorter closure"
        if motion.told == "blink" and any(
            other.name not in ("blink", "talk", "hand") and _meets(other, motion.start_s, motion.end_s)
            for other in course.motions
        ):
            return "blink during an act" if course.fall(motion) > 0.05 else "blink of lids that are shut already"
        return motion.name

    def print(self, title: str) -> None:
        """Print the counts."""
        hours = self.seconds / 3600
        frames = max(sum(self.states.values()), 1)
        shares = ", ".join(f"{100 * count / frames:.1f} % {state}" for state, count in self.states.most_common())
        alarms = ", ".join(f"{self.alarms[kind]} {kind}" for kind in ("tired", "asleep"))
        print(f"{title}: {hours:.2f} h; alarms {alarms} ({sum(self.alarms.values()) / hours:.1f} an hour); {shares}")
        for row, true in sorted(self.true.items()):
            delays = np.array(self.delays_s[row])
            told = ""
            if len(delays):
                told = f"told within 1.5 s {(delays <= 1.5).sum() / true:.3f}, median {np.median(delays):.2f} s"
            print(f"  {row}: {true} true, {self.found[row]} found, recall {self.found[row] / true:.3f}  {told}")
        blinks = [row for row in self.true if row.startswith("blink")]
        for name, rows in (("blinks", ["blink"]), ("blinks, those during acts too", blinks)):
            found, true = (sum(counts[row] for row in rows) for counts in (self.found, self.true))
            print(f"  {name}: F1 {2 * found / max(true + found + self.false['blink'], 1):.3f}")
        kinds = sorted(self.right.keys() | self.false.keys())
        precisions = (f"{kind} {self.right[kind] / (self.right[kind] + self.false[kind]):.3f}" for kind in kinds)
        print(f"  precision: {', '.join(precisions)}")
        print(f"  false: {dict(self.false)}")
        for what, count in self.during.most_common(8):
            print(f"    {count} {what}")


def _meets(motion: Motion, start_s: float, end_s: float) -> bool:
    return start_s < motion.end_s and end_s > motion.start_s


def watch(pipeline: Pipeline, puppet: Puppet, course: Course, score: Score) -> None:
    """Show a course to a monitor and score it."""
    tracker, monitor = Tracker(pipeline, TrackerSettings(smoothing=None)), FatigueMonitor()
    told, events = AlertWatch(monitor.settings.told_evidence), list[Event]()
    alerts: list[Alert] = []
    for image, time_s in frames(puppet, course):
        events += monitor.watch(tracker(image, time_s), image)
        alerts += told.update(monitor.status)
        score.states[monitor.status.state] += 1
    score.add(course, events + monitor.finish(), alerts)


def main() -> None:
    """Show both hours and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of each of the two parts")
    parser.add_argument("--faces", type=int, default=20, help="people at most")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them, and its seed")
    parser.add_argument("--model", default=FATIGUE)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pipeline = load_pipeline(options.model)
    if options.dataset == "video":
        people = video_puppets(options.root, pipeline)
    else:
        faces = load_dataset(options.dataset, options.root, options.split)
        people = puppets(faces, pipeline, options.first + options.faces)
    people = people[options.first : options.first + options.faces]
    print(f"{len(people)} people: {', '.join(key for key, _ in people)}", flush=True)
    for tired in (False, True):
        score, started = Score(), time.monotonic()
        for number, (_, puppet) in enumerate(people, start=options.first):
            rng = np.random.default_rng([number, int(tired)])
            seconds, rate_hz = 60 * options.minutes / len(people), RATES_HZ[number % len(RATES_HZ)]
            watch(pipeline, puppet, random_course(seconds, rng, tired=tired, rate_hz=rate_hz), score)
        score.print("tired" if tired else "wakeful")
        print(f"  {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
