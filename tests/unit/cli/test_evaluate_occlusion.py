"""``canthus evaluate --occlusion`` and ``canthus data masks`` from the outside, on drawn faces."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import CanthusError
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
        (("--model", "a", "--model", "b"), "only be compared with --occlusion"),
        (("--occlusion", "natural", "--model", "a", "--model", "b", "--rows", "r.csv"), "--rows holds one model"),
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


def test_two_models_of_one_name_are_refused(data: Any, tiny_model: Callable[..., Path]) -> None:
    models = ("--model", tiny_model("a.onnx"), "--model", tiny_model("b.onnx"))
    assert "are named 'tiny'" in str(run("evaluate", "--occlusion", "natural", *models, *data).exception)


def test_sheets_of_masks(data: Any, tmp_path: Path) -> None:
    for place in ((), data):
        out = tmp_path / str(len(place))
        result = run("data", "masks", "--out", out, "--faces", "2", *place)
        assert result.exit_code == 0, result.output
        assert {path.name for path in out.iterdir()} == {"paper_c.png", "natural.png", "training.png"}
    assert "need --dataset" in str(run("data", "masks", "--out", tmp_path, "--root", tmp_path).exception)
