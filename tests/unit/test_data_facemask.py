"""Face mask pictures in their layout, written small."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from canthus.data import check_dataset
from canthus.data.facemask import HABIT
from canthus.data.scenes import load_scenes
from canthus.errors import DataError
from canthus.images import write_image


def face(label: str, *box: object) -> str:
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{label}</name><difficult>0</difficult><bndbox>{sides}</bndbox></object>"


def write_picture(root: Path, name: str, *faces: str) -> None:
    image = np.random.default_rng(len(name) + ord(name[0])).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    write_image(root / "images" / f"{name}.jpg", image)
    (root / "annotations").mkdir(exist_ok=True)
    size = "<size><width>80</width><height>60</height><depth>3</depth></size>"
    xml = f"<annotation><filename>{name}.jpg</filename>{size}{''.join(faces)}</annotation>"
    (root / "annotations" / f"{name}.xml").write_text(xml, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_picture(tmp_path, "b", face("with_mask", 1, 1, 80, 60), face("mask_weared_incorrect", 5, 6, 25, 36))
    write_picture(tmp_path, "a", face("without_mask", 11, 12, 30, 40))
    write_picture(tmp_path, "c")
    write_picture(tmp_path, "d", face("with_mask", 3, 3, 20, 20))
    for name, pictures in (("train", "b a"), ("validate", "c"), ("test", "d")):
        text = "".join(f"{picture}.jpg\n" for picture in pictures.split())
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    return tmp_path


def test_boxes_count_from_one_and_name_the_last_pixel(root: Path) -> None:
    one, two = load_scenes("facemask", root, "train")
    assert [one.key, two.key] == ["images/a.jpg", "images/b.jpg"]
    np.testing.assert_array_equal(one.boxes, [[10, 11, 30, 40]])
    np.testing.assert_array_equal(two.boxes, [[0, 0, 80, 60], [4, 5, 25, 36]])
    assert two.labels == ("with_mask", "mask_weared_incorrect")
    assert np.isnan(two.points).all()
    assert two.points.shape == (2, 5, 2)
    assert two.complete
    assert two.habit == HABIT


def test_lists_are_splits(root: Path) -> None:
    splits = {
        split: len(load_scenes("facemask", root, split)) for split in ("train", "fit", "validation", "test", "all")
    }
    assert splits == {"train": 2, "fit": 2, "validation": 1, "test": 1, "all": 4}
    (empty,) = load_scenes("facemask", root, "validation")
    assert (empty.boxes.shape, empty.points.shape, empty.labels) == ((0, 4), (0, 5, 2), ())


def test_damage_is_listed_with_the_file(root: Path) -> None:
    write_picture(root, "a", face("with_mask", 1, "x", 3, 4))
    write_picture(root, "b", face("no_mask", 1, 2, 3, 4))
    write_picture(root, "e", face("with_mask", 9, 2, 3, 4))
    write_picture(root, "f")
    (root / "annotations/f.xml").write_text("<annotation>\n<object>", encoding="utf-8")
    write_picture(root, "g")
    (root / "annotations/g.xml").unlink()
    entity = '<!DOCTYPE annotation [<!ENTITY n "with_mask">]>' + face("with_mask", 1, 2, 3, 4)
    write_picture(root, "i")
    (root / "annotations/i.xml").write_text(entity, encoding="utf-8")
    names = ["a", "b", "e", "f", "g", "h", "i"]
    (root / "train.txt").write_text("\n".join(f"{name}.jpg" for name in names), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_scenes("facemask", root, "train")
    text = str(caught.value)
    assert "7 problems" in text
    assert "annotations/a.xml: object 1: expected numbers xmin, ymin, xmax, ymax" in text
    assert "annotations/b.xml: object 1 has the name 'no_mask'; expected one of with_mask" in text
    assert "annotations/e.xml: object 1: expected a bndbox with xmin <= xmax and ymin <= ymax, found 9 2 3 4" in text
    assert "annotations/f.xml:2: not xml" in text
    assert "annotations/g.xml: cannot be read" in text
    assert "train.txt:6: images/h.jpg is not there" in text
    assert "annotations/i.xml: has a document type" in text


def test_a_missing_list_is_named(root: Path) -> None:
    (root / "test.txt").unlink()
    with pytest.raises(DataError, match=r"test.txt: cannot be read.*expected it beside images/ and annotations/"):
        load_scenes("facemask", root, "test")
    report = check_dataset("facemask", root)
    assert [(part.name, part.faces, part.status) for part in report.parts] == [
        ("train", 3, "partial"),
        ("validation", 0, "absent"),
        ("test", 0, "absent"),
    ]


def test_check_finds_boxes_outside_and_boxes_twice(root: Path) -> None:
    box = face("with_mask", 21, 21, 40, 40)
    write_picture(root, "a", box, box, face("with_mask", 70, 30, 120, 50))
    report = check_dataset("facemask", root)
    assert [str(problem) for problem in report.problems] == [
        "images/a.jpg: the centre of the box (69.0, 29.0, 120.0, 50.0) lies outside the 80x60 picture",
        "images/a.jpg: the box (20.0, 20.0, 40.0, 40.0) is there twice (overlap 1.00)",
    ]


@pytest.mark.real_data
def test_real_set(shared_data: Path) -> None:
    scenes = {
        split: load_scenes("facemask", shared_data / "facemask", split) for split in ("train", "validation", "test")
    }
    assert {split: len(found) for split, found in scenes.items()} == {"train": 682, "validation": 85, "test": 86}
    labels = Counter(label for found in scenes.values() for scene in found for label in scene.labels)
    assert labels == {"with_mask": 3232, "without_mask": 717, "mask_weared_incorrect": 123}
    assert sum(labels.values()) == 4072
