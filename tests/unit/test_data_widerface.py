"""WIDER FACE in its official layout, written small."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from canthus.data import check_dataset
from canthus.data.scenes import load_scenes
from canthus.data.widerface import HABIT
from canthus.errors import DataError, MissingExtraError
from canthus.images import write_image

PARADE, JOCKEY = "0--Parade/0_Parade_marchingband_1_849.jpg", "46--Jockey/46_Jockey_Jockey_46_576.jpg"
CROWD = "2--Demonstration/2_Demonstration_Protesters_2_1.jpg"

LISTS = {
    "train": f"""{PARADE}
1
44 30 12 14 0 0 0 0 0 0
{JOCKEY}
0
0 0 0 0 0 0 0 0 0 0
{CROWD}
3
7 22 20 25 2 0 0 0 0 0
30 10 5 6 2 0 0 1 2 0
50 10 0 8 2 0 0 0 2 0
""",
    "val": f"""{CROWD.replace("_1.", "_9.")}
2
7 22 20 25 2 0 0 0 0 0
40 10 15 16 2 0 0 0 2 0
{PARADE.replace("849", "20")}
1
10 10 30 30 0 0 0 0 0 0
{JOCKEY.replace("576", "1")}
1
20 5 30 40 0 0 0 0 0 0
""",
}
LABELS = f"""# {PARADE}
44 30 12 14 47.5 35.25 0.0 52.5 36.0 0.0 50.0 38.5 0.0 47.0 41.0 1.0 53.0 41.5 0.0 0.82
# {CROWD}
7 22 20 25 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 0.2
30 10 5 6
"""


def cells(*values: object) -> np.ndarray:
    """A cell array as MATLAB writes it: one column of anything."""
    array = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        array[index, 0] = value
    return array


def write_evaluation(folder: Path) -> None:
    """The four files of the official evaluation, for the pictures of ``LISTS["val"]``; events in its own order."""
    folder.mkdir(parents=True)
    events = {
        "event_list": cells("0--Parade", "2--Demonstration", "46--Jockey"),
        "file_list": cells(
            cells("0_Parade_marchingband_1_20"), cells("2_Demonstration_Protesters_2_9"), cells("46_Jockey_Jockey_46_1")
        ),
    }
    boxes = cells(
        cells(np.array([[10.0, 10, 30, 30]])),
        cells(np.array([[7.0, 22, 20, 25], [40, 10, 15, 16]])),
        cells(np.array([[20.0, 5, 30, 40]])),
    )
    savemat(folder / "wider_face_val.mat", {**events, "face_bbx_list": boxes})
    counted: dict[str, list[list[int]]] = {"easy": [[1], [], []], "medium": [[1], [2], []], "hard": [[1], [1, 2], [1]]}
    for subset, numbers in counted.items():
        # An empty list is 0 x 0 in MATLAB.
        columns = [np.array(faces, np.uint8).reshape(len(faces), min(1, len(faces))) for faces in numbers]
        column = cells(*(cells(faces) for faces in columns))
        savemat(folder / f"wider_{subset}_val.mat", {**events, "gt_list": column})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "wider_face_split").mkdir()
    seed = 0
    for part, text in LISTS.items():
        (tmp_path / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt").write_text(text, encoding="utf-8")
        for name in (line for line in text.splitlines() if line.endswith(".jpg")):
            image = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
            write_image(tmp_path / f"WIDER_{part}" / "images" / name, image)
            seed += 1
    write_evaluation(tmp_path / "ground_truth")
    return tmp_path


def test_boxes_are_corner_and_size(root: Path) -> None:
    one, three, none = load_scenes("widerface", root, "train")
    assert [one.key, three.key, none.key] == [f"train/{name}" for name in (PARADE, CROWD, JOCKEY)]
    np.testing.assert_array_equal(one.boxes, [[44, 30, 56, 44]])
    np.testing.assert_array_equal(three.boxes, [[7, 22, 27, 47], [30, 10, 35, 16], [50, 10, 50, 18]])
    assert one.complete
    assert one.habit == HABIT
    assert one.path.is_file()


def test_invalid_and_empty_boxes_are_ignored_and_a_picture_may_hold_no_face(root: Path) -> None:
    _, three, none = load_scenes("widerface", root, "train")
    assert three.ignored.tolist() == [False, True, True]
    assert (none.boxes.shape, none.points.shape, none.labels) == ((0, 4), (0, 5, 2), ())


def test_a_list_may_leave_out_the_line_of_zeros(root: Path) -> None:
    path = root / "wider_face_split/wider_face_train_bbx_gt.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("0 0 0 0 0 0 0 0 0 0\n", ""), encoding="utf-8")
    assert [len(scene.boxes) for scene in load_scenes("widerface", root, "train")] == [1, 3, 0]


@pytest.mark.parametrize("folder", ["retinaface_gt_v1.1/train", "retinaface_gt/train", "WIDER_train"])
def test_five_points_come_from_retinaface(root: Path, folder: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "label.txt").write_text(LABELS, encoding="utf-8")
    one, three, _ = load_scenes("widerface", root, "train")
    np.testing.assert_array_equal(one.points[0], [[47.5, 35.25], [52.5, 36], [50, 38.5], [47, 41], [53, 41.5]])
    assert np.isnan(three.points).all()


def test_damaged_points_are_listed_with_their_line(root: Path) -> None:
    path = root / "retinaface_gt/train/label.txt"
    path.parent.mkdir(parents=True)
    path.write_text(f"1 2 3 4\n{LABELS}1 2 3 4 5\n1 2 x 4\n1 2 inf 4\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_scenes("widerface", root, "train")
    for number, message in (
        (1, "expected a line '# <picture>' before the first face"),
        (7, "expected 20 numbers, or the 4 of a box alone, found 5"),
        (8, "expected numbers: "),
        (9, "expected finite numbers"),
    ):
        assert f"retinaface_gt/train/label.txt:{number}: {message}" in str(caught.value)


@pytest.mark.parametrize(("subset", "counted"), [("easy", 1), ("medium", 2), ("hard", 4)])
def test_subsets_ignore_every_face_that_they_do_not_count(root: Path, subset: str, counted: int) -> None:
    scenes = load_scenes("widerface", root, subset)
    assert [scene.key for scene in scenes] == [scene.key for scene in load_scenes("widerface", root, "val")]
    assert sum(len(scene.boxes) for scene in scenes) == 4
    assert sum(int((~scene.ignored).sum()) for scene in scenes) == counted
    crowd = scenes[1]
    np.testing.assert_array_equal(crowd.boxes, [[7, 22, 27, 47], [40, 10, 55, 26]])
    assert crowd.ignored.tolist() == {"easy": [True, True], "medium": [True, False], "hard": [False, False]}[subset]


def test_subsets_may_lie_where_the_official_tools_have_them(root: Path) -> None:
    (root / "eval_tools").mkdir()
    (root / "ground_truth").rename(root / "eval_tools/ground_truth")
    assert len(load_scenes("widerface", root, "easy")) == 3


def test_subsets_need_scipy_and_say_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("canthus.lookup.import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'canthus\[datasets\]'"):
        load_scenes("widerface", root, "easy")
    assert len(load_scenes("widerface", root, "val")) == 3


def test_damaged_subsets_are_refused(root: Path) -> None:
    folder = root / "ground_truth"
    (folder / "wider_easy_val.mat").write_bytes(b"no matrix" * 30)
    with pytest.raises(DataError, match=r"wider_easy_val.mat: not a MATLAB file"):
        load_scenes("widerface", root, "easy")
    savemat(folder / "wider_easy_val.mat", {"other": np.zeros(3)})
    with pytest.raises(DataError, match="expected gt_list; found no gt_list"):
        load_scenes("widerface", root, "easy")
    savemat(folder / "wider_easy_val.mat", {"gt_list": cells(cells(np.array([[2]])))})
    with pytest.raises(DataError, match=r"has 1 events, but wider_face_val.mat has 3"):
        load_scenes("widerface", root, "easy")
    one = cells(np.array([[1]]))
    savemat(folder / "wider_easy_val.mat", {"gt_list": cells(one, one, cells(np.array([[3]]), np.array([[1]])))})
    with pytest.raises(DataError, match=r"event 46--Jockey has 2 pictures, but wider_face_val.mat 1"):
        load_scenes("widerface", root, "easy")
    savemat(folder / "wider_easy_val.mat", {"gt_list": cells(one, cells(np.array([[3]])), one)})
    with pytest.raises(DataError, match="counts face 3, but has 2 faces"):
        load_scenes("widerface", root, "easy")
    (folder / "wider_hard_val.mat").unlink()
    with pytest.raises(
        DataError, match=r"wider_hard_val.mat: not there; expected the files of the official evaluation"
    ):
        load_scenes("widerface", root, "hard")


def test_damaged_entries_are_listed_with_their_line(root: Path) -> None:
    path = root / "wider_face_split/wider_face_train_bbx_gt.txt"
    box = "1 2 3 4 0 0 0 0 0 0"
    text = ["7", "a.jpg", "one", box, "b.jpg", "2", box, "c.jpg", "1", "1 2 3", "d.jpg", "1", f"x{box}", "e.jpg"]
    path.write_text("\n".join([*text, "f.jpg", "1", box.replace("3", "nan"), "g.jpg", "1", box]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_scenes("widerface", root, "train")
    name = path.name
    assert "8 problems" in str(caught.value)
    for number, message in (
        (1, "expected the name of a picture, found '7'"),
        (3, "expected the number of faces, found 'one'"),
        (6, "promises 2 faces, found 1 lines"),
        (10, "expected 10 numbers, found 3"),
        (13, "expected numbers: could not convert"),
        (15, "expected the number of faces, found 'nothing'"),
        (17, "expected finite numbers"),
        (18, "WIDER_train/images/g.jpg is not there"),
    ):
        assert f"{name}:{number}: {message}" in str(caught.value)


def test_check_counts_parts_and_subsets(root: Path) -> None:
    report = check_dataset("widerface", root)
    assert report.clean
    assert [(part.name, part.faces, part.published, part.status) for part in report.parts] == [
        ("train", 4, 159424, "partial"),
        ("val", 4, 39708, "partial"),
        ("easy", 1, 7211, "partial"),
        ("medium", 2, 13319, "partial"),
        ("hard", 4, 31958, "partial"),
    ]
    assert (report.faces, report.pictures) == (8, 6)


def test_check_passes_over_a_part_whose_pictures_are_not_there(root: Path) -> None:
    (root / "WIDER_train").rename(root / "elsewhere")
    (root / "ground_truth/wider_easy_val.mat").unlink()
    (root / "ground_truth/wider_medium_val.mat").write_bytes(b"no matrix" * 30)
    report = check_dataset("widerface", root)
    assert {part.name: part.status for part in report.parts} == {
        "train": "absent",
        "val": "partial",
        "easy": "absent",
        "medium": "absent",
        "hard": "partial",
    }
    assert [(problem.kind, problem.where) for problem in report.problems] == [("damaged label", "wider_medium_val.mat")]
