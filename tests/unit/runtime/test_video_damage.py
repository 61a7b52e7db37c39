"""Video files of many containers: whole ones are called whole, damaged ones say what is missing."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import VideoError
from canthus.runtime import video_structure
from canthus.runtime.video import VideoFile, VideoFrame
from videos import make_video, noise

UNEVEN = [0.0, 0.04, 0.05, 0.3, 0.31, 1.0, 1.5, 9.0]
ONE = 1 << 16


def _read(path: Path, *, threads: int = 1) -> tuple[list[VideoFrame], VideoFile]:
    with VideoFile(path, threads=threads) as video:
        return list(video), video


WHOLE: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda folder: make_video(folder / "a.mp4"),
    "mp4_index_first": lambda folder: make_video(folder / "a.mp4", options={"movflags": "faststart"}),
    "mp4_fragments": lambda folder: make_video(folder / "a.mp4", options={"movflags": "frag_keyframe+empty_moov"}),
    "mov": lambda folder: make_video(folder / "a.mov"),
    "mkv": lambda folder: make_video(folder / "a.mkv"),
    "webm": lambda folder: make_video(folder / "a.webm"),
    "avi": lambda folder: make_video(folder / "a.avi"),
    "avi_mjpeg": lambda folder: make_video(folder / "a.avi", codec="mjpeg"),
    "ts": lambda folder: make_video(folder / "a.ts"),
    "mpg": lambda folder: make_video(folder / "a.mpg"),
    "flv": lambda folder: make_video(folder / "a.flv"),
    "gif": lambda folder: make_video(folder / "a.gif"),
    "wmv": lambda folder: make_video(folder / "a.wmv"),
    "mxf": lambda folder: make_video(folder / "a.mxf"),
    "h264": lambda folder: make_video(folder / "a.h264"),
    "mkv_mpeg2": lambda folder: make_video(folder / "a.mkv", codec="mpeg2video"),
    "mp4_ten_bits": lambda folder: make_video(folder / "a.mp4", pixels="yuv420p10le"),
    "webm_alpha": lambda folder: make_video(folder / "a.webm", codec="libvpx-vp9", pixels="yuva420p"),
    "mp4_hevc": lambda folder: make_video(folder / "a.mp4", codec="libx265", options={"movflags": "faststart"}),
    "odd_sides": lambda folder: make_video(folder / "a.avi", images=[noise(i, 97, 65) for i in range(75)]),
}


_MADE: dict[str, tuple[str, bytes]] = {}


def _whole(folder: Path, name: str) -> Path:
    """One of ``WHOLE``; each is encoded once."""
    if name not in _MADE:
        made = WHOLE[name](folder)
        _MADE[name] = made.name, made.read_bytes()
    file, data = _MADE[name]
    (folder / file).write_bytes(data)
    return folder / file


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("threads", [1, 2])
def test_whole_files_are_whole(tmp_path: Path, name: str, threads: int) -> None:
    frames, video = _read(_whole(tmp_path, name), threads=threads)
    assert (len(frames), video.problem, video.notes) == (75, None, [])
    np.testing.assert_allclose(np.diff([frame.time_s for frame in frames]), 0.04, atol=0.0101)  # GIF: hundredths


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".gif", ".flv", ".mpg"])
def test_one_frame_is_whole(tmp_path: Path, suffix: str) -> None:
    frames, video = _read(make_video(tmp_path / f"one{suffix}", [0.0]))
    assert (len(frames), video.problem) == (1, None)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".ts"])
def test_uneven_times_and_a_late_end_are_whole(tmp_path: Path, suffix: str) -> None:
    frames, video = _read(make_video(tmp_path / f"a{suffix}", UNEVEN))
    np.testing.assert_allclose([frame.time_s for frame in frames], UNEVEN, atol=1e-3)
    assert video.problem is None


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".flv"])
@pytest.mark.parametrize("late_s", [0.0, 2.0])
def test_sound_longer_than_the_picture_is_whole(tmp_path: Path, suffix: str, late_s: float) -> None:
    times = [late_s + i / 25 for i in range(25)]
    frames, video = _read(make_video(tmp_path / f"a{suffix}", times, sound_s=8))
    assert video.problem is None
    assert len(frames) >= 25  # AVI repeats the first frame until it is due
    assert frames[0].time_s == 0.0


@pytest.mark.parametrize(("length_ms", "start", "expected"), [(1000, 0, 25), (2000, 12800, 50), (1000, 6400, 25)])
def test_edit_lists_are_whole(tmp_path: Path, length_ms: int, start: int, expected: int) -> None:
    data = bytearray(make_video(tmp_path / "a.mp4").read_bytes())
    struct.pack_into(">Ii", data, data.index(b"elst") + 12, length_ms, start)
    (tmp_path / "cut.mp4").write_bytes(data)
    frames, video = _read(tmp_path / "cut.mp4")
    assert (len(frames), video.problem) == (expected, None)


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 3 // 10]


def _holed(data: bytes) -> bytes:
    start, length = len(data) * 4 // 10, len(data) * 3 // 10
    return data[:start] + bytes(length) + data[start + length :]


def _shortened(data: bytes) -> bytes:
    return data[: len(data) * 4 // 10] + data[len(data) * 7 // 10 :]


CONTAINERS = [
    "mp4_index_first",
    "mp4_hevc",
    "mp4_fragments",
    "mkv",
    "webm",
    "avi",
    "avi_mjpeg",
    "ts",
    "flv",
    "gif",
    "mpg",
    "wmv",
    "mxf",
]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("damage", [_cut, _holed, _shortened])
@pytest.mark.parametrize("threads", [1, 2])
def test_damaged_files_keep_what_is_there_and_say_so(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], threads: int
) -> None:
    path = _whole(tmp_path, name)
    path.write_bytes(damage(path.read_bytes()))
    frames, video = _read(path, threads=threads)
    assert 5 <= len(frames) < 75
    assert video.problem
    assert "everything that could be decoded is kept" in video.problem
    assert "\n" not in video.problem


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("gif", _cut, "cut short, the file ends at byte"),
        ("avi", _cut, "of 75 frames are missing"),
        ("mp4_index_first", _cut, "of 75 frames are missing"),
        ("mkv", _cut, "of 3.00 s, so it was cut short"),
        ("mkv", _holed, "its structure breaks off at byte"),
        ("mkv", _holed, "there is no picture between"),
        ("ts", _holed, "there is no picture between"),
    ],
)
def test_the_message_says_what_is_missing(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = _whole(tmp_path, name)
    path.write_bytes(damage(path.read_bytes()))
    assert words in str(_read(path)[1].problem)


@pytest.mark.parametrize(("kind", "is_open"), [(19, False), (20, False), (21, True), (16, True)])
def test_hevc_frames_before_the_first_shown_are_not_missed(kind: int, is_open: bool) -> None:
    def unit(kind: int) -> bytes:
        return (6).to_bytes(4, "big") + bytes([kind << 1, 1]) + bytes(4)

    assert video_structure.hevc_starts_open(unit(32) + unit(33) + unit(39) + unit(kind)) is is_open
    assert video_structure.hevc_starts_open(b"")


@pytest.mark.parametrize(
    ("container", "start", "part"),
    [
        ("matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff", b"\xec\x80"),
        ("mpeg", b"", b"\0\0\1\xbe\0\0"),
        ("gif", b"GIF89a" + bytes(7), b"\x21\xf9\x01\0\0"),
        ("mxf", b"", bytes.fromhex("060e2b34") + bytes(13)),
        ("flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0", b"\x09" + bytes(14)),
    ],
)
def test_a_file_of_tiny_parts_is_not_followed_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, start: bytes, part: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(start + part * 1000 + b"\x77" * 30)
    assert "breaks off at byte" in str(video_structure.structure_problem(path, container))
    monkeypatch.setattr(video_structure, "MOST_READS", 500)
    assert video_structure.structure_problem(path, container) is None


def test_an_avi_whose_index_is_lost_counts_by_its_header(tmp_path: Path) -> None:
    path = _whole(tmp_path, "avi_mjpeg")
    data = path.read_bytes()
    start = len(data) * 6 // 10
    path.write_bytes(data[:start] + bytes(len(data) - start))
    frames, video = _read(path)
    assert f"{75 - len(frames)} of 75 frames are missing" in str(video.problem)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_transport_stream_cut_between_packets_ends_in_half_a_frame(tmp_path: Path, threads: int) -> None:
    path = make_video(tmp_path / "a.ts")
    whole = path.read_bytes()
    said = []
    for packets in range(len(whole) // 188 // 2, len(whole) // 188 // 2 + 40):
        path.write_bytes(whole[: packets * 188])
        said.append(_read(path, threads=threads)[1].problem is not None)
    assert sum(said) > 25  # the others end between two frames, where nothing can tell


def test_damage_of_any_kind_and_place_is_no_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    for name in ("mp4_index_first", "mkv", "avi", "ts", "gif", "flv", "mpg", "wmv", "mxf"):
        whole = _whole(tmp_path, name).read_bytes()
        for _ in range(12):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), rng.integers(1, 40)):
                data[place] = rng.integers(0, 256)
            path.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
            try:
                frames, _ = _read(path)
            except VideoError:
                continue
            assert all(step > 0 for step in np.diff([frame.time_s for frame in frames]))


@pytest.mark.parametrize("rate", [1, 2**31 - 1])
@pytest.mark.parametrize("scale", [2**31 - 1, 1])
def test_an_absurd_frame_rate_is_not_used(tmp_path: Path, rate: int, scale: int) -> None:
    path = _whole(tmp_path, "avi_mjpeg")
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.index(b"strh") + 8 + 20, scale, rate)
    path.write_bytes(data)
    frames, video = _read(path)
    assert len(frames) == 75
    assert video.fps is None or 1 / 3600 <= video.fps <= 10_000
    assert np.diff([frame.time_s for frame in frames]).min() > 0
    assert np.diff([frame.time_s for frame in frames]).max() <= 6 * 3600
