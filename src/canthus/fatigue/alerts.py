"""Alerts: what begins, told at once, to a file, a terminal or a program."""

import json
import math
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, final

from canthus.errors import ConfigError
from canthus.fatigue.events import EventKind
from canthus.fatigue.monitor import Status
from canthus.fatigue.state import State

SourceChange = Literal["lost", "back"]
AlertKind = EventKind | State | SourceChange

ALARMS: tuple[AlertKind, ...] = ("closure", "tired", "asleep")
"""Alerts that ring and start a program where nothing else is asked for."""
ALERT_KINDS: tuple[AlertKind, ...] = (
    "closure", "yawn", "nod", "away", "look_down", "laugh", "alert", "tired", "asleep", "unknown", "lost", "back",
)  # fmt: skip


@final
@dataclass(frozen=True)
class Alert:
    """Something that begins: an event that is long enough to be told, a new state, or a camera that stops or returns.

    Attributes:
        kind: of the event; the state; ``lost`` or ``back``.
        time_s: time of the frame that showed it.
        since_s: beginning of the event; ``time_s`` for the others.
        level: of sleepiness, 1 to 9; NaN if unknown.
        evidence: how much a closure looks like sleep, 0 to 1; NaN for other kinds.
    """

    kind: AlertKind
    time_s: float
    since_s: float
    level: float = math.nan
    evidence: float = math.nan

    def to_json(self, *, started: datetime | None = None, latency_s: float = math.nan) -> dict[str, Any]:
        """The alert for ``json``; unknown numbers are None.

        Args:
            started: time on the clock at 0 s; None leaves the clock out.
            latency_s: time from the frame to the alert.
        """
        numbers = {"level": (self.level, 1), "evidence": (self.evidence, 3), "latency_ms": (1000 * latency_s, 1)}
        return {
            "alert": self.kind,
            "time_s": round(self.time_s, 3),
            "since_s": round(self.since_s, 3),
            **{
                name: round(value, digits) if math.isfinite(value) else None
                for name, (value, digits) in numbers.items()
            },
            **({} if started is None else {"clock": clock(started, self.time_s)}),
        }


def clock(started: datetime, time_s: float) -> str:
    """The time on the clock, as ISO 8601 with milliseconds."""
    return (started + timedelta(seconds=time_s)).isoformat(timespec="milliseconds")


@final
class AlertWatch:
    """Finds what begins from one status to the next.  A closure is told once it looks enough like sleep.

    Args:
        evidence: of a closure, from which it is told.
    """

    def __init__(self, evidence: float) -> None:
        self._evidence = evidence
        self._told: set[tuple[EventKind, float]] = set()
        self._state: State = "unknown"

    def update(self, status: Status) -> list[Alert]:
        """The alerts of a frame."""
        lasting = {act for act in status.lasting if act[0] != "closure" or status.evidence >= self._evidence}
        fresh = sorted(lasting - self._told, key=lambda act: act[1])
        self._told = {act for act in self._told if act in status.lasting} | lasting
        alerts = [
            Alert(kind, status.time_s, since_s, status.level, status.evidence if kind == "closure" else math.nan)
            for kind, since_s in fresh
        ]
        if status.state != self._state:
            self._state = status.state
            alerts.append(Alert(status.state, status.time_s, status.time_s, status.level))
        return alerts


MOST_PROGRAMS = 8
"""Programs that may run at a time; further alerts are not given to any."""


@final
class AlertCommand:
    """Starts a program for each alert, with the alert as one line of JSON on its standard input.

    Programs run beside the video.  Use it as a context manager; its end waits for them, ``patience_s`` at most.

    Args:
        command: the program and its arguments, as in a shell, without a shell's operators.
        patience_s: seconds to wait for programs that still run at the end.

    Attributes:
        failed: programs that ended with an error, or were not started because ``MOST_PROGRAMS`` were running.

    Raises:
        ConfigError: there is no such program.
    """

    def __init__(self, command: str, *, patience_s: float = 5.0) -> None:
        try:
            self._words: Sequence[str] = shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"--on-alert {command}: quotes are not closed ({error})") from error
        if not self._words or shutil.which(self._words[0]) is None:
            raise ConfigError(f"--on-alert {command}: no such program; name one that is on the path, or its file")
        self.failed = 0
        self._patience_s = patience_s
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "AlertCommand":
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._running:
            try:
                program.wait(self._patience_s)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self._reap()

    def start(self, alert: dict[str, Any]) -> None:
        """Start the program; returns at once."""
        self._reap()
        if len(self._running) >= MOST_PROGRAMS:
            self.failed += 1
            return
        try:
            program = subprocess.Popen(self._words, stdin=subprocess.PIPE)
        except OSError:
            self.failed += 1
            return
        self._running.append(program)
        if program.stdin is not None:
            try:
                program.stdin.write((json.dumps(alert, allow_nan=False) + "\n").encode())
                program.stdin.close()
            except BrokenPipeError:  # it does not read
                program.stdin = None

    def _reap(self) -> None:
        ended = [program for program in self._running if program.poll() is not None]
        self.failed += sum(program.returncode != 0 for program in ended)
        self._running = [program for program in self._running if program.returncode is None]
