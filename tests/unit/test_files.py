"""Files are written whole or not at all, and never over a picture, a video, a model or an input."""

import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from canthus.errors import CanthusError, ConfigError, DataError, OutputError
from canthus.files import LineFile, check_targets, content_kind, read_arrays, write_bytes, write_text, written
from canthus.zoo import embedded_models


def picture(path: Path) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    return path


def test_a_file_that_is_written_replaces_the_old_one_with_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    write_text(path, "first")
    path.chmod(0o640)
    write_text(path, "second")
    assert path.read_text() == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [child.name for child in path.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_exception_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    write_text(path, "first")
    with pytest.raises(OutputError if error is OSError else error), written(path) as aside:
        aside.write_text("sec")
        raise error
    assert path.read_text() == "first"
    assert [child.name for child in tmp_path.iterdir()] == ["result.json"]


def test_an_error_about_another_file_keeps_its_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written(tmp_path / "result.json"):
        (tmp_path / "missing").read_bytes()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "result.json")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "result.json").read_text() == "text"


def test_a_device_is_written_directly() -> None:
    write_text("/dev/null", "text")
    assert not Path("/dev/null").is_file()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "below", Path("/dev/full"), tmp_path / ("n" * 300)):
        with pytest.raises(OutputError, match="cannot be written") as raised:
            write_text(path, "text")
        assert "\n" not in str(raised.value)


def test_lines_reach_the_disk_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("old\n")
    with LineFile(path) as file:
        assert path.read_text() == "old\n"
        file.write("first\n")
        assert path.read_text() == "first\n"
        file.write("second\n")
    assert path.read_text() == "first\nsecond\n"


def test_a_file_of_no_lines_is_not_made_and_an_old_one_stays(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    for name in ("old", "new"):
        with LineFile(tmp_path / name):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old\n"


FULL = """
import resource, sys
from canthus.errors import OutputError
from canthus.files import LineFile, write_text
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if sys.argv[1] == "lines":
        with LineFile("out") as file:
            for number in range(20):
                file.write(f"line {number:04d}\\n")
    else:
        write_text("out", "x" * 200)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 1, 9, 10, 55, 100, 199])
def test_a_full_disk_leaves_whole_lines_or_the_old_file(tmp_path: Path, limit: int) -> None:
    for kind in ("lines", "text"):
        (tmp_path / "out").write_text("old\n")
        run = subprocess.run(
            [sys.executable, "-c", FULL, kind, str(limit)], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert (
            run.stdout
            == "out: cannot be written (the file would be larger than is allowed here); choose another place\n"
        )
        expected = "".join(f"line {number:04d}\n" for number in range(limit // 10)) if kind == "lines" else "old\n"
        assert (tmp_path / "out").read_text() == expected
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def pillow(kind: str) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


CONTENT = {
    **{kind: (pillow(kind), "picture") for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")},
    "mp4": (b"\0\0\0\x20ftypisom" + bytes(20), "video"),
    "avif": (b"\0\0\0\x20ftypavif" + bytes(20), "picture"),
    "mkv": (b"\x1aE\xdf\xa3" + bytes(20), "video"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "video"),
    "ts": ((b"\x47" + bytes(187)) * 3, "video"),
    "npz": (b"PK\x03\x04" + bytes(20), "model"),
    "unknown_riff": (b"RIFF\0\0\0\0WEBX", None),
    "text": (b"BMW, G, ID3\n" * 60, None),
    "json": (b'{"a": 1}', None),
    "empty": (b"", None),
}


@pytest.mark.parametrize("name", CONTENT)
def test_the_content_of_a_file_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    data, kind = CONTENT[name]
    (tmp_path / "file").write_bytes(data)
    assert content_kind(tmp_path / "file") == kind
    if kind:
        with pytest.raises(ConfigError, match="--json: .* would overwrite a "):
            check_targets([], text={"--json": tmp_path / "file"})


def test_an_embedded_model_is_a_model() -> None:
    assert {content_kind(Path(path)) for path in embedded_models().values()} == {"model"}


def test_inputs_and_other_outputs_are_not_overwritten_under_any_name(tmp_path: Path) -> None:
    photo = tmp_path / "photo.txt"
    photo.write_text("an input")
    (tmp_path / "soft").symlink_to(photo)
    os.link(photo, tmp_path / "hard")
    (tmp_path / "folder").mkdir()
    for name in ("photo.txt", "soft", "hard", "folder/../photo.txt"):
        with pytest.raises(ConfigError, match="--csv: .* would overwrite the input"):
            check_targets([photo], text={"--csv": tmp_path / name})
    with pytest.raises(ConfigError, match="--json and --out are the same file, "):
        check_targets([], text={"--json": f"{tmp_path}/folder/../x"}, video={"--out": tmp_path / "x"})
    with pytest.raises(ConfigError, match="--json - and --csv - would mix"):
        check_targets([], text={"--json": "-", "--csv": "-"})
    check_targets([photo, None], text={"--json": "-", "--csv": tmp_path / "x"}, video={"--out": None})
    check_targets([], text={"--json": "/dev/null", "--csv": "/dev/null"})


def test_only_pictures_that_canthus_wrote_are_replaced(tmp_path: Path) -> None:
    path = picture(tmp_path / "plot.png")
    with pytest.raises(ConfigError, match="--plot: .* would overwrite a picture"):
        check_targets([], picture={"--plot": path})
    write_bytes(path, path.read_bytes() + b"written by canthus")
    check_targets([], picture={"--plot": path})
    with pytest.raises(ConfigError, match="--out: .* would overwrite a picture"):
        check_targets([], video={"--out": path})


def test_an_output_error_is_an_error_of_canthus() -> None:
    assert issubclass(OutputError, CanthusError)


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array("a card"),
        "one": np.array(7),
        "none": np.zeros((0, 5)),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    read = read_arrays(tmp_path / "a.npz")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
        assert read[name].flags.writeable


def npz(path: Path, body: bytes, *, shape: str, dtype: str = "<f4") -> Path:
    """An archive of one array, whose header is what the arguments say."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + body)
    return path


def test_archives_that_would_fill_the_memory_are_refused_unread(tmp_path: Path) -> None:
    zeros = npz(tmp_path / "zeros.npz", bytes(4_000_000), shape="(1000000,)")
    assert zeros.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"would take 4,000,\d+ bytes, 1,000,000 are allowed"):
        read_arrays(zeros, 1_000_000)
    assert len(read_arrays(zeros, 5_000_000)["a"]) == 1_000_000
    with pytest.raises(DataError, match=r"has [\d,]+ bytes, more than the 100 allowed"):
        read_arrays(zeros, 100)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ("(1000000000,)", "<f4", r"promises 1,000,000,000 numbers of type float32, holds others"),
        ("(-1, -2)", "<f4", "holds others"),
        ("(2,)", "|O", "holds Python objects"),
        ("(2,", "<f4", "not an .npz file, or damaged"),
        ("()", "<f8", None),
    ],
)
def test_headers_of_arrays_are_checked(tmp_path: Path, shape: str, dtype: str, message: str | None) -> None:
    path = npz(tmp_path / "a.npz", bytes(8), shape=shape, dtype=dtype)
    if message is None:
        assert read_arrays(path)["a"] == 0
        return
    with pytest.raises(DataError, match=message):
        read_arrays(path)


@pytest.mark.parametrize("cut", [0, 1, 40, 200, -1, -30])
def test_damaged_archives_give_one_error(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, numbers=np.random.default_rng(0).random(100))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=f"{path}: not an .npz file, or damaged"):
        read_arrays(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_arrays(tmp_path / "none.npz")


def test_a_new_file_without_room_for_a_line_is_not_left_behind(tmp_path: Path) -> None:
    run = [sys.executable, "-c", FULL, "lines", "5"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("out: cannot be written")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "header",
    [
        "{",
        "a b",
        "-" * 9000 + "1",
        "{[]: 1}",
        "{1: 2, 'a': 3}",
        " x\n y",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
    ],
)
def test_headers_of_arrays_that_are_no_header_are_one_line(header: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(8))
    with pytest.raises(DataError, match=r"a.npz: not an .npz file, or damaged"):
        read_arrays(tmp_path / "a.npz")
