"""Crop packs: built once, found again, rebuilt when anything changes."""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.data.packs import load_crops, open_crops
from canthus.errors import DataError, ImageError, OutputError
from canthus.geometry import hull_box
from canthus.images import read_image, write_image
from canthus.schemes import IBUG_68
from canthus.types import Annotation


@pytest.fixture
def faces(tmp_path: Path) -> list[Annotation]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(3):
        points = rng.uniform(40, 160, (68, 2)).astype(np.float32)
        path = tmp_path / f"{i}.png"
        write_image(path, rng.integers(0, 256, (200, 200, 3), dtype=np.uint8))
        made.append(
            Annotation(
                key=path.name,
                path=path,
                points=points,
                scheme=IBUG_68,
                box=hull_box(points),
                visible=np.ones(68, bool),
                group=str(i),
            )
        )
    return made


def test_a_pack_holds_crops_and_points(faces: list[Annotation], tmp_path: Path) -> None:
    seen = []
    pack = load_crops(faces, tmp_path / "cache", size=96, margin=1.5, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (3, 3)
    assert pack.images.shape == (3, 96, 96, 3)
    assert pack.keys == ("0.png", "1.png", "2.png")
    # The longer side of the face takes size / margin pixels of the crop, about its middle.
    size = (hull_box(pack.points)[:, 2:] - hull_box(pack.points)[:, :2]).max(axis=1)
    np.testing.assert_allclose(size, 96 / 1.5, rtol=1e-4)


def test_the_second_call_reads_the_same_pack(faces: list[Annotation], tmp_path: Path) -> None:
    first = load_crops(faces, tmp_path / "cache")
    second = load_crops(faces, tmp_path / "cache", progress=lambda done, total: pytest.fail("built twice"))
    np.testing.assert_array_equal(first.images, second.images)
    assert first.content == second.content != ""


@pytest.mark.parametrize("keeps_time", [False, True])
def test_pictures_replaced_by_others_of_equal_size_make_a_new_pack(
    faces: list[Annotation], tmp_path: Path, keeps_time: bool
) -> None:
    paths = [replace(face, path=face.path.with_suffix(".bmp")) for face in faces]
    for face, bitmap in zip(faces, paths, strict=True):  # bitmaps of one shape have one size
        write_image(bitmap.path, read_image(face.path))
    first = load_crops(paths, tmp_path / "cache")
    status = paths[0].path.stat()
    write_image(paths[0].path, 255 - read_image(paths[0].path))
    assert paths[0].path.stat().st_size == status.st_size
    if keeps_time:
        os.utime(paths[0].path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = load_crops(paths, tmp_path / "cache")
    assert second.content != first.content
    assert not np.array_equal(first.images[0], second.images[0])
    np.testing.assert_array_equal(first.images[1:], second.images[1:])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_copied_pictures_keep_their_pack(faces: list[Annotation], tmp_path: Path) -> None:
    first = load_crops(faces, tmp_path / "cache")
    copies = [replace(face, path=tmp_path / "copy" / face.path.name) for face in faces]
    (tmp_path / "copy").mkdir()
    for face, copy in zip(faces, copies, strict=True):
        copy.path.write_bytes(face.path.read_bytes())
    second = load_crops(copies, tmp_path / "cache", progress=lambda done, total: pytest.fail("built twice"))
    assert first.content == second.content


def test_a_picture_that_changes_while_it_is_packed_is_an_error(faces: list[Annotation], tmp_path: Path) -> None:
    def change(done: int, total: int) -> None:
        faces[0].path.write_bytes(faces[1].path.read_bytes())

    with pytest.raises(DataError, match="have changed while they were packed"):
        load_crops(faces, tmp_path / "cache", progress=change)
    assert list((tmp_path / "cache").iterdir()) == []


def test_changed_points_make_a_new_pack(faces: list[Annotation], tmp_path: Path) -> None:
    load_crops(faces, tmp_path / "cache")
    moved = [replace(face, points=face.points + 1) for face in faces]
    pack = load_crops(moved, tmp_path / "cache")
    assert not np.allclose(pack.points, load_crops(faces, tmp_path / "cache").points)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_failed_build_leaves_nothing_behind(faces: list[Annotation], tmp_path: Path) -> None:
    faces[1].path.write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        load_crops(faces, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_faces_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no faces"):
        load_crops([], tmp_path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no points": lambda folder: (folder / "points.npy").unlink(),
    "cut points": lambda folder: _cut(folder / "points.npy"),
    "cut crops": lambda folder: _cut(folder / "crops.npy"),
    "empty crops": lambda folder: (folder / "crops.npy").write_bytes(b""),
    "cut header": lambda folder: _cut(folder / "pack.json"),
    "no header": lambda folder: (folder / "pack.json").unlink(),
    "another header": lambda folder: (folder / "pack.json").write_text("[]"),
    "no pictures": lambda folder: (folder / "pack.json").write_text('{"pictures": null}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_is_built_again(
    faces: list[Annotation], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = np.array(load_crops(faces, tmp_path / "cache").images)
    (folder,) = (tmp_path / "cache").iterdir()
    DAMAGES[damage](folder)
    with pytest.raises(DataError, match="Delete the folder"):
        open_crops(folder)
    np.testing.assert_array_equal(load_crops(faces, tmp_path / "cache").images, first)
    assert "it is built again now" in caplog.text


def test_a_full_disk_is_one_line(faces: list[Annotation], tmp_path: Path) -> None:
    """The size of a file is limited instead: the writes then fail at any byte, as on a full disk."""
    earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cache: the pack cannot be written \(the file would be larger"):
            load_crops(faces, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, earlier)
    assert list((tmp_path / "cache").iterdir()) == []
