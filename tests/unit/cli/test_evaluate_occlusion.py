"""``canthus evaluate --occlusion`` and ``canthus data masks`` from the outside, on drawn faces."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import CanthusError
from canthus.evaluation.conditions import PROTOCOLS
from canthus.evaluation.rows import read_rows
from canthus.images import write_image
from json_schemas import check_schema


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 10, np.random.default_rng(0), size=96)
    return ("--dataset", "300w", "--root", folder, "--split", "common")


def test_tables_json_and_files(data: Any, tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    model, out = tiny_model(), tmp_path / "out"
    command = ("evaluate", "--occlusion", "paper_c", "--model", model, *data)
    result = run(*command, "--out", out, "--rows", tmp_path / "one.csv", "--json", tmp_path / "n.json")
    assert result.exit_code == 0, result.output
    for expected in ("30-40 %", "x none", "frontal faces (yaw up to 30 degrees)", "squared", "centre 25 % of the face"):
        assert expected in " ".join(result.stdout.split()) or expected in result.stdout
    assert {path.name for path in out.iterdir()} == {"summary.json", "rows_tiny.csv", "occlusion.png"}
    values = json.loads((tmp_path / "n.json").read_text())
    assert len(values["models"]["tiny"]["all"]) == 9
    check_schema("evaluate_occlusion", values)
    assert (tmp_path / "one.csv").read_text() == (out / "rows_tiny.csv").read_text()
    (tmp_path / "other.csv").write_text((tmp_path / "one.csv").read_text())
    kept = run("evaluate", "--occlusion", "paper_c", "--predictions", tmp_path / "one.csv",
               "--predictions", tmp_path / "other.csv", "--json", "-")  # fmt: skip
    assert kept.exit_code == 0, kept.output
    assert json.loads(kept.stdout)["models"]["one"] == values["models"]["tiny"]
    (tmp_path / "less.csv").write_text("".join((tmp_path / "one.csv").read_text().splitlines(True)[:-9]))
    less = ("--predictions", tmp_path / "one.csv", "--predictions", tmp_path / "less.csv")
    assert "cannot be compared" in str(run("evaluate", "--occlusion", "paper_c", *less).exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--occlusion", "paper"), "Did you mean 'paper_c'"),
        (("--occlusion", "paper_c", "--boxes", "detector"), "'boxes' has no effect with occlusion"),
        (("--occlusion", "paper_c", "--worst", "3", "--out", "x"), "'worst' has no effect with occlusion"),
        (("--model", "a", "--model", "b"), "only be compared or pooled with --occlusion"),
        (("--occlusion", "natural", "--model", "a", "--model", "b", "--rows", "r.csv"), "--rows holds one model"),
        (("--occlusion", "natural", "--corruption", "paper_a"), "either covered or spoiled"),
        (("--occlusion", "paper_a"), "occlusion protocol"),
        (("--corruption", "paper_c"), "Did you mean 'paper_a'"),
        (("--corruption", "paper_a", "--boxes", "detector"), "'boxes' has no effect with corruption"),
        (("--corruption", "paper_a", "--masks", "x"), "paper_a has no irregular masks"),
        (("--occlusion", "paper_c", "--masks", "x"), "x: holds no masks"),
        (("--occlusion", "paper_c", "--masks-white"), "'masks-white' has no effect without a folder of masks"),
        (("--sheet", "x"), "'sheet' has no effect without occlusion or corruption"),
        (("--occlusion", "paper_c", "--sheet", "x", "--predictions", "r.csv"), "--sheet needs a --model"),
        (("--dataset", "ytf"), "Several --dataset can only be compared or pooled"),
        (("--occlusion", "natural", "--dataset", "ytf"), "2 datasets, 1 roots and 1 splits"),
    ],
)
def test_options_that_do_not_fit_are_refused(data: Any, options: tuple[str, ...], message: str) -> None:
    result = run("evaluate", *data, *options)
    assert isinstance(result.exception, CanthusError)
    assert message in str(result.exception)


def test_plain_rows_are_no_rows_of_covered_faces(data: Any, tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    assert run("evaluate", "--model", tiny_model(), *data, "--rows", tmp_path / "plain.csv").exit_code == 0
    result = run("evaluate", "--occlusion", "paper_c", "--predictions", tmp_path / "plain.csv")
    assert "expected rows of covered faces" in str(result.exception)
    result = run("evaluate", "--occlusion", "paper_c", "--predictions", tmp_path / "plain.csv", *data)
    assert isinstance(result.exception, CanthusError)


def test_models_of_one_name_are_named_by_their_files(
    data: Any, tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny_model("a.onnx"), tiny_model("b.onnx")
    done = run("evaluate", "--occlusion", "natural", "--model", first, "--model", second, *data, "--json", "-")
    assert list(json.loads(done.stdout)["models"]) == ["a", "b"]
    same = tmp_path / "other" / first.name
    same.parent.mkdir()
    same.write_bytes(first.read_bytes())
    monkeypatch.setattr("canthus.evaluation.occlusion.load_sets", None)  # they are refused before faces are read
    refused = run("evaluate", "--occlusion", "natural", "--model", first, "--model", same, *data)
    assert "Two models or files are named 'a'; rename one" in str(refused.exception)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    folder = tmp_path_factory.mktemp("pair")
    write_synthetic_300w(folder, 2, np.random.default_rng(0), size=96)
    return ("--dataset", "300w", "--root", folder, "--split", "train")


def test_corruptions_in_five_strengths(pair: Any, tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    model, out = tiny_model(), tmp_path / "out"
    command = ("evaluate", "--corruption", "paper_a")
    outputs = ("--out", out, "--sheet", tmp_path / "sheets", "--json", tmp_path / "n.json")
    result = run(*command, "--model", model, *pair, *outputs)
    assert result.exit_code == 0, result.output
    for expected in (
        "corruption paper_a, 2 faces",
        "gaussian_blur",
        "infrared",
        "occlusion",
        "NME ION % by strength",
        "faces above 10 %",
    ):
        assert expected in result.stdout
    assert {path.name for path in out.iterdir()} == {"summary.json", "rows_tiny.csv", "corruption.png"}
    values = json.loads((tmp_path / "n.json").read_text())
    check_schema("evaluate_occlusion", values)
    lines = {line["occlusion"]: line for line in values["models"]["tiny"]["all"]}
    assert len(lines) == 1 + 10 * 5
    assert lines["none"]["covered"] == lines["jpeg 5"]["covered"] == 0
    assert 0.25 <= lines["occlusion 3"]["covered"] < 0.35
    sheets = {path.stem for path in (tmp_path / "sheets").iterdir()}
    assert sheets == {f"tiny_{name.rpartition(' ')[0]}" for name in lines if name != "none"}
    kept = run(*command, "--predictions", out / "rows_tiny.csv", "--json", "-")
    assert json.loads(kept.stdout)["models"]["tiny"] == values["models"]["tiny"]
    wrong = run("evaluate", "--occlusion", "paper_c", "--predictions", out / "rows_tiny.csv")
    assert "no condition of the protocol asked for" in str(wrong.exception)
    write_image_of_others(tmp_path / "sheets" / "tiny_noise.png")
    assert "tiny_noise" in str(run(*command, "--model", model, *pair, *outputs).exception)


def write_image_of_others(path: Path) -> None:
    path.write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())


def test_pooled_sets_masks_of_a_folder_and_sheets(
    pair: Any, data: Any, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    masks = np.zeros((64, 64, 3), np.uint8)
    for number, share in enumerate((0.05, 0.15, 0.25, 0.35, 0.45, 0.55)):
        masks[: round(64 * share)] = 255
        write_image(tmp_path / "masks" / f"{number}.png", masks)
    result = run(
        "evaluate", "--occlusion", "paper_c_picture", "--masks", tmp_path / "masks", "--masks-white",
        "--model", tiny_model(), *pair, "--dataset", "300w", "--root", data[3], "--split", "fit",
        "--rows", tmp_path / "r.csv", "--sheet", tmp_path / "sheets",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "300w train + 300w fit, occlusion paper_c_picture" in result.stdout
    rows = read_rows(tmp_path / "r.csv")
    assert {row.split for row in rows} == {"train", "fit"}
    assert {row.occlusion for row in rows} == {condition.name for condition in PROTOCOLS["paper_c_picture"]}
    assert (tmp_path / "sheets" / "tiny_30-40_of_the_picture.png").is_file()
    assert (tmp_path / "sheets" / "tiny_centre_25_of_the_picture.png").is_file()


def test_sheets_of_masks(data: Any, tmp_path: Path) -> None:
    for place in ((), data):
        out = tmp_path / str(len(place))
        result = run("data", "masks", "--out", out, "--faces", "2", *place)
        assert result.exit_code == 0, result.output
        assert {path.name for path in out.iterdir()} == {
            f"{name}.png" for name in ("paper_c", "paper_c_picture", "natural", "paper_a", "training")
        }
    assert "need --dataset" in str(run("data", "masks", "--out", tmp_path, "--root", tmp_path).exception)
