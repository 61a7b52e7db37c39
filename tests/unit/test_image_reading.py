import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ImageError
from canthus.image_files import check_picture_file, is_cut_short, picture_sides
from canthus.images import read_images, write_image


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


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".gif"])
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


def test_unknown_formats_pass() -> None:
    assert picture_sides(b"P6 3 3 255 ...") is None
    check_picture_file(b"anything", name="x")
