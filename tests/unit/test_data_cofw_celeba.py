"""COFW and CelebA-HQ from tiny files in their layouts, and labels that a model makes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from canthus.cli.main import app
from canthus.data import check_dataset, load_dataset
from canthus.data.celeba_hq import PARTS
from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, DataError
from canthus.images import read_image, write_image

h5py = pytest.importorskip("h5py")


def write_cofw(path: Path, ending: str, pictures: list[np.ndarray], labels: np.ndarray) -> None:
    """As MATLAB 7.3 stores cells and matrices: axes turned round, cells by reference."""
    with h5py.File(path, "w") as file:
        cells = file.create_dataset(f"Is{ending}", (1, len(pictures)), dtype=h5py.ref_dtype)
        for index, picture in enumerate(pictures):
            file.create_dataset(f"#refs#/{index}", data=picture.T)
            cells[0, index] = file[f"#refs#/{index}"].ref
        file.create_dataset(f"phis{ending}", data=labels.T)
        file.create_dataset(f"bboxes{ending}", data=np.ones((4, len(pictures))))


def cofw(root: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Three faces, the second of them grey."""
    rng = np.random.default_rng(0)
    faces = [draw_face(rng, size=48) for _ in range(3)]
    pictures = [face.image for face in faces]
    pictures[1] = pictures[1][:, :, 0]
    hidden = (rng.random((3, 29)) < 0.3).astype(np.float64)
    labels = np.stack([np.concatenate([*(f.points[:29] + 1).T, h]) for f, h in zip(faces, hidden, strict=True)])
    write_cofw(root / "COFW_train_color.mat", "Tr", pictures, labels)
    write_cofw(root / "COFW_test_color.mat", "T", pictures[:1], labels[:1])
    return pictures, labels


def test_cofw_pictures_points_and_hidden_flags(tmp_path: Path) -> None:
    pictures, labels = cofw(tmp_path)
    faces = load_dataset("cofw", tmp_path, "train")
    assert [face.key for face in faces] == ["train/0001", "train/0002", "train/0003"]
    for face, picture, label in zip(faces, pictures, labels, strict=True):
        image = read_image(face.path)
        np.testing.assert_array_equal(image if picture.ndim == 3 else image[:, :, 0], picture)
        np.testing.assert_allclose(face.points, label[:58].reshape(2, 29).T - 1, atol=1e-4)
        assert (face.visible == (label[58:] == 0)).all()
    assert [face.subset for face in load_dataset("cofw", tmp_path, "test")] == ["test"]
    report = check_dataset("cofw", tmp_path)
    assert [(part.name, part.faces, part.published) for part in report.parts] == [("train", 3, 1345), ("test", 1, 507)]


def test_cofw_that_is_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the file of COFW"):
        load_dataset("cofw", tmp_path, "train")
    (tmp_path / "COFW_train_color.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DataError, match=r"expected the MATLAB 7\.3 file"):
        load_dataset("cofw", tmp_path, "train")
    pictures, labels = cofw(tmp_path)
    write_cofw(tmp_path / "COFW_train_color.mat", "Tr", pictures, labels[:, :60])
    with pytest.raises(DataError, match="expected phisTr of 87 x 3"):
        load_dataset("cofw", tmp_path, "train")
    labels[1, 70] = 0.5
    labels[2, 3] = np.nan
    write_cofw(tmp_path / "COFW_train_color.mat", "Tr", [pictures[0], pictures[0], pictures[0]], labels)
    with pytest.raises(DataError, match="2 problems"):
        load_dataset("cofw", tmp_path, "train")


def test_a_cell_that_is_no_picture_is_a_problem(tmp_path: Path) -> None:
    _, labels = cofw(tmp_path)
    write_cofw(tmp_path / "COFW_test_color.mat", "T", [np.zeros((2, 2), np.float64)], labels[:1])
    with pytest.raises(DataError, match="expected a picture of bytes"):
        load_dataset("cofw", tmp_path, "test")


def celeba(root: Path, numbers: tuple[int, ...] = (0, 7, 29_500, 29_699, 29_700), *, separator: str = ",") -> list[str]:
    rng = np.random.default_rng(0)
    lines = []
    for number in numbers:
        face = draw_face(rng, size=48)
        write_image(root / "CelebA-HQ-img" / f"{number}.png", face.image)
        lines.append(separator.join([f"{number}.png", *(f"{v:.3f}" for v in face.points.ravel())]))
    (root / ("points.csv" if separator == "," else "points.txt")).write_text("\n".join(lines) + "\n")
    return lines


@pytest.mark.parametrize("separator", [",", " "])
def test_celeba_hq_is_divided_by_number(tmp_path: Path, separator: str) -> None:
    celeba(tmp_path, separator=separator)
    keys = {split: [face.key for face in load_dataset("celeba_hq", tmp_path, split)] for split in PARTS}
    assert keys == {"train": ["00000", "00007"], "validation": ["29500", "29699"], "test": ["29700"]}
    assert {part: len(numbers) for part, numbers in PARTS.items()} == {"train": 29_500, "validation": 200, "test": 300}
    tight, whole = (load_dataset(name, tmp_path, "train") for name in ("celeba_hq", "celeba_hq_whole"))
    assert [face.key for face in tight] == [face.key for face in whole]
    assert [face.box.tolist() for face in whole] == [[0, 0, 48, 48]] * 2
    np.testing.assert_array_equal(whole[1].points, tight[1].points)
    report = check_dataset("celeba_hq", tmp_path)
    assert [part.status for part in report.parts] == ["partial"] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.replace("7.png", "b.png"), "expected a number as the picture's name"),
        (lambda line: line.rsplit(",", 1)[0], "135 fields"),
        (lambda line: line.replace("7.png", "30000.png"), "ends at 29999"),
        (lambda line: line.replace("7.png", "8.png"), "8.png is not there"),
        (lambda line: line.rsplit(",", 1)[0] + ",x", "expected numbers"),
        (lambda line: line.rsplit(",", 1)[0] + ",nan", "expected finite numbers"),
        (lambda line: line.replace("7.png", "0.png"), "a second line for 00000"),
    ],
)
def test_damaged_lines_of_celeba_hq(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    lines = celeba(tmp_path)
    lines[1] = change(lines[1])
    (tmp_path / "points.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        load_dataset("celeba_hq", tmp_path, "train")


def test_without_points_the_way_to_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'canthus data label .* makes them"):
        load_dataset("celeba_hq", tmp_path, "train")


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_labels_of_a_model_are_read_by_the_dataset(
    tmp_path: Path, tiny_model: Callable[..., Path], suffix: str
) -> None:
    celeba(tmp_path)
    (tmp_path / "points.csv").unlink()
    (tmp_path / "CelebA-HQ-img" / "1.jpg").write_bytes(b"no picture")
    images, out = tmp_path / "CelebA-HQ-img", tmp_path / f"points{suffix}"
    command = ["data", "label", str(images), "--out", str(out), "--model", str(tiny_model()), "--detector", "none"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "5 of 6 pictures" in result.stdout
    assert "left out: 1.jpg" in result.stderr
    assert len(load_dataset("celeba_hq", tmp_path, "train")) == 2
    if suffix == ".csv":
        out.rename(images / "points.csv")
        assert len(load_dataset("folder", images, "all")) == 5


def test_pictures_without_faces_are_left_out(tmp_path: Path, tiny_model: Callable[..., Path]) -> None:
    write_image(tmp_path / "empty.png", np.zeros((64, 64, 3), np.uint8))
    command = ["data", "label", str(tmp_path), "--out", str(tmp_path / "p.csv"), "--model", str(tiny_model())]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "left out: empty.png: no face found" in result.stderr
    for wrong, kind in ((["--out", "p.json"], ConfigError), (["nowhere"], DataError)):
        failed = CliRunner().invoke(app, ["data", "label", *([] if kind is DataError else [str(tmp_path)]), *wrong,
                                          *(["--out", "p.csv"] if kind is DataError else [])])  # fmt: skip
        assert isinstance(failed.exception, kind)
