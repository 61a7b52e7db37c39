"""Videos as they are shown: upright, with square pixels and advancing times, from names and addresses of all kinds."""

import itertools
import socket
import threading
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from canthus.errors import VideoError
from canthus.runtime import video_files
from canthus.runtime.video import VideoFile, VideoFrame, open_video
from videos import make_video, noise

ONE = 1 << 16


def _read(path: Path) -> tuple[list[VideoFrame], VideoFile]:
    with VideoFile(path) as video:
        return list(video), video


@pytest.mark.parametrize(
    ("a", "b", "c", "d"),
    [(x, 0, 0, y) for x in (1, -1) for y in (1, -1)] + [(0, x, y, 0) for x in (1, -1) for y in (1, -1)],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_all_eight_orientations(tmp_path: Path, a: int, b: int, c: int, d: int, suffix: str) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    matrix = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
    frames, _ = _read(make_video(tmp_path / f"a{suffix}", [0.0], images=[image], matrix=matrix))
    shown = frames[0].image
    assert shown.shape == ((96, 64, 3) if b else (64, 96, 3))
    for p, q in itertools.product((-1, 1), (-1, 1)):  # a corner from the centre, as stored
        stored = image[32 + 16 * q, 48 + 24 * p]
        x, y = a * p + c * q, b * p + d * q  # the same corner, as shown
        height, width = shown.shape[:2]
        found = shown[height // 2 + y * height // 4, width // 2 + x * width // 4]
        assert np.abs(found.astype(int) - stored).max() < 60


class _Side(dict):  # type: ignore[type-arg]
    """Side data of a frame with a display matrix."""

    def __init__(self, matrix: list[int]) -> None:
        super().__init__(DISPLAYMATRIX=np.array(matrix, np.int32).tobytes())


@pytest.mark.parametrize("degrees", [*range(-180, 181, 15)])
@pytest.mark.parametrize("mirror", [1, -1])
def test_any_angle_is_rounded_to_the_nearest_quarter(degrees: int, mirror: int) -> None:
    if degrees % 90 == 45:
        return  # halfway, where either side is right
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    near = np.deg2rad(90 * round(degrees / 90))

    def frame(cosine: float, sine: float) -> object:
        matrix = [
            int(mirror * cosine * ONE),
            int(mirror * sine * ONE),
            0,
            int(-sine * ONE),
            int(cosine * ONE),
            0,
            0,
            0,
            1 << 30,
        ]
        return type("Frame", (), {"side_data": _Side(matrix)})()

    assert video_files.orientation(frame(cos, sin)) == video_files.orientation(
        frame(np.cos(near).round(), np.sin(near).round())
    )


@pytest.mark.parametrize(("rotation", "top_left"), [(0, 0), (90, 2), (-90, 3), (180, 5), (-180, 5)])
def test_frames_with_data_that_pyav_does_not_know_are_turned(rotation: int, top_left: int) -> None:
    class Frame:
        def __init__(self) -> None:
            self.rotation = rotation

        @property
        def side_data(self) -> object:
            raise ValueError("31 is not a valid Type")

    swapped, mirrored, flipped = video_files.orientation(Frame())
    image = np.arange(6).reshape(2, 3)
    image = image.T if swapped else image
    shown = image[:: -1 if flipped else 1, :: -1 if mirrored else 1]
    assert shown[0, 0] == top_left
    np.testing.assert_array_equal(shown, np.rot90(np.arange(6).reshape(2, 3), rotation // 90))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_a_single_picture_is_a_short_video(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"a{suffix}"), noise(0))
    frames, video = _read(tmp_path / f"a{suffix}")
    assert ([frame.image.shape for frame in frames], video.problem) == ([(64, 96, 3)], None)


def test_side_data_are_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV frees a frame only when its cycle is collected once its side data were asked for."""
    calls: list[object] = []

    def counted(frame: object) -> tuple[bool, bool, bool]:
        calls.append(frame)
        return False, False, False

    monkeypatch.setattr(video_files, "orientation", counted)
    assert len(_read(make_video(tmp_path / "a.mp4"))[0]) == 75
    assert len(calls) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("aspect", "width"), [(Fraction(4, 3), 128), (Fraction(1, 2), 48), (Fraction(100, 1), 96)])
def test_pixels_become_square(tmp_path: Path, suffix: str, aspect: Fraction, width: int) -> None:
    circle = np.zeros((64, 96, 3), np.uint8)
    axes = (round(24 / aspect), 24) if aspect < 2 else (24, 24)
    cv2.ellipse(circle, (48, 32), axes, 0, 0, 360, (255, 255, 255), cv2.FILLED)
    frames, _ = _read(make_video(tmp_path / f"a{suffix}", [0.0, 0.04], images=[circle] * 2, aspect=aspect))
    assert frames[0].image.shape == (64, width, 3)
    white = frames[0].image[..., 0] > 128
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    assert np.ptp(rows) == pytest.approx(48, abs=2)
    assert np.ptp(columns) == pytest.approx(48, abs=3)


def test_joined_transport_streams_go_on(tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.ts", [i / 25 for i in range(50)]).read_bytes()
    (tmp_path / "twice.ts").write_bytes(data * 2)
    frames, video = _read(tmp_path / "twice.ts")
    np.testing.assert_allclose([frame.time_s for frame in frames], [i / 25 for i in range(100)], atol=1e-3)
    assert video.problem is None
    assert "started again once" in video.notes[0]


@pytest.mark.parametrize("jump_s", [7 * 3600, 30 * 3600])
def test_a_gap_beyond_any_pause_is_a_damaged_stamp(tmp_path: Path, jump_s: float) -> None:
    times = [i / 25 + (jump_s if i >= 10 else 0) for i in range(20)]
    frames, video = _read(make_video(tmp_path / "a.mkv", times))
    np.testing.assert_allclose([frame.time_s for frame in frames], [i / 25 for i in range(20)], atol=1e-3)
    assert "1 damaged time stamp is replaced" in str(video.problem)


def test_a_change_of_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    small = make_video(tmp_path / "a.ts", [i / 25 for i in range(10)]).read_bytes()
    images = [noise(i, 160, 128) for i in range(10)]
    large = make_video(tmp_path / "b.ts", [i / 25 for i in range(10)], images=images).read_bytes()
    (tmp_path / "both.ts").write_bytes(small + large)
    frames, _ = _read(tmp_path / "both.ts")
    assert len(frames) == 20
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}


@pytest.mark.parametrize("name", ["12:30.mp4", "http:a.mp4", "a b%20c#.mp4", "ümläut.mp4", "-.mp4", "pipe:0.mp4"])
def test_names_of_files_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "a.mp4", [0.0, 0.04]).rename(name)
    with open_video(name) as video:
        assert len(list(video)) == 2


def test_a_codec_without_a_decoder(tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(data.replace(b"avc1", b"zz9z").replace(b"avcC", b"zz9C"))
    with pytest.raises(VideoError, match="codec that the installed FFmpeg cannot decode"):
        open_video(tmp_path / "b.mp4")


def test_the_cover_of_a_sound_file_is_no_video(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", [0.0], codec="mjpeg", sound_s=1, cover=True)
    with pytest.raises(VideoError, match="is it a sound file"):
        open_video(tmp_path / "a.mp4")


def test_a_picture_larger_than_any_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_files, "MAX_PIXELS", 1000)
    frames, video = _read(make_video(tmp_path / "a.mkv"))
    assert frames == []
    assert "no frame could be decoded" in str(video.problem)


@pytest.mark.parametrize("name", ["", "a\0b.mp4", "x" * 5000])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(VideoError):
        open_video(name)


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_files, "ANSWER_S", 0.3)
    server = socket.create_server(("127.0.0.1", 0))  # the connection waits in its queue
    with server, pytest.raises(VideoError, match=r"did not answer within 0\.3 s"):
        open_video(f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4")


def test_a_server_that_stops_answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_files, "ANSWER_S", 0.5)
    data = make_video(tmp_path / "a.ts").read_bytes()
    ended = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.recv(4000)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 100000000\r\n\r\n" + data)
        ended.wait(20)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        with open_video(f"http://127.0.0.1:{server.getsockname()[1]}/a.ts") as video:
            frames = list(video)
        ended.set()
        thread.join(5)
    assert len(frames) > 30
    assert "reading stopped" in str(video.problem)


def test_streams_that_begin_in_the_middle_are_passed_over(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "a.ts", [i / 25 for i in range(25)]).read_bytes()
    times = [1 + i / 25 for i in range(25)]
    (tmp_path / "both.ts").write_bytes(silent + make_video(tmp_path / "b.ts", times, sound_s=3).read_bytes())
    for _ in range(5):
        assert len(_read(tmp_path / "both.ts")[0]) == 50
