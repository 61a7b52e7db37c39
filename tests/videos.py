"""Small video files of any container and codec, made with PyAV."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SUFFIX_CODECS = {
    ".gif": "gif", ".avi": "mpeg4", ".webm": "libvpx", ".mpg": "mpeg2video", ".mxf": "mpeg2video", ".wmv": "wmv2",
}  # fmt: skip
CODEC_OPTIONS = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
}
PIXELS = {"gif": "rgb8", "mjpeg": "yuvj420p"}


def noise(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Coarse coloured noise, different for each number, that codecs keep."""
    coarse = np.random.default_rng(number).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:height, :width]


def make_video(
    path: Path,
    times: Sequence[float] | None = None,
    *,
    images: Sequence[np.ndarray] | None = None,
    codec: str | None = None,
    pixels: str | None = None,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    sound_s: float = 0.0,
    cover: bool = False,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write a video of noise, or of ``images``, at the given times (75 frames, 25 a second).

    Args:
        codec: by the suffix, else H.264.
        pixels: FFmpeg's name of the pixel format.
        matrix: the nine numbers of a display matrix.
        aspect: width of a pixel over its height.
        sound_s: length of a silent sound track.
        cover: the picture is the cover of the sound.
        options: of the container.
    """
    times = [i / 25 for i in range(75)] if times is None else times
    images = [noise(number) for number in range(len(times))] if images is None else images
    codec = codec or SUFFIX_CODECS.get(path.suffix, "libx264")
    with av.open(str(path), "w", container_options=dict(options or {})) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels or PIXELS.get(codec, "yuv420p")
        stream.codec_context.time_base = Fraction(
            1, 25 if all(abs(t * 25 - round(t * 25)) < 1e-6 for t in times) else 1000
        )
        stream.codec_context.gop_size = 12
        stream.options = CODEC_OPTIONS.get(codec, {})
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if cover:
            stream.disposition = av.stream.Disposition.attached_pic
        if matrix:
            stream.set_display_matrix(matrix)
        sound: Any = (
            container.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48000) if sound_s else None
        )
        for time_s, image in zip(times, images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=stream.pix_fmt)
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time_s / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            _add_silence(container, sound, sound_s)
    return path


def _add_silence(container: av.container.OutputContainer, sound: Any, length_s: float) -> None:
    for start in range(0, round(length_s * 48000), 960):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
