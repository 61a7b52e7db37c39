"""The same questions to every reader of scenes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from canthus.data import check_dataset
from canthus.data.formats import write_pts
from canthus.data.mean_faces import mean_face
from canthus.data.scenes import load_scenes, scene_sets
from canthus.data.synthetic import draw_face, write_synthetic_300w
from canthus.errors import ConfigError, DataError
from canthus.images import read_image, write_image
from canthus.types import Sample

SIZE = 48


def _drawn(root: Path, names: list[str]) -> list[Sample]:
    """Faces drawn into pictures of these names."""
    rng = np.random.default_rng(len(names))
    samples = [draw_face(rng, size=SIZE) for _ in names]
    for name, sample in zip(names, samples, strict=True):
        write_image(root / name, sample.image)
    return samples


def _points_in(sample: Sample, scheme: str) -> list[str]:
    """Coordinates of the mean face of a scheme, about where a face was drawn, as text."""
    mean = mean_face(scheme)
    assert mean is not None
    return list(map(str, (mean * sample.points.std() + sample.points.mean(axis=0)).ravel()))


def _write_300w(root: Path) -> None:
    write_synthetic_300w(root, 20, np.random.default_rng(0), size=SIZE)
    (sample,) = _drawn(root, ["300W/01_Indoor/indoor_001.png"])
    write_pts(root / "300W/01_Indoor/indoor_001.pts", sample.points)


def _write_ytf(root: Path) -> None:
    for folder, people in (("training", 12), ("test", 3)):
        names = [f"P{person}_Name_0{person % 3}.png" for person in range(people)]
        samples = _drawn(root / folder, names)
        lines = [",".join([n, *map(str, s.points.ravel())]) for n, s in zip(names, samples, strict=True)]
        (root / f"{folder}_frames_keypoints.csv").write_text("\n".join(lines), encoding="utf-8")


def _write_wflw(root: Path) -> None:
    lists = root / "WFLW_annotations/list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    for part, count in (("train", 20), ("test", 6)):
        names = [f"{number % 5}--Place/{part}_{number}.png" for number in range(count)]
        lines = []
        for number, (name, sample) in enumerate(zip(names, _drawn(root / "WFLW_images", names), strict=True)):
            points = _points_in(sample, "wflw_98")
            flags = ["1" if number == flag else "0" for flag in range(6)]
            lines.append(" ".join([*points, "1", "2", "40", "41", *flags, name]))
        (lists / f"list_98pt_rect_attr_{part}.txt").write_text("\n".join(lines), encoding="utf-8")


def _write_wild21(root: Path) -> None:
    for part, count in (("I", 20), ("II", 6)):
        names = [f"{number:06d}.png" for number in range(count)]
        samples = _drawn(root / part, names)
        lines = [
            " ".join([name, "5", "6", "40", "42", *_points_in(sample, "wild_21")])
            for name, sample in zip(names, samples, strict=True)
        ]
        (root / part / "label.txt").write_text("\n".join(lines), encoding="utf-8")


def _write_facemask(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    sides = "<xmin>5</xmin><ymin>6</ymin><xmax>40</xmax><ymax>42</ymax>"
    xml = f"<annotation><object><name>with_mask</name><bndbox>{sides}</bndbox></object></annotation>"
    for part, count in (("train", 6), ("validate", 2), ("test", 3)):
        names = [f"{part}{number}.png" for number in range(count)]
        _drawn(root / "images", names)
        for name in names:
            (root / "annotations" / f"{Path(name).stem}.xml").write_text(xml, encoding="utf-8")
        (root / f"{part}.txt").write_text("\n".join(names), encoding="utf-8")


def _write_widerface(root: Path) -> None:
    from scipy.io import savemat

    (root / "wider_face_split").mkdir(parents=True)
    (root / "ground_truth").mkdir()
    for part, count in (("train", 20), ("val", 4)):
        names = [f"0--Parade/{part}_{number}.jpg" for number in range(count)]
        _drawn(root / f"WIDER_{part}" / "images", names)
        text = "".join(f"{name}\n1\n5 6 30 34 0 0 0 0 0 0\n" for name in names)
        (root / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt").write_text(text, encoding="utf-8")

    def within_event(*values: object) -> np.ndarray:
        column, event = np.empty((len(values), 1), object), np.empty((1, 1), object)
        for index, value in enumerate(values):
            column[index, 0] = value
        event[0, 0] = column
        return event

    whole = {
        "event_list": np.array([["0--Parade"]], object),
        "file_list": within_event(*(f"val_{number}" for number in range(4))),
        "face_bbx_list": within_event(*(np.array([[5.0, 6, 30, 34]]) for _ in range(4))),
    }
    savemat(root / "ground_truth/wider_face_val.mat", whole)
    for subset in ("easy", "medium", "hard"):
        counted = {"gt_list": within_event(*(np.array([[1]]) for _ in range(4)))}
        savemat(root / f"ground_truth/wider_{subset}_val.mat", counted)


def _write_fddb(root: Path) -> None:
    (root / "FDDB-folds").mkdir(parents=True)
    for fold in range(1, 11):
        name = f"2002/08/{fold:02d}/big/img_5"
        _drawn(root / "originalPics", [f"{name}.jpg"] * fold)  # so that no two folds hold the same face
        text = f"{name}\n1\n18.5 12.25 1.4 24.0 23.0  1\n"
        (root / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text(text, encoding="utf-8")


WRITERS: dict[str, Callable[[Path], None]] = {
    "300w": _write_300w,
    "ytf": _write_ytf,
    "wflw": _write_wflw,
    "wild21": _write_wild21,
    "facemask": _write_facemask,
    "widerface": _write_widerface,
    "fddb": _write_fddb,
}
EVERY_SPLIT = [(name, split) for name, kind in scene_sets().items() for split in kind.splits]
DIVIDED = [name for name, kind in scene_sets().items() if "fit" in kind.splits]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in WRITERS}
    for name, write in WRITERS.items():
        write(folders[name])
    return folders


def test_every_set_is_asked() -> None:
    assert set(WRITERS) == set(scene_sets())


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_scenes_are_whole(roots: dict[str, Path], name: str, split: str) -> None:
    for scene in load_scenes(name, roots[name], split):
        count = len(scene.boxes)
        assert scene.boxes.shape == (count, 4)
        assert scene.points.shape == (count, 5, 2)
        assert len(scene.ignored) == len(scene.labels) == count
        assert scene.boxes.dtype == scene.points.dtype == np.float32
        assert scene.group
        height, width = read_image(scene.path).shape[:2]
        centres = (scene.face_boxes()[:, :2] + scene.face_boxes()[:, 2:]) / 2
        assert ((centres > 0) & (centres < (width, height))).all()
        assert (scene.boxes[~scene.ignored, :2] < scene.boxes[~scene.ignored, 2:]).all()


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_keys_are_sorted_unique_and_free_of_the_root(roots: dict[str, Path], name: str, split: str) -> None:
    keys = [scene.key for scene in load_scenes(name, roots[name], split)]
    assert keys == sorted(set(keys))
    assert not any(str(roots[name]) in key or "\\" in key for key in keys)


@pytest.mark.parametrize("name", DIVIDED)
def test_fit_and_validation_share_no_group(roots: dict[str, Path], name: str) -> None:
    fit, validation = (load_scenes(name, roots[name], split) for split in ("fit", "validation"))
    assert fit
    assert not {scene.group for scene in fit} & {scene.group for scene in validation}


@pytest.mark.parametrize("name", scene_sets())
def test_unknown_split_is_refused_with_the_known_ones(roots: dict[str, Path], name: str) -> None:
    with pytest.raises(ConfigError, match=rf"Unknown split.*Known:.*{scene_sets()[name].splits[0]}"):
        load_scenes(name, roots[name], "nosuchsplit")


@pytest.mark.parametrize("name", scene_sets())
def test_a_root_without_the_layout_is_refused(tmp_path: Path, name: str) -> None:
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="expected"):
            load_scenes(name, root, scene_sets()[name].splits[0])
        with pytest.raises(DataError, match="expected"):
            check_dataset(name, root)


@pytest.mark.parametrize("name", scene_sets())
def test_check_finds_nothing_wrong_with_a_whole_set(roots: dict[str, Path], name: str) -> None:
    report = check_dataset(name, roots[name])
    assert [str(problem) for problem in report.problems] == []
    assert report.faces == report.pictures > 0


@pytest.mark.parametrize("name", scene_sets())
def test_check_sees_a_broken_picture(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    broken = load_scenes(name, tmp_path, scene_sets()[name].splits[0])[0]
    broken.path.write_bytes(b"no picture")
    report = check_dataset(name, tmp_path)
    assert [(problem.kind, problem.where) for problem in report.problems] == [("unreadable picture", broken.key)]


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'widerface'"):
        load_scenes("widerfaces", ".", "train")


def test_boxes_of_landmark_sets_are_hulls_and_the_picture_may_hold_more_faces(roots: dict[str, Path]) -> None:
    for scene in load_scenes("300w", roots["300w"], "train"):
        assert not scene.complete
        np.testing.assert_allclose(scene.face_boxes(), scene.boxes, atol=1e-4)
        assert not np.isnan(scene.points).any()
