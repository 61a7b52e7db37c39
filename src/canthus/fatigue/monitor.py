"""Signs of fatigue of one person through a video: the person in the picture, events, state."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import final

import numpy as np

from canthus.fatigue.blinks import LidWatch
from canthus.fatigue.events import Event, LowSpans, Span
from canthus.fatigue.measures import Observation
from canthus.fatigue.person import Measures, Person
from canthus.fatigue.settings import FatigueSettings
from canthus.fatigue.state import Perclos, State, StateMachine
from canthus.geometry import box_size
from canthus.types import TrackedFrame


@final
class MainFace:
    """The largest face when the video begins, for as long as it is followed; then the largest again.

    Args:
        patience_s: a face that is lost is waited for so long, before another one takes its place.

    Attributes:
        number: of the face that is watched, or None.
        changes: how often another face took its place.
    """

    def __init__(self, *, patience_s: float = 3.0) -> None:
        self.number: int | None = None
        self.changes = 0
        self._patience_s = patience_s
        self._seen_s = 0.0

    def find(self, tracked: TrackedFrame) -> int | None:
        """Index of the watched face in this frame, or None while it is not there."""
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


LONGEST_STEP_S = 0.5
"""Between two frames further apart nothing is known."""
EARLY_S = 20.0
"""Until somebody's normal is known, so much is kept to be judged afterwards."""


@final
@dataclass(frozen=True)
class Status:
    """How things stand after a frame; NaN is "cannot be told".

    Attributes:
        time_s: of the frame.
        state: see ``StateMachine``.
        measures: of eyes, mouth and head, against the person's own normal.
        perclos: over the window.
        face: whether there is a face.
    """

    time_s: float
    state: State = "unknown"
    measures: Measures = field(default_factory=Measures)
    perclos: float = math.nan
    face: bool = False


@final
class FatigueMonitor:
    """Watch one person.

    Example:
        >>> monitor = FatigueMonitor()
        >>> for image, time_s in read_video("drive.mp4"):
        ...     tracked = tracker(image, time_s)
        ...     seen = observe(tracked.measured[0], time_s) if len(tracked) else Observation(time_s)
        ...     for event in monitor.update(seen):
        ...         print(event.to_json(), monitor.status.state)

    Attributes:
        status: after the last frame.
        lost_s: time without a face.
        blinks: how many so far.
    """

    def __init__(self, settings: FatigueSettings | None = None) -> None:
        rules = self.settings = settings or FatigueSettings()
        self.status = Status(0.0)
        self.lost_s = 0.0
        self.blinks = 0
        self.perclos = Perclos(window_s=rules.perclos_window_s, least_s=rules.perclos_least_s)
        self._state = StateMachine(rules)
        self._last_s: float | None = None
        self._lids = LidWatch(rules)
        self._yawns = LowSpans(enter=-rules.yawn_opening, leave=-2 / 3 * rules.yawn_opening)
        self._nods = LowSpans(enter=-rules.nod, leave=-rules.nod / 2)
        self._away = LowSpans(enter=-rules.away, leave=-0.8 * rules.away)
        self.new_person()

    def new_person(self) -> None:
        """Forget what is normal: another face is watched from now on."""
        self._person = Person(self.settings)
        self._early: deque[Observation] = deque()

    def update(self, seen: Observation) -> list[Event]:
        """Take in the next frame.

        Args:
            seen: what was measured; ``Observation(time_s)`` where there is no face.

        Returns:
            Events that ended with this frame, earliest first.

        Raises:
            ValueError: time did not advance.
        """
        if self._last_s is not None and not seen.time_s > self._last_s:
            raise ValueError(f"Time must advance: {seen.time_s} s after {self._last_s} s")
        step_s = 0.0 if self._last_s is None else seen.time_s - self._last_s
        self._last_s = seen.time_s
        events = self.finish() if step_s > LONGEST_STEP_S else []
        if not seen.has_face:
            self.lost_s += step_s
            if self._early and self._early[-1].has_face:
                self._early.append(seen)  # one is enough to part what came before and after
            return self._noted(events + self._judge(seen))
        known = self._person.known
        self._person.learn(seen, min(step_s, LONGEST_STEP_S))
        if not self._person.known:
            self._early.append(seen)
            while seen.time_s - self._early[0].time_s > EARLY_S:  # eyes that cannot be learned, for hours
                self._early.popleft()
        elif not known:  # what came while learning is judged now
            for early in self._early:
                events += self._judge(early)
            self._early.clear()
        return self._noted(events + self._judge(seen))

    def finish(self) -> list[Event]:
        """Events that were going on when the face was lost or the video ended; they end at their last frame."""
        ended = [
            *self._lids.interrupt(),
            self._yawn_event(self._yawns.interrupt()),
            self._nod_event(self._nods.interrupt()),
            self._away_event(self._away.interrupt()),
        ]
        return sorted((event for event in ended if event), key=lambda event: event.start_s)

    def _noted(self, events: list[Event]) -> list[Event]:
        for event in events:
            self._state.note(event)
            self.blinks += event.kind == "blink"
        return events

    def _judge(self, seen: Observation) -> list[Event]:
        """Events that this frame ends; the status after it."""
        found = self._person.measure(seen) if seen.has_face else Measures()
        events = self._watch(seen.time_s, found) if seen.has_face else self.finish()
        self.perclos.update(seen.time_s, found.openness)
        state = self._state.update(
            seen.time_s,
            judged=math.isfinite(found.openness),
            shut_since_s=self._lids.shut_since_s,
            perclos=self.perclos.value,
        )
        self.status = Status(seen.time_s, state, found, self.perclos.value, seen.has_face)
        return events

    def _watch(self, time_s: float, found: Measures) -> list[Event]:
        judged = math.isfinite(found.openness)
        lids = self._lids.update(time_s, found.lids, found.openness) if judged else self._lids.interrupt()
        events: list[Event | None] = [*lids]
        if math.isfinite(found.mouth):
            events.append(self._yawn_event(self._yawns.update(time_s, -found.mouth)))
        if found.mouth > self.settings.yawn_opening:
            # The head's model is rigid: with the jaw hanging, the angles that fit are not those of the head.
            self._nods.interrupt()
            events.append(self._away_event(self._away.interrupt()))
        elif math.isfinite(found.pitch):
            events.append(self._nod_event(self._nods.update(time_s, -found.pitch)))
            events.append(self._away_event(self._away.update(time_s, -math.hypot(found.yaw, found.pitch))))
        return sorted((event for event in events if event), key=lambda event: event.start_s)

    def _yawn_event(self, span: Span | None) -> Event | None:
        if span is None or span.duration_s < self.settings.yawn_s:
            return None
        return Event("yawn", span.start_s, span.end_s, -span.lowest)

    def _nod_event(self, span: Span | None) -> Event | None:
        if span is None or span.duration_s > self.settings.nod_s:
            return None
        return Event("nod", span.start_s, span.end_s, -span.lowest)

    def _away_event(self, span: Span | None) -> Event | None:
        if span is None or span.duration_s < self.settings.away_s:
            return None
        return Event("away", span.start_s, span.end_s, -span.lowest)
