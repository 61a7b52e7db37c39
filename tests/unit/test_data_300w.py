"""300-W in its official layout, written small."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from canthus.data import load_dataset
from canthus.data.formats import write_pts
from canthus.data.ibug_300w import HELEN_TRAIN, LFPW_TRAIN, photo
from canthus.errors import ConfigError, DataError
from canthus.images import write_image

FILES = (
    "afw/1051618982_1.jpg",
    "afw/111076519_1.jpg",
    "afw/111076519_2.jpg",
    "helen/trainset/100032540_1.jpg",
    "helen/trainset/111076519_3.jpg",
    "helen/testset/296814969_3.jpg",
    "lfpw/trainset/image_0001.png",
    "lfpw/trainset/image_0002.png",
    "lfpw/testset/image_0001.png",
    "ibug/image_003_1.jpg",
    "ibug/image_092 _01.jpg",
    "300W/01_Indoor/indoor_001.png",
    "300W/02_Outdoor/outdoor_001.png",
)


def _write(root: Path, *names: str) -> None:
    points = np.stack([np.arange(68) % 9 + 3, np.arange(68) / 5 + 2], axis=1)
    for number, name in enumerate(names):
        write_image(root / name, np.full((24, 20, 3), number, np.uint8))
        write_pts((root / name).with_suffix(".pts"), points + number / 10)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _write(tmp_path, *FILES)
    return tmp_path


@pytest.mark.parametrize(
    ("split", "folders"),
    [
        ("train", ("afw/", "helen/trainset/", "lfpw/trainset/")),
        ("common", ("helen/testset/", "lfpw/testset/")),
        ("challenging", ("ibug/",)),
        ("full", ("helen/testset/", "lfpw/testset/", "ibug/")),
        ("private", ("300W/",)),
    ],
)
def test_splits_are_recognised_by_folder(root: Path, split: str, folders: tuple[str, ...]) -> None:
    keys = [face.key for face in load_dataset("300w", root, split)]
    assert keys == sorted(name for name in FILES if name.startswith(folders))


def test_face_is_read_whole(root: Path) -> None:
    face = load_dataset("300w", root, "challenging")[1]
    assert (face.key, face.path, face.subset) == ("ibug/image_092 _01.jpg", root / "ibug" / "image_092 _01.jpg", "ibug")
    assert face.points[0].tolist() == pytest.approx([4.0, 3.0])
    assert face.box.tolist() == pytest.approx([4.5, 3.5, 12.5, 16.9])
    assert face.scheme.name == "ibug_68"
    assert face.visible.all()


def test_photo_groups() -> None:
    """Numbers name photos in AFW and HELEN together; in LFPW the whole name does, but some photos have several."""
    assert photo(HELEN_TRAIN, "111076519_3") == "photo/111076519"
    assert photo(LFPW_TRAIN, "image_0001") != photo(LFPW_TRAIN, "image_0002")
    assert photo(LFPW_TRAIN, "image_0052") == photo(LFPW_TRAIN, "image_0003") == "lfpw/trainset/image_0003"


def test_faces_of_one_photo_share_a_group(root: Path) -> None:
    groups = {face.key: face.group for face in load_dataset("300w", root, "train")}
    assert groups["afw/111076519_1.jpg"] == groups["afw/111076519_2.jpg"] == groups["helen/trainset/111076519_3.jpg"]
    assert len(set(groups.values())) == 5
    train, test = (load_dataset("300w", root, split) for split in ("train", "full"))
    assert not {face.group for face in train} & {face.group for face in test}


def test_fit_and_validation_divide_train(tmp_path: Path) -> None:
    _write(tmp_path, *(f"afw/{1000 + i // 2}_{1 + i % 2}.jpg" for i in range(120)))
    train, fit, validation = (load_dataset("300w", tmp_path, split) for split in ("train", "fit", "validation"))
    assert sorted(face.key for face in fit + validation) == [face.key for face in train]
    assert not {face.group for face in fit} & {face.group for face in validation}
    assert 0 < len(validation) < len(fit)


@pytest.mark.parametrize("folder", ["01_Indoor", "300W/01_Indoor", "private", "300w", "Test/01_Indoor"])
def test_private_set_in_its_usual_places(tmp_path: Path, folder: str) -> None:
    _write(tmp_path, f"{folder}/indoor_001.png", f"{folder}/indoor_002.png")
    assert [face.subset for face in load_dataset("300w", tmp_path, "private")] == ["private", "private"]


def test_case_of_folders_and_suffixes_does_not_matter(tmp_path: Path) -> None:
    _write(tmp_path, "AFW/1_1.JPG", "Helen/TrainSet/2_1.jpg")
    assert [face.key for face in load_dataset("300w", tmp_path, "train")] == ["AFW/1_1.JPG", "Helen/TrainSet/2_1.jpg"]


def test_mirrored_copies_are_left_out(root: Path) -> None:
    _write(root, "ibug/image_003_1_mirror.jpg")
    assert len(load_dataset("300w", root, "challenging")) == 2


def test_a_root_one_folder_too_high_is_pointed_out(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    above = tmp_path_factory.mktemp("above")  # the parent of `root` holds the folders of other tests as well
    inner = Path(shutil.copytree(root, above / "300w"))
    with pytest.raises(DataError, match=rf"expected .pts files in helen/testset/, lfpw/testset/.*Did you mean {inner}"):
        load_dataset("300w", above, "common")
    with pytest.raises(DataError, match="no such folder; expected the root of 300-W"):
        load_dataset("300w", root / "none", "train")


def test_a_split_that_is_not_there_names_its_folders(tmp_path: Path) -> None:
    _write(tmp_path, "afw/1_1.jpg")
    with pytest.raises(DataError, match=r"expected .pts files in ibug/; found afw/"):
        load_dataset("300w", tmp_path, "challenging")


def test_all_damaged_files_are_listed(root: Path) -> None:
    (root / "afw/1051618982_1.pts").write_text("1 2\n3\n", encoding="utf-8")
    (root / "afw/111076519_1.jpg").unlink()
    (root / "lfpw/trainset/image_0001.pts").write_text("1 2\n" * 5, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_dataset("300w", root, "train")
    text = str(caught.value)
    assert "3 problems" in text
    assert "afw/1051618982_1.pts" in text
    assert "found '3'" in text
    assert "afw/111076519_1.pts: no picture of that name beside it" in text
    assert "lfpw/trainset/image_0001.pts: expected 68 points, found 5" in text


def test_pictures_without_points_are_left_out_with_a_warning(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "afw/1051618982_1.pts").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(load_dataset("300w", root, "train")) == 6
    assert "1 pictures have no label" in caplog.text


def test_unknown_split_and_wrong_scheme(root: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'challenging'"):
        load_dataset("300w", root, "challenge")
    with pytest.raises(ConfigError, match="300w has points of ibug_68, not wflw_98"):
        load_dataset("300w", root, "train", scheme="wflw_98")


@pytest.mark.real_data
def test_real_training_set(shared_data: Path) -> None:
    train, fit, validation = (load_dataset("300w", shared_data / "300w", s) for s in ("train", "fit", "validation"))
    counts = {subset: sum(face.subset == subset for face in train) for subset in ("afw", "helen", "lfpw")}
    assert counts == {"afw": 337, "helen": 870, "lfpw": 802}
    assert (len(train), len(fit), len(validation)) == (2009, 1810, 199)
    assert len({face.group for face in train}) == 1702
    assert not {face.group for face in fit} & {face.group for face in validation}
    assert max(float(np.nanmax(face.box[2:] - face.box[:2])) for face in train) <= 161
