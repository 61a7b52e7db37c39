"""The ``.pts`` format, and the sizes of label files."""

from pathlib import Path

import numpy as np
import pytest

from canthus.data import formats
from canthus.data.formats import MAX_POINTS_FILE, read_matlab, read_pts, read_text, write_pts
from canthus.errors import DataError

POINTS = [[0.0, 1.5], [9.25, 3.0]]
LAYOUTS = {
    "official": "version: 1\nn_points:  2\n{\n1.0 2.5\n10.25 4.0\n}\n",
    "bare": "1.0 2.5\n10.25 4.0\n",
    "bare, no last line end": "1.0\t2.5\n10.25   4.0",
    "header without braces": "version: 1\nn_points: 2\n1.0 2.5\n10.25 4.0\n",
    "windows": "version: 1\r\nn_points: 2\r\n{\r\n1.0 2.5\r\n10.25 4.0\r\n}\r\n\r\n",
    "byte order mark": "\ufeffversion: 1\nn_points: 2\n{\n1.0 2.5\n10.25 4.0\n}",
    "commas": "1.0, 2.5\n10.25, 4.0\n",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS)
def test_reads_every_layout_and_counts_from_zero(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.pts"
    path.write_bytes(text.encode())
    assert read_pts(path).tolist() == POINTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nn_points: 3\n{\n1 2\n3 4\n}\n", "promises 3 points, found 2"),
        ("1 2\n3 4 5\n", r"a.pts:2: expected two numbers 'x y', found '3 4 5'"),
        ("1 2\nx y\n", r"a.pts:2: expected two numbers"),
        ("1 2\n3 nan\n", r"a.pts:2: expected finite numbers"),
        ("n_points: many\n1 2\n", r"a.pts:1: expected 'n_points: <number>'"),
        ("", "holds no point"),
        ("version: 1\nn_points: 0\n{\n}\n", "holds no point"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.pts"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_pts(path)


def test_files_that_are_too_long_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.pts"
    path.write_bytes(b"1.0 2.5\n" * (MAX_POINTS_FILE // 8 + 1))
    with pytest.raises(DataError, match=r"a.pts: is longer than 1 MB, which is no file of labels"):
        read_pts(path)
    assert read_text(path, max_bytes=2 * MAX_POINTS_FILE).startswith("1.0 2.5\n1.0")


@pytest.mark.parametrize("packed", [False, True])
def test_matlab_files_that_would_fill_the_memory_are_refused(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    matlab = pytest.importorskip("scipy.io.matlab")
    path = tmp_path / "a.mat"
    matlab.savemat(path, {"points": np.zeros(100_000), "name": "face"}, do_compression=packed)
    assert read_matlab(path, ["points"])["points"].shape == (1, 100_000)
    monkeypatch.setattr(formats, "MAX_MATLAB", 700_000)
    with pytest.raises(DataError, match=r"a.mat: its variables take more than 1 MB, which are no labels"):
        read_matlab(path, ["points"])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_pts(tmp_path / "none.pts")


def test_writing_and_reading_gives_the_same_points(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(-5, 300, (68, 2)).astype(np.float32)
    write_pts(tmp_path / "a.pts", points)
    np.testing.assert_allclose(read_pts(tmp_path / "a.pts"), points, atol=1e-3)  # three decimals are written
    assert (tmp_path / "a.pts").read_text(encoding="utf-8").startswith("version: 1\nn_points: 68\n{\n")


def test_a_damaged_matlab_file_is_one_line(tmp_path: Path) -> None:
    matlab = pytest.importorskip("scipy.io.matlab")
    path = tmp_path / "a.mat"
    matlab.savemat(path, {"x": np.array([["ab"]], object)})
    content = bytearray(path.read_bytes())
    content[144] = 0  # the class of the array; there is no class 0
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.mat: not a MATLAB file that can be read"):
        read_matlab(path, ["x"])
