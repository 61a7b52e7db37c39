"""Frames of a video file with their times, and whether any are missing (extra: video)."""

import io
import logging
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple, final

import numpy as np

from canthus.errors import VideoError
from canthus.image_files import MAX_PIXELS
from canthus.images import read_ahead
from canthus.lookup import require
from canthus.runtime.frame_times import FrameTimes
from canthus.runtime.sessions import usable_threads
from canthus.runtime.video_structure import hevc_starts_open, structure_problem
from canthus.types import Image

logger = logging.getLogger(__name__)

AHEAD = 2
"""Frames that are decoded in advance."""
AHEAD_BYTES = 100_000_000
"""Frames of more bytes are decoded one at a time."""
BROKEN_PACKETS = 50
"""A file is given up after so many packets in a row that cannot be decoded."""
MISSING_END_S = 0.5
"""A file whose last frame ends earlier than its header promises, by more than this, was cut short."""
SLOWEST_HZ, FASTEST_HZ = 1 / 3600, 10_000
"""Frame rates beyond these are damaged, and not used."""
ANSWER_S = 10.0
"""An address on the network must answer, and deliver each packet, within this time."""
MOST_STRETCH = 5.0
"""Pixels whose sides differ by more than this factor are taken as square, because no camera makes them."""
DROPPED_FRAME_BYTES = 8
"""Packets of at most this size only repeat the last frame."""
GROUP_PACKETS = 1000
"""The last group of frames is decoded again to check its end if it has no more packets."""
_INDEXED = ("mov", "avi")
_SAFE = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv", "protocol_whitelist": "none"}
"""Options for videos of strangers: formats that hold their frames themselves, never lists of other files."""
_WITHOUT_LENGTHS = ("mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc")


class VideoFrame(NamedTuple):
    """One picture of a video: RGB, upright, with square pixels, and its time in seconds from the first frame."""

    image: Image
    time_s: float


@final
class VideoFile:
    """Frames of a video file, with the time stamps of its stream, so that a variable frame rate works.

    Frames are turned and mirrored as the file says, stretched to square pixels, and scaled to the size of the first
    one. A damaged or truncated file yields the frames that can be decoded; ``problem`` then states what is missing.

    Args:
        path: a file, or an address that FFmpeg can open, such as ``rtsp://...``; an address must answer within
            ``ANSWER_S`` seconds.  Bytes are the content of a file, which may come from a stranger: it is refused if its
            format could name other files.
        threads: of the decoder.
        max_pixels: frames of more pixels are not decoded; by default those above ``image_files.MAX_PIXELS``.

    Attributes:
        fps: mean frame rate as the file states it, or None.
        duration_s: length in seconds as the file states it, or None.
        problem: what is damaged or missing, or None. It is complete after the last frame.
        restarts: how often the time stamps started again before the current frame, as where recordings were joined.
        notes: what was done about stamps that started again, complete after the last frame.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the file is missing or holds no video that FFmpeg can open and decode.
    """

    def __init__(
        self, path: str | os.PathLike[str] | bytes, *, threads: int = 1, max_pixels: int | None = None
    ) -> None:
        self._av = require("av", extra="video")
        self._content = path if isinstance(path, bytes) else None
        self.name = "the video" if isinstance(path, bytes) else os.fspath(path)
        self.problem: str | None = None
        self.restarts = 0
        self.notes: list[str] = []
        self._container = _opened(self._av, self.name, self._content)
        self._stream = _picture_stream(self._av, self._container, self.name)
        self._stream.codec_context.thread_count = usable_threads(threads)
        self._stream.codec_context.options = {"max_pixels": str(max_pixels or MAX_PIXELS)}
        self._format: str = self._container.format.name
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate and SLOWEST_HZ <= rate <= FASTEST_HZ else None
        self.duration_s: float | None = None
        if self._stream.duration and self._stream.time_base:
            self.duration_s = float(self._stream.duration * self._stream.time_base)
        elif self._container.duration:
            self.duration_s = self._container.duration / 1e6
        self._findings: list[str] = []
        self._decoded = self._broken = self._incomplete = self._damaged_frames = 0
        self._last_frame_s = 0.0
        self._reading: Generator[tuple[VideoFrame, int]] | None = None
        self._group: list[Any] = []
        self._start = b""

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames in order of their times, which advance always and start at 0.

        A thread decodes the next ones in advance, unless they are large or come from an address.
        """
        with closing(self._made()) as made, closing(read_ahead(made, ahead=self._ahead)) as self._reading:
            for frame, restarts in self._reading:
                self.restarts = restarts
                yield frame

    def _ahead(self, made: "tuple[VideoFrame, int]") -> int:
        return 0 if "://" in self.name or made[0].image.nbytes > AHEAD_BYTES else AHEAD

    def _made(self) -> Generator[tuple[VideoFrame, int]]:
        """Each frame, and how often the time stamps started again before it."""
        times = FrameTimes(1 / self.fps if self.fps else 0.04)
        shape = _Shape(self._stream.sample_aspect_ratio)
        end_s = 0.0
        for frame, time_s in times(self._stamped()):
            try:
                image = shape(frame)
            except (self._av.error.FFmpegError, ValueError) as error:
                logger.debug("%s: frame at %s s: %s", self.name, time_s, error)
                self._broken, self._decoded = self._broken + 1, self._decoded - 1
                continue
            end_s = time_s + max(self._last_frame_s, times.step_s)
            yield VideoFrame(image, time_s), times.restarts
        self._judge(times, end_s)

    def _stamped(self) -> Iterator[tuple[Any, float | None]]:
        """Frames, each with its stamp in seconds from the first one."""
        first: int | None = None
        for frame in self._frames():
            self._decoded += 1
            self._damaged_frames += bool(frame.is_corrupt)
            self._last_frame_s = float((frame.duration or 0) * frame.time_base) if frame.time_base else 0.0
            if frame.pts is None or not frame.time_base:
                yield frame, None
                continue
            first = frame.pts if first is None else first
            yield frame, float((frame.pts - first) * frame.time_base)

    def _frames(self) -> Iterator[Any]:
        """Frames of all packets; those that cannot be decoded are counted and passed over."""
        in_a_row = 0
        packets = self._packets()
        while in_a_row < BROKEN_PACKETS:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.error.FFmpegError as error:
                self._findings.append(f"reading stopped ({error.strerror})")
                return
            self._note_packet(packet)
            try:
                frames = packet.decode()
            except (self._av.error.FFmpegError, ValueError) as error:
                logger.debug("%s: packet %s: %s", self.name, packet.pts, error)
                self._broken, in_a_row = self._broken + 1, in_a_row + 1
                continue
            in_a_row = 0
            yield from frames
        self._findings.append(f"reading was given up after {BROKEN_PACKETS} damaged packets in a row")

    def _packets(self) -> Iterator[Any]:
        while True:
            try:
                yield from self._container.demux(self._stream)
            except IndexError:  # PyAV stumbles over streams that begin in the middle of a file; what follows is read
                continue
            return

    def _note_packet(self, packet: Any) -> None:
        if not packet.size:
            return
        self._incomplete += bool(packet.is_corrupt)
        self._start = self._start or bytes(packet)
        if packet.is_keyframe:
            self._group.clear()
        if len(self._group) <= GROUP_PACKETS:
            self._group.append(packet)

    def _judge(self, times: FrameTimes, end_s: float) -> None:
        """Set ``problem`` and ``notes`` after the last frame."""
        if times.restarts:
            again = "once" if times.restarts == 1 else f"{times.restarts} times"
            self.notes.append(
                f"{self.name}: the time stamps started again {again}; the frames there go on by the usual step, "
                f"{times.step_s:.4g} s"
            )
        if not self._decoded:
            self.problem = "; ".join([f"{self.name}: no frame could be decoded", *self._findings])
            return
        self._find_damage(times.restarts)
        missing = self._missing()
        if missing:
            self._findings.append(missing)
        if self._ends_early(end_s, known=bool(self._findings)) and not (times.damaged or times.restarts):
            self._findings.append(f"the frames end at {end_s:.2f} s of {self.duration_s:.2f} s, so it was cut short")
        if self._findings and times.widest and times.widest[1] - times.widest[0] > 3.5 * times.step_s:
            self._findings.append(f"there is no picture between {times.widest[0]:.2f} and {times.widest[1]:.2f} s")
        if times.damaged:
            self._findings.append(f"{_count(times.damaged, 'damaged time stamp')} replaced by the usual step")
        if self._findings:
            self.problem = f"{self.name}: {'; '.join(self._findings)}; everything that could be decoded is kept"

    def _find_damage(self, restarts: int) -> None:
        """Note packets and frames that are damaged, and a file that is not whole.

        Args:
            restarts: where a transport stream starts again, FFmpeg takes the packet before for incomplete.
        """
        if self._broken:
            self._findings.append(f"{_count(self._broken, 'damaged packet')} left out")
        damaged = max(self._incomplete - restarts, self._damaged_frames)
        if damaged > 0 and not self._broken:
            self._findings.append(f"{_count(damaged, 'frame')} incomplete")
        structure = structure_problem(self.name if self._content is None else self._content, self._format)
        if structure:
            self._findings.append(structure)
        elif not self._findings and self._last_packet_is_cut():
            self._findings.append("the last frame is incomplete, so the file was cut short")

    def _missing(self) -> str | None:
        """How many frames are missing, where the file states how many it has.

        The index of MP4 and AVI is exact: it tells frames that are not shown, or only repeat the last one, from the
        others. The header counts them all; it is asked where a damaged AVI has lost its index.
        """
        entries = getattr(self._stream, "index_entries", None) or ()
        expected: int = self._stream.frames if self._findings and not (entries and "mov" in self._format) else 0
        if entries and self._is(_INDEXED) and not self._hides_frames():
            indexed = sum(1 for e in entries if e.size > DROPPED_FRAME_BYTES and not e.is_discard)
            expected = max(expected, indexed)
        if expected <= self._decoded:
            return None
        missing = expected - self._decoded
        return f"{missing} of {expected} frames {'is' if missing == 1 else 'are'} missing"

    def _hides_frames(self) -> bool:
        """Whether the codec has packets that give no frame: VP8, and HEVC whose start was cut off."""
        name = self._stream.codec_context.name
        return name == "vp8" or (name == "hevc" and hevc_starts_open(self._start))

    def _ends_early(self, end_s: float, *, known: bool) -> bool:
        """Whether the frames end before the time that the header states for the pictures.

        Args:
            known: whether the file is known to be damaged; else only a header that counts no frames is asked.
        """
        own = self._stream.duration or len(self._container.streams) == 1
        asked = known or ("mov" in self._format and not self._stream.frames)
        return bool(own and asked and self.duration_s and end_s < self.duration_s - MISSING_END_S)

    def _last_packet_is_cut(self) -> bool:
        """Whether the last packet of a format without lengths ends before its picture does.

        The decoder conceals that; it tells when it is asked to stop at the first error.
        """
        if not self._is(_WITHOUT_LENGTHS) or not 0 < len(self._group) <= GROUP_PACKETS:
            return False
        own = self._stream.codec_context
        context = self._av.CodecContext.create(own.name, "r")
        context.extradata = own.extradata
        context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
        for number, packet in enumerate(self._group, 1):
            try:
                context.decode(packet)
            except (self._av.error.FFmpegError, ValueError):
                return number == len(self._group)
        return False

    def _is(self, formats: tuple[str, ...]) -> bool:
        return any(name in self._format.split(",") for name in formats)

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *error: object) -> None:
        if self._reading is not None:
            self._reading.close()  # its thread reads the container
        self._group.clear()
        self._container.close()


def _count(number: int, thing: str) -> str:
    return f"{number} {thing} is" if number == 1 else f"{number} {thing}s are"


def path_kind(name: str) -> str | None:
    """``file`` (also a device or pipe) or ``folder``, or None where there is nothing of this name."""
    try:
        mode = os.stat(name).st_mode  # noqa: PTH116 - a Path turns the empty name into the current folder
    except (OSError, ValueError):
        return None
    return "folder" if stat.S_ISDIR(mode) else "file"


def _opened(av: Any, name: str, content: bytes | None) -> Any:
    """The container. A file on this machine is opened as such, also if its name looks like an address."""
    kind = path_kind(name) if content is None else "content"
    if kind is None and "://" not in name:
        raise VideoError(f"{name}: no such file; a camera is given by its number, such as 0")
    if kind == "folder":
        raise VideoError(f"{name}: is a folder, expected a video file or the number of a camera")
    try:
        if content is not None:
            return av.open(io.BytesIO(content), metadata_errors="replace", options=_SAFE)
        if kind == "file":
            return av.open(f"file:{name}", metadata_errors="replace")
        return av.open(name, metadata_errors="replace", timeout=(ANSWER_S, ANSWER_S))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, av.error.ExitError):
            raise VideoError(f"{name}: did not answer within {ANSWER_S:g} s") from error
        raise VideoError(f"{name}: cannot be opened as video ({reason}); is it one, and is it whole?") from error


def _picture_stream(av: Any, container: Any, name: str) -> Any:
    """The first video stream that is more than the cover of a sound file.

    Raises:
        VideoError: there is none, or FFmpeg has no decoder for it.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        container.close()
        raise VideoError(f"{name}: holds no video stream; is it a sound file?")
    if streams[0].codec_context is None:
        container.close()
        raise VideoError(
            f"{name}: its video is in a codec that the installed FFmpeg cannot decode; convert it to H.264 first"
        )
    return streams[0]


@final
class _Shape:
    """Frames as they are to be seen: RGB, upright, with square pixels, and all of the size of the first one.

    Args:
        pixel: width of a pixel over its height, or None.
    """

    def __init__(self, pixel: Any) -> None:
        ratio = float(pixel) if pixel else 1.0
        self._stretch = ratio if 1 / MOST_STRETCH <= ratio <= MOST_STRETCH else 1.0
        self._size: tuple[int, int] | None = None
        self._turned: tuple[int, ...] | None = None
        self._orientation = (False, False, False)

    def __call__(self, frame: Any) -> Image:
        """The picture of a decoded frame."""
        turned = frame.rotation, frame.width, frame.height
        if turned != self._turned:  # PyAV frees a frame late once its side data were asked for
            self._turned, self._orientation = turned, orientation(frame)
        swapped, mirrored, flipped = self._orientation
        if self._size is None:
            size = max(1, round(frame.width * self._stretch)), frame.height
            self._size = size[::-1] if swapped else size
        width, height = self._size[::-1] if swapped else self._size
        if (width, height) == (frame.width, frame.height):
            image = frame.to_ndarray(format="rgb24")
        else:
            image = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        image = image.transpose(1, 0, 2) if swapped else image
        return np.ascontiguousarray(image[:: -1 if flipped else 1, :: -1 if mirrored else 1])


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """How to show a frame: whether x and y are swapped, and then whether x and then y are mirrored.

    The display matrix of the file maps the stored (p, q) to the shown x = a p + c q, y = b p + d q. It is rounded to
    the nearest of the eight ways to lay a picture on a screen.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # the frame has other data of a kind that PyAV does not know
        quarters = round(frame.rotation / 90) % 4  # counterclockwise
        return quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2)
    if data is None:
        return False, False, False
    a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(bytes(data), np.int32))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0
