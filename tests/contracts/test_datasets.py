"""The same questions to every dataset reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from canthus.data import landmark_sets
from canthus.data.formats import write_pts
from canthus.data.mean_faces import mean_face
from canthus.data.synthetic import draw_face, write_synthetic_300w
from canthus.images import write_image
from contract_checks import check_division, check_refusals, check_repetition, check_report, check_split


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


def _points_of(scheme: str, rng: np.random.Generator, *, size: int) -> Float32[np.ndarray, "k 2"]:
    """Points of a face that lie in a picture; the picture need not show it."""
    mean = mean_face(scheme)
    assert mean is not None
    points = mean * size / 6 + size / 2 + rng.normal(0, size / 200, mean.shape)
    return points.astype(np.float32)


def _write_wflw(root: Path) -> None:
    rng = np.random.default_rng(0)
    lists = root / "WFLW_annotations/list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    for part, count in (("train", 20), ("test", 6)):
        lines = []
        for number in range(count):
            sample = draw_face(rng, size=48)
            points = _points_of("wflw_98", rng, size=48)
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
            points = _points_of("wild_21", rng, size=48)
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
                labels.append(np.concatenate([*(_points_of("cofw_29", rng, size=48) + 1).T, np.arange(29) % 2]))
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
        points = _points_of("aflw_19", rng, size=48)
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
    "celeba_hq_whole": _write_celeba_hq,
    "aflw": _write_aflw,
    "celeba": _write_celeba,
    "folder": _write_folder,
}
EVERY_SPLIT = [(name, split) for name, dataset in landmark_sets().items() for split in dataset.splits]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in WRITERS}
    for name, write in WRITERS.items():
        write(folders[name])
    return folders


def test_every_dataset_is_asked() -> None:
    assert set(WRITERS) == set(landmark_sets())


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_faces_are_whole_and_their_keys_sorted(roots: dict[str, Path], name: str, split: str) -> None:
    check_split(name, roots[name], split)


@pytest.mark.parametrize("name", landmark_sets())
def test_fit_validation_and_folds_share_no_group(roots: dict[str, Path], name: str) -> None:
    check_division(name, roots[name])


@pytest.mark.parametrize("name", landmark_sets())
def test_reading_twice_gives_the_same(roots: dict[str, Path], name: str) -> None:
    check_repetition(name, roots[name])


@pytest.mark.parametrize("name", landmark_sets())
def test_an_unknown_split_and_a_root_without_the_layout_are_refused(
    roots: dict[str, Path], tmp_path: Path, name: str
) -> None:
    check_refusals(name, roots[name], tmp_path)


@pytest.mark.parametrize("name", landmark_sets())
def test_check_finds_a_broken_picture_and_nothing_else(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    check_report(name, tmp_path)
