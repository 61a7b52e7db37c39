"""Videos written and read again, whole, cut short and broken; cameras that are none."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from canthus.errors import VideoError
from canthus.runtime import video as video_module
from canthus.runtime.video import Camera, VideoFile, VideoWriter, open_video, read_video

UNEVEN = [0.0, 0.04, 0.05, 0.3, 0.31, 1.0, 1.5]


def _image(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = (200, 40, 40)
    image[: height // 2, width // 2 :] = 8 * number % 256
    return image


def _write(path: Path, times: list[float], *, width: int = 64, height: int = 48) -> Path:
    with VideoWriter(path, width=width, height=height, fps=25) as writer:
        for number, time_s in enumerate(times):
            writer.write(_image(number, width, height), time_s)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_uneven_times_survive(tmp_path: Path, suffix: str) -> None:
    frames = list(read_video(_write(tmp_path / f"new/a{suffix}", UNEVEN)))
    # Matroska keeps milliseconds, the others what was written.
    np.testing.assert_allclose([frame.time_s for frame in frames], UNEVEN, atol=1e-3)
    for number, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        # Colours are halved in resolution and quantized; red must stay red.
        assert np.abs(frame.image[24, 8].astype(int) - (200, 40, 40)).max() < 30
        assert abs(int(frame.image[8, 56, 1]) - 8 * number) < 20


def test_odd_sides_lose_a_line_and_time_starts_at_zero(tmp_path: Path) -> None:
    path = _write(tmp_path / "odd.mp4", [3.0, 3.5], width=65, height=49)
    with open_video(path) as video:
        frames = list(video)
        assert video.problem is None
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 2
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.5], atol=1e-3)


def test_file_cut_short_keeps_what_is_there_and_says_so(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.mkv", [i / 25 for i in range(200)])
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 6 // 10])
    with VideoFile(cut) as video:
        frames = list(video)
    assert 20 < len(frames) < 200
    assert video.problem
    assert "cut short" in video.problem


def test_damage_in_the_middle_keeps_the_rest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.mkv"
    with VideoWriter(path, width=64, height=48, fps=25) as writer:
        for number in range(100):
            writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), number / 25)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    frames = list(read_video(path))
    assert 30 < len(frames) <= 100
    assert np.diff([frame.time_s for frame in frames]).min() > 0


def test_mp4_whose_index_outlives_its_end_is_called_cut_short(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.mp4", [i / 25 for i in range(200)])
    data = whole.read_bytes()
    # The index of our own files is at their end: put the second half of the pictures out, keep the index.
    start, stop = data.index(b"mdat"), data.rindex(b"moov")
    middle = (start + stop) // 2
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[:middle] + bytes(stop - middle) + data[stop:])
    with VideoFile(cut) as video:
        frames = list(video)
    assert 5 < len(frames) < 200
    assert video.problem
    assert "cut short" in video.problem
    assert "damaged" in video.problem or "reading stopped" in video.problem


def test_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = _write(tmp_path / "whole.mp4", [i / 25 for i in range(50)]).read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: len(whole) // 2])  # an MP4's index is at its end
    for name in ("text.mp4", "empty.mp4", "headless.mp4"):
        with pytest.raises(VideoError, match=rf"{name}: cannot be opened as video"):
            open_video(tmp_path / name)
    with pytest.raises(VideoError, match="no such file; a camera is given by its number"):
        open_video(tmp_path / "missing.mp4")
    with pytest.raises(VideoError, match="is a folder"):
        open_video(tmp_path)


def test_writer_refuses(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"use \.mp4 or \.mkv"):
        VideoWriter(tmp_path / "a.nothing", width=64, height=48)
    with pytest.raises(VideoError, match="too small"):
        VideoWriter(tmp_path / "a.mp4", width=1, height=48)
    with VideoWriter(tmp_path / "b.mp4", width=64, height=48) as writer:
        writer.write(_image(0), 0.0)
        with pytest.raises(ValueError, match="64 x 48"):
            writer.write(_image(0, width=80), 0.1)


def test_writer_without_frames_and_equal_times(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "none.mp4", width=64, height=48):
        pass
    frames = list(read_video(_write(tmp_path / "equal.mp4", [0.0, 0.0, 0.0])))
    assert len(frames) == 3


class _Turned:
    """What the reader needs of a decoded frame, one that asks to be turned."""

    width, height = 3, 2

    def __init__(self, rotation: int) -> None:
        self.rotation = rotation

    def to_ndarray(self, *, format: str) -> np.ndarray:  # noqa: A002  PyAV's name
        assert format == "rgb24"
        return np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(("rotation", "top_left"), [(0, 0), (90, 6), (-90, 9), (180, 15)])
def test_frames_are_turned_upright(rotation: int, top_left: int) -> None:
    # Counterclockwise by 90 degrees brings the top-right pixel (6, 7, 8) to the top left.
    assert video_module._upright(_Turned(rotation), None)[0, 0, 0] == top_left


class _Capture:
    """A camera with three blue frames."""

    def __init__(self, number: int) -> None:
        self.left, self.opened, self.released = 3, number == 0, False

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return self.opened

    def get(self, _: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.full((4, 6, 3), (255, 0, 0), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_camera(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cv2, "VideoCapture", _Capture)
    ticks = iter([100.0, 100.5, 100.5])
    with Camera(0, clock=lambda: next(ticks)) as camera:
        frames = list(camera)
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.5, 0.5001])
    assert frames[0].image[0, 0].tolist() == [0, 0, 255]
    assert camera.fps == 30
    assert camera.problem == "camera 0 stopped delivering; everything before is kept"
    assert isinstance(open_video("0"), Camera)
    with pytest.raises(VideoError, match="camera 7 cannot be opened"):
        open_video("7")
