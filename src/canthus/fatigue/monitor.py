"""Signs of fatigue of one person through a video."""

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from canthus.fatigue.blinks import LidWatch
from canthus.fatigue.context import ClosureWatch, Context, Doubts, Spans
from canthus.fatigue.events import Event, EventKind, LowSpans, Span
from canthus.fatigue.measures import Observation, observe
from canthus.fatigue.person import Measures, Person
from canthus.fatigue.settings import FatigueSettings
from canthus.fatigue.state import Perclos, State, StateMachine
from canthus.geometry import box_size
from canthus.images import checked_image
from canthus.schemes import IBUG_68
from canthus.types import Image, Landmarks, TrackedFrame

LONGEST_STEP_S = 0.5
"""Frames further apart than this, in seconds, are not taken as one continuous signal."""
EARLY_S = 20.0
"""Seconds of observations kept at most while the person's normal is not known yet; they are judged afterwards."""


@final
class MainFace:
    """The largest face when the video begins, for as long as it is tracked; then the largest face again.

    Args:
        patience_s: seconds to wait for a lost face before another one takes its place.

    Attributes:
        changes: how often another face took its place.
    """

    def __init__(self, *, patience_s: float = 3.0) -> None:
        self.number: int | None = None
        self.changes = 0
        self._patience_s = patience_s
        self._seen_s = 0.0

    def find(self, tracked: TrackedFrame) -> int | None:
        """Index of the face in this frame, or None while it is not there."""
        places = np.flatnonzero(tracked.ids == self.number) if self.number is not None else np.zeros(0, np.int64)
        if len(places):
            self._seen_s = tracked.time_s
            return int(places[0])
        waiting = self.number is not None and tracked.time_s - self._seen_s < self._patience_s
        if waiting or not len(tracked):
            return None
        index = int(box_size(tracked.frame.faces.boxes).prod(axis=1).argmax())
        self.changes += self.number is not None
        self.number, self._seen_s = int(tracked.ids[index]), tracked.time_s
        return index


@final
@dataclass(frozen=True)
class Status:
    """State of the person after a frame. NaN means unknown.

    Attributes:
        state: ``alert``, ``tired``, ``asleep`` or ``unknown``; see ``StateMachine``.
        measures: eyes, mouth and head relative to the person's own normal.
        perclos: PERCLOS of the last minute, 0 to 1.
        long_perclos: PERCLOS of the last three minutes.
        level: of sleepiness, 1 to 9; see ``Sleepiness``.
        lasting: what lasts and is long enough to be told, with the time at which it began.
        evidence: how much the closure that lasts looks like sleep, 0 to 1; 0 with open eyes.
    """

    time_s: float
    state: State = "unknown"
    measures: Measures = field(default_factory=Measures)
    perclos: float = math.nan
    face: bool = False
    long_perclos: float = math.nan
    level: float = math.nan
    lasting: tuple[tuple[EventKind, float], ...] = ()
    evidence: float = 0.0


@final
class FatigueMonitor:
    """Find blinks, closures, yawns, nods, looks away and down, and laughs of a person, and rate their wakefulness.

    The thresholds were set with what the network ``canthus.zoo.FATIGUE`` sees of lids: give it to ``load_pipeline``.

    Example:
        >>> monitor = FatigueMonitor()
        >>> for image, time_s in canthus.read_video("drive.mp4"):
        ...     for event in monitor.watch(tracker(image, time_s), image):
        ...         print(event.to_json(), monitor.status.state)

    Attributes:
        status: state after the last frame.
        lost_s: seconds without a face.
        blinks: number of blinks so far.
        perclos: share of time with closed eyes, over a sliding minute and in total.
        long_perclos: the same over three minutes.
    """

    def __init__(self, settings: FatigueSettings | None = None) -> None:
        rules = self.settings = settings or FatigueSettings()
        self.status = Status(0.0)
        self.lost_s = 0.0
        self.blinks = 0
        self.perclos = Perclos(window_s=rules.perclos_window_s, least_s=rules.perclos_least_s)
        self.long_perclos = Perclos(window_s=rules.long_perclos_window_s, least_s=3 * rules.perclos_least_s)
        self._state = StateMachine(rules)
        self._last_s: float | None = None
        self._main = MainFace()
        self._lids = LidWatch(rules)
        self._context = Context(rules)
        self._closure = ClosureWatch()
        self._spans: dict[EventKind, LowSpans] = {
            "nod": LowSpans(enter=-rules.nod, leave=-rules.nod / 2),
            "away": LowSpans(enter=-rules.away, leave=-0.8 * rules.away),
        }
        self._lengths_s: dict[EventKind, tuple[float, float]] = {
            "yawn": (rules.yawn_s, math.inf),
            "nod": (0.0, rules.nod_s),
            "away": (rules.away_s, math.inf),
            "look_down": (rules.look_down_s, math.inf),
            "laugh": (rules.laugh_s, math.inf),
        }
        self.new_person()

    def new_person(self) -> None:
        """Forget the person's normal; another face is watched from now on."""
        self._person = Person(self.settings)
        self._early: deque[Observation] = deque()

    def watch(self, tracked: TrackedFrame, image: Image | None = None) -> list[Event]:
        """Measure the main face of a tracked frame, and ``update`` with it.

        The largest face is watched while it is tracked. After 3 s without it, the largest one takes its place.

        Args:
            tracked: the frame from a ``Tracker``, in a scheme that converts to ``ibug_68``.
            image: the picture, to look for dark glasses; None skips that.

        Returns:
            Events that ended with this frame, earliest first.

        Raises:
            ConfigError: the scheme does not convert to ``ibug_68``.
            TypeError: not a ``TrackedFrame``, or the picture is not an array.
            ValueError: the time of the frame is not after that of the last one, or not an RGB picture.
        """
        if not isinstance(tracked, TrackedFrame):
            raise TypeError(f"Expected the TrackedFrame that a Tracker returns, found {type(tracked).__name__}")
        image = None if image is None else checked_image(image)
        changes = self._main.changes
        index = self._main.find(tracked)
        if self._main.changes > changes:
            self.new_person()
        if index is None:
            return self.update(Observation(tracked.time_s))
        marks = Landmarks(tracked.measured, tracked.frame.landmarks.scheme, tracked.frame.landmarks.scores)
        if marks.scheme is not IBUG_68:
            marks = marks.convert(IBUG_68)
        scores = None if marks.scores is None else marks.scores[index]
        return self.update(observe(marks.points[index], tracked.time_s, scores=scores, image=image))

    def face_index(self, tracked: TrackedFrame) -> int | None:
        """Index of the watched face in the frame that ``watch`` saw last, or None while it is not there."""
        ids = tracked.ids.tolist()
        return ids.index(self._main.number) if self._main.number in ids else None

    def update(self, seen: Observation) -> list[Event]:
        """Take in the measures of the next frame, ``Observation(time_s)`` without a face; return as ``watch`` does.

        Raises:
            ValueError: the time of the frame is not after that of the last one.
        """
        if self._last_s is not None and not seen.time_s > self._last_s:
            raise ValueError(f"Time must advance: {seen.time_s} s after {self._last_s} s")
        step_s = 0.0 if self._last_s is None else seen.time_s - self._last_s
        self._last_s = seen.time_s
        events = self.pause() if step_s > LONGEST_STEP_S else []
        if not seen.has_face:
            self.lost_s += step_s
            if self._early and self._early[-1].has_face:
                self._early.append(seen)  # one frame is enough to separate what is before and after it
            return self._noted(events + self._judge(seen))
        known = self._person.known
        self._person.learn(seen, min(step_s, LONGEST_STEP_S))
        if not self._person.known:
            self._early.append(seen)
            while seen.time_s - self._early[0].time_s > EARLY_S:  # bounded where the eyes can never be learned
                self._early.popleft()
        elif not known:  # judge the frames from which the normal was learned
            for early in self._early:
                events += self._judge(early)
            self._early.clear()
        return self._noted(events + self._judge(seen))

    @property
    def blink_growth(self) -> float:
        """Length of blinks now over that of the person's first ones; see ``Sleepiness``."""
        return self._state.sleepiness.blink_growth

    def pause(self) -> list[Event]:
        """End the events that still last and return them, because the next frame does not follow on the last one.

        Call it where two recordings were joined; a gap of more than ``LONGEST_STEP_S`` is noticed without.
        """
        self.perclos.interrupt()
        self.long_perclos.interrupt()
        return self.finish()

    def finish(self) -> list[Event]:
        """End the events that still last; they end at their last frame. Call it after the last frame."""
        events = self._closures(self._lids.interrupt())
        events += self._contexts(self._context.interrupt())
        for kind in self._spans:
            events += self._interrupt(kind)
        return sorted(events, key=lambda event: event.start_s)

    def _noted(self, events: list[Event]) -> list[Event]:
        for event in events:
            self._state.note(event)
            self.blinks += event.kind == "blink"
        if not (self._context.laugh_since_s or self._context.down_since_s):
            for ratio in self._lids.blink_ratios:
                self._person.note_blink(ratio)
        self._lids.blink_ratios.clear()
        return events

    def _judge(self, seen: Observation) -> list[Event]:
        """Events that this frame ends; sets the status after it."""
        found = self._person.measure(seen) if seen.has_face else Measures()
        events = self._events(seen.time_s, found) if seen.has_face else self.finish()
        shut_since_s = self._lids.shut_since_s
        # Lids that are low because the person looks down, laughs or yawns say nothing of sleep.
        excused = bool(
            self._context.down_since_s or self._context.laugh_since_s or (shut_since_s and self._closure.excused)
        )
        for perclos in (self.perclos, self.long_perclos):
            perclos.update(seen.time_s, math.nan if excused or found.obstacle else found.openness)
        evidence = 0.0 if shut_since_s is None else self._closure.evidence
        state = self._state.update(
            seen.time_s,
            judged=not found.obstacle,
            shut_since_s=shut_since_s,
            perclos=self.perclos.value,
            evidence=evidence,
            sinking=seen.has_face and self._context.head.sinks,
        )
        self.status = Status(
            seen.time_s, state, found, self.perclos.value, seen.has_face, self.long_perclos.value, self._state.level,
            self._lasting(seen.time_s), evidence,
        )  # fmt: skip
        return events

    def _lasting(self, time_s: float) -> tuple[tuple[EventKind, float], ...]:
        since: dict[EventKind, float | None] = {kind: spans.open_since_s for kind, spans in self._spans.items()}
        since |= {
            "look_down": self._context.down_since_s,
            "laugh": self._context.laugh_since_s,
            "yawn": self._context.yawn.since_s,
        }
        closure_s = None if self._closure.excused else self._lids.shut_since_s
        lengths_s = {"closure": self.settings.closure_s} | {kind: least for kind, (least, _) in self._lengths_s.items()}
        return tuple(
            (kind, start_s)
            for kind, start_s in {"closure": closure_s, **since}.items()
            if start_s is not None and time_s - start_s >= lengths_s[kind]
        )

    def _closures(self, events: list[Event]) -> list[Event]:
        """Give closures their evidence; leave out those without any or excused, and blinks in sleep."""
        kept: list[Event] = []
        for event in events:
            before_s = event.start_s - self.settings.closure_s
            if event.kind == "blink" and self._closure.sleeps(before_s, self.settings.evidence):
                continue  # lids that are shut only tremble
            if event.kind == "closure":
                evidence, excused = self._closure.judged(event.start_s)
                if excused or evidence < self.settings.closure_evidence:
                    continue
                event = replace(event, evidence=evidence)
            kept.append(event)
        return kept

    def _contexts(self, spans: Spans) -> list[Event]:
        kinds: tuple[EventKind, ...] = ("look_down", "laugh", "yawn")
        return [event for kind, span in zip(kinds, spans, strict=True) for event in self._event(kind, span)]

    def _events(self, time_s: float, found: Measures) -> list[Event]:
        lowered = self._context.goes_down or self._context.laugh_since_s is not None
        events = self._lids.update(time_s, found, lowered=lowered)
        shut_since_s = self._lids.shut_since_s
        contexts = self._contexts(self._context.update(time_s, found, shut_since_s))
        doubts = Doubts() if shut_since_s is None else self._context.doubts(time_s, shut_since_s)
        self._closure.update(time_s, shut_since_s, found.closing, 1 - self._person.shut_ratio, doubts=doubts)
        events = self._closures(events) + contexts
        # The head model is rigid: while the jaw hangs or is covered, the fitted angles are not those of the head.
        if found.mouth > self.settings.yawn_opening:
            self._spans["nod"].interrupt()
            events += self._interrupt("away")
        elif math.isfinite(found.pitch):
            if math.isfinite(found.mouth):
                events += self._follow("nod", time_s, found.pitch)
            events += self._follow("away", time_s, math.hypot(found.yaw, found.pitch))
        return sorted(events, key=lambda event: event.start_s)

    def _follow(self, kind: EventKind, time_s: float, value: float) -> list[Event]:
        return self._event(kind, self._spans[kind].update(time_s, -value))

    def _interrupt(self, kind: EventKind) -> list[Event]:
        return self._event(kind, self._spans[kind].interrupt())

    def _event(self, kind: EventKind, span: Span | None) -> list[Event]:
        """The event of a span that ended, if its length fits."""
        least_s, most_s = self._lengths_s[kind]
        if span is None or not least_s <= span.duration_s <= most_s:
            return []
        return [Event(kind, span.start_s, span.end_s, -span.lowest)]
