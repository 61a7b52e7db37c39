"""Checking a dataset on disk, as a function and as a command."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from canthus.cli.main import app
from canthus.data import Report, check_dataset, load_dataset
from canthus.data.check import alike
from canthus.data.formats import read_pts, write_pts
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import ConfigError, DataError
from canthus.images import read_image, write_image
from json_schemas import check_schema


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_synthetic_300w(tmp_path, 10, np.random.default_rng(0), size=96)
    return tmp_path


def _kinds(report: Report) -> dict[str, str]:
    return {problem.kind: str(problem) for problem in report.problems}


def test_clean_set_and_its_parts(root: Path) -> None:
    report = check_dataset("300w", root)
    assert report.clean
    assert report.notes == ()
    assert (report.faces, report.pictures) == (10, 10)
    assert {part.name: (part.faces, part.published, part.status) for part in report.parts} == {
        "AFW": (1, 337, "partial"),
        "HELEN train": (4, 2000, "partial"),
        "HELEN test": (1, 330, "partial"),
        "LFPW train": (2, 811, "partial"),
        "LFPW test": (1, 224, "partial"),
        "iBUG": (1, 135, "partial"),
        "private": (0, 600, "absent"),
    }


def test_every_kind_of_problem_gets_one_line(root: Path) -> None:
    folder = root / "helen" / "trainset"
    a, b, c, d = sorted(folder.glob("*.jpg"))
    a.write_bytes(a.read_bytes()[:200])
    b.with_suffix(".pts").unlink()
    points = read_pts(c.with_suffix(".pts"))
    points[3] = (-7.5, 10)
    write_pts(c.with_suffix(".pts"), points)
    d.unlink()
    ibug = next((root / "ibug").glob("*.jpg"))
    ibug.with_suffix(".pts").write_text("1 2\n3\n", encoding="utf-8")
    report = check_dataset("300w", root)
    kinds = _kinds(report)
    assert len(report.problems) == len(kinds) == 5
    assert kinds["unreadable picture"].startswith(f"helen/trainset/{a.name}: ")
    assert kinds["picture without points"] == f"helen/trainset/{b.name}: no .pts file of that name beside it"
    assert (
        kinds["points outside"] == f"helen/trainset/{c.name}: 1 of 68 points lie up to 7.0 px outside the 96x96 picture"
    )
    assert kinds["points without picture"].startswith(f"helen/trainset/{d.stem}.pts: no picture")
    assert kinds["damaged label"] == f"ibug/{ibug.stem}.pts:2: expected two numbers 'x y', found '3'"


def test_duplicates_of_file_pixels_and_face(tmp_path: Path) -> None:
    write_synthetic_300w(tmp_path / "set", 2, np.random.default_rng(1), size=64)
    path = next((tmp_path / "set/helen/trainset").glob("*.jpg"))
    points = read_pts(path.with_suffix(".pts"))
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(path.read_bytes())
    (folder / "b.jpg").write_bytes(path.read_bytes())
    write_image(folder / "c.png", read_image(path))
    rows = ["a.jpg", "b.jpg", "c.png", "c.png"]
    text = "\n".join(",".join([name, *map(str, points.ravel())]) for name in rows)
    (folder / "points.csv").write_text(text, encoding="utf-8")
    report = check_dataset("folder", folder)
    assert sorted(_kinds(report).values()) == [
        "b.jpg: holds the same bytes as a.jpg",
        "c.png#2: labels the same face as c.png (overlap 1.00)",
        "c.png: holds the same pixels as a.jpg",
    ]
    assert [(part.faces, part.status) for part in report.parts] == [(4, "counted")]


def test_points_on_one_spot(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8))
    write_pts(tmp_path / "a.pts", np.full((5, 2), 3.0))
    assert "points coincide" in _kinds(check_dataset("folder", tmp_path))


def test_points_on_the_edge_pixels_are_inside(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    write_pts(tmp_path / "a.pts", np.array([[-0.4, 0], [29.4, 0], [15, 10], [0, 19.4], [29, 19]]))
    assert check_dataset("folder", tmp_path).clean


def test_copies_in_other_groups_are_noted(root: Path) -> None:
    """The same photograph, smaller and darker, under another number."""
    path = next((root / "afw").glob("*.jpg"))
    image = read_image(path)
    write_image(root / "lfpw/trainset/image_0900.png", (image[::2, ::2] * 0.8).astype(np.uint8))
    write_pts(root / "lfpw/trainset/image_0900.pts", read_pts(path.with_suffix(".pts")) / 2)
    report = check_dataset("300w", root)
    assert report.clean
    assert report.notes == (
        f"lfpw/trainset/image_0900.png: looks like a copy of afw/{path.name}; a split by group may divide the two",
    )


def test_alike_finds_each_pair_once() -> None:
    signatures = np.eye(600, 8, dtype=np.float32)
    signatures[[5, 590]] = signatures[[2, 2]]
    assert sorted(alike(signatures)) == [(2, 5), (2, 590), (5, 590)]


def test_ytf_parts(tmp_path: Path) -> None:
    write_image(tmp_path / "test/A_B_00.jpg", np.zeros((40, 40, 3), np.uint8))
    write_image(tmp_path / "test/A_B_01.jpg", np.zeros((40, 40, 3), np.uint8))
    line = "A_B_00.jpg," + ",".join(str(i / 4) for i in range(136))
    (tmp_path / "test_frames_keypoints.csv").write_text(line, encoding="utf-8")
    report = check_dataset("ytf", tmp_path)
    assert [(part.name, part.faces, part.status) for part in report.parts] == [
        ("train", 0, "absent"),
        ("test", 1, "partial"),
    ]
    assert [(problem.kind, problem.where) for problem in report.problems] == [
        ("picture without points", "test/A_B_01.jpg"),
        ("unlike a face", "test/A_B_00.jpg"),
    ]


def test_progress_counts_to_the_end(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_dataset("300w", root, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 10) for i in range(1, 11)]


def test_wrong_names_and_empty_roots(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean '300w'"):
        check_dataset("300x", tmp_path)
    with pytest.raises(ConfigError, match="300w has a scheme of its own"):
        check_dataset("300w", tmp_path, scheme="five")
    with pytest.raises(DataError, match=r"expected .pts files in afw/, helen/trainset/"):
        check_dataset("300w", tmp_path)
    with pytest.raises(DataError, match=r"expected training_frames_keypoints.csv"):
        check_dataset("ytf", tmp_path)


def test_command_prints_parts_and_exits_zero(root: Path) -> None:
    result = CliRunner().invoke(app, ["data", "check", "300w", str(root)])
    assert result.exit_code == 0
    assert "HELEN train       4 of 2000  partial" in result.stdout
    assert result.stdout.splitlines()[-1] == "10 faces in 10 pictures: no problem"


def test_command_exits_one_with_a_line_a_problem(root: Path) -> None:
    next((root / "afw").glob("*.pts")).unlink()
    result = CliRunner().invoke(app, ["data", "check", "300w", str(root)])
    assert result.exit_code == 1
    assert result.stdout.startswith("picture without points: afw/")
    assert result.stdout.splitlines()[-1] == "9 faces in 9 pictures: 1 problem"


def test_command_writes_json_alone_to_standard_output(root: Path, tmp_path: Path) -> None:
    next((root / "afw").glob("*.pts")).unlink()
    result = CliRunner().invoke(app, ["data", "check", "300w", str(root), "--json", "-"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert report["clean"] is False
    check_schema("data_check", report)
    assert report["problems"][0]["kind"] == "picture without points"
    assert {part["name"]: part["status"] for part in report["parts"]}["AFW"] == "absent"
    CliRunner().invoke(app, ["data", "check", "300w", str(root), "--json", str(tmp_path / "report.json")])
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report


@pytest.mark.real_data
def test_real_training_set_is_clean(shared_data: Path) -> None:
    report = check_dataset("300w", shared_data / "300w")
    assert report.clean
    assert report.notes == ()
    assert [part.status for part in report.parts if part.faces] == ["complete", "partial", "partial"]
    assert len(load_dataset("300w", shared_data / "300w", "train")) == report.pictures == 2009
