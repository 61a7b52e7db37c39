"""wild21 in its layout, written small."""

from pathlib import Path

import numpy as np
import pytest

from canthus.data import check_dataset, load_dataset
from canthus.data.scenes import load_scenes
from canthus.data.wild21 import HABIT, NOSE, face_boxes
from canthus.errors import ConfigError, DataError
from canthus.geometry import BoxHabit
from canthus.images import write_image
from canthus.schemes import FIVE, WILD_21, convert

NAMES = {"I": ["b.jpg", "a.jpg", "b.jpg"], "II": ["c.jpg"]}
POINTS = np.random.default_rng(0).uniform(10, 50, (21, 2)).round(2)


def line(name: str, shift: float = 0) -> str:
    box = [5.5 + shift, 6.0, 55.0 + shift, 56.25]
    return " ".join([name, *(f"{v:.2f}" for v in [*box, *(POINTS + np.array([shift, 0])).ravel()])])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three faces in two pictures, and one more."""
    for seed, (part, names) in enumerate(NAMES.items()):
        (tmp_path / part).mkdir()
        lines = [line(name, 4.0 * number) for number, name in enumerate(names)]
        (tmp_path / part / "label.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
        for number, name in enumerate(sorted(set(names))):
            image = np.random.default_rng(10 * seed + number).integers(0, 256, (72, 80, 3), dtype=np.uint8)
            write_image(tmp_path / part / name, image)
    return tmp_path


def test_a_picture_is_one_scene_with_all_its_faces(root: Path) -> None:
    one, two = load_scenes("wild21", root, "train")
    assert [one.key, two.key] == ["I/a.jpg", "I/b.jpg"]
    own = np.array([[5.5, 6, 55, 56.25], [13.5, 6, 63, 56.25]], np.float32)
    np.testing.assert_allclose(two.boxes, face_boxes(own, two.points))
    np.testing.assert_allclose(one.boxes, two.boxes[:1] + np.array([4, 0, 4, 0]), rtol=1e-5)
    assert two.points.shape == (2, 5, 2)
    np.testing.assert_allclose(two.points[0], POINTS[16:], atol=1e-5)
    assert two.complete
    assert not two.ignored.any()
    assert two.habit == BoxHabit()
    assert (two.subset, two.labels) == ("I", ("", ""))


def test_faces_have_21_points_and_a_face_box_by_the_habit(root: Path) -> None:
    faces = load_dataset("wild21", root, "all")
    assert [face.key for face in faces] == ["I/a.jpg", "I/b.jpg", "I/b.jpg#2", "II/c.jpg"]
    np.testing.assert_allclose(faces[1].points, POINTS, atol=1e-5)
    box = face_boxes(np.array([5.5, 6, 55, 56.25], np.float32), convert(faces[1].points, WILD_21, FIVE))
    np.testing.assert_allclose(faces[1].box, box, rtol=1e-5)
    assert faces[1].scheme == WILD_21
    assert faces[1].group == faces[2].group != faces[0].group
    five = load_dataset("wild21", root, "test", scheme="five")[0]
    np.testing.assert_array_equal(five.points, convert(faces[3].points, WILD_21, FIVE))


def test_rectangles_and_points_may_reach_beyond_the_picture(root: Path) -> None:
    path = root / "II/label.txt"
    path.write_text(line("c.jpg", -20.0), encoding="ascii")
    (scene,) = load_scenes("wild21", root, "test")
    own = np.array([[-14.5, 6, 35, 56.25]], np.float32)
    np.testing.assert_allclose(scene.boxes, face_boxes(own, scene.points), rtol=1e-5)
    assert scene.boxes[0, 0] < -10
    assert scene.points[0].min() < 0


@pytest.mark.parametrize("right", [-0.15, 0.0, 0.15])
def test_the_box_moves_away_from_the_side_that_the_nose_is_turned_to(right: float) -> None:
    own = np.array([100, 100, 200, 200], np.float32)
    five = np.array([[130, 130], [170, 130], [150 + 100 * right, 150], [130, 170], [170, 170]], np.float32)
    expected = HABIT.face_boxes(own) + 100 * NOSE[0] * right * np.array([1, 0, 1, 0])
    np.testing.assert_allclose(face_boxes(own, five), expected, rtol=1e-5)


@pytest.mark.parametrize("load", [load_scenes, load_dataset])
def test_damaged_lines_are_listed_with_their_number(root: Path, load: object) -> None:
    good = line("a.jpg").split()
    bad = [
        good[:-1],
        ["a.jpg", "x", *good[2:]],
        ["a.jpg", "inf", *good[2:]],
        ["a.jpg", "55", "6", "5", *good[4:]],
        ["none.jpg", *good[1:]],
    ]
    lines = [" ".join(fields) for fields in bad]
    (root / "I/label.txt").write_text("\n".join([line("a.jpg"), "", *lines]), encoding="ascii")
    with pytest.raises(DataError) as caught:
        load("wild21", root, "train")  # type: ignore[operator]
    for number, message in (
        (3, "expected 47 fields (name, rectangle, 21 pairs x y), found 46"),
        (4, "expected numbers"),
        (5, "expected finite numbers"),
        (6, "with x1 < x2 and y1 < y2, found 55 6 5"),
        (7, "I/none.jpg is not there"),
    ):
        assert f"I/label.txt:{number}: " in str(caught.value)
        assert message in str(caught.value)


def test_a_part_that_is_not_there_is_named_and_no_fault_of_the_set(root: Path) -> None:
    (root / "II/label.txt").unlink()
    with pytest.raises(DataError, match=r"expected II/label.txt of wild21"):
        load_scenes("wild21", root, "test")
    report = check_dataset("wild21", root)
    assert [(part.name, part.faces, part.status) for part in report.parts] == [
        ("I", 3, "partial"),
        ("II", 0, "absent"),
    ]


def test_unknown_splits_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown split of wild21 'val'.*Known:.*validation"):
        load_scenes("wild21", root, "val")


@pytest.mark.real_data
def test_real_set(shared_data: Path) -> None:
    root = shared_data / "wild21"
    scenes = {split: load_scenes("wild21", root, split) for split in ("train", "test", "all", "fit", "validation")}
    pictures = {split: len(found) for split, found in scenes.items()}
    faces = {split: sum(len(scene.boxes) for scene in found) for split, found in scenes.items()}
    assert pictures == {"train": 1000, "test": 1000, "all": 2000, "fit": 881, "validation": 119}
    assert faces == {"train": 1593, "test": 1193, "all": 2786, "fit": 1357, "validation": 236}
    assert len(load_dataset("wild21", root, "all")) == 2786
