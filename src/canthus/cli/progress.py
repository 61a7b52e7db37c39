"""Progress on standard error."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, final

import typer
from rich.console import Console
from rich.progress import Progress

from canthus.cli.output import markup, plural
from canthus.runtime.video import Camera, LiveSource, VideoFrame, VideoSource

STOPPED = "stopped; everything so far is kept"
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C, SIGTERM or SIGHUP ended before its work was done."""


@final
class ProgressBar:
    """A progress bar, for use as a context manager and as the callback (what, done, total).

    The bar appears with the first call and disappears when ``done`` reaches ``total``. Where the console is not a
    terminal, nothing is shown.

    Args:
        console: where the bar is drawn.
        verb: printed before ``what``.
    """

    def __init__(self, console: Console, verb: str = "") -> None:
        self._console, self._verb = console, verb
        self._bar: Progress | None = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, what: str, done: float, total: float | None, *, line: bool = False) -> None:
        """Show ``done`` of ``total``; None where the total is not known.

        Args:
            line: where the console is not a terminal, print ``what`` as a line.
        """
        if not self._console.is_terminal:
            if line:
                self._console.print(markup(what), soft_wrap=True)
            return
        if self._bar is None:
            self._bar = Progress(console=self._console, transient=True)
            self._bar.add_task("")
            self._bar.start()
        text = markup(f"{self._verb} {what}".strip())
        self._bar.update(self._bar.task_ids[0], description=text, completed=done, total=total)
        if total is not None and done >= total:
            self.__exit__()


@final
class StopRequest:
    """Let Ctrl-C, SIGTERM and SIGHUP end a loop after its current step, so that its files are finished.

    Use it as a context manager.  A second signal interrupts at once.

    Attributes:
        asked: whether a signal arrived.
    """

    def __init__(self) -> None:
        self.asked = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # others receive no signals
            names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
            for number in (signal.Signals[name] for name in names):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, place: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, place)
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


@final
class VideoProgress:
    """Frames of a video with a progress bar on standard error.

    Attributes:
        frames: number of frames so far.
        end_s: time of the last frame.
        arrived_s: when it arrived, on the monotonic clock.
        stopped: set it to end the iteration.
        interrupted: whether Ctrl-C, SIGTERM or SIGHUP ended it.
    """

    def __init__(self, video: VideoSource, verb: str) -> None:
        self.frames = 0
        self.end_s = self.arrived_s = 0.0
        self.stopped = self.interrupted = False
        self.console = Console(stderr=True, highlight=False)
        self._video, self._verb = video, verb
        self._started_s = time.monotonic()

    def __iter__(self) -> Iterator[VideoFrame]:
        with ProgressBar(self.console, self._verb) as bar, StopRequest() as stop:
            if isinstance(self._video, LiveSource):
                self._video.stopping = lambda: stop.asked
            for frame in self._video:
                self.frames += 1
                self.end_s, self.arrived_s = frame.time_s, time.monotonic()
                text = f"{frame.time_s:.1f} s, {self.frames_per_s:.0f} frames/s"
                bar(text, frame.time_s, self._video.duration_s)
                yield frame
                if stop.asked:
                    self.interrupted = True
                    self.console.print(STOPPED)
                if self.stopped or stop.asked:
                    return

    @property
    def frames_per_s(self) -> float:
        """Frames processed per second of wall-clock time."""
        return self.frames / max(time.monotonic() - self._started_s, 1e-6)

    def report(self, rest: str) -> None:
        """Print what was assumed and the closing line.

        Raises:
            Exit: with code 1 where the video is damaged or cut short, with code 130 where a file was not read to its
                end because of a signal.
        """
        for note in self._video.notes:
            self.console.print(f"note: {markup(note)}", soft_wrap=True)
        if self._video.problem:
            self.console.print(f"[red]damaged:[/] {markup(self._video.problem)}", soft_wrap=True)
        line = f"{plural(self.frames, 'frame')}, {self.end_s:.2f} s of video, {rest}; {self.frames_per_s:.0f} frames/s"
        self.console.print(line, soft_wrap=True)
        if self.interrupted and not isinstance(self._video, Camera | LiveSource):
            raise typer.Exit(INTERRUPTED)
        if self._video.problem is not None:
            raise typer.Exit(1)


def quiet_lightning() -> None:
    """Hide Lightning's messages about devices and itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
