from pathlib import Path

import numpy as np
import pytest
import scipy.io

from canthus.data.mat_files import read_mat
from canthus.errors import DataError


def column(*values: object) -> np.ndarray:
    cells = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        cells[index, 0] = value
    return cells


@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_texts_and_cells_come_back(tmp_path: Path, compressed: bool) -> None:
    table = np.arange(12, dtype=np.float64).reshape(3, 4)
    written = {
        "table": table,
        "small": np.array([[1, 2]], np.uint8),
        "wide": np.array([[-70000]], np.int32),
        "name": "0--Parade",
        "nothing": np.zeros((0, 4)),
        "cells": column("a", table, column("über", np.array([[1.5]]))),
    }
    scipy.io.savemat(tmp_path / "a.mat", written, do_compression=compressed)
    back = read_mat(tmp_path / "a.mat")
    assert set(back) == set(written)
    for name in ("table", "small", "wide", "nothing"):
        np.testing.assert_array_equal(back[name], written[name])  # type: ignore[arg-type]
    assert back["name"] == "0--Parade"
    cells = back["cells"]
    assert isinstance(cells, np.ndarray)
    assert cells.shape == (3, 1)
    assert cells[0, 0] == "a"
    np.testing.assert_array_equal(cells[1, 0], table)
    assert cells[2, 0][0, 0] == "über"


def test_whole_numbers_kept_in_fewer_bytes_come_back(tmp_path: Path) -> None:
    """MATLAB itself shortens doubles that are whole; written here by hand: 300 and 2 as 16-bit numbers, in a tag."""
    parts = b"".join(
        [
            np.array([6, 8, 6, 0], "<u4").tobytes(),  # flags: class double
            np.array([5, 8, 1, 2], "<i4").tobytes(),  # 1 x 2
            np.array([1 << 16 | 1], "<u4").tobytes() + b"x\0\0\0",  # name
            np.array([4 << 16 | 4], "<u4").tobytes() + np.array([300, 2], "<u2").tobytes(),
        ]
    )
    header = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(header + np.array([14, len(parts)], "<u4").tobytes() + parts)
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat")["x"], [[300, 2]])  # type: ignore[arg-type]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with pytest.raises(DataError, match="cannot be read"):
        read_mat(path)
    path.write_bytes(b"\x89HDF" + bytes(300))
    with pytest.raises(DataError, match="version 5"):
        read_mat(path)
    scipy.io.savemat(path, {"x": np.array([[1 + 2j]])})
    with pytest.raises(DataError, match="more than numbers"):
        read_mat(path)
    scipy.io.savemat(path, {"x": {"field": 1}})
    with pytest.raises(DataError, match="more than numbers"):
        read_mat(path)


def test_files_cut_short_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"cells": column("a", np.arange(100.0))})
    data = path.read_bytes()
    for end in (140, 200, len(data) - 20):
        path.write_bytes(data[:end])
        with pytest.raises(DataError, match="damaged"):
            read_mat(path)
