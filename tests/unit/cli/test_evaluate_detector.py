"""``canthus evaluate-detector`` from the outside: a network that finds white squares, on pictures drawn for it."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.data.facemask import HABIT
from canthus.data.widerface import HABIT as WIDER_HABIT
from canthus.errors import CanthusError, ConfigError, DataError
from canthus.images import read_image, write_image
from json_schemas import check_schema
from tiny_detectors import tiny_detector_card, write_tiny_detector

CELL = 32
"""Half the stride of the network: pictures of 320 pixels are enlarged to 640."""
PLACES = {"a": [(2, 3), (6, 6)], "b": [(4, 4)], "c": []}
LABELLED = {"a": [(2, 3), (6, 6)], "b": [(4, 4), (8, 1)], "c": []}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate-detector", *map(str, arguments)])


def error_of(*arguments: str | Path) -> CanthusError:
    result = run(*arguments)
    assert isinstance(result.exception, CanthusError), result.output
    return result.exception


def numbers(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    check_schema("evaluate_detector", values)
    return values


def voc(boxes: np.ndarray, label: str) -> str:
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x1 + 1:.0f}</xmin><ymin>{y1 + 1:.0f}</ymin>"
        f"<xmax>{x2:.0f}</xmax><ymax>{y2:.0f}</ymax></bndbox></object>"
        for x1, y1, x2, y2 in boxes
    )
    return f"<annotation>{objects}</annotation>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """White cells are found; of the labelled ones, that of picture b in column 8 is not drawn."""
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    for name, cells in PLACES.items():
        image = np.zeros((320, 320, 3), np.uint8)
        for column, row in cells:
            image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 255
        write_image(folder / "images" / f"{name}.png", image)
        corners = CELL * np.array(LABELLED[name], np.float32).reshape(-1, 2)
        own = HABIT.own_boxes(np.hstack([corners, corners + CELL]))
        (folder / "annotations" / f"{name}.xml").write_text(voc(own, "with_mask"), encoding="utf-8")
    (folder / "test.txt").write_text("".join(f"{name}.png\n" for name in PLACES), encoding="utf-8")
    return folder


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_tiny_detector(tmp_path / "cells.onnx", card=tiny_detector_card(strides=(2 * CELL,)))


@pytest.fixture
def on_set(root: Path) -> tuple[str | Path, ...]:
    return ("--dataset", "facemask", "--root", root)


def test_figures_of_a_network(on_set: tuple[str, ...], network: Path) -> None:
    (value,) = numbers(*on_set, "--detector", network)
    assert (value["detector"], value["dataset"], value["split"]) == ("cells", "facemask", "test")
    assert (value["pictures"], value["complete_pictures"], value["faces"]) == (3, 3, 4)
    assert value["average_precision"] == pytest.approx(0.75)
    assert (value["precision"], value["recall"], value["false_per_picture"]) == (1.0, 0.75, 0.0)
    assert value["usual_score"] == 0.5
    assert value["by_label"] == {"with_mask": {"faces": 4, "recall": 0.75}}
    assert value["median_ms"] > 0


def test_table_has_a_row_for_each_detector(on_set: tuple[str, ...], network: Path) -> None:
    result = run(*on_set, "--detector", network, "--detector", "haar")
    assert result.exit_code == 0, result.output
    lines = [line.split()[0] for line in result.stdout.splitlines() if line.split()]
    assert lines.count("cells") == lines.count("haar") == 3
    assert "facemask test: 3 pictures, 4 faces" in result.stdout


def test_pictures_without_faces_have_only_false_finds(root: Path, on_set: tuple[str, ...], network: Path) -> None:
    for name in PLACES:
        (root / "annotations" / f"{name}.xml").write_text("<annotation></annotation>", encoding="utf-8")
    (value,) = numbers(*on_set, "--detector", network)
    assert (value["faces"], value["false_per_picture"]) == (0, 1.0)
    assert (value["recall"], value["average_precision"], value["by_size"]) == (None, None, {})
    rows = [line for line in run(*on_set, "--detector", network).stdout.splitlines() if "cells" in line]
    assert len(rows) == 1  # no table of recall, which would have no column


def test_everything_is_written(on_set: tuple[str, ...], network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(
        *on_set,
        "--detector",
        network,
        "--out",
        out,
        "--worst",
        "2",
        "--csv",
        tmp_path / "r.csv",
        "--plot",
        tmp_path / "p.png",
    )
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {"curves.png", "rows.csv", "summary.json", "worst_cells.png"}
    assert read_image(tmp_path / "p.png").shape == read_image(out / "curves.png").shape
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["verdict"] == "missed" for row in rows) == 1
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))[0]["faces"] == 4


def test_finds_kept_in_files_give_the_same_figures(on_set: tuple[str, ...], network: Path, tmp_path: Path) -> None:
    (first,) = numbers(*on_set, "--detector", network, "--write-predictions", tmp_path / "theirs")
    assert (tmp_path / "theirs" / "images" / "a.txt").is_file()
    (second,) = numbers(*on_set, "--predictions", tmp_path / "theirs")
    assert (second["detector"], second["median_ms"]) == ("theirs", None)
    for name in ("average_precision", "recall", "precision", "by_size"):
        assert second[name] == first[name]


def test_overlap_and_least_score_have_their_effect(on_set: tuple[str, ...], network: Path) -> None:
    assert numbers(*on_set, "--detector", network, "--min-overlap", "1")[0]["recall"] == 0
    for option in ("--least-score", "--min-score"):
        assert numbers(*on_set, "--detector", network, option, "1")[0]["recall"] == 0


def test_finds_whose_points_are_doubtful_can_be_left_out(on_set: tuple[str, ...], network: Path) -> None:
    """White squares are no faces: the embedded landmark model tells it."""
    (every,) = numbers(*on_set, "--detector", network, "--min-confidence", "0")
    (sure,) = numbers(*on_set, "--detector", network, "--min-confidence", "0.5")
    assert (every["recall"], sure["recall"]) == (0.75, 0)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--worst", "3"), "--out"),
        (("--least-score", "2"), "from 0 to 1"),
        (("--min-overlap", "0"), "above 0"),
        (("--official",), "widerface"),
        (("--detector", "haar", "--detector", "none", "--write-predictions", "x"), "one --detector"),
        (("--predictions", "x", "--detector-size", "320"), "no effect"),
        (("--predictions", "x", "--min-confidence", "0.5"), "no effect"),
        (("--detector", "haar", "--detector", "none", "--detector-model", "x.onnx"), "one detector"),
        (("--detector", "hare"), "haar"),
        (("--split", "tests"), "test"),
        (("--detector", "haar", "--detector", "haar"), "'haar'"),
    ],
)
def test_what_contradicts_itself_is_refused(on_set: tuple[str, ...], extra: tuple[str, ...], message: str) -> None:
    error = error_of(*on_set, *extra)
    assert isinstance(error, ConfigError)
    assert message in str(error)


def test_unknown_sets_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "facemask" in str(error_of("--dataset", "facemasks", "--root", tmp_path))
    assert isinstance(error_of("--dataset", "facemask", "--root", tmp_path), DataError)


def write_widerface(root: Path) -> None:
    """Two pictures of one event; one face of each is labelled and drawn, a third is labelled and not drawn."""
    places = {"a": [(2, 3), (8, 8)], "b": [(4, 4)]}
    lines, boxes, names = [], [], []
    for name, cells in places.items():
        image = np.zeros((320, 320, 3), np.uint8)
        column, row = cells[0]
        image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 255
        write_image(root / "WIDER_val" / "images" / "0--Parade" / f"{name}.jpg", image)
        corners = CELL * np.array(cells, np.float32)
        own = WIDER_HABIT.own_boxes(np.hstack([corners, corners + CELL])).round()
        table = np.hstack([own[:, :2], own[:, 2:] - own[:, :2]])
        lines += [f"0--Parade/{name}.jpg", str(len(table))]
        lines += [" ".join(f"{value:.0f}" for value in [*side, 0, 0, 0, 0, 0, 0]) for side in table]
        boxes.append(table.astype(np.float64))
        names.append(name)
    path = root / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    path.parent.mkdir()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = root / "ground_truth"
    folder.mkdir()
    lists = {"event_list": cells_of(["0--Parade"]), "file_list": cells_of([cells_of(names)])}
    scipy.io.savemat(folder / "wider_face_val.mat", {**lists, "face_bbx_list": cells_of([cells_of(boxes)])})
    for level, members in {"easy": ([1], [1]), "medium": ([1], [1]), "hard": ([1, 2], [1])}.items():
        numbers = [np.array(member, np.float64).reshape(-1, 1) for member in members]
        scipy.io.savemat(folder / f"wider_{level}_val.mat", {"gt_list": cells_of([cells_of(numbers)])})


def cells_of(values: Sequence[object]) -> np.ndarray:
    column = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        column[index, 0] = value
    return column


def test_the_protocol_of_widerface(tmp_path: Path, network: Path) -> None:
    root = tmp_path / "wider"
    root.mkdir()
    write_widerface(root)
    on_set = ("--dataset", "widerface", "--root", root, "--official")
    finds = tmp_path / "finds"
    (value,) = numbers(*on_set, "--detector", network, "--write-predictions", finds)
    assert value["average_precision"] == pytest.approx(2 / 3)
    easy, hard = value["wider_face"]["easy"], value["wider_face"]["hard"]
    assert easy == {"official": pytest.approx(1), "exact": pytest.approx(1), "faces": 2}
    assert hard == {"official": pytest.approx(2 / 3), "exact": pytest.approx(2 / 3), "faces": 3}
    assert sorted(path.name for path in (finds / "0--Parade").iterdir()) == ["a.txt", "b.txt"]
    assert numbers(*on_set, "--predictions", finds)[0]["wider_face"] == value["wider_face"]
    assert "WIDER FACE protocol" in run(*on_set, "--predictions", finds).stdout
    subset = numbers("--dataset", "widerface", "--root", root, "--split", "easy", "--predictions", finds)
    assert (subset[0]["average_precision"], subset[0]["faces"]) == (1.0, 2)
