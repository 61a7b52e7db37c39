"""Crop packs: built once, found again, rebuilt when anything changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.data.packs import load_crops, open_crops
from canthus.errors import DataError, ImageError
from canthus.geometry import hull_box
from canthus.images import write_image
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
    for face in faces:
        data = face.path.read_bytes()
        face.path.write_bytes(bytes(len(data)))  # same length, no picture any more: reading it would fail
    second = load_crops(faces, tmp_path / "cache")
    np.testing.assert_array_equal(first.images, second.images)


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


def test_a_damaged_pack_says_what_to_do(faces: list[Annotation], tmp_path: Path) -> None:
    load_crops(faces, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "points.npy").unlink()
    with pytest.raises(DataError, match="Delete the folder"):
        open_crops(folder)
