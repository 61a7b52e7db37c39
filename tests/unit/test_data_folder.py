"""A user's own folder: ``.pts`` files, csv, json."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from canthus.data import load_dataset
from canthus.data.formats import write_pts
from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, DataError
from canthus.geometry import box_iou, hull_box
from canthus.images import write_image
from canthus.schemes import IBUG_68, convert, find_scheme

FIVE = [[10.0, 10.0], [20.0, 10.5], [15.0, 15.0], [11.0, 20.0], [19.0, 20.0]]
BOX = pytest.approx([5.625, 7.315, 25.375, 26.625])
"""Their hull, 10 pixels wide about (15.5, 15.5), by ``schemes.FIVE.face_box``."""
FLAT = ",".join(f"{value}" for point in FIVE for value in point)


def _pictures(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        write_image(root / name, np.full((32, 30, 3), number, np.uint8))


def _json(root: Path, data: object, name: str = "labels.json") -> Path:
    path = root / name
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_pts_beside_pictures_in_sub_folders(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg", "more/b.png")
    for name in ("a.pts", "more/b.pts"):
        write_pts(tmp_path / name, np.array(FIVE))
    faces = load_dataset("folder", tmp_path, "all")
    assert [face.key for face in faces] == ["a.jpg", "more/b.png"]
    assert faces[0].points.tolist() == FIVE
    assert faces[0].scheme.name == "five"
    assert faces[0].box.tolist() == BOX


def test_five_points_without_boxes_have_the_face_box_of_a_detector(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    drawn = draw_face(np.random.default_rng(0), size=96).points
    _json(tmp_path, [{"image": "a.jpg", "points": convert(drawn, IBUG_68, find_scheme("five")).tolist()}])
    [face] = load_dataset("folder", tmp_path, "all")
    assert box_iou(face.box[None], hull_box(drawn)[None])[0, 0] > 0.6


@pytest.mark.parametrize("header", ["", "name,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4\n", ",0,1,2,3,4,5,6,7,8,9\n"])
def test_csv_with_and_without_header(tmp_path: Path, header: str) -> None:
    _pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "points.csv").write_text(f"{header}a.jpg,{FLAT}\n\nb.jpg,{FLAT}\n", encoding="utf-8")
    faces = load_dataset("folder", tmp_path, "all")
    assert [face.key for face in faces] == ["a.jpg", "b.jpg"]
    assert faces[1].points.tolist() == FIVE


def test_csv_that_detect_writes(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    columns = ["image", "width", "height", "face", "x1", "y1", "x2", "y2", "score", "scheme"]
    header = ",".join(columns + [f"point_{i}_{axis}" for i in range(5) for axis in "xy"])
    start = "photos/a.jpg,30,32,{},5.0,5.0,25.0,25.0,0.9,five,"
    rows = [start.format(0) + FLAT, start.format(1) + FLAT, start.format(2).replace("25.0", "x") + FLAT]
    path = tmp_path / "found.csv"
    path.write_text("\n".join([header, *rows[:2]]), encoding="utf-8")
    faces = load_dataset("folder", tmp_path, "all")
    assert [(face.key, face.box.tolist()) for face in faces] == [("a.jpg", [5, 5, 25, 25]), ("a.jpg#2", [5, 5, 25, 25])]
    assert faces[1].points.tolist() == FIVE
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    with pytest.raises(DataError, match=r"found.csv:4: expected numbers in the columns x1, y1, x2, y2"):
        load_dataset("folder", tmp_path, "all")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_of_other_spreadsheets(tmp_path: Path, delimiter: str) -> None:
    _pictures(tmp_path, "a b.jpg")
    text = "\ufeff" + f"a b.jpg,{FLAT}\r\n".replace(",", delimiter)
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    assert load_dataset("folder", tmp_path, "all")[0].points.tolist() == FIVE


def test_empty_fields_are_points_without_position(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    (tmp_path / "points.csv").write_text("a.jpg,10,10,,,nan,15,11,20,19,20\n", encoding="utf-8")
    face = load_dataset("folder", tmp_path, "all")[0]
    assert face.visible.tolist() == [True, False, False, True, True]
    assert np.isnan(face.points[1:3]).all()
    assert face.box.tolist() == pytest.approx([5.125, 7.315, 24.875, 26.625])


def test_two_faces_of_one_picture_stay_together(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    (tmp_path / "points.csv").write_text(f"a.jpg,{FLAT}\na.jpg,{FLAT}\n", encoding="utf-8")
    faces = load_dataset("folder", tmp_path, "all")
    assert [face.key for face in faces] == ["a.jpg", "a.jpg#2"]
    assert {face.group for face in faces} == {"a.jpg"}


def test_csv_lists_every_bad_line(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    lines = [
        f"a.jpg,{FLAT}",
        "a.jpg,1,2,3",
        "a.jpg,1,2,three,4",
        f"none.jpg,{FLAT}",
        ",1,2",
        "a.jpg,1,2,3,4",
        "a.jpg,,",
    ]
    (tmp_path / "points.csv").write_text("\n".join([*lines, "a.jpg,1e30,2"]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_dataset("folder", tmp_path, "all")
    text = str(caught.value)
    for message in (
        "7 problems:",
        "points.csv:2: expected a name and pairs x, y; found a name and 3 numbers",
        "points.csv:3: expected a number in column 4, found 'three'",
        "points.csv:4: 'none.jpg' is not below",
        "points.csv:5: expected the name of a picture in the first column",
        "points.csv:6: expected 5 points of five, found 2",
        "points.csv:7: gives no position for any point",
        "points.csv:8: holds a coordinate beyond",
    ):
        assert message in text


def test_long_lists_of_problems_are_cut_with_the_command_that_shows_all(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    (tmp_path / "points.csv").write_text(f"a.jpg,{FLAT}\n" + "a.jpg,1,x\n" * 30, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"30 problems:(.|\n)*and 10 more; 'canthus data check folder .*' lists them all"
    ):
        load_dataset("folder", tmp_path, "all")


def test_json_list_of_points(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    _json(tmp_path, [{"image": "a.jpg", "points": [*FIVE[:4], None]}])
    face = load_dataset("folder", tmp_path, "all")[0]
    assert face.points[:4].tolist() == FIVE[:4]
    assert face.visible.tolist() == [True] * 4 + [False]


def test_json_that_detect_writes(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg", "b.jpg")
    face = {"box": [5.0, 5.0, 25.0, 25.0], "score": 0.9, "scheme": "five", "points": FIVE}
    entries = [
        {"image": "photos/a.jpg", "width": 30, "height": 32, "faces": [face, face]},
        {"image": "photos/b.jpg", "width": 30, "height": 32, "faces": []},
    ]
    path = _json(tmp_path, entries)
    faces = load_dataset("folder", path, "all")
    assert [(f.key, f.box.tolist()) for f in faces] == [("a.jpg", face["box"]), ("a.jpg#2", face["box"])]


def test_coco_keypoints(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    keypoints = [value for point, flag in zip(FIVE, [2, 1, 2, 0, 2], strict=True) for value in (*point, flag)]
    annotation = {"id": 7, "image_id": 3, "keypoints": keypoints, "num_keypoints": 4, "bbox": [2, 3, 20, 25]}
    _json(tmp_path, {"images": [{"id": 3, "file_name": "a.jpg"}], "annotations": [annotation], "categories": []})
    face = load_dataset("folder", tmp_path, "all")[0]
    assert face.visible.tolist() == [True, False, True, False, True]
    assert np.isnan(face.points[3]).all()
    assert face.points[1].tolist() == FIVE[1]
    assert face.box.tolist() == [2, 3, 22, 28]


def test_coco_without_grade_two_means_labelled(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    keypoints = [value for point in FIVE for value in (*point, 1)]
    annotation = {"image_id": 3, "keypoints": keypoints, "bbox": [0, 0, 0, 0]}
    _json(tmp_path, {"images": [{"id": 3, "file_name": "a.jpg"}], "annotations": [annotation]})
    face = load_dataset("folder", tmp_path, "all")[0]
    assert face.visible.all()
    assert face.box.tolist() == BOX


def test_json_lists_every_bad_entry(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    entries = [
        {"image": "a.jpg", "points": FIVE},
        {"picture": "a.jpg"},
        {"image": "a.jpg", "points": [[1, 2], [3]]},
        {"image": "a.jpg", "faces": [{"box": [0, 0, 1, 1]}]},
        {"image": "a.jpg", "faces": 3},
        {"image": "a.jpg", "points": FIVE, "scheme": "ibug_68"},
    ]
    _json(tmp_path, entries)
    with pytest.raises(DataError) as caught:
        load_dataset("folder", tmp_path, "all")
    text = str(caught.value)
    for message in (
        "labels.json[1]: expected an object with a text 'image'",
        "labels.json[2]: expected rows of 2 numbers under 'points'",
        "labels.json[3].faces[0]: expected an object with 'points'",
        "labels.json[4]: expected a list under 'faces'",
    ):
        assert message in text


def test_bad_coco_entries(tmp_path: Path) -> None:
    annotations = [{"image_id": 9, "keypoints": [1, 2, 2]}, {"image_id": 3, "keypoints": [1, 2]}, {"image_id": 3}]
    _json(tmp_path, {"images": [{"id": 3, "file_name": "a.jpg"}, {"id": 4}], "annotations": annotations})
    with pytest.raises(DataError) as caught:
        load_dataset("folder", tmp_path, "all")
    text = str(caught.value)
    for message in (
        "images[1]: expected 'id'",
        "names image 9",
        "expected triples",
        "annotations[2]: expected an object",
    ):
        assert message in text


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", r"labels.json:1: not JSON"), ("3", "expected a list of"), ('{"a": 1}', "found an object with 'a'")],
)
def test_json_that_is_something_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_dataset("folder", tmp_path, "all")


def test_one_source_of_labels_only(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    with pytest.raises(DataError, match=r"found 1 pictures and no labels; expected a .pts file beside each picture"):
        load_dataset("folder", tmp_path, "all")
    write_pts(tmp_path / "a.pts", np.array(FIVE))
    (tmp_path / "points.csv").write_text(f"a.jpg,{FLAT}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"found points.csv, 1 .pts files; give the file itself"):
        load_dataset("folder", tmp_path, "all")
    assert len(load_dataset("folder", tmp_path / "points.csv", "all")) == 1
    with pytest.raises(DataError, match="no such folder or file"):
        load_dataset("folder", tmp_path / "none", "all")


def test_scheme_must_be_named_where_the_count_does_not_tell(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.jpg")
    _json(tmp_path, [{"image": "a.jpg", "points": [[i, i] for i in range(21)]}])
    with pytest.raises(ConfigError, match=r"labels.json\[0\]: 21 points may be aflw_21 or wild_21; name the scheme"):
        load_dataset("folder", tmp_path, "all")
    assert load_dataset("folder", tmp_path, "all", scheme="wild_21")[0].scheme.name == "wild_21"
    with pytest.raises(DataError, match="expected 68 points of ibug_68, found 21"):
        load_dataset("folder", tmp_path, "all", scheme="ibug_68")


def test_splits_by_picture(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(60)]
    _pictures(tmp_path, *names)
    (tmp_path / "points.csv").write_text("".join(f"{name},{FLAT}\n" for name in names), encoding="utf-8")
    fit, validation = (load_dataset("folder", tmp_path, split) for split in ("fit", "validation"))
    assert sorted(face.key for face in fit + validation) == sorted(names)
    assert 0 < len(validation) < len(fit)
    with pytest.raises(ConfigError, match="Unknown split of folder 'train'"):
        load_dataset("folder", tmp_path, "train")


def test_pictures_without_label_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _pictures(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "points.csv").write_text(f"a.jpg,{FLAT}\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert len(load_dataset("folder", tmp_path, "all")) == 1
    assert "1 pictures have no label" in caplog.text


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "scheme"), [("300w", "ibug_68"), ("aflw", "aflw_19"), ("cofw", "cofw_29"), ("wflw", "wflw_98")]
)
def test_coco_files_in_the_wild(shared_data: Path, folder: str, scheme: str) -> None:
    faces = load_dataset("folder", shared_data / "fixtures" / folder, "all")
    assert {face.scheme.name for face in faces} == {scheme}
    assert all(np.isfinite(face.points).any() for face in faces)
