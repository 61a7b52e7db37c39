"""Videos are written whole or not at all, on a full disk, over an earlier file, and after an interruption."""

import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import OutputError, VideoError
from canthus.runtime.video import VideoWriter, read_video
from canthus.runtime.video_writer import LONGEST_GAP_S
from videos import noise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")

FULL_DISK = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    import numpy as np
    from canthus.errors import OutputError, VideoError
    from canthus.runtime.video import VideoWriter

    path = Path(sys.argv[1])
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(6)]

    def write():
        with VideoWriter(path, fps=25) as writer:
            for number, image in enumerate(images * 3):
                writer.write(image, number / 25)

    write()
    whole = path.read_bytes()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    limits = [0, 1, 7, 8, 31, 32, 33, 47, 100, 1000, 32767, 32768, 32769, *range(40000, len(whole), 17011)]
    limits += [len(whole) - back for back in (2000, 1000, 500, 300, 100, 50, 20, 8, 4, 2, 1)]
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        try:
            write()
        except OutputError as error:
            assert str(error).count("\\n") == 0 and "larger than is allowed" in str(error), error
        else:
            raise SystemExit(f"{limit} bytes were enough for {len(whole)}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        assert path.read_bytes() == whole, limit
        assert [entry.name for entry in path.parent.iterdir()] == [path.name], limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 1000, most))
    write()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    with VideoWriter(path) as writer:
        for expected in (OutputError, VideoError, VideoError):  # given up once, it is never written to again
            try:
                for number, image in enumerate(images * 30):
                    writer.write(image, number / 25)
            except expected:
                continue
            raise SystemExit("no error")
""")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_disk_that_is_full_at_any_byte_leaves_the_earlier_file(tmp_path: Path, suffix: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / f"a{suffix}")],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_target_appears_when_the_video_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")
    with VideoWriter(path) as writer:
        for number in range(30):
            writer.write(noise(number), number / 25)
        assert path.read_bytes() == b"earlier"
    assert len(list(read_video(path))) == 30
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_keeps_the_frames_so_far(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(error), VideoWriter(path) as writer:
        for number in range(7):
            writer.write(noise(number), number / 25)
        raise error
    assert len(list(read_video(path))) == 7


@pytest.mark.parametrize(("error", "kept"), [(KeyboardInterrupt, 3), (RuntimeError, 7), (OSError, 7)])
def test_an_error_elsewhere_leaves_an_earlier_video(tmp_path: Path, error: type[BaseException], kept: int) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path) as writer:
        for number in range(7):
            writer.write(noise(number), number / 25)
    with pytest.raises(error) as caught, VideoWriter(path) as writer:
        for number in range(3):
            writer.write(noise(number), number / 25)
        raise error("of something else")
    assert str(caught.value) == "of something else"
    assert len(list(read_video(path))) == kept
    assert list(tmp_path.iterdir()) == [path]


def test_no_frame_no_file(tmp_path: Path) -> None:
    sizes: tuple[dict[str, int], ...] = ({}, {"width": 64, "height": 48})
    for size in sizes:
        with VideoWriter(tmp_path / "a.mp4", **size):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"")
    with VideoWriter(tmp_path / "folder" / "a.mp4") as writer, pytest.raises(OutputError, match="cannot be written"):
        writer.write(noise(0), 0.0)


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf, 2.0 + LONGEST_GAP_S, 1e12])
def test_times_that_a_file_cannot_hold(tmp_path: Path, time_s: float) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(noise(0), 0.0)
        with pytest.raises(ValueError, match="Expected a time"):
            writer.write(noise(1), time_s)
        writer.write(noise(1), 0.5)
    np.testing.assert_allclose([frame.time_s for frame in read_video(tmp_path / "a.mp4")], [0, 0.5], atol=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_the_longest_gap_is_held(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path) as writer:
        for time_s in (0.0, 20_000.0, 20_000.04):
            writer.write(noise(0), time_s)
    np.testing.assert_allclose([frame.time_s for frame in read_video(path)], [0, 20_000, 20_000.04], atol=1e-3)


def test_links_are_followed_and_modes_kept(tmp_path: Path) -> None:
    target = tmp_path / "real.mp4"
    target.write_bytes(b"")
    target.chmod(0o640)
    (tmp_path / "link.mp4").symlink_to(target)
    with VideoWriter(tmp_path / "link.mp4") as writer:
        writer.write(noise(0), 0.0)
    assert (tmp_path / "link.mp4").is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert len(list(read_video(target))) == 1


def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.nothing") as writer, pytest.raises(VideoError, match=r"use \.mp4 or \.mkv"):
        writer.write(noise(0), 0.0)
    assert list(tmp_path.iterdir()) == []
