"""Labels as other tools write them: headers, missing points, other categories, and faces that cannot be right."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float64
from typer.testing import CliRunner

from canthus.cli.main import app
from canthus.data import check_dataset, load_dataset
from canthus.data.formats import write_pts
from canthus.data.label_tables import point_columns
from canthus.data.mean_faces import likely_fault, mean_face
from canthus.data.synthetic import draw_face
from canthus.errors import DataError
from canthus.images import write_image
from canthus.schemes import FIVE, IBUG_68, SCHEMES

Change = Callable[[Float64[np.ndarray, "k 2"]], Float64[np.ndarray, "k 2"]]
SIDE = 96


def drawn(folder: Path, count: int = 3, seed: int = 0) -> dict[str, Float64[np.ndarray, "68 2"]]:
    """Pictures of faces, and their points by name."""
    rng, found = np.random.default_rng(seed), {}
    for number in range(count):
        face = draw_face(rng, size=SIDE)
        write_image(folder / f"{number}.png", face.image)
        found[f"{number}.png"] = np.round(face.points.astype(np.float64), 2)
    return found


def write_csv(folder: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> Path:
    path = folder / "points.csv"
    lines = [",".join(str(field) for field in row) for row in [header, *rows] if row]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def numbered(order: str, first: int = 0) -> list[str]:
    """Headings: ``order`` has {n} for the number and {a} for the axis; points one after the other."""
    return [order.format(n=n, a=axis) for n in range(first, first + 68) for axis in "xy"]


HEADERS: dict[str, list[str]] = {
    "x0,y0,x1": numbered("{a}{n}"),
    "x_1,y_1": numbered("{a}_{n}", 1),
    "point_0_x": numbered("point_{n}_{a}"),
    "p0x": numbered("p{n}{a}"),
    "0_X": [name.upper() for name in numbered("{n}_{a}")],
    "lm_x0": numbered("lm_{a}{n}"),
    "all x, then all y": [f"{axis}{n}" for axis in "xy" for n in range(68)],
    "backwards": numbered("{a}{n}")[::-1],
}


@pytest.mark.parametrize("kind", HEADERS)
def test_the_header_says_where_each_point_is(tmp_path: Path, kind: str) -> None:
    points, columns = drawn(tmp_path), HEADERS[kind]
    found = point_columns(["image", "width", *columns, "note"])
    assert found is not None
    rows: list[list[object]] = []
    for name, face in points.items():
        row: list[object] = [name, SIDE, *[""] * len(columns), "seen by me"]
        for column, value in zip(found.points, face.ravel(), strict=True):
            row[column] = value
        rows.append(row)
    write_csv(tmp_path, ["image", "width", *columns, "note"], rows)
    for read in load_dataset("folder", tmp_path, "all"):
        np.testing.assert_allclose(read.points, points[read.key], atol=1e-4)
    assert check_dataset("folder", tmp_path).clean


def test_the_columns_of_a_block_header() -> None:
    found = point_columns(["x0", "x1", "x2", "y0", "y1", "y2", "file"])
    assert found is not None
    assert (found.picture, found.points) == (6, (0, 3, 1, 4, 2, 5))


@pytest.mark.parametrize(
    "header", [[], ["name", "a", "b"], ["image", "x1", "y1", "x2", "y2"], ["image", "box1", "box2"]]
)
def test_other_headers_name_no_points(header: list[str]) -> None:
    assert point_columns(header) is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (["image", "x0", "y0", "x1", "x2", "y2"], "names no y of point 1"),
        (["image", "x0", "y0", "x2", "y2", "x3", "y3"], "names no x and no y of point 1"),
        (["image", "x0", "y0", "x1", "y1", "x2", "y2", "x2"], "column 'x2' twice"),
        (["x0", "y0", "x1", "y1", "x2", "y2"], "names no column with the picture"),
        (["image", *(f"{k}_{n}_{a}" for k in "pq" for n in range(3) for a in "xy")], "several sets of points"),
    ],
)
def test_a_header_with_gaps_is_an_error(header: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        point_columns(header)


def test_lines_shorter_than_the_header_are_problems(tmp_path: Path) -> None:
    points = drawn(tmp_path, 2)
    rows: list[list[object]] = [[name, *face.ravel()] for name, face in points.items()]
    write_csv(tmp_path, ["image", *numbered("{a}{n}")], [rows[0], rows[1][:-1]])
    (problem, *_) = check_dataset("folder", tmp_path).problems
    assert str(problem) == "points.csv:3: expected 137 columns as in the header, found 136"


@pytest.mark.parametrize("mark", [(0.0, 0.0), (-1.0, -1.0)])
@pytest.mark.parametrize("kind", ["csv", "pts", "coco"])
def test_marks_of_missing_points_are_read_as_missing(tmp_path: Path, mark: tuple[float, float], kind: str) -> None:
    points = drawn(tmp_path)
    for face in points.values():
        face[[3, 40]] = mark
    if kind == "csv":
        write_csv(tmp_path, [], [[name, *face.ravel()] for name, face in points.items()])
    elif kind == "pts":
        for name, face in points.items():
            write_pts((tmp_path / name).with_suffix(".pts"), face - np.isin(np.arange(68), [3, 40])[:, None])
    else:
        write_coco(tmp_path, {name: np.column_stack([face, np.full(68, 2)]) for name, face in points.items()})
    for read in load_dataset("folder", tmp_path, "all"):
        assert np.flatnonzero(np.isnan(read.points).any(axis=1)).tolist() == [3, 40]
        assert np.flatnonzero(~read.visible).tolist() == [3, 40]
        assert (read.box > 2).all()  # the hull does not reach to the corner of the picture
    report = check_dataset("folder", tmp_path)
    assert report.clean
    assert report.notes == (f"6 points at ({mark[0]:g}, {mark[1]:g}) are taken as points without position",)


def test_one_point_in_the_corner_is_a_point(tmp_path: Path) -> None:
    points = drawn(tmp_path)
    points["1.png"][3] = 0
    write_csv(tmp_path, [], [[name, *face.ravel()] for name, face in points.items()])
    assert not any(np.isnan(face.points).any() for face in load_dataset("folder", tmp_path, "all"))


def test_one_point_at_minus_one_is_missing(tmp_path: Path) -> None:
    points = drawn(tmp_path)
    points["1.png"][3] = -1
    write_csv(tmp_path, [], [[name, *face.ravel()] for name, face in points.items()])
    assert [int(np.isnan(face.points[:, 0]).sum()) for face in load_dataset("folder", tmp_path, "all")] == [0, 1, 0]
    assert check_dataset("folder", tmp_path).notes == ("1 point at (-1, -1) is taken as a point without position",)


def test_a_face_of_marks_alone_is_a_problem(tmp_path: Path) -> None:
    points = drawn(tmp_path)
    points["1.png"][:] = 0
    write_csv(tmp_path, [], [[name, *face.ravel()] for name, face in points.items()])
    assert [str(p) for p in check_dataset("folder", tmp_path).problems] == [
        "points.csv:2: gives no position for any point"
    ]


FAULTS: dict[str, tuple[Change, str]] = {
    "mirrored numbers": (lambda p: p[list(IBUG_68.mirror)], "left and right are swapped"),
    "mirrored picture": (lambda p: (SIDE - 1 - p) * [1, 0] + p * [0, 1], "left and right are swapped"),
    "x for y": (lambda p: p[:, ::-1], "x and y are swapped"),
    "y upwards": (lambda p: p * [1, -1] + [0, SIDE - 1], "y counts from the bottom"),
    "blocks": (lambda p: p.T.reshape(-1, 2), "all x stand before all y"),
    "pairs as blocks": (lambda p: p.reshape(2, -1).T, "x and y alternate"),
    "off by one": (lambda p: np.roll(p, 1, axis=0), "shifted by 1: the first point stands at place 1"),
    "off by two, back": (lambda p: np.roll(p, -2, axis=0), "shifted by 2: point 2 stands at place 0"),
    "any order": (lambda p: np.random.default_rng(0).permutation(p), "are no face of ibug_68"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faces_that_cannot_be_right_are_named_with_the_reason(tmp_path: Path, fault: str) -> None:
    change, reason = FAULTS[fault]
    points = drawn(tmp_path, 4)
    for name in ("1.png", "3.png"):
        points[name] = change(points[name])
    write_csv(tmp_path, [], [[name, *face.ravel()] for name, face in points.items()])
    problems = check_dataset("folder", tmp_path).problems
    assert [problem.where for problem in problems if problem.kind == "unlike a face"] == ["1.png", "3.png"]
    assert all(reason in problem.message for problem in problems if problem.kind == "unlike a face")
    result = CliRunner().invoke(app, ["data", "check", "folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "unlike a face: 1.png: " in result.stdout


def test_a_face_upside_down_is_noted(tmp_path: Path) -> None:
    points = drawn(tmp_path)
    points["2.png"] = SIDE - 1 - points["2.png"]
    write_csv(tmp_path, [], [[name, *face.ravel()] for name, face in points.items()])
    report = check_dataset("folder", tmp_path)
    assert report.clean
    assert report.notes == ("2.png: the face is upside down; was the picture turned after it was labelled?",)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_has_a_mean_face_that_looks_like_itself_alone(scheme: str) -> None:
    mean, known = mean_face(scheme), SCHEMES[scheme]
    assert mean is not None
    assert mean.shape == (known.count, 2)
    mirrored = mean[list(known.mirror)] * [-1, 1]
    np.testing.assert_allclose(mean, mirrored, atol=0.002)
    right, left = known.eye_corners
    assert mean[left, 0] > mean[right, 0]
    assert likely_fault(mean, known) is None
    assert "swapped" in str(likely_fault(mean[list(known.mirror)], known))
    part = mean.copy()
    part[: known.count // 2] = np.nan
    assert likely_fault(part, known) is None


def test_a_face_of_five_points_may_be_turned_far() -> None:
    """A profile, whose eyes nearly coincide."""
    profile = np.array([[10.0, 10.0], [12.0, 10.0], [20.0, 20.0], [11.0, 28.0], [13.0, 28.0]])
    assert likely_fault(profile, FIVE) is None


def write_coco(folder: Path, triples: dict[str, np.ndarray], others: list[dict[str, object]] | None = None) -> None:
    images = [{"id": number, "file_name": name} for number, name in enumerate(triples)]
    faces = [
        {"id": number, "image_id": number, "category_id": 1, "keypoints": np.ravel(face).tolist()}
        for number, face in enumerate(triples.values())
    ]
    categories = [{"id": 1, "name": "face"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "person"}]
    data = {"images": images, "annotations": [*(others or []), *faces], "categories": categories}
    (folder / "labels.json").write_text(json.dumps(data), encoding="utf-8")


def test_annotations_of_other_categories_are_passed_over(tmp_path: Path) -> None:
    triples = {name: np.column_stack([face, np.full(68, 2)]) for name, face in drawn(tmp_path).items()}
    others: list[dict[str, object]] = [
        {"id": 10, "image_id": 0, "category_id": 2, "bbox": [1, 2, 3, 4]},
        {"id": 11, "image_id": 1, "category_id": 3, "keypoints": [1.0, 2.0, 2.0] * 17},
        {"id": 12, "image_id": 2, "category_id": 2, "keypoints": []},
    ]
    write_coco(tmp_path, triples, others)
    assert len(load_dataset("folder", tmp_path, "all")) == 3
    report = check_dataset("folder", tmp_path)
    assert report.clean
    assert report.notes == ("annotations of other categories are passed over: 3 (dog, person)",)


def test_a_face_without_keypoints_is_still_a_problem(tmp_path: Path) -> None:
    triples = {name: np.column_stack([face, np.full(68, 2)]) for name, face in drawn(tmp_path).items()}
    write_coco(tmp_path, triples, [{"id": 10, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}])
    assert [str(p) for p in check_dataset("folder", tmp_path).problems] == [
        "labels.json: annotations[0]: expected an object with 'keypoints'"
    ]
