import contextlib
import itertools
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from canthus import images
from canthus.errors import ImageError
from canthus.image_files import MAX_MEMORY, check_picture_file, is_cut_short, picture_sides, read_header
from canthus.images import read_ahead, read_images, write_image


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        write_image(path, np.full((4, 4 + number, 3), number, np.uint8))
    paths[2].write_bytes(b"")
    return paths


@pytest.mark.parametrize("ahead", [1, 2, 10])
def test_pictures_and_errors_come_in_order(files: list[Path], ahead: int) -> None:
    results = list(read_images(files, ahead=ahead))
    assert [path for path, _ in results] == files
    for number, (_, image) in enumerate(results):
        if number == 2:
            assert isinstance(image, ImageError)
        else:
            assert isinstance(image, np.ndarray)
            assert image.shape == (4, 4 + number, 3)


def test_reading_is_lazy_and_bounded(files: list[Path]) -> None:
    taken: list[int] = []

    def endless() -> Iterator[Path]:
        for number in itertools.count():
            taken.append(number)
            yield files[0]

    stream = read_images(endless(), ahead=2)
    for _ in range(5):
        next(stream)
    assert len(taken) <= 5 + 2
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("canthus-read")]


def test_no_path_gives_nothing() -> None:
    assert list(read_images([])) == []


def test_ahead_below_one_is_refused(files: list[Path]) -> None:
    with pytest.raises(ValueError, match="at least 1 picture ahead, found 0"):
        next(read_images(files, ahead=0))


def test_large_pictures_are_not_decoded_while_another_is_in_use(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AHEAD_BYTES", 100)
    begun: list[Path] = []
    done = threading.Event()
    decode = images._decode

    def noted(data: bytes, name: str, wait: Callable[[int], None]) -> np.ndarray:
        begun.append(Path(name))
        image = decode(data, name, wait)
        done.set()
        return image

    monkeypatch.setattr(images, "_decode", noted)
    stream = read_images([files[0], files[1], files[3]])
    next(stream)
    done.clear()
    assert not done.wait(0.05)  # the next picture would need more than 100 bytes beside this one
    assert [path for path, _ in stream] == [files[1], files[3]]
    assert begun == [files[0], files[1], files[3]]


def test_a_reader_that_waits_for_memory_ends_with_its_caller(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AHEAD_BYTES", 100)
    stream = read_images(files)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("canthus-read")]


@pytest.mark.parametrize(
    "suffix",
    [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif", ".jp2", ".avif", ".ppm", ".pam", ".ras", ".hdr"],
)
def test_sides_are_read_from_the_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    write_image(path, np.random.default_rng(0).integers(0, 255, (37, 91, 3), dtype=np.uint8))
    data = path.read_bytes()
    assert picture_sides(data) == (91, 37)
    assert not is_cut_short(data)
    with pytest.raises(ImageError, match=r"91 x 37 pixels is more than the 0 million allowed"):
        check_picture_file(data, name="picture", max_pixels=91 * 37 - 1)
    check_picture_file(data, name="picture", max_pixels=91 * 37)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_every_cut_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    write_image(path, np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8))
    data = path.read_bytes()
    # PNG's end is the name of its last chunk; the eight bytes after it are a checksum and never pixels.
    least = 8 if suffix == ".png" else 1
    for length in range(16, len(data) - least, 7):
        with pytest.raises(ImageError, match="cut short"):
            check_picture_file(data[:length], name="picture")


def test_unknown_formats_have_no_header() -> None:
    assert picture_sides(b"P6 three") is None
    assert read_header(b"anything") is None
    assert check_picture_file(b"anything", name="x") is None


def test_memory_counts_what_each_decoder_needs() -> None:
    def header(text: str) -> bytes:
        return text.encode() + bytes(1_000_000)

    grey = read_header(header("P5 1000 900 255\n"))
    assert grey is not None
    assert (grey.pixels, grey.memory) == (900_000, 5_580_000)  # measured: 6.1 bytes a pixel
    radiance = header("#?RADIANCE\n\n-Y 15000 +X 15000\n")
    with pytest.raises(ImageError, match=r"of HDR would take 3.5 GB to decode, 2.5 GB are allowed; shrink it"):
        check_picture_file(radiance, name="x")
    assert MAX_MEMORY == 2_500_000_000


def nested(kind: bytes, depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = struct.pack(">I4s", 8 + len(body), kind) + body
    return body


@pytest.mark.parametrize(
    "body",
    [nested(b"trak", 20_000), bytes(64), struct.pack(">I4sQ", 1, b"meta", 2**60), b"\xff" * 64, nested(b"ipma", 1)],
    ids=["nested", "endless", "huge", "noise", "empty"],
)
def test_boxes_of_strangers_end(body: bytes) -> None:
    data = struct.pack(">I4s4sI4s", 20, b"ftyp", b"avif", 0, b"avif") + body
    with contextlib.suppress(ImageError):
        assert check_picture_file(data, name="x") is None


@pytest.mark.parametrize(
    ("part", "reason"), [(b"\xff\xe0\0\2", "cut short"), (b"\xff\xda\0\2", "has more than 200 scans")]
)
def test_jpegs_of_endless_parts_are_refused_soon(part: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        check_picture_file(b"\xff\xd8" + part * 20_000, name="x")


@pytest.mark.parametrize(("ahead", "taken"), [(0, 1), (1, 2), (3, 4)])
def test_items_are_read_ahead_in_order(ahead: int, taken: int) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            read.append(number)
            yield number

    items = read_ahead(numbers(), ahead=lambda _: ahead)
    first = next(items)
    if ahead == 0:
        assert read == [0]
    found = [first, *items]
    assert found == list(range(10))
    read.clear()
    items = read_ahead(numbers(), ahead=lambda _: ahead)
    next(items)
    items.close()
    assert len(read) <= taken


def test_an_error_of_what_is_read_ahead_comes_in_its_turn() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ImageError("damaged")

    items = read_ahead(numbers(), ahead=lambda _: 2)
    assert next(items) == 1
    with pytest.raises(ImageError, match="damaged"):
        next(items)
