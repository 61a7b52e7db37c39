"""AFLW with 19 points and CelebA with five, from tiny files in their layouts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from canthus.cli.main import app
from canthus.data import check_dataset, load_dataset
from canthus.data.aflw import LABELS
from canthus.data.aflw import OFFICIAL as AFLW_OFFICIAL
from canthus.data.celeba import OFFICIAL as CELEBA_OFFICIAL
from canthus.data.synthetic import draw_face
from canthus.errors import DataError
from canthus.evaluation.rows import read_rows
from canthus.geometry import box_iou, hull_box
from canthus.images import write_image
from canthus.runtime.sessions import LandmarkSession
from canthus.schemes import AFLW_19, FIVE, IBUG_68, Scheme, convert

matlab = pytest.importorskip("scipy.io")

OF_68 = [17, 19, 21, 22, 24, 26, 36, 37, 39, 42, 44, 45, 31, 30, 35, 48, 62, 54, 8]
"""A point of the 68 for each of the 19, for drawn faces."""

Labels = dict[str, np.ndarray]


def aflw_labels(root: Path, count: int = 12) -> Labels:
    """Drawn faces and their matrices: every third face has hidden points; faces 4 and 5 are on one picture."""
    rng = np.random.default_rng(0)
    names, data, boxes = [], [], []
    for number in range(count):
        face = draw_face(rng, size=48)
        names.append(
            f"{number % 3}/image{4 if number == 5 else number:05d}.png".replace("2/image00004", "1/image00004")
        )
        write_image(root / "data" / "flickr" / names[-1], face.image)
        points = face.points[OF_68]
        x1, y1, x2, y2 = hull_box(face.points)
        data.append([*points[:, 0], *points[:, 1]])
        boxes.append([x1, x2, y1, y2])
    mask = np.ones((count, 19))
    mask[::3, [11, 18]] = 0
    cells = np.empty((count, 1), object)
    cells[:, 0] = names
    order = np.random.default_rng(1).permutation(count)[None] + 1
    return {"bbox": np.array(boxes), "data": np.array(data), "mask_new": mask, "nameList": cells, "ra": order}


def write_aflw(root: Path, change: Callable[[Labels], object] = lambda labels: None) -> Labels:
    labels = aflw_labels(root)
    change(labels)
    matlab.savemat(root / LABELS, labels)
    return labels


def test_aflw_points_boxes_and_visibility(tmp_path: Path) -> None:
    labels = write_aflw(tmp_path)
    faces = {split: load_dataset("aflw", tmp_path, split) for split in ("train", "test", "full", "frontal")}
    assert (len(faces["train"]), len(faces["test"])) == (10, 2)  # 12 * 20,000 / 24,386
    names = [str(cell) for cell in labels["nameList"][:, 0]]
    of = {face.key: face for split in ("train", "test") for face in faces[split]}
    assert set(of) == {*names, "1/image00004.png#2"}
    for row, name in enumerate(names):
        face = of[f"{name}#2" if row == 5 else name]
        assert face.scheme == AFLW_19
        assert face.group == name
        np.testing.assert_allclose(face.points, labels["data"][row].reshape(2, 19).T, atol=1e-4)
        np.testing.assert_allclose(face.box, labels["bbox"][row][[0, 2, 1, 3]], atol=1e-4)
        assert (face.visible == (labels["mask_new"][row] == 1)).all()
        assert (face.subset == "train") == (row in labels["ra"][0, :10] - 1)
    assert [face.key for face in faces["full"]] == [face.key for face in faces["test"]]
    assert faces["frontal"] == [] or all(face.visible.all() for face in faces["frontal"])
    assert len(faces["frontal"]) == sum(face.visible.all() for face in faces["test"])


def test_aflw_counts_of_the_published_set(tmp_path: Path) -> None:
    write_aflw(tmp_path)
    report = check_dataset("aflw", tmp_path)
    assert [(part.name, part.published, part.within) for part in report.parts] == [
        ("train", 20_000, None), ("test", 4386, None), ("frontal", 1314, "test"),
    ]  # fmt: skip
    assert report.faces == 12
    assert AFLW_OFFICIAL["train"] + AFLW_OFFICIAL["test"] == 24_386


def test_aflw_hidden_points_without_a_position_are_nan(tmp_path: Path) -> None:
    def empty(labels: Labels) -> None:
        labels["data"][0, [11, 19 + 11]] = 0

    write_aflw(tmp_path, empty)
    everything = [face for split in ("train", "test") for face in load_dataset("aflw", tmp_path, split)]
    (face,) = [face for face in everything if face.key == "0/image00000.png"]
    assert np.isnan(face.points).all(axis=1).tolist() == [index == 11 for index in range(19)]
    assert not face.visible[[11, 18]].any()


@pytest.mark.parametrize("box", [[5, 5, 5, 40], [np.nan, 40, 5, 40], [400, 500, 400, 500]])
def test_aflw_boxes_that_hold_no_face_give_way_to_the_points(tmp_path: Path, box: list[float]) -> None:
    def spoil(labels: Labels) -> None:
        labels["bbox"][1] = box

    write_aflw(tmp_path, spoil)
    everything = [face for split in ("train", "test") for face in load_dataset("aflw", tmp_path, split)]
    (face,) = [face for face in everything if face.key == "1/image00001.png"]
    np.testing.assert_array_equal(face.box, hull_box(face.points[face.visible]))
    notes = [note for note in check_dataset("aflw", tmp_path).notes if "its box" in note]
    assert len(notes) == 1
    assert notes[0].startswith("1/image00001.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels.pop("ra"), "bbox, data, mask_new, nameList and ra"),
        (lambda labels: labels.update(data=labels["data"][:, :37]), "expected data of 12 x 38"),
        (lambda labels: labels.update(mask_new=labels["mask_new"] * 2), "mask_new of 0 and 1"),
        (lambda labels: labels.update(ra=labels["ra"] - 1), "each number from 1 to 12 once"),
        (lambda labels: labels["mask_new"][:2].fill(0), "2 problems"),
        (lambda labels: labels["data"][3].fill(np.nan), f"{LABELS}:4: expected finite"),
    ],
)
def test_damaged_labels_of_aflw(tmp_path: Path, change: Callable[[Labels], object], message: str) -> None:
    write_aflw(tmp_path, change)
    with pytest.raises(DataError, match=message):
        load_dataset("aflw", tmp_path, "train")


def test_aflw_that_is_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / LABELS).write_bytes(b"no MATLAB")
    with pytest.raises(DataError, match="expected a MATLAB 5 file"):
        load_dataset("aflw", tmp_path, "train")
    write_aflw(tmp_path)
    (tmp_path / "data" / "flickr" / "0" / "image00003.png").unlink()
    with pytest.raises(DataError, match=r"0/image00003\.png is not below"):
        load_dataset("aflw", tmp_path, "train")


def write_celeba(
    root: Path, count: int = 6, *, aligned: bool = False, places: tuple[str, str, str] = ("",) * 3
) -> None:
    """Drawn faces in the official lists; ``places`` are the folders of labels, partition and pictures."""
    rng = np.random.default_rng(0)
    anno, other, images = (root / place for place in places)
    for folder in (anno, other):
        folder.mkdir(parents=True, exist_ok=True)
    points_lines, boxes, parts, people = [], [], [], []
    for number in range(1, count + 1):
        face, name = draw_face(rng, size=48), f"{number:06d}.png"
        write_image(images / ("img_align_celeba" if aligned else "img_celeba") / name, face.image)
        five = np.rint(convert(face.points, IBUG_68, FIVE)).astype(int)
        (x1, y1), (x2, y2) = five.min(axis=0) - 5, five.max(axis=0) + 5
        points_lines.append(" ".join([name, *(f"{value:4d}" for value in five.ravel())]))
        boxes.append(f"{name} {x1} {y1} {x2 - x1} {y2 - y1}")
        parts.append(f"{name} {(0, 0, 0, 1, 2)[(number - 1) % 5]}")
        people.append(f"{name} {number // 2}")
    head = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    kind = "_align" if aligned else ""
    (anno / f"list_landmarks{kind}_celeba.txt").write_text("\n".join([str(count), head, *points_lines, ""]))
    (anno / "list_bbox_celeba.txt").write_text("\n".join([str(count), "image_id x_1 y_1 width height", *boxes, ""]))
    (anno / "identity_CelebA.txt").write_text("\n".join([*people, ""]))
    (other / "list_eval_partition.txt").write_text("\n".join([*parts, ""]))


@pytest.mark.parametrize("places", [("", "", ""), ("Anno", "Eval", "Img")])
@pytest.mark.parametrize("aligned", [False, True])
def test_celeba_is_divided_by_the_official_list(tmp_path: Path, aligned: bool, places: tuple[str, str, str]) -> None:
    write_celeba(tmp_path, aligned=aligned, places=places)
    keys = {split: [face.key[:6] for face in load_dataset("celeba", tmp_path, split)] for split in CELEBA_OFFICIAL}
    assert keys == {"train": ["000001", "000002", "000003", "000006"], "validation": ["000004"], "test": ["000005"]}
    groups = [face.group for face in load_dataset("celeba", tmp_path, "train")]
    assert groups == ["person/0", "person/1", "person/1", "person/3"]
    report = check_dataset("celeba", tmp_path)
    assert [(part.faces, part.published) for part in report.parts] == [(4, 162_770), (1, 19_867), (1, 19_962)]
    assert [note for note in report.notes if "official box" in note] == []


@pytest.mark.parametrize(
    ("name", "write", "scheme", "words"),
    [
        ("aflw", write_aflw, AFLW_19, ("on aflw full", "visible points, over")),
        ("celeba", write_celeba, FIVE, ("on celeba test", "MSE: of coordinates")),
    ],
)
def test_evaluate_prints_the_numbers_of_the_set(
    tmp_path: Path,
    tiny_model: Callable[..., Path],
    tiny_session: LandmarkSession,
    name: str,
    write: Callable[[Path], object],
    scheme: Scheme,
    words: tuple[str, ...],
) -> None:
    write(tmp_path)
    model = tiny_model(card=replace(tiny_session.card, scheme=scheme.name))
    rows = tmp_path / "rows.csv"
    command = ["evaluate", "--model", str(model), "--dataset", name, "--root", str(tmp_path), "--rows", str(rows)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert all(word in result.stdout for word in words)
    assert all(row.error > 0 for row in read_rows(rows))


def test_celeba_left_of_the_picture_is_the_right_eye(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    face = load_dataset("celeba", tmp_path, "train")[0]
    assert face.scheme == FIVE
    numbers = (tmp_path / "list_landmarks_celeba.txt").read_text().splitlines()[2].split()[1:]
    np.testing.assert_array_equal(face.points.ravel(), np.array(numbers, np.float32))
    assert face.points[0, 0] < face.points[1, 0]  # lefteye_x comes first and lies left: the subject's right eye


def test_celeba_box_is_made_from_the_points_alone(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    boxes = tmp_path / "list_bbox_celeba.txt"
    before = [face.box.tolist() for face in load_dataset("celeba", tmp_path, "train")]
    lines = boxes.read_text().splitlines()
    lines[2:5] = ["000001.png 0 0 0 0", "000002.png 300 300 20 20", "000003.png 1 2 3"]
    boxes.write_text("\n".join(lines))
    assert [face.box.tolist() for face in load_dataset("celeba", tmp_path, "train")] == before
    notes = [note for note in check_dataset("celeba", tmp_path).notes if "points" in note]
    assert [note.split(":")[0] for note in notes] == ["000001.png", "000002.png", "list_bbox_celeba.txt"]
    lines[2:] = [f"{number:06d}.png 0 0 0 0" for number in range(1, 7)] * 5
    boxes.write_text("\n".join(lines))
    assert "10 more official boxes" in "".join(check_dataset("celeba", tmp_path).notes)
    boxes.unlink()
    assert [face.box.tolist() for face in load_dataset("celeba", tmp_path, "train")] == before


def test_celeba_box_is_near_that_of_68_points(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    rng = np.random.default_rng(0)
    hulls = np.stack([hull_box(draw_face(rng, size=48).points) for _ in range(6)])
    faces = {face.key: face for split in CELEBA_OFFICIAL for face in load_dataset("celeba", tmp_path, split)}
    boxes = np.stack([faces[key].box for key in sorted(faces)])
    assert np.diag(box_iou(boxes, hulls)).mean() > 0.6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("000002.png", "000009.png", r"list_eval_partition\.txt does not put 000009\.png into a part"),
        ("000002.png", "000001.png", "a second line for"),
        ("000002.png", "000002.png 7", "found 12 fields"),
        ("000002.png  ", "000002.png x", "expected numbers|found 12 fields"),
    ],
)
def test_damaged_lines_of_celeba(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_celeba(tmp_path)
    path = tmp_path / "list_landmarks_celeba.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        load_dataset("celeba", tmp_path, "train")


def test_celeba_points_on_one_spot_and_lost_pictures_are_problems(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    path = tmp_path / "list_landmarks_celeba.txt"
    lines = path.read_text().splitlines()
    lines[2] = "000001.png" + " 7" * 10
    lines[3] = "000002.png" + " x" * 10
    path.write_text("\n".join(lines))
    (tmp_path / "img_celeba" / "000003.png").unlink()
    kinds = [str(problem) for problem in check_dataset("celeba", tmp_path).problems]
    assert ["five finite points" in kinds[0], "expected numbers" in kinds[1], "is not there" in kinds[2]] == [True] * 3


def test_celeba_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected list_landmarks_celeba\.txt with img_celeba/ or"):
        load_dataset("celeba", tmp_path, "train")
    write_celeba(tmp_path)
    (tmp_path / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match="expected the official list of CelebA"):
        load_dataset("celeba", tmp_path, "train")
