"""Progress on standard error."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from canthus.cli.output import plural
from canthus.runtime.video import VideoFrame, VideoSource


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
                self._console.print(what, soft_wrap=True)
            return
        if self._bar is None:
            self._bar = Progress(console=self._console, transient=True)
            self._bar.add_task("")
            self._bar.start()
        text = escape(f"{self._verb} {what}".strip())
        self._bar.update(self._bar.task_ids[0], description=text, completed=done, total=total)
        if total is not None and done >= total:
            self.__exit__()


@final
class VideoProgress:
    """Frames of a video with a progress bar on standard error.

    Attributes:
        frames: number of frames so far.
        end_s: time of the last frame.
        stopped: whether the user pressed Ctrl-C; set it to end the iteration.
    """

    def __init__(self, video: VideoSource, verb: str) -> None:
        self.frames = 0
        self.end_s = 0.0
        self.stopped = False
        self.console = Console(stderr=True, highlight=False)
        self._video, self._verb = video, verb
        self._started_s = time.monotonic()

    def __iter__(self) -> Iterator[VideoFrame]:
        with ProgressBar(self.console, self._verb) as bar:
            for frame in self._video:
                self.frames += 1
                self.end_s = frame.time_s
                text = f"{frame.time_s:.1f} s, {self.frames_per_s:.0f} frames/s"
                bar(text, frame.time_s, self._video.duration_s)
                yield frame
                if self.stopped:
                    return

    @property
    def frames_per_s(self) -> float:
        """Frames processed per second of wall-clock time."""
        return self.frames / max(time.monotonic() - self._started_s, 1e-6)

    @contextmanager
    def until_interrupted(self) -> Iterator[None]:
        """Let Ctrl-C end the frames, so that the files being written are finished."""
        try:
            yield
        except KeyboardInterrupt:
            self.stopped = True
            self.console.print("stopped; everything so far is kept")

    def report(self, rest: str) -> bool:
        """Print the closing line; return False where the video is damaged or cut short."""
        if self._video.problem:
            self.console.print(f"[red]damaged:[/] {escape(self._video.problem)}", soft_wrap=True)
        line = f"{plural(self.frames, 'frame')}, {self.end_s:.2f} s of video, {rest}; {self.frames_per_s:.0f} frames/s"
        self.console.print(line, soft_wrap=True)
        return self._video.problem is None


def quiet_lightning() -> None:
    """Hide Lightning's messages about devices and itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
