"""Annotated video of a fatigue run: landmarks, recent events, and a panel of gauges below each frame."""

import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
from jaxtyping import UInt8

from canthus.fatigue.events import PEAK_NAMES, Event
from canthus.fatigue.monitor import Status
from canthus.fatigue.settings import FatigueSettings
from canthus.fatigue.state import State
from canthus.runtime.draw import Color, draw_text, draw_tracked
from canthus.runtime.video import VideoWriter
from canthus.types import Image, TrackedFrame

PANEL = (28, 30, 34)
FAINT = (110, 114, 120)
SHOWN_S = 3.0
"""Seconds for which an event stays on the video."""
STATE_COLORS: dict[State, Color] = {
    "alert": (120, 220, 130),
    "tired": (255, 200, 70),
    "asleep": (255, 90, 80),
    "unknown": (170, 174, 180),
}


@final
class FatigueFilm:
    """Write the annotated video. Use it as a context manager.

    Args:
        settings: thresholds to mark on the gauges.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], settings: FatigueSettings, *, fps: float | None = None) -> None:
        self._settings = settings
        self._video = VideoWriter(path, fps=fps)
        self._panel: GaugePanel | None = None

    def __enter__(self) -> "FatigueFilm":
        return self

    def __exit__(self, *error: object) -> None:
        self._video.__exit__(*error)

    def write(self, image: Image, tracked: TrackedFrame, status: Status, events: Sequence[Event]) -> None:
        """Add a frame.

        Args:
            image: the frame; an odd last row is cut off.
            tracked: its faces.
            status: of the monitor after this frame.
            events: all events so far; those of the last ``SHOWN_S`` seconds are written on the frame.
        """
        self._panel = self._panel or GaugePanel(image.shape[1])
        canvas = self._panel.draw(
            draw_tracked(image[: image.shape[0] // 2 * 2], tracked),
            status.time_s,
            title=(status.state, STATE_COLORS[status.state]),
            gauges=self._gauges(status),
            lines=[
                f"{event.kind} {event.duration_s:.2f} s, {PEAK_NAMES[event.kind][:5]} {event.peak:.2f}"
                for event in events[-5:]
                if status.time_s - event.end_s < SHOWN_S
            ],
        )
        self._video.write(canvas, status.time_s)

    def _gauges(self, status: Status) -> "list[Gauge]":
        rules, found = self._settings, status.measures
        widest, most = 2 * rules.yawn_opening, 2 * rules.tired_perclos
        return [
            Gauge("eyes", found.openness, (80, 220, 240), mark=rules.shut),
            Gauge("mouth", found.mouth / widest, (255, 120, 140), mark=rules.yawn_opening / widest),
            Gauge("perclos", status.perclos / most, (255, 200, 70), mark=rules.tired_perclos / most),
        ]


@final
@dataclass(frozen=True)
class Gauge:
    """A named bar, filled to ``value`` in [0, 1] (NaN: empty), with the threshold ``mark``."""

    name: str
    value: float
    color: Color
    mark: float = math.nan


@final
class GaugePanel:
    """A panel drawn below the frames: state, gauges, and a strip that shows the last ``window_s`` seconds.

    Args:
        width: of the frames in pixels.
        window_s: length of the strip in seconds.
    """

    def __init__(self, width: int, *, window_s: float = 20.0) -> None:
        self.height = 2 * round(max(64, 0.2 * width) / 2)
        self._unit = self.height / 64
        self._width, self._window_s = width, window_s
        self._past: deque[tuple[float, float, Color]] = deque()

    def draw(
        self,
        image: Image,
        time_s: float,
        *,
        title: tuple[str, Color],
        gauges: Sequence[Gauge],
        lines: Sequence[str] = (),
    ) -> UInt8[np.ndarray, "taller w 3"]:
        """Draw the panel below the frame.

        Args:
            image: the frame; not changed.
            title: the state and its color, which is also the background of the strip.
            gauges: the bars; the strip also plots the first one over time.
            lines: short texts on the picture, newest last.
        """
        panel = np.full((self.height, self._width, 3), PANEL, np.uint8)
        unit = self._unit
        split = round(0.42 * self._width)
        draw_text(panel, title[0], (5 * unit, 14 * unit), height=9 * unit, color=title[1])
        draw_text(panel, f"{time_s:.1f} s", (split - 44 * unit, 13 * unit), height=6.5 * unit, color=FAINT)
        for row, gauge in enumerate(gauges):
            self._draw_gauge(panel, gauge, top=(22 + 14 * row) * unit, right=split - 6 * unit)
        self._past.append((time_s, gauges[0].value, title[1]))
        while self._past[0][0] < time_s - self._window_s:
            self._past.popleft()
        self._draw_strip(panel, time_s, left=split, mark=gauges[0].mark)
        canvas = np.vstack([image, panel])
        for row, line in enumerate(lines):
            draw_text(canvas, line, (6, 6 + (row + 1) * 12 * unit), height=7.5 * unit)
        return canvas

    def _draw_gauge(self, panel: Image, gauge: Gauge, *, top: float, right: float) -> None:
        unit = self._unit
        left, bottom = 46 * unit, top + 9 * unit
        draw_text(panel, gauge.name, (5 * unit, bottom - 1 * unit), height=6.5 * unit, color=FAINT)
        cv2.rectangle(panel, _corner(left, top), _corner(right, bottom), FAINT, 1)
        if math.isfinite(gauge.value):
            end = left + min(max(gauge.value, 0.0), 1.0) * (right - left)
            cv2.rectangle(panel, _corner(left, top), _corner(end, bottom), gauge.color, cv2.FILLED)
        if math.isfinite(gauge.mark):
            x = left + gauge.mark * (right - left)
            cv2.line(panel, _corner(x, top - 2), _corner(x, bottom + 2), (255, 255, 255), 1)

    def _draw_strip(self, panel: Image, time_s: float, *, left: int, mark: float) -> None:
        unit = self._unit
        right, top, bottom = self._width - 5 * unit, 5 * unit, self.height - 14 * unit
        scale = (right - left) / self._window_s
        places = [right - (time_s - past) * scale for past, _, _ in self._past]
        for index, (x, (_, _, color)) in enumerate(zip(places, self._past, strict=True)):
            start = places[index - 1] if index else x
            cv2.rectangle(panel, _corner(start, bottom), _corner(x, bottom + 3 * unit), color, cv2.FILLED)
        if math.isfinite(mark):
            y = bottom - mark * (bottom - top)
            cv2.line(panel, _corner(left, y), _corner(right, y), FAINT, 1)
        runs: list[list[tuple[int, int]]] = [[]]  # one line up to each unknown value
        for x, (_, value, _) in zip(places, self._past, strict=True):
            if math.isfinite(value):
                runs[-1].append(_corner(x, bottom - min(max(value, 0.0), 1.0) * (bottom - top)))
            else:
                runs.append([])
        lines = [np.array(run, np.int32)[:, None] for run in runs if len(run) > 1]
        cv2.polylines(panel, lines, isClosed=False, color=(255, 255, 255), thickness=1)
        draw_text(panel, f"last {self._window_s:.0f} s", (left, self.height - 2 * unit), height=5 * unit, color=FAINT)


def _corner(x: float, y: float) -> tuple[int, int]:
    return round(x), round(y)
