"""The same questions to every dataset reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from canthus.data import LANDMARK_SETS, check_dataset, load_dataset
from canthus.data.formats import write_pts
from canthus.data.synthetic import draw_face, write_synthetic_300w
from canthus.errors import ConfigError, DataError
from canthus.images import read_image, write_image


def _write_300w(root: Path) -> None:
    write_synthetic_300w(root, 20, np.random.default_rng(0), size=48)
    sample = draw_face(np.random.default_rng(1), size=48)
    path = root / "300W/01_Indoor/indoor_001.png"
    write_image(path, sample.image)
    write_pts(path.with_suffix(".pts"), sample.points)


def _write_ytf(root: Path) -> None:
    rng = np.random.default_rng(0)
    for folder, people in (("training", 12), ("test", 3)):
        lines = [",".join(["", *map(str, range(136))])]
        for person in range(people):
            sample = draw_face(rng, size=48)
            name = f"P{person}_Name_0{person % 3}.jpg"
            write_image(root / folder / name, sample.image)
            lines.append(",".join([name, *(f"{value:.2f}" for value in sample.points.ravel())]))
        (root / f"{folder}_frames_keypoints.csv").write_text("\n".join(lines), encoding="utf-8")


def _write_folder(root: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        sample = draw_face(rng, size=48)
        write_image(root / f"{number}.png", sample.image)
        write_pts(root / f"{number}.pts", sample.points)


def _write_wflw(root: Path) -> None:
    rng = np.random.default_rng(0)
    lists = root / "WFLW_annotations/list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    for part, count in (("train", 20), ("test", 6)):
        lines = []
        for number in range(count):
            sample = draw_face(rng, size=48)
            # Any 98 points will do that lie in the picture.
            points = sample.points[np.arange(98) % 68]
            name = f"{number % 5}--Place/{part}_{number}.png"
            write_image(root / "WFLW_images" / name, sample.image)
            flags = ["1" if number == flag else "0" for flag in range(6)]
            lines.append(" ".join([*(f"{v:.6f}" for v in points.ravel()), "1", "2", "40", "41", *flags, name]))
        (lists / f"list_98pt_rect_attr_{part}.txt").write_text("\n".join(lines), encoding="utf-8")


def _write_wild21(root: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("I", 20), ("II", 6)):
        lines = []
        for number in range(count):
            sample = draw_face(rng, size=48)
            # Any 21 points will do that lie in the picture.
            points = sample.points[17:38]
            box = [*points.min(axis=0) - 4.5, *points.max(axis=0) + 4.5]
            write_image(root / part / f"{number:06d}.png", sample.image)
            lines.append(" ".join([f"{number:06d}.png", *(f"{v:.2f}" for v in [*box, *points.ravel()])]))
        (root / part / "label.txt").write_text("\n".join(lines), encoding="utf-8")


def _write_cofw(root: Path) -> None:
    """As MATLAB 7.3 stores cells and matrices: axes turned round, cells by reference."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    for name, ending, count in (("train", "Tr", 20), ("test", "T", 3)):
        with h5py.File(root / f"COFW_{name}_color.mat", "w") as file:
            cells = file.create_dataset(f"Is{ending}", (1, count), dtype=h5py.ref_dtype)
            labels = []
            for number in range(count):
                sample = draw_face(rng, size=48)
                cells[0, number] = file.create_dataset(f"#refs#/{number}", data=sample.image.T).ref
                labels.append(np.concatenate([*(sample.points[:29] + 1).T, np.arange(29) % 2]))
            file.create_dataset(f"phis{ending}", data=np.stack(labels, axis=1))


def _write_celeba_hq(root: Path) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for number in (0, 1, 2, 29_500, 29_700):
        sample = draw_face(rng, size=48)
        write_image(root / "CelebA-HQ-img" / f"{number}.png", sample.image)
        lines.append(" ".join([f"{number}.png", *(f"{v:.4f}" for v in sample.points.ravel())]))
    (root / "points.txt").write_text("\n".join(lines), encoding="utf-8")


def _write_aflw(root: Path) -> None:
    matlab = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    count = 24
    names, data, boxes = np.empty((count, 1), object), [], []
    for number in range(count):
        sample = draw_face(rng, size=48)
        names[number, 0] = f"{number % 3}/image{number:05d}.png"
        write_image(root / "data/flickr" / names[number, 0], sample.image)
        # Any 19 points will do that lie in the picture.
        points = sample.points[17:36]
        (x1, y1), (x2, y2) = points.min(axis=0) - 1, points.max(axis=0) + 1
        data.append([*points[:, 0], *points[:, 1]])
        boxes.append([x1, x2, y1, y2])
    mask = np.arange(count * 19).reshape(count, 19) % 20 > 0
    labels = {"data": np.array(data), "bbox": np.array(boxes), "mask_new": mask.astype(float), "nameList": names}
    matlab.savemat(root / "AFLWinfo_release.mat", labels | {"ra": np.arange(count, 0, -1)[None]})


def _write_celeba(root: Path) -> None:
    rng = np.random.default_rng(0)
    labels, parts = ["20", "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y"], []
    for number in range(20):
        sample = draw_face(rng, size=48)
        name = f"{number:06d}.png"
        write_image(root / "img_celeba" / name, sample.image)
        five = np.rint(sample.points[[36, 45, 30, 48, 54]]).astype(int)
        labels.append(" ".join([name, *map(str, five.ravel())]))
        parts.append(f"{name} {max(0, number - 17)}")
    (root / "list_landmarks_celeba.txt").write_text("\n".join(labels), encoding="utf-8")
    (root / "list_eval_partition.txt").write_text("\n".join(parts), encoding="utf-8")


WRITERS: dict[str, Callable[[Path], None]] = {
    "300w": _write_300w,
    "ytf": _write_ytf,
    "wflw": _write_wflw,
    "wild21": _write_wild21,
    "cofw": _write_cofw,
    "celeba_hq": _write_celeba_hq,
    "aflw": _write_aflw,
    "celeba": _write_celeba,
    "folder": _write_folder,
}
EVERY_SPLIT = [(name, split) for name, dataset in LANDMARK_SETS.items() for split in dataset.splits]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in WRITERS}
    for name, write in WRITERS.items():
        write(folders[name])
    return folders


def test_every_dataset_is_asked() -> None:
    assert set(WRITERS) == set(LANDMARK_SETS)


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_faces_are_whole(roots: dict[str, Path], name: str, split: str) -> None:
    for face in load_dataset(name, roots[name], split):
        assert face.points.shape == (face.scheme.count, 2)
        assert face.points.dtype == face.box.dtype == np.float32
        assert face.group
        height, width = read_image(face.path).shape[:2]
        assert (face.points > -0.5).all()
        assert (face.points < (width, height)).all()
        assert (face.box[:2] < face.box[2:]).all()


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_keys_are_sorted_unique_and_free_of_the_root(roots: dict[str, Path], name: str, split: str) -> None:
    keys = [face.key for face in load_dataset(name, roots[name], split)]
    assert keys == sorted(set(keys))
    assert not any(str(roots[name]) in key or "\\" in key for key in keys)


@pytest.mark.parametrize("name", LANDMARK_SETS)
def test_fit_and_validation_share_no_group(roots: dict[str, Path], name: str) -> None:
    fit, validation = (load_dataset(name, roots[name], split) for split in ("fit", "validation"))
    assert fit
    assert not {face.group for face in fit} & {face.group for face in validation}
    assert not {face.key for face in fit} & {face.key for face in validation}


@pytest.mark.parametrize("name", LANDMARK_SETS)
def test_folds_hold_every_face_once_and_share_no_group(roots: dict[str, Path], name: str) -> None:
    tests = [load_dataset(name, roots[name], f"fold-{number}-of-3-test") for number in (1, 2, 3)]
    whole = load_dataset(name, roots[name], LANDMARK_SETS[name].folds)
    assert sorted(face.key for faces in tests for face in faces) == [face.key for face in whole]
    for number, test in enumerate(tests, start=1):
        train = load_dataset(name, roots[name], f"fold-{number}-of-3-train")
        assert len(train) + len(test) == len(whole)
        assert not {face.group for face in train} & {face.group for face in test}


@pytest.mark.parametrize("name", LANDMARK_SETS)
def test_reading_twice_gives_the_same(roots: dict[str, Path], name: str) -> None:
    split = LANDMARK_SETS[name].splits[0]
    first, second = (load_dataset(name, str(roots[name]), split) for _ in range(2))
    assert [(a.key, a.group, a.points.tolist()) for a in first] == [(b.key, b.group, b.points.tolist()) for b in second]


@pytest.mark.parametrize("name", LANDMARK_SETS)
def test_unknown_split_is_refused_with_the_known_ones(roots: dict[str, Path], name: str) -> None:
    with pytest.raises(ConfigError, match=r"Unknown split.*Known:.*validation"):
        load_dataset(name, roots[name], "nosuchsplit")


@pytest.mark.parametrize("name", LANDMARK_SETS)
def test_a_root_without_the_layout_is_refused(tmp_path: Path, name: str) -> None:
    split = LANDMARK_SETS[name].splits[0]
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="expected"):
            load_dataset(name, root, split)
        with pytest.raises(DataError, match="expected"):
            check_dataset(name, root)


@pytest.mark.parametrize("name", LANDMARK_SETS)
def test_check_finds_nothing_wrong_with_a_whole_set(roots: dict[str, Path], name: str) -> None:
    report = check_dataset(name, roots[name])
    assert [str(problem) for problem in report.problems] == []
    assert report.faces == report.pictures > 0


@pytest.mark.parametrize("name", LANDMARK_SETS)
def test_check_sees_a_broken_picture(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    broken = load_dataset(name, tmp_path, LANDMARK_SETS[name].splits[0])[0]
    broken.path.write_bytes(b"no picture")
    report = check_dataset(name, tmp_path)
    assert [(problem.kind, problem.where) for problem in report.problems] == [("unreadable picture", broken.key)]
