"""Frames to a video file, which is moved into place when it is complete (extra: video)."""

import math
import os
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, final

import numpy as np

from canthus.errors import VideoError
from canthus.files import MARK, written
from canthus.images import checked_image
from canthus.lookup import require
from canthus.types import Image

TICKS_PER_S = 90_000
"""Time base of written files, MPEG's usual one: divides by 24, 25, 30 and 60 and holds any other rate to 6 us."""
LONGEST_GAP_S = 23_000.0
"""Two frames may be at most so far apart, because MP4 stores the ticks of a frame in 31 bits."""


@final
class VideoWriter:
    """Write an H.264 video, each frame at its own time. Use it as a context manager, which finishes the file.

    The file is written beside its target and moved into place when it is finished. Ctrl-C finishes it too, so that the
    frames so far are kept. So does any other exception in the ``with`` block, except that it leaves an earlier file as
    it was. Where the writing itself fails, an earlier file stays and the partial one is removed.

    Args:
        path: the suffix chooses the container: ``.mp4``, ``.mkv``, ``.mov``.
        width: of the frames in pixels; like the height, that of the first frame by default. H.264 stores colours at
            half resolution, so an odd last column or row is cut off.
        fps: nominal frame rate, a hint to players; frames are shown at their own times.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the container is unknown, or the frames are too small. Without a size, this is raised with the
            first frame.
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
        self._rate = Fraction(fps if fps and math.isfinite(fps) else 25).limit_denominator(1001)
        self._last_tick = -1
        self._failed = False
        self._files = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._size: tuple[int, int] | None = None
        if width is not None and height is not None:
            self._size = self._even(width, height)
            self._new_container(self.name, self._size)

    def _even(self, width: int, height: int) -> tuple[int, int]:
        size = (width - width % 2, height - height % 2)
        if min(size) < 2:
            raise VideoError(f"{self.name}: frames of {width} x {height} pixels are too small to encode")
        return size

    def _new_container(self, path: str | os.PathLike[str], size: tuple[int, int]) -> tuple[Any, Any]:
        """A container and its stream; the file is not touched before the first frame is written."""
        try:
            container = self._av.open(f"file:{os.fspath(path)}", "w")
            stream = container.add_stream("libx264", rate=self._rate)
        except ValueError as error:  # PyAV's errors are ValueErrors as well
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(f"{self.name}: cannot be written as video ({reason}); use .mp4 or .mkv") from error
        container.metadata["comment"] = MARK.decode()
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        stream.codec_context.max_b_frames = 0  # with them, MP4 would state a wrong length for uneven times
        stream.options = {"preset": "veryfast", "crf": "21"}
        return container, stream

    def write(self, image: Image, time_s: float) -> None:
        """Add a frame.

        Raises:
            TypeError: not a picture.
            ValueError: no RGB picture, a frame of another size than the video, or a time that is not finite or more
                than ``LONGEST_GAP_S`` after that of the last one.
            VideoError: the encoder failed, now or earlier.
            OutputError: the file cannot be written, for example because the disk is full.
        """
        if self._failed:
            raise VideoError(f"{self.name}: an earlier frame could not be written, so the video was given up")
        image = checked_image(image)
        width, height = self._size = self._size or self._even(image.shape[1], image.shape[0])
        if (image.shape[1] - image.shape[1] % 2, image.shape[0] - image.shape[0] % 2) != self._size:
            raise ValueError(f"Expected frames of {width} x {height} pixels, found {image.shape[1]} x {image.shape[0]}")
        last_s = max(self._last_tick, 0) / TICKS_PER_S
        if not (math.isfinite(time_s) and time_s - last_s <= LONGEST_GAP_S):
            raise ValueError(
                f"Expected a time at most {LONGEST_GAP_S:.0f} s after that of the last frame, {last_s:.3f} s; "
                f"found {time_s} s"
            )
        if self._container is None:
            with ExitStack() as files:
                aside = files.enter_context(written(self.name))
                self._container, self._stream = self._new_container(aside, self._size)
                self._files = files.pop_all()
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        self._last_tick = max(round(time_s * TICKS_PER_S), self._last_tick + 1)
        frame.pts, frame.time_base = self._last_tick, Fraction(1, TICKS_PER_S)
        self._mux(frame)

    def _mux(self, frame: Any) -> None:
        """Encode a frame and write what is ready; None at the end."""
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.error.FFmpegError as error:
            self._give_up(error)

    def _give_up(self, error: Any) -> None:
        """Remove the partial file and raise."""
        self._failed = True
        self._close_badly()
        with self._files:
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror) from error
            raise VideoError(f"{self.name}: cannot be written ({error.strerror})") from error

    def _close_badly(self) -> None:
        """Close the container of a file that is not kept. Nothing more may be sent to it: FFmpeg would crash."""
        container, self._container, self._stream = self._container, None, None
        with suppress(self._av.error.FFmpegError):
            container.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: object = None, error: object = None, *_: object) -> None:
        if self._container is None:
            return
        if isinstance(error, Exception) and Path(self.name).exists():
            self._close_badly()
            with suppress(VideoError), self._files:
                raise VideoError(f"{self.name}: stays as it was")
            return
        self._mux(None)
        try:
            self._container.close()
        except self._av.error.FFmpegError as failed:
            self._give_up(failed)
        self._container = None
        self._files.close()
