"""Videos written and read again, whole, cut short and broken; pictures and cameras as videos; windows."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from canthus.errors import ConfigError, VideoError
from canthus.images import write_image
from canthus.runtime.video import (
    Camera,
    LiveSource,
    VideoFile,
    VideoWindow,
    VideoWriter,
    is_live,
    open_video,
    read_video,
)

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


def test_a_camera_that_is_unplugged_and_plugged_in_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three frames, away for two attempts, three frames, and then away for good."""
    monkeypatch.chdir(tmp_path)
    plugged = iter([True, False, False, True, *[False] * 20])

    def capture(number: int) -> _Capture:
        return _Capture(0 if next(plugged) else 1)

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    now, changes = [100.0], list[tuple[float, bool]]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    with LiveSource("0", wait_s=10.0, clock=clock, sleep=sleep) as source:
        source.on_change = lambda time_s, lost: changes.append((time_s, lost))
        times = [frame.time_s for frame in source]
    assert len(times) == 6
    assert source.restarts == 1
    assert (np.diff(times) > 0).all()
    assert times[3] - times[2] == pytest.approx(3.1, abs=0.1)  # the time goes on while it is away
    assert [lost for _, lost in changes] == [True, False, True]
    assert source.problem == "camera 0 stopped delivering and was not back within 10 s"
    assert source.notes == ["camera 0 stopped and came back 1 times"]


def test_waiting_for_a_camera_ends_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    plugged = iter([0, 1, 1])
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: _Capture(next(plugged)))
    slept: list[float] = []
    with LiveSource("0", wait_s=1e6, sleep=slept.append) as source:
        source.stopping = lambda: len(slept) == 2
        assert len(list(source)) == 3
    assert source.problem is None
    assert is_live("rtsp://127.0.0.1/x")
    assert not is_live("https://127.0.0.1/x.mp4")  # has an end


def _pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        write_image(folder / name, np.full((20, 30, 3), 10 * number, np.uint8))


@pytest.mark.parametrize("source", ["seq", "seq/%05d.png", "seq/%d.png"])
@pytest.mark.parametrize(("fps", "expected_hz"), [(None, 25.0), (10.0, 10.0)])
def test_pictures_are_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, fps: float | None, expected_hz: float
) -> None:
    monkeypatch.chdir(tmp_path)
    _pictures(Path("seq"), [f"{number:05d}.png" for number in (8, 9, 10, 11, 100000)])
    Path("seq/notes.txt").write_text("no picture")
    with open_video(source, fps=fps) as video:
        frames = list(video)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 10, 20, 30, 40]
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(5) / expected_hz)
    assert (video.fps, video.problem) == (expected_hz, None)
    assert bool(video.notes) == (fps is None)  # the assumed rate is said


def test_pictures_in_the_order_of_their_numbers_and_of_one_size(tmp_path: Path) -> None:
    _pictures(tmp_path, ["a2.png", "a10.png", "a1.png"])
    write_image(tmp_path / "a11.png", np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "a3.png").write_bytes(b"no picture")
    with open_video(tmp_path, fps=1) as video:
        frames = list(video)
    assert [(frame.time_s, int(frame.image[0, 0, 0])) for frame in frames] == [(0, 20), (1, 0), (3, 10), (4, 0)]
    assert {frame.image.shape for frame in frames} == {(20, 30, 3)}
    assert "1 of 5 pictures cannot be read; " in str(video.problem)
    assert "a3.png" in str(video.problem)


def test_a_rate_is_for_pictures(tmp_path: Path) -> None:
    _write(tmp_path / "a.mp4", [0.0, 0.04])
    _pictures(tmp_path / "seq", ["1.png"])
    with pytest.raises(ConfigError, match="has its own times"):
        open_video(tmp_path / "a.mp4", fps=25)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="Expected a rate"):
            open_video(tmp_path / "seq", fps=rate)
    with pytest.raises(VideoError, match="no picture has such a name"):
        open_video(tmp_path / "seq" / "%05d.png")
    with pytest.raises(VideoError, match="cannot be read as a folder"):
        open_video(tmp_path / "none" / "%05d.png")


@pytest.mark.parametrize("fate", ["os.abort()", "raise SystemError", "pass"])
@pytest.mark.parametrize("screen", [None, ":99"])
def test_a_window_is_tried_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str, screen: str | None
) -> None:
    """OpenCV with Qt aborts the process where it cannot reach a screen."""
    (tmp_path / "cv2.py").write_text(f"import os\ndef namedWindow(title): {fate}\ndef destroyAllWindows(): pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    for name, value in (("DISPLAY", screen), ("WAYLAND_DISPLAY", None)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    opened: list[str] = []
    monkeypatch.setattr(cv2, "namedWindow", lambda title, _: opened.append(title))
    if screen and fate == "pass":
        VideoWindow("faces")
        assert opened == ["faces"]
        return
    with pytest.raises(ConfigError, match="needs a screen"):
        VideoWindow("faces")
    assert opened == []
