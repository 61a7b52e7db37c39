"""Frames with their times, from a file or a camera; frames to a file (extra: video)."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, final

import cv2
import numpy as np

from canthus.errors import ConfigError, VideoError
from canthus.lookup import require
from canthus.runtime.sessions import usable_threads
from canthus.types import Image

logger = logging.getLogger(__name__)

TICKS_PER_S = 90_000
"""Time base of written files, MPEG's usual one: divides by 24, 25, 30 and 60 and holds any other rate to 6 us."""
BROKEN_PACKETS = 50
"""A file is given up after so many packets in a row that cannot be decoded."""
MISSING_END_S = 0.5
"""A file whose last frame ends earlier than its header promises, by more than this, was cut short."""
LEAST_STEP_S = 1e-4
"""Step put between two frames whose stamps do not advance."""


class VideoFrame(NamedTuple):
    """One picture of a video: RGB, upright, and its time in seconds from the first frame."""

    image: Image
    time_s: float


@final
class VideoFile:
    """Frames of a video file, with the time stamps of its stream, so that a variable frame rate works.

    A damaged or truncated file yields the frames that can be decoded; ``problem`` then states what is wrong.

    Attributes:
        fps: mean frame rate as the file states it, or None.
        duration_s: length in seconds as the file states it, or None.
        problem: why frames are missing, or None. It is complete after the last frame.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the file is missing or holds no video that FFmpeg can open.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1) -> None:
        self._av = require("av", extra="video")
        self.name = os.fspath(path)
        self.problem: str | None = None
        self._container = _opened(self._av, self.name)
        streams = self._container.streams.video
        if not streams:
            self._container.close()
            raise VideoError(f"{self.name}: holds no video stream; is it a sound file?")
        self._stream = streams[0]
        self._stream.codec_context.thread_count = usable_threads(threads)
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else None
        self.duration_s: float | None = None
        if self._stream.duration and self._stream.time_base:
            self.duration_s = float(self._stream.duration * self._stream.time_base)
        elif self._container.duration:
            self.duration_s = self._container.duration / 1e6

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames in order of their times, which advance always and start at 0."""
        step = 1 / self.fps if self.fps else 0.04
        first_s, last_s, size = 0.0, -math.inf, None
        for frame in self._decoded():
            stamp = None if frame.pts is None else float(frame.pts * frame.time_base)
            if last_s == -math.inf:
                first_s, size = stamp or 0.0, (frame.width, frame.height)
            time_s = last_s + step if stamp is None else stamp - first_s
            last_s = 0.0 if last_s == -math.inf else max(time_s, last_s + LEAST_STEP_S)
            yield VideoFrame(_upright(frame, size), last_s)
        if last_s == -math.inf:
            self.problem = self.problem or f"{self.name}: no frame could be decoded"
        elif self.duration_s and last_s + step < self.duration_s - MISSING_END_S:
            also = f"; {self.problem.removeprefix(f'{self.name}: ')}" if self.problem else ""
            self.problem = (
                f"{self.name}: ends at {last_s + step:.2f} s of {self.duration_s:.2f} s, so it was cut short; "
                f"everything before is kept{also}"
            )

    def _decoded(self) -> Iterator[Any]:
        """Frames of all packets; those that cannot be decoded are noted and passed over."""
        broken, in_a_row = 0, 0
        packets = self._container.demux(self._stream)
        while in_a_row < BROKEN_PACKETS:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except self._av.error.FFmpegError as error:
                self.problem = f"{self.name}: reading stopped ({error.strerror}); everything before is kept"
                return
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError as error:
                logger.debug("%s: packet %s: %s", self.name, packet.pts, error)
                broken, in_a_row = broken + 1, in_a_row + 1
                self.problem = f"{self.name}: {broken} damaged packet(s) were left out ({error.strerror})"
                continue
            in_a_row = 0
            yield from frames

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()


@final
class Camera:
    """Read frames from a camera through OpenCV. The time of a frame is when it arrives.

    Args:
        number: 0 is the first camera.
        clock: monotonic clock, in seconds.

    Raises:
        VideoError: there is no such camera, or another program holds it.
    """

    def __init__(self, number: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"camera {number}"
        self.duration_s: float | None = None
        self.problem: str | None = None
        self._clock = clock
        level = cv2.utils.logging.getLogLevel()  # OpenCV prints lines of its own about cameras that are not there
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._capture = cv2.VideoCapture(number)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not self._capture.isOpened():
            raise VideoError(
                f"{self.name} cannot be opened; is it plugged in, free, and may this user read it? A file is opened by "
                "its name"
            )
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = rate if rate > 0 else None

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames until the camera stops."""
        first_s, last_s = None, -math.inf
        while True:
            arrived, bgr = self._capture.read()
            if not arrived:
                self.problem = f"{self.name} stopped delivering; everything before is kept"
                return
            now_s = self._clock()
            first_s = now_s if first_s is None else first_s
            last_s = max(now_s - first_s, last_s + LEAST_STEP_S)
            yield VideoFrame(np.ascontiguousarray(bgr[:, :, ::-1]), last_s)

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, *error: object) -> None:
        self._capture.release()


VideoSource: TypeAlias = VideoFile | Camera
"""Frames one after the other; ``problem`` tells why they ended early, once they have."""


def open_video(source: str | os.PathLike[str], *, threads: int = 1) -> VideoSource:
    """Open a video file, or a camera by its number.

    Raises:
        VideoError: the file or camera does not exist or cannot be opened.
    """
    name = os.fspath(source)
    if name.isdecimal() and not Path(name).exists():
        return Camera(int(name))
    return VideoFile(name, threads=threads)


def read_video(source: str | os.PathLike[str]) -> Iterator[VideoFrame]:
    """Iterate over the frames of a file or camera, each with its time in seconds since the first frame.

    If a file ends early, the loop ends and a warning is logged; ``open_video`` returns the reason as ``problem``.

    Example:
        >>> for image, time_s in read_video("drive.mp4"):
        ...     print(f"{time_s:.2f} s: {image.shape}")
    """
    with open_video(source) as video:
        yield from video
        if video.problem:
            logger.warning("%s", video.problem)


@final
class VideoWriter:
    """Write an H.264 video, each frame at its own time. Use it as a context manager, which finishes the file.

    Args:
        path: the suffix chooses the container: ``.mp4``, ``.mkv``, ``.mov``.
        width: of the frames in pixels; like the height, that of the first frame by default. H.264 stores colours at
            half resolution, so an odd last column or row is cut off.
        fps: nominal frame rate, a hint to players; frames are shown at their own times.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the file cannot be written, or the container is unknown. Without a size, the file is opened and
            these errors raised with the first frame.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
    ) -> None:
        self._av = require("av", extra="video")
        self.name = os.fspath(path)
        if Path(path).is_dir():
            raise VideoError(f"{self.name}: is a folder; name a video file, such as {Path(path) / 'video.mp4'}")
        self._fps = fps
        self._last_tick = -1
        self._container: Any = None
        if width is not None and height is not None:
            self._open(width, height)

    def _open(self, width: int, height: int) -> None:
        self._size = (width - width % 2, height - height % 2)
        if min(self._size) < 2:
            raise VideoError(f"{self.name}: frames of {width} x {height} pixels are too small to encode")
        try:
            Path(self.name).parent.mkdir(parents=True, exist_ok=True)
            self._container = self._av.open(self.name, "w")
            self._stream = self._container.add_stream("libx264", rate=Fraction(self._fps or 25).limit_denominator(1001))
        except (OSError, ValueError) as error:  # PyAV's errors are OSErrors and ValueErrors as well
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(f"{self.name}: cannot be written as video ({reason}); use .mp4 or .mkv") from error
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        self._stream.options = {"preset": "veryfast", "crf": "21"}

    def write(self, image: Image, time_s: float) -> None:
        """Add a frame.

        Raises:
            ValueError: the frame has another size than the video.
            VideoError: the disk is full, or the encoder failed.
        """
        if self._container is None:
            self._open(image.shape[1], image.shape[0])
        width, height = self._size
        if (image.shape[1] - image.shape[1] % 2, image.shape[0] - image.shape[0] % 2) != self._size:
            raise ValueError(f"Expected frames of {width} x {height} pixels, found {image.shape[1]} x {image.shape[0]}")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        self._last_tick = max(round(time_s * TICKS_PER_S), self._last_tick + 1)
        frame.pts, frame.time_base = self._last_tick, Fraction(1, TICKS_PER_S)
        self._mux(frame)

    def _mux(self, frame: Any) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.error.FFmpegError as error:
            raise VideoError(f"{self.name}: cannot be written ({error.strerror})") from error

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if self._container is None:
            return
        try:
            if self._last_tick >= 0:
                self._mux(None)
        finally:
            self._container.close()


@final
class VideoWindow:
    """A window that shows frames until the user presses q or Escape.

    Raises:
        ConfigError: the installed OpenCV has no windows, or there is no screen.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE)
        except cv2.error as error:
            raise ConfigError(
                "A window needs a screen and an OpenCV that has windows; opencv-python-headless has none. "
                "Write the video to a file instead (--out), or install opencv-python"
            ) from error

    def show(self, image: Image) -> bool:
        """Show a frame; return False once the user pressed q or Escape."""
        cv2.imshow(self._title, image[:, :, ::-1])
        return cv2.waitKey(1) & 0xFF not in (27, ord("q"))


def _opened(av: Any, name: str) -> Any:
    path = Path(name)
    if not path.exists() and "://" not in name:
        raise VideoError(f"{name}: no such file; a camera is given by its number, such as 0")
    if path.is_dir():
        raise VideoError(f"{name}: is a folder, expected a video file or the number of a camera")
    try:
        return av.open(name)
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{name}: cannot be opened as video ({reason}); is it one, and is it whole?") from error


def _upright(frame: Any, size: tuple[int, int] | None) -> Image:
    """RGB, scaled to the size of the first frame if that changed, turned as the file says."""
    if size and (frame.width, frame.height) != size:
        frame = frame.reformat(width=size[0], height=size[1])
    image = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
