"""Files of cascades: the arrays in them are read, or refused in one line, without filling the memory."""

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canthus.errors import ConfigError, ModelFileError
from canthus.runtime.esr import EsrModel, EsrShapes, EsrStage
from canthus.runtime.landmarker import open_model
from small_networks import SIZE, small_card

CROPS = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)


def stage(**changes: np.ndarray) -> EsrStage:
    values: dict[str, Any] = {
        "near": np.zeros(3, np.int16), "offsets": np.zeros(3, np.complex64),
        "first": np.zeros((2, 2), np.int16), "second": np.ones((2, 2), np.int16),
        "thresholds": np.zeros((2, 2), np.float32), "outputs": np.zeros((2, 4, 68), np.complex64),
    }  # fmt: skip
    return EsrStage(**(values | changes))


def cascade(path: Path, **changes: np.ndarray) -> Path:
    """A cascade of one stage with other arrays in its file."""
    shape = (np.linspace(8, 24, 68) * (1 + 1j)).astype(np.complex64)
    saved = EsrModel(small_card(), EsrShapes(shape, np.stack([shape, shape])), (stage(),)).save(path)
    with np.load(saved) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | changes))
    return path


BAD_ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "another format": ({"format": np.array(9)}, "format 9, expected 1"),
    "a format that is no number": ({"format": np.array("1")}, "format is <U1 of shape"),
    "many formats": ({"format": np.ones(3, np.int64)}, r"format is int64 of shape \(3,\)"),
    "stages below zero": ({"stages": np.array(-1)}, "-1 stages"),
    "stages without end": ({"stages": np.array(2**60)}, "1152921504606846976 stages"),
    "a missing stage": ({"stages": np.array(2)}, "no array 'near_1'"),
    "a mean of other points": ({"mean": np.zeros(5, np.complex64)}, r"mean is complex64 of shape \(5,\)"),
    "a mean without extent": ({"mean": np.ones(68, np.complex64)}, "a mean shape without extent"),
    "a mean of NaN": ({"mean": np.full(68, np.nan, np.complex64)}, "mean holds numbers that are not finite"),
    "no starts": ({"starts": np.zeros((0, 68), np.complex64)}, "no starts"),
    "starts of infinity": ({"starts": np.full((1, 68), np.inf, np.complex64)}, "starts holds numbers that"),
    "a landmark beyond the last": ({"near_0": np.full(3, 68, np.int16)}, "beyond the 68 that there are"),
    "a landmark below zero": ({"near_0": np.full(3, -1, np.int16)}, "beyond the 68 that there are"),
    "a pixel beyond the last": ({"first_0": np.full((2, 2), 3, np.int16)}, "beyond the 3 that there are"),
    "floats for indices": ({"second_0": np.zeros((2, 2))}, "second_0 is float64"),
    "ferns of 40 features": (
        {"first_0": np.zeros((2, 40), np.int16), "second_0": np.zeros((2, 40), np.int16)}, "ferns of 40 features",
    ),
    "too few cells": ({"outputs_0": np.zeros((2, 3, 68, 2), np.float16)}, r"outputs_0 is float16 of shape \(2, 3,"),
    "outputs of NaN": ({"outputs_0": np.full((2, 4, 68, 2), np.nan, np.float16)}, "outputs_0 holds numbers that"),
    "objects": ({"near_0": np.array([None, {}], object)}, "near_0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_of_cascades_are_refused(name: str, tmp_path: Path) -> None:
    changes, reason = BAD_ARRAYS[name]
    path = cascade(tmp_path / "m.npz", **changes)
    with pytest.raises(ModelFileError, match=f"m.npz: not a cascade written by 'canthus fit' .*{reason}") as caught:
        open_model(path)
    assert "\n" not in str(caught.value)


def test_cut_and_changed_cascades_are_refused_or_run(tmp_path: Path) -> None:
    data = cascade(tmp_path / "m.npz").read_bytes()
    assert open_model(tmp_path / "m.npz").answer(CROPS).points.shape == (2, 68, 2)
    rng = np.random.default_rng(0)
    for number in range(150):
        changed = bytearray(data[: rng.integers(0, len(data))] if number % 3 == 0 else data)
        for place in rng.integers(0, max(1, len(changed)), 3) if changed and number % 3 else ():
            changed[place] = rng.integers(0, 256)
        (tmp_path / "m.npz").write_bytes(changed)
        with contextlib.suppress(ModelFileError):
            open_model(tmp_path / "m.npz").answer(CROPS)


def test_an_archive_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    """300 MB of zeros in one megabyte; and an array whose header promises more than its bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
    with zipfile.ZipFile(tmp_path / "promise.npz", "w") as archive:
        archive.writestr("mean.npy", header.getvalue() + bytes(80))
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("mean.npy", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(1_000_000))
    with pytest.raises(ModelFileError, match=r"would take 300,000,000 bytes, 268,435,456 are allowed"):
        open_model(tmp_path / "bomb.npz")
    with pytest.raises(ModelFileError, match=r"mean.npy: promises 1,000,000,000 numbers"):
        open_model(tmp_path / "promise.npz")


def test_names_of_cascades(tmp_path: Path) -> None:
    shape = (np.linspace(8, 24, 68) * (1 + 1j)).astype(np.complex64)
    model = EsrModel(small_card(), EsrShapes(shape, np.stack([shape, shape])), ())
    with pytest.raises(ConfigError, match="expected a name that ends in .npz"):
        model.save(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
