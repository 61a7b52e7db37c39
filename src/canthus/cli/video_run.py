"""What ``track`` and ``fatigue`` share: a progress bar over frames, a window, checks of the arguments."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

from canthus.errors import ConfigError

if TYPE_CHECKING:
    from canthus.runtime.video import VideoFrame, VideoSource
    from canthus.types import Image


@final
class Watch:
    """The frames of a video with a progress bar on standard error; tells afterwards how it went.

    Attributes:
        frames: how many came.
        end_s: time of the last one.
        stopped: the user pressed Ctrl-C, or closed the window.
    """

    def __init__(self, video: "VideoSource", *, verb: str) -> None:
        from rich.console import Console

        self.frames = 0
        self.end_s = 0.0
        self.stopped = False
        self.console: Console = Console(stderr=True, highlight=False)
        self._video = video
        self._verb = verb
        self._started_s = time.monotonic()

    def __iter__(self) -> "Iterator[VideoFrame]":
        """The frames in order."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(self._verb), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task("", total=self._video.duration_s)
            for frame in self._video:
                self.frames += 1
                self.end_s = frame.time_s
                text = f"{frame.time_s:.1f} s, {self.frames_per_s:.0f} frames/s"
                bar.update(task, completed=frame.time_s, description=text)
                yield frame
                if self.stopped:
                    return

    @property
    def frames_per_s(self) -> float:
        """Frames worked through in a second of the clock on the wall, so far."""
        return self.frames / max(time.monotonic() - self._started_s, 1e-6)

    @contextmanager
    def until_interrupted(self) -> Iterator[None]:
        """Ctrl-C ends the frames, not the files that are being written."""
        try:
            yield
        except KeyboardInterrupt:
            self.stopped = True
            self.console.print("stopped; everything so far is kept")

    def report(self, rest: str) -> bool:
        """Print the closing line, and whether the video was whole."""
        from rich.markup import escape

        if self._video.problem:
            self.console.print(f"[red]damaged:[/] {escape(self._video.problem)}", soft_wrap=True)
        frames = f"{self.frames} frame{'' if self.frames == 1 else 's'}"
        line = f"{frames}, {self.end_s:.2f} s of video, {rest}; {self.frames_per_s:.0f} frames/s"
        self.console.print(line, soft_wrap=True)
        return self._video.problem is None


@final
class Window:
    """A window that shows frames as they come; q or Escape closes it.

    Raises:
        ConfigError: the installed OpenCV has no windows, or there is no screen.
    """

    def __init__(self, title: str) -> None:
        import cv2

        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE)
        except cv2.error as error:
            raise ConfigError(
                "--show needs an OpenCV with windows, and a screen; this one (opencv-python-headless) has none. "
                "Write the pictures with --out instead, or put opencv-python in its place"
            ) from error

    def show(self, image: "Image") -> bool:
        """Show a frame; False once the user wants to end."""
        import cv2

        cv2.imshow(self._title, image[:, :, ::-1])
        return cv2.waitKey(1) & 0xFF not in (27, ord("q"))


def check_targets(source: str, *, out: Path | None, texts: dict[str, str | None]) -> None:
    """Refuse outputs that would overwrite the video or each other.

    Raises:
        ConfigError: they would.
    """
    if out is not None and Path(source).exists() and out.resolve() == Path(source).resolve():
        raise ConfigError(f"--out {out} would overwrite the video that is read; give it another name")
    used = [name for name in texts.values() if name]
    if used.count("-") > 1:
        raise ConfigError(f"{' and '.join(texts)} would mix on standard output; write one of them to a file")
