"""YouTube Faces frames in their layout, written small."""

from pathlib import Path

import numpy as np
import pytest

from canthus.data import load_dataset
from canthus.data.ytf import person
from canthus.errors import DataError
from canthus.images import write_image

NAMES = {"training": ("Ann_Lee_00.jpg", "Ann_Lee_10.jpg", "Bo-Jan_Li_01.jpg"), "test": ("Ann_Lee_02.jpg",)}


def _line(name: str, shift: float) -> str:
    return ",".join([name, *(f"{shift + i / 4:.2f}" for i in range(136))])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, names in NAMES.items():
        header = "," + ",".join(str(i) for i in range(136))
        lines = [header, *(_line(name, number) for number, name in enumerate(names))]
        (tmp_path / f"{folder}_frames_keypoints.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for number, name in enumerate(names):
            write_image(tmp_path / folder / name, np.full((40, 40, 3), number, np.uint8))
    return tmp_path


def test_given_splits(root: Path) -> None:
    assert [face.key for face in load_dataset("ytf", root, "train")] == [
        f"training/{name}" for name in NAMES["training"]
    ]
    assert [face.key for face in load_dataset("ytf", root, "test")] == ["test/Ann_Lee_02.jpg"]
    assert len(load_dataset("ytf", root, "all")) == 4


def test_points_count_from_zero(root: Path) -> None:
    face = load_dataset("ytf", root, "train")[1]
    assert face.points[:2].tolist() == [[1.0, 1.25], [1.5, 1.75]]
    assert face.subset == "train"
    assert face.path.is_file()


def test_group_is_the_person(root: Path) -> None:
    assert {face.group for face in load_dataset("ytf", root, "all")} == {"person/Ann_Lee", "person/Bo-Jan_Li"}
    assert person("Abdel_Aziz_Al-Hakim_52.jpg") == "person/Abdel_Aziz_Al-Hakim"


def test_fit_and_validation_share_no_person(root: Path) -> None:
    fit, validation = (load_dataset("ytf", root, split) for split in ("fit", "validation"))
    assert len(fit) + len(validation) == 4
    assert not {face.group for face in fit} & {face.group for face in validation}


def test_damaged_lines_are_listed_with_their_numbers(root: Path) -> None:
    path = root / "training_frames_keypoints.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].rsplit(",", 1)[0]
    lines[2] = lines[2].rsplit(",", 1)[0] + ",x"
    lines += [_line("Nobody_00.jpg", 0), _line("Bo-Jan_Li_01.jpg", 0).rsplit(",", 1)[0] + ",inf"]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_dataset("ytf", root, "train")
    text = str(caught.value)
    assert "4 problems" in text
    assert "training_frames_keypoints.csv:2: expected a name and 136 numbers, found 135" in text
    assert "training_frames_keypoints.csv:3: expected numbers" in text
    assert "training_frames_keypoints.csv:5: training/Nobody_00.jpg is not there" in text
    assert "training_frames_keypoints.csv:6: expected finite numbers" in text


def test_missing_csv_names_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected test_frames_keypoints.csv beside the folder test/"):
        load_dataset("ytf", tmp_path, "test")


@pytest.mark.real_data
def test_real_set(shared_data: Path) -> None:
    root = shared_data / "ytf"
    sizes = {split: len(load_dataset("ytf", root, split)) for split in ("train", "test", "all", "fit", "validation")}
    assert sizes == {"train": 3462, "test": 770, "all": 4232, "fit": 3788, "validation": 444}
    fit, validation = (load_dataset("ytf", root, split) for split in ("fit", "validation"))
    assert len({face.group for face in fit + validation}) == 347
    assert not {face.group for face in fit} & {face.group for face in validation}
