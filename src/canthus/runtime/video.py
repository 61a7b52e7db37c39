"""Frames with their times, from a file, pictures or a camera; frames to a file or a window (extra: video)."""

import logging
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias, final

import cv2
import numpy as np

from canthus.errors import ConfigError, ImageError, VideoError
from canthus.images import IMAGE_SUFFIXES, read_images
from canthus.runtime.frame_times import LEAST_STEP_S
from canthus.runtime.video_files import VideoFile, VideoFrame, path_kind
from canthus.runtime.video_writer import VideoWriter
from canthus.types import Image

__all__ = [
    "Camera", "LiveSource", "PictureSequence", "VideoFile", "VideoFrame", "VideoSource", "VideoWindow", "VideoWriter",
    "is_live", "open_video", "read_video",
]  # fmt: skip

logger = logging.getLogger(__name__)


@final
class Camera:
    """Read frames from a camera through OpenCV. The time of a frame is when it arrives.

    Args:
        number: 0 is the first camera; or its device, such as ``/dev/video0``.
        clock: monotonic clock, in seconds.

    Raises:
        VideoError: there is no such camera, or another program holds it.
    """

    def __init__(self, number: int | str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"camera {number}"
        self.duration_s: float | None = None
        self.problem: str | None = None
        self.restarts = 0
        self.notes: list[str] = []
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


RETRY_S = 1.0
"""Seconds between two attempts to open a camera again."""
STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "srt", "rtp")
"""Addresses that have no end, so that one is a fault."""


@final
class LiveSource:
    """A camera or a stream that may stop and come back, as when its plug is pulled.

    Args:
        source: number of a camera, its device, or an address such as ``rtsp://...``.
        wait_s: seconds to wait for it to come back, each time.
        clock: monotonic clock, in seconds.
        sleep: waits for so many seconds.

    Attributes:
        restarts: how often it came back.
        stopping: asked while it waits; True ends the frames.
        on_change: called with the time in seconds, and True when it stopped, False when it is back.

    Raises:
        VideoError: it cannot be opened at the start.
    """

    def __init__(
        self,
        source: str,
        *,
        wait_s: float,
        threads: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name, self._wait_s, self._threads, self._clock, self._sleep = source, wait_s, threads, clock, sleep
        self._source: Camera | VideoFile | None = self._open()
        self.name, self.fps = self._source.name, self._source.fps
        self.duration_s: float | None = None
        self.problem: str | None = None
        self.restarts = 0
        self.notes: list[str] = []
        self.stopping: Callable[[], bool] = lambda: False
        self.on_change: Callable[[float, bool], None] = lambda time_s, lost: None

    def _open(self) -> "Camera | VideoFile":
        camera = camera_of(self._name)
        return VideoFile(self._name, threads=self._threads) if camera is None else Camera(camera, clock=self._clock)

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames until the source is gone for ``wait_s``; their times go on over each gap."""
        started_s, last_s = None, -math.inf
        while self._source is not None:
            opened_s = self._clock()
            for image, time_s in self._source:
                started_s = opened_s + time_s if started_s is None else started_s
                last_s = max(opened_s + time_s - started_s, last_s + LEAST_STEP_S)
                yield VideoFrame(image, last_s)
            self._source.__exit__()
            lost_s = self._clock()
            self.on_change(0.0 if started_s is None else lost_s - started_s, True)
            self._source = self._reopened(lost_s)
            if self._source is not None:
                self.restarts += 1
                self.notes = [f"{self.name} stopped and came back {self.restarts} times"]
                self.on_change(0.0 if started_s is None else self._clock() - started_s, False)
        if not self.stopping():
            self.problem = f"{self.name} stopped delivering and was not back within {self._wait_s:g} s"

    def _reopened(self, lost_s: float) -> "Camera | VideoFile | None":
        while self._clock() - lost_s < self._wait_s and not self.stopping():
            self._sleep(RETRY_S)
            try:
                return self._open()
            except VideoError as error:
                logger.debug("%s", error)
        return None

    def __enter__(self) -> "LiveSource":
        return self

    def __exit__(self, *error: object) -> None:
        if self._source is not None:
            self._source.__exit__(*error)


def camera_of(source: str) -> int | str | None:
    """The number or the device of the camera that a name means; None for a file or an address."""
    if path_kind(source) is None:
        return int(source) if source.isdecimal() else None
    return source if Path(source).is_char_device() and Path(source).name.startswith("video") else None


def is_live(source: str) -> bool:
    """Whether a name means a camera or a stream without an end."""
    return camera_of(source) is not None or source.partition("://")[0].lower() in STREAMS


PICTURES_PER_S = 25.0
"""Rate at which a sequence of pictures is shown where none is given."""
_NUMBER = re.compile(r"%(?:0(\d+))?d")


@final
class PictureSequence:
    """Pictures one after the other as a video: those of a folder, or of a pattern such as ``seq/%05d.png``.

    The pictures of a folder are taken in the order of the numbers in their names. They are scaled to the size of the
    first one; those that cannot be read leave a gap, and ``problem`` names them.

    Args:
        source: a folder, or a path whose last part has ``%d`` or ``%05d`` in place of the number.
        fps: pictures a second; None for ``PICTURES_PER_S``.

    Raises:
        VideoError: there are no such pictures.
        ConfigError: the rate is not a positive number.
    """

    def __init__(self, source: str | os.PathLike[str], *, fps: float | None = None) -> None:
        if fps is not None and not 0 < fps <= 1 / LEAST_STEP_S:
            raise ConfigError(f"Expected a rate of more than 0 and at most {1 / LEAST_STEP_S:.0f} Hz, found {fps}")
        self.name = os.fspath(source)
        self.fps = fps or PICTURES_PER_S
        self.problem: str | None = None
        self.restarts = 0
        self._paths = _folder_pictures(self.name) if path_kind(self.name) == "folder" else _numbered_pictures(self.name)
        self.duration_s = len(self._paths) / self.fps
        self.notes = [] if fps else [f"{self.name}: {len(self._paths)} pictures at {self.fps:.0f} a second"]

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames in order; the first is at 0 s."""
        shape: tuple[int, ...] | None = None
        bad: list[str] = []
        for number, (_, image) in enumerate(read_images(self._paths)):
            if isinstance(image, ImageError):
                bad.append(str(image))
                self.problem = f"{self.name}: {len(bad)} of {len(self._paths)} pictures cannot be read; {bad[0]}"
                continue
            shape = shape or image.shape
            if image.shape != shape:
                image = np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA))
            yield VideoFrame(image, number / self.fps)

    def __enter__(self) -> "PictureSequence":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _folder_pictures(folder: str) -> list[Path]:
    paths = [path for path in _files(Path(folder)) if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
    if not paths:
        raise VideoError(f"{folder}: is a folder without pictures; name a video file, or a folder of pictures")
    # Texts and numbers take turns in the parts, so that each part is compared with one of its own kind.
    return sorted(paths, key=lambda path: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", path.name)])


def _numbered_pictures(pattern: str) -> list[Path]:
    before, digits, after = _NUMBER.split(Path(pattern).name, maxsplit=1)
    name = re.compile(re.escape(before) + rf"(\d{{{digits or 1},}})" + re.escape(after))
    found = [(int(match[1]), path) for path in _files(Path(pattern).parent) if (match := name.fullmatch(path.name))]
    if not found:
        raise VideoError(f"{pattern}: no picture has such a name")
    return [path for _, path in sorted(found)]


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise VideoError(f"{folder}: cannot be read as a folder of pictures ({error.strerror})") from error


VideoSource: TypeAlias = VideoFile | PictureSequence | Camera | LiveSource
"""Frames one after the other. ``problem`` states what is missing and ``notes`` what was assumed, after the last."""


def open_video(
    source: str | os.PathLike[str], *, threads: int = 1, fps: float | None = None, wait_s: float = 0.0
) -> VideoSource:
    """Open a video file, a sequence of pictures, or a camera by its number.

    Args:
        source: a file; a folder of pictures, or a pattern such as ``seq/%05d.png``; a number or a device such as
            ``/dev/video0``; or an address such as ``rtsp://...``.
        threads: of the decoder of a file.
        fps: rate of a sequence of pictures, 25 Hz by default; files and cameras have their own times.
        wait_s: seconds to wait for a camera or stream that stops to come back.

    Raises:
        VideoError: the file or camera does not exist or cannot be opened.
        ConfigError: ``fps`` is given for a file or camera, or is no rate.
    """
    name = os.fspath(source)
    kind = path_kind(name)
    if kind == "folder" or (kind is None and "://" not in name and _NUMBER.search(Path(name).name)):
        return PictureSequence(name, fps=fps)
    if fps is not None:
        raise ConfigError(f"A rate is for sequences of pictures; {name} has its own times")
    if wait_s > 0 and is_live(name):
        return LiveSource(name, wait_s=wait_s, threads=threads)
    camera = camera_of(name)
    return VideoFile(name, threads=threads) if camera is None else Camera(camera)


def read_video(source: str | os.PathLike[str], *, fps: float | None = None) -> Iterator[VideoFrame]:
    """Iterate over the frames of a video or camera, each with its time in seconds since the first frame.

    If a file ends early, the loop ends and a warning is logged; ``open_video`` returns the reason as ``problem``.

    Args:
        source: as in ``open_video``.
        fps: the same.

    Example:
        >>> for image, time_s in read_video("drive.mp4"):
        ...     print(f"{time_s:.2f} s: {image.shape}")
    """
    with open_video(source, fps=fps) as video:
        yield from video
        for note in video.notes:
            logger.info("%s", note)
        if video.problem:
            logger.warning("%s", video.problem)


NO_WINDOW = (
    "A window needs a screen and an OpenCV that has windows; opencv-python-headless has none. "
    "Write the video to a file instead (--out), or install opencv-python"
)
_PROBE = "import cv2; cv2.namedWindow('canthus'); cv2.destroyAllWindows()"


def screen_found() -> bool:
    """Whether a window can be opened here; tried in another process, because OpenCV aborts its own where it cannot."""
    if sys.platform not in ("win32", "darwin") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return (
            subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=30, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


@final
class VideoWindow:
    """A window that shows frames until the user presses q or Escape.

    Raises:
        ConfigError: the installed OpenCV has no windows, or there is no screen.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        if not screen_found():
            raise ConfigError(NO_WINDOW)
        try:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE)
        except cv2.error as error:
            raise ConfigError(NO_WINDOW) from error

    def show(self, image: Image) -> bool:
        """Show a frame; return False once the user pressed q or Escape."""
        cv2.imshow(self._title, image[:, :, ::-1])
        return cv2.waitKey(1) & 0xFF not in (27, ord("q"))
