"""FDDB in its official layout, written small."""

from pathlib import Path

import numpy as np
import pytest

from canthus.data import check_dataset
from canthus.data.fddb import FOLDS, HABIT, ellipse_boxes
from canthus.data.scenes import load_scenes
from canthus.errors import DataError
from canthus.images import write_image

ENTRIES = {
    1: """2002/08/11/big/img_591
1
20.0 10.0 1.570796 30.0 25.0  1
2002/08/26/big/img_265
2
14.0 8.0 0.0 20.0 25.0  1
12.5 9.5 -1.2 50.0 30.0  1
""",
    2: "2003/01/13/big/img_1087\n1\n20.0 12.0 1.4 40.0 30.0  1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "FDDB-folds").mkdir()
    for fold in range(1, 11):
        text = ENTRIES.get(fold, f"2003/02/{fold:02d}/big/img_7\n1\n20.0 12.0 1.4 40.0 30.0  1\n")
        (tmp_path / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text(text, encoding="utf-8")
        for seed, name in enumerate(line for line in text.splitlines() if "/" in line):
            image = np.random.default_rng(10 * fold + seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
            write_image(tmp_path / "originalPics" / f"{name}.jpg", image)
    return tmp_path


def test_folds_are_splits(root: Path) -> None:
    assert [scene.key for scene in load_scenes("fddb", root, "fold-1")] == [
        "2002/08/11/big/img_591.jpg",
        "2002/08/26/big/img_265.jpg",
    ]
    assert len(load_scenes("fddb", root, "fold-2")) == 1
    scenes = load_scenes("fddb", root, "all")
    assert len(scenes) == 11
    assert {scene.subset for scene in scenes} == set(FOLDS)


def test_upright_and_lying_ellipses_become_their_boxes(root: Path) -> None:
    upright, both = load_scenes("fddb", root, "fold-1")
    # The centre of pixel (30, 25) lies at 30.5, 25.5 on the scale of boxes.
    np.testing.assert_allclose(upright.boxes, [[20.5, 5.5, 40.5, 45.5]], atol=1e-4)
    np.testing.assert_allclose(both.boxes[0], [6.5, 17.5, 34.5, 33.5], atol=1e-4)
    assert np.isnan(both.points).all()
    assert both.complete
    assert both.habit == HABIT
    assert not both.ignored.any()


def test_tilted_ellipses_touch_their_box_on_every_side() -> None:
    ellipses = np.array([[20.0, 9.0, angle, 50.0, 40.0] for angle in (-1.5, -0.7, 0.2, 1.1)])
    turn = np.linspace(0, 2 * np.pi, 20_000)
    for (major, minor, angle, x, y), box in zip(ellipses, ellipse_boxes(ellipses), strict=True):
        along, across = major * np.cos(turn), minor * np.sin(turn)
        edge = np.stack(
            [x + along * np.cos(angle) - across * np.sin(angle), y + along * np.sin(angle) + across * np.cos(angle)]
        )
        np.testing.assert_allclose(box, [*(edge.min(axis=1) + 0.5), *(edge.max(axis=1) + 0.5)], atol=1e-3)


def test_damaged_entries_are_listed_with_their_line(root: Path) -> None:
    path = root / "FDDB-folds/FDDB-fold-01-ellipseList.txt"
    text = ["a/1", "1", "20 10 1.5 30 25", "b/2", "x", "2002/08/11/big/img_591", "1", "20 0 1.5 30 25 1", "c/3", "1"]
    path.write_text("\n".join([*text, "20 10 1.5 30 25 1"]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_scenes("fddb", root, "fold-1")
    for number, message in (
        (3, "expected 6 numbers, found 5"),
        (5, "expected the number of faces, found 'x'"),
        (6, "expected radii above 0, found 0"),
        (9, "originalPics/c/3.jpg is not there"),
    ):
        assert f"{path.name}:{number}: {message}" in str(caught.value)


def test_a_missing_fold_is_named_and_no_fault_of_the_set(root: Path) -> None:
    (root / "FDDB-folds/FDDB-fold-03-ellipseList.txt").unlink()
    with pytest.raises(DataError, match=r"FDDB-fold-03-ellipseList.txt: cannot be read.*expected"):
        load_scenes("fddb", root, "all")
    report = check_dataset("fddb", root)
    assert report.clean
    assert [(part.name, part.faces, part.published, part.status) for part in report.parts] == [
        ("ten folds", 11, 5171, "partial")
    ]
