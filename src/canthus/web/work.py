"""What the processes of the service do: pictures, videos and streams to records; nothing here knows HTTP."""

import json
import struct
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import cv2

from canthus.errors import ConfigError, ImageError, VideoError
from canthus.fatigue.report import FatigueRecorder
from canthus.image_files import read_header
from canthus.images import decode_image
from canthus.runtime.measures import FaceMeasures
from canthus.runtime.pipeline import Pipeline
from canthus.runtime.tracker import Smoothing, Tracker, TrackerSettings
from canthus.runtime.video_files import VideoFile
from canthus.schemes import Scheme, conversion_matrix, find_scheme
from canthus.types import SCHEMA_VERSION, Image
from canthus.web.limits import Limits, RefusedError

SLICE_S = 0.25
"""Longest work on a video before other requests get their turn."""
NAME = "the picture"


@final
@dataclass(frozen=True)
class FaceOptions:
    """What is told of each face.

    Attributes:
        pose: whether the pose of the head is added.
        ratios: whether the openness of eyes and mouth is added.
        scheme: points are converted to it; None for those of the model.
        min_score: faces of a lower score of the detector are left out.
        min_confidence: faces whose points are right with a lower probability are left out.
    """

    pose: bool = False
    ratios: bool = False
    scheme: str | None = None
    min_score: float = 0.0
    min_confidence: float = 0.0


@final
class Marker:
    """The pipeline of a process, and the videos and streams that it works on.

    Args:
        pipeline: opened anew in the process.
        limits: bounds of pictures and frames.
    """

    def __init__(self, pipeline: Pipeline, limits: Limits) -> None:
        cv2.setNumThreads(1)
        self.pipeline, self.limits = pipeline, limits
        self._open: dict[int, Any] = {}

    def begin(self, key: int, opened: Any) -> None:
        """Keep a video or stream."""
        self._open[key] = opened

    def at(self, key: int) -> Any:
        """A video or stream.

        Raises:
            RefusedError: it is not here, because its process ended and was replaced (503).
        """
        if key not in self._open:
            raise RefusedError(503, "The process of this stream ended; begin it again", 1)
        return self._open[key]

    def end(self, key: int) -> None:
        """Forget a video or stream."""
        opened = self._open.pop(key, None)
        if isinstance(opened, Generator):
            opened.close()

    def picture(self, data: bytes) -> Image:
        """Decode a picture.

        Raises:
            RefusedError: another format (415), too many pixels (413), or damaged (422).
        """
        try:
            header = read_header(data)
        except (struct.error, IndexError) as error:
            raise RefusedError(422, f"{NAME}: cut short, the file ends within its header") from error
        kinds = self.limits.formats
        if header is None or header.kind not in kinds:
            found = "of no known format" if header is None else f"{header.kind}"
            raise RefusedError(415, f"The picture is {found}; expected {' or '.join(kinds)}")
        if header.pixels > self.limits.pixels:
            raise RefusedError(
                413,
                f"The picture has {header.width} x {header.height} pixels, {self.limits.pixels / 1e6:g} million are "
                "allowed; shrink it",
            )
        try:
            return decode_image(data, name=NAME, max_pixels=self.limits.pixels)
        except ImageError as error:
            raise RefusedError(422, str(error)) from error

    def measures(self, options: FaceOptions) -> tuple[FaceMeasures, Scheme | None]:
        """What is added to faces, and the scheme of their points.

        Raises:
            RefusedError: the points of the model do not convert to it (422).
        """
        source = self.pipeline.landmarker.session.scheme
        try:
            if options.scheme is not None and options.scheme.endswith(".toml"):
                raise ConfigError("Schemes of files are not read here; expected the name of a scheme")
            target = None if options.scheme is None else find_scheme(options.scheme)
            if target is not None:
                conversion_matrix(source, target)
            return FaceMeasures(source, pose=options.pose, ratios=options.ratios), target
        except ConfigError as error:
            raise RefusedError(422, str(error)) from error


def detect(marker: Marker, data: bytes, options: FaceOptions) -> tuple[bytes, int]:
    """The record of a picture as JSON, and its number of faces.

    Raises:
        RefusedError: the picture or an option is refused.
    """
    measures, target = marker.measures(options)
    image = marker.picture(data)
    frame = marker.pipeline(image)
    frame = frame[frame.faces.scores >= options.min_score]
    confidence = frame.landmarks.face_confidence
    if confidence is not None:
        frame = frame[confidence >= options.min_confidence]
    measured = measures.of(frame.landmarks.points)
    written = frame if target is None else frame.convert(target)
    height, width = image.shape[:2]
    faces = [face.to_dict() | dict(more) for face, more in zip(written, measured.records, strict=True)]
    record = {"image": None, "width": width, "height": height, "faces": faces, "schema_version": SCHEMA_VERSION}
    return json.dumps(record, allow_nan=False).encode(), len(faces)


@final
class Stream:
    """The faces of one stream of pictures, followed from picture to picture."""

    def __init__(self, marker: Marker, options: FaceOptions, *, smooth: bool) -> None:
        self._measures, self._target = marker.measures(options)
        try:
            self._tracker = Tracker(marker.pipeline, TrackerSettings(smoothing=Smoothing() if smooth else None))
        except ConfigError as error:
            raise RefusedError(422, str(error)) from error
        self._marker, self._options, self._frame = marker, options, 0

    def record(self, data: bytes, time_s: float) -> Mapping[str, Any]:
        """The record of the next picture; one that cannot be read has no faces and an ``error``."""
        number, self._frame = self._frame, self._frame + 1
        try:
            image = self._marker.picture(data)
        except RefusedError as error:
            about = {"frame": number, "time_s": round(time_s, 4), "faces": [], "error": error.problem}
            return {**about, "schema_version": SCHEMA_VERSION}
        tracked = self._tracker(image, time_s)
        tracked = tracked[tracked.frame.faces.scores >= self._options.min_score]
        measured = self._measures.of(tracked.frame.landmarks.points, tracked.measured)
        written = tracked if self._target is None else tracked.convert(self._target)
        record = written.to_dict(number)
        for face, more in zip(record["faces"], measured.records, strict=True):
            face |= more
        return record


def open_stream(marker: Marker, key: int, options: FaceOptions, smooth: bool) -> None:
    """Begin a stream.

    Raises:
        RefusedError: its points cannot be followed or converted.
    """
    marker.begin(key, Stream(marker, options, smooth=smooth))


def next_record(marker: Marker, key: int, data: bytes, time_s: float) -> str:
    """The record of the next picture of a stream as JSON."""
    return json.dumps(marker.at(key).record(data, time_s), allow_nan=False)


def open_video(marker: Marker, key: int, data: bytes) -> None:
    """Begin to watch a video.

    Raises:
        RefusedError: it cannot be opened, or the points of the model tell no fatigue (422).
    """
    try:
        source = VideoFile(data, max_pixels=marker.limits.pixels)
        tracker = Tracker(marker.pipeline, TrackerSettings(smoothing=None))
        FaceMeasures(marker.pipeline.landmarker.session.scheme, pose=True, ratios=True)
    except (VideoError, ConfigError) as error:
        raise RefusedError(422, str(error)) from error
    marker.begin(key, _watched(source, tracker))


def next_lines(marker: Marker, key: int) -> tuple[bytes, bool]:
    """The next lines of a video, after at most ``SLICE_S`` seconds, and whether these are the last."""
    lines: list[bytes] = []
    stop_s = time.monotonic() + SLICE_S
    for line in marker.at(key):
        lines += [] if line is None else [line]
        if time.monotonic() >= stop_s:
            return b"".join(lines), False
    return b"".join(lines), True


def end(marker: Marker, key: int) -> None:
    """Forget a video or stream."""
    marker.end(key)


def _watched(source: VideoFile, tracker: Tracker) -> Generator[bytes | None, None, None]:
    """Each event as a line of JSON when it ends, None for each frame, and the report as the last line."""
    recorder, restarts = FatigueRecorder(), 0
    with source:
        for image, time_s in source:
            events = recorder.pause() if source.restarts > restarts else []
            restarts = source.restarts
            events += recorder.add(tracker(image, time_s), image)
            yield from _lines({"event": event.to_json()} for event in events)
            yield None
        yield from _lines({"event": event.to_json()} for event in recorder.finish())
        report = recorder.report().to_json() | {"schema_version": SCHEMA_VERSION}
        yield from _lines([{"report": report, "problem": source.problem}])


def _lines(records: Any) -> Iterator[bytes]:
    for record in records:
        yield json.dumps(record, allow_nan=False).encode() + b"\n"
