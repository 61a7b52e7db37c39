"""Label files as other tools write them, with the keys that they add, and files that are refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.data import check_dataset, load_dataset
from canthus.data.folder import DATASET
from canthus.data.label_tables import point_columns
from canthus.errors import DataError
from canthus.images import write_image
from canthus.scheme_files import named_scheme, scheme_toml
from label_samples import (
    DLIB,
    NAMES,
    POINTS,
    coco,
    cvat,
    cvat_image,
    drawn,
    keypoint,
    labelme,
    parts,
    region,
    save,
    shape,
    skeleton,
    studio,
    task,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of 40 x 32 pixels in a folder and below it."""
    for number, name in enumerate(("a.jpg", "images/b.jpg", "images/part/c.png")):
        write_image(tmp_path / name, np.full((32, 40, 3), 50 * number, np.uint8))
    return tmp_path


def notes(root: Path) -> list[str]:
    return DATASET.scan(root)[0].notes


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_cvat_skeletons_and_boxes(folder: Path) -> None:
    box = '<box label="car" source="manual" occluded="0" xtl="5.00" ytl="6" xbr="30.5" ybr="31" z_order="0" {}></box>'
    two = skeleton(list("12345"), extra='z_order="0" group_id="4"') + skeleton(list("12345"), 1.5)
    images = [
        cvat_image("a.jpg", two + box.format('group_id="4"') + '<polygon label="car" points="1,2;3,4;5,6"></polygon>'),
        cvat_image("b.jpg", skeleton(list("12345")) + box.format("")),
        cvat_image("images/part/c.png", '<tag label="bad" source="manual"></tag>'),
    ]
    path = save(folder / "annotations.xml", cvat(list("12345"), *images))
    faces = load_dataset("folder", folder, "all")
    assert [face.key for face in faces] == ["a.jpg", "a.jpg#2", "images/b.jpg"]
    for face, shift in zip(faces, (0, 1, 0), strict=True):
        assert face.scheme.name == "five"
        np.testing.assert_allclose(np.delete(face.points, 3, axis=0), np.delete(np.array(POINTS) + shift, 3, axis=0))
        assert np.isnan(face.points[3]).all()
        assert face.visible.tolist() == [True, False, True, False, True]
    assert faces[0].box.tolist() == faces[2].box.tolist() == [5, 6, 30.5, 31]
    assert faces[1].box.tolist() == pytest.approx([6.625, 8.315, 26.375, 27.625])  # of the points
    assert check_dataset("folder", path).notes == (
        "elements without points of a face are passed over: 2 (polygon, tag)",
    )


def test_cvat_points_without_skeleton(folder: Path) -> None:
    whole = ";".join(f"{x + 0.5},{y + 0.5}" for x, y in POINTS)
    single = "".join(
        f'<points label="{name}" source="manual" occluded="{int(name == "nose")}" points="{x + 0.5},{y + 0.5}" '
        f'z_order="0" group_id="{group}"><attribute name="sure">yes</attribute></points>'
        for group in (1, 2)
        for name, (x, y) in zip(NAMES, POINTS, strict=True)
    )
    save(
        folder / "annotations.xml",
        cvat([], cvat_image("a.jpg", f'<points label="face" points="{whole}" occluded="1"/>')),
    )
    face = load_dataset("folder", folder, "all")[0]
    assert face.points.tolist() == POINTS
    assert not face.visible.any()
    save(folder / "annotations.xml", cvat([], cvat_image("a.jpg", single)))
    faces = load_dataset("folder", folder, "all")
    assert len(faces) == 2
    assert faces[0].scheme.names == tuple(sorted(NAMES))
    for face in faces:
        assert face.points.tolist() == [POINTS[NAMES.index(name)] for name in face.scheme.names]
        assert [name for name, seen in zip(face.scheme.names, face.visible, strict=True) if not seen] == ["nose"]


def test_dlib_boxes_of_whole_pixels(folder: Path) -> None:
    points = [[x, np.floor(y)] for x, y in POINTS]
    text = DLIB.format(parts=parts(points), absolute=folder / "a.jpg")
    save(folder / "faces.xml", text.replace("<part name='3' x='11' y='20'/>", ""))
    (face,) = load_dataset("folder", folder / "faces.xml", "all", scheme="five")
    assert face.key == "images/b.jpg"
    assert face.box.tolist() == [9, 8, 29, 29]
    assert face.points[[0, 1, 2, 4]].tolist() == [points[i] for i in (0, 1, 2, 4)]
    assert face.visible.tolist() == [True, True, True, False, True]
    report = check_dataset("folder", folder, scheme="five")
    assert report.notes == ("elements without points of a face are passed over: 2 (box without part, ignored box)",)
    assert [problem.where for problem in report.problems] == ["images/part/c.png"]  # a.jpg is named, without faces


def test_parts_are_ordered_by_their_numbers(folder: Path) -> None:
    """Of 1 to 12, as text, 10 comes before 2."""
    points = [[float(i), 2.0 * i] for i in range(1, 20)]
    save(folder / "faces.xml", DLIB.format(parts=parts(points, first=1), absolute="a.jpg"))
    (face,) = load_dataset("folder", folder, "all")
    assert face.scheme.name == "aflw_19"
    assert face.points.tolist() == points


def test_labelme_files_in_sub_folders(folder: Path) -> None:
    one, two = drawn(NAMES, group_id=1), drawn(NAMES, group_id=2)
    one[0]["flags"] = {"occluded": True, "truncated": False}
    del two[1]
    box = shape("face", [[30.5, 31], [5, 6]], "rectangle", group_id=2)
    others = [shape("hair", [[1, 1], [2, 2], [3, 1]], "polygon"), shape("lamp", [[1, 1], [2, 2]], "linestrip")]
    save(folder / "a.json", labelme([*one, *two, box, *others]))
    save(folder / "images/b.json", labelme([*drawn(NAMES), shape("face", [[5, 6], [30.5, 31]], "rectangle")], "b.jpg"))
    save(folder / "images/part/labels/c.json", labelme(drawn(NAMES), "..\\c.png"))
    save(folder / "images/settings.json", {"not": "labels"})
    save(folder / "scheme.toml", scheme_toml(named_scheme("mine", NAMES)))
    faces = load_dataset("folder", folder, "all")
    assert [face.key for face in faces] == ["a.jpg", "a.jpg#2", "images/b.jpg", "images/part/c.png"]
    assert {face.scheme.name for face in faces} == {"mine"}
    assert faces[0].points.tolist() == faces[2].points.tolist() == POINTS
    assert faces[0].visible.tolist() == [True] * 4 + [False]
    assert np.isnan(faces[1].points[3]).all()
    assert faces[1].box.tolist() == faces[2].box.tolist() == [5, 6, 30.5, 31]
    assert faces[0].box.tolist() == [10.5, 10.5, 20.5, 20.5]
    assert notes(folder) == ["shapes of other types are passed over: 2 (linestrip, polygon)"]


def test_label_studio_tasks(folder: Path) -> None:
    pairs = list(zip(NAMES, POINTS, strict=True))
    first = [keypoint(name, place, parentID="box1") for name, place in pairs]
    second = [keypoint(name, place, parentID="box2", id=f"second{name}") for name, place in pairs[1:]]
    choice = keypoint("nose", [0, 0], id="secondnose", type="choices", value={"choices": ["Occluded"]})
    brush = keypoint("0", [0, 0], type="brushlabels", value={"format": "rle", "rle": []})
    cancelled = {"was_cancelled": True, "result": "nothing"}
    one = task("/data/upload/3/0a1b2c3d-a.jpg", [region(), *first, *second, choice, brush])
    one["annotations"].insert(0, cancelled)
    alone = [keypoint(name, place) for name, place in pairs]
    tasks = [
        one,
        task("/data/local-files/?d=images%2Fb.jpg", [*alone, region()]),
        task("https://example.org/data/c.png?width=3", alone, ground_truth=True),
        {"id": 9, "data": {"text": "none", "photo": "a.jpg"}, "annotations": []},
    ]
    save(folder / "project.json", tasks)
    faces = load_dataset("folder", folder, "all")
    assert [face.key for face in faces] == ["a.jpg", "a.jpg#2", "images/b.jpg", "images/part/c.png"]
    names = faces[0].scheme.names
    for face in faces:
        kept = ~np.isnan(face.points[:, 0])
        expected = np.array([POINTS[NAMES.index(name)] for name in names])
        np.testing.assert_allclose(face.points[kept], expected[kept], atol=1e-5)
    assert [int(np.isnan(face.points[:, 0]).sum()) for face in faces] == [0, 1, 0, 0]
    assert [name for name, seen in zip(names, faces[1].visible, strict=True) if not seen] == ["nose", "right_eye"]
    assert faces[0].box.tolist() == faces[2].box.tolist() == [5, 8, 25, 24]
    assert notes(folder) == ["results of other types are passed over: 1 (brushlabels)"]


def test_names_of_coco_make_the_scheme(folder: Path) -> None:
    path = save(folder / "labels.json", coco(["a_left", "a_right", "b", "c", "d"]))
    (face,) = load_dataset("folder", path, "all")
    assert (face.scheme.name, face.scheme.mirror) == ("named_5", (1, 0, 2, 3, 4))  # no scheme of canthus is like this
    for names in (NAMES, [], None, ["0", "1", "2", "3", "4"], ["one", "two", "three", "four", "five"]):
        (face,) = load_dataset("folder", save(path, coco(names)), "all")
        assert face.scheme.name == "five"
        assert face.points.tolist() == POINTS
    order = [2, 0, 1, 3, 4]
    save(folder / "scheme.toml", scheme_toml(named_scheme("mine", [NAMES[i] for i in order])))
    (face,) = load_dataset("folder", save(path, coco(NAMES)), "all")
    assert face.points.tolist() == [POINTS[i] for i in order]


def test_csv_with_names_and_visible_points(folder: Path) -> None:
    header = ["Image", *(f"{name}_{axis}" for name in NAMES for axis in ("X", "Y", "visible"))]
    row = [
        "part/c.png",
        *(field for i, (x, y) in enumerate(POINTS) for field in (x, y, ["1", "0", "TRUE", "", "1"][i])),
    ]
    save(folder / "points.csv", "\n".join(";".join(map(str, line)) for line in (header, row)))
    (face,) = load_dataset("folder", folder, "all")
    assert face.points.tolist() == POINTS
    assert face.visible.tolist() == [True, False, True, True, True]
    columns = point_columns(header)
    assert columns is not None
    assert (columns.names, columns.visible) == (tuple(NAMES), (3, 6, 9, 12, 15))


def test_odd_columns_are_no_points() -> None:
    assert point_columns(["image", *(axis + "1" * 5000 + n for axis in "xy" for n in "123")]) is None
    columns = point_columns(["image", "0_visible", *(f"{n}_{axis}" for n in (1, 2, 3) for axis in "xy")])
    assert columns is not None
    assert (columns.points, columns.visible) == ((2, 3, 4, 5, 6, 7), ())


def bad_shape(**more: Any) -> dict[str, Any]:
    return labelme([*drawn(NAMES)[:2], shape("nose", [[1, 1]]) | more, *drawn(NAMES)[3:]])


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotations><image name="&b;"/></annotations>'
FILED = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><dataset><images><image file="&a;"/></images></dataset>'
TURNED = "<image name='a.jpg'><box xtl='1' ytl='2' xbr='3' ybr='4' rotation='3'/>{}</image>"
BAD_BOX = "<image name='a.jpg'><box xtl='1' ytl='2' xbr='x' ybr='3'/>{}</image>"
FACE = skeleton(list("12345"))
NUMBERED = cvat_image("a.jpg", FACE)
PART = "<part name='1' {}/>"
REFUSED_XML = {
    "cut": (cvat(list("12345"), NUMBERED)[:-20], r":\d+: not xml \("),
    "of others": ("<annotation/>", ": expected <annotations> of CVAT .* found <annotation>"),
    "not xml": ("hello", r":1: not xml \(syntax error\)"),
    "empty": ("", r":1: not xml \(no element found\)"),
    "billion laughs": (LAUGHS, r": has a document type \(<!DOCTYPE\), which no file of labels needs; remove it"),
    "entity of a file": (FILED, ": has a document type"),
    "unknown encoding": ("<?xml version='1.0' encoding='klingon'?><annotations/>", ": unknown encoding: klingon"),
    "deep": ("<annotations><image name='a'>" + "<a>" * 60, ": line 1 is nested deeper"),
    "cvat video": (cvat([], '<track id="0" label="face"/>'), r":\d+: is CVAT for video; export the task as"),
    "cvat image": (cvat([], "<image/>"), r":\d+: expected the name of the picture under 'name' of <image>"),
    "cvat number": (cvat([], NUMBERED.replace("10.50", "nan")), r":\d+: line \d+: .*found 'nan'"),
    "cvat pair": (cvat([], NUMBERED.replace("10.50,", "")), r":\d+: line \d+: expected places 'x,y;x,y;...'"),
    "cvat pairs": (cvat([], NUMBERED.replace("10.50,", "1,1;")), r":\d+: line \d+: expected .*place"),
    "cvat box": (cvat([], BAD_BOX.format(FACE)), r":\d+: .*finite number 'xbr' in <box>, found 'x'"),
    "cvat turned": (cvat([], TURNED.format(FACE)), r":\d+: line \d+: the box is turned"),
    "cvat twice": (cvat([], NUMBERED.replace('"4"', '"5"')), r":\d+: has 2 points called '5'; .* group the points"),
    "cvat unnamed": (cvat([], NUMBERED.replace('"4"', '""')), r":\d+: has a point without name"),
    "cvat empty": (cvat([], cvat_image("a.jpg", "<skeleton/>")), r":\d+: expected <points> in the <skeleton>"),
    "dlib number": (DLIB.format(parts=PART.format("x='1e999' y='1'"), absolute="a.jpg"), ":8: .*'x' in <part>"),
    "dlib part": (DLIB.format(parts=PART.format("y='1'"), absolute="a.jpg"), ":8: .*'x' in <part>"),
    "dlib box": (
        DLIB.format(parts=parts(POINTS), absolute="a.jpg").replace("width='20'", ""),
        ":8: .*'width' in <box>",
    ),
}
ONE = [1.0, 1.0]
REFUSED_JSON: dict[str, tuple[Any, str]] = {
    "deep": ("[" * 100_000, r": not JSON of labels \(lists and objects are nested too deep\)"),
    "long number": ("[" + "9" * 10_000 + "]", ": not JSON that can be read"),
    "labelme label": (bad_shape(label=3), r": shapes\[2\]: expected an object with a text 'label'"),
    "labelme shape": (labelme([3]), r": shapes\[0\]: expected an object with a text 'label'"),
    "labelme places": (bad_shape(points=[ONE, ONE]), r": shapes\[2\]: expected 1 finite 'points', found 2"),
    "labelme number": (bad_shape(points=[[1, None]]), r": shapes\[2\]: expected"),
    "labelme huge": (bad_shape(points=[[1, 10**400]]), r": shapes\[2\]: expected rows of 2 numbers"),
    "labelme twice": (labelme(drawn(NAMES) * 2), ": has 2 points called .* give the points of each face a group_id"),
    "labelme shapes": (labelme([]) | {"shapes": 3}, ": expected a text 'imagePath' and a list 'shapes'"),
    "studio value": (studio("1", ONE, value=3), r"\[0\]: result\[0\]: expected an object under 'value'"),
    "studio number": (studio("1", [np.nan, 1]), r"\[0\]: result\[0\]: expected a finite number 'x'"),
    "studio sides": (studio("1", ONE, original_width=None), r"\[0\]: result\[0\]: .*'original_width'"),
    "studio side": (studio("1", ONE, original_width=0), r"\[0\]: result\[0\]: .*found 0 x 32"),
    "studio turned": (studio("1", ONE, image_rotation=90), r"\[0\]: result\[0\]: the picture is turned by 90"),
    "studio labels": (studio("1", ONE, value={"x": 1, "y": 1}), r"\[0\]: result\[0\]: expected one text under"),
    "studio box": ([task("a.jpg", [keypoint("1", ONE), region(rotation=3)])], r"\[0\]: the rectangle is turned by 3"),
    "studio results": ([task("a.jpg", [3])], r"\[0\]: expected a list of objects under 'result'"),
    "studio picture": ([task("a.jpg", []) | {"data": {"x": 3}}], r"\[0\]: expected the address"),
    "studio json-min": (
        [{"image": "a", "kp": [{"keypointlabels": ["1"]}]}],
        r"\[0\]: is JSON-MIN .* export it as JSON",
    ),
    "coco picture": (coco([], image_id=[1]), r": annotations\[0\]: names image \[1\], which is not under 'images'"),
    "coco number": (coco([], keypoints=[10**400, 1, 2] * 5), r": annotations\[0\]: expected rows of 3 numbers"),
    "coco box": (coco([], bbox=[1, 2, 3, None]), r": annotations\[0\]: expected a box of finite numbers"),
    "visible": ([{"image": "a.jpg", "points": POINTS, "visible": [1] * 5}], r"\[0\]: .*true or false under 'visible'"),
}
CSV_HEAD = "image," + ",".join(f"{point}_{what}" for point in range(5) for what in ("x", "y", "visible")) + "\n"
REFUSED_CSV = {
    "visible": (
        CSV_HEAD + "a.jpg" + ",1,2,no" * 5,
        ":2: expected 1 or 0 in the columns of what is visible, found 'no'",
    ),
    "long": ("a.jpg," + "1" * 200_000, r":1: not a line of csv \(field larger"),
    "name": ("x" * 5000 + ",1,2,3,4,5,6,7,8,9,0", ":1: 'xxx.*is not below"),
}
REFUSED: list[tuple[str, Any, str]] = [
    (f"a.{kind}", content, message)
    for kind, cases in (("xml", REFUSED_XML), ("json", REFUSED_JSON), ("csv", REFUSED_CSV))
    for content, message in cases.values()
]


@pytest.mark.parametrize(("name", "content", "message"), REFUSED, ids=[message[:60] for _, _, message in REFUSED])
def test_a_refusal_names_the_file_the_place_and_the_reason(folder: Path, name: str, content: Any, message: str) -> None:
    path = save(folder / name, content)
    with pytest.raises(DataError, match=re.escape(name) + message):
        load_dataset("folder", path, "all", scheme="five")


def test_a_name_that_the_scheme_lacks_is_refused(folder: Path) -> None:
    path = save(folder / "a.json", labelme(drawn([*NAMES[:4], "ear"])))
    save(folder / "scheme.toml", scheme_toml(named_scheme("mine", NAMES)))
    with pytest.raises(
        DataError, match=r"a\.json: names a point 'ear'; mine has no such point, expected right_eye, left"
    ):
        load_dataset("folder", path, "all")


def test_names_that_no_scheme_explains_are_refused(folder: Path) -> None:
    path = save(folder / "a.json", labelme(drawn(["v", "w", "x", "y", "z"])))
    result = run("check", "folder", path)
    assert isinstance(result.exception, Exception)
    assert "do not tell left from right" in str(result.exception)
    result = run("check", "folder", path, "--scheme", "five")
    assert "do not say which of the 5 points of five each is; number them from 0" in str(result.exception)


def test_a_name_that_several_pictures_have_is_a_problem(folder: Path) -> None:
    for name in ("x/d.jpg", "y/d.jpg"):
        write_image(folder / name, np.zeros((8, 8, 3), np.uint8))
    flat = ",".join(str(value) for place in POINTS for value in place)
    path = save(folder / "points.csv", f"d.jpg,{flat}\n/home/me/y/d.jpg,{flat}\nother/d.jpg,{flat}\n")
    problems = [str(problem) for problem in check_dataset("folder", path).problems]
    assert problems[0].startswith("points.csv:1: 'd.jpg' may be x/d.jpg or y/d.jpg; give more of the path")
    assert problems[1].startswith("points.csv:3: 'other/d.jpg' is not below")
    assert not any("points.csv:2" in problem for problem in problems)
