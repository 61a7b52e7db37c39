"""``canthus compare`` on rows of made-up errors."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.errors import ConfigError, DataError
from canthus.evaluation.rows import FaceError, write_rows
from json_schemas import check_schema

pytest.importorskip("scipy")


def write(path: Path, errors: np.ndarray, *, dataset: str = "300w", start: int = 0) -> Path:
    rows = [
        FaceError(str(start + i), dataset, "full", "", "truth", True, 1.0, 0.0, float(e), 2 * float(e), float(e) / 2)
        for i, e in enumerate(errors)
    ]
    write_rows(path, rows)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.02, 0.06, 200)
    return write(tmp_path / "a.csv", errors), write(tmp_path / "b.csv", errors - 0.002 + rng.normal(0, 0.004, 200))


def test_two_models_on_the_same_faces(two: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(*two, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "nme_ion on 300w full" in result.stdout
    assert "95 % interval" in result.stdout
    assert "does not show that the models are equal" in result.stdout
    values = json.loads((tmp_path / "out.json").read_text())
    check_schema("compare", values)
    assert values["metric"] == "nme_ion"
    assert values["low"] < values["difference"] < values["high"] < 0
    assert values["p"] < 0.001
    assert values["better"] > 0.5
    assert values["faces"] == 200
    piped = run(*two, "--json", "-")
    assert json.loads(piped.stdout) == values


def test_another_number_of_the_rows(two: tuple[Path, Path]) -> None:
    plain, box = (json.loads(run(*two, "--json", "-", *more).stdout) for more in ((), ("--metric", "nme_box")))
    assert box["difference"] == pytest.approx(plain["difference"] / 2)
    assert isinstance(run(*two, "--metric", "nme_eon").exception, ConfigError)


def test_the_number_of_aflw_is_over_the_box(tmp_path: Path) -> None:
    errors = np.linspace(0.01, 0.02, 9)
    a, b = (write(tmp_path / name, e, dataset="aflw") for name, e in (("a.csv", errors), ("b.csv", errors**1.01)))
    assert "nme_box on aflw" in run(a, b).stdout


def test_folds_of_one_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = [write(tmp_path / f"{n}.csv", rng.uniform(0.02, 0.06, 80), start=100 * n) for n in range(3)]
    result = run("--folds", *files, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "3 folds" in result.stdout
    assert "Student" in result.stdout
    values = json.loads((tmp_path / "out.json").read_text())
    check_schema("compare", values)
    assert len(values["tests"]) == 3
    assert all(0 < test["t_p"] <= 1 for test in values["tests"])
    assert values["mean"] == pytest.approx(np.mean(list(values["means"].values())))


def test_wrong_files(two: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = two
    other = write(tmp_path / "c.csv", np.full(3, 0.1), dataset="aflw")
    short = write(tmp_path / "d.csv", np.full(3, 0.1))
    empty = tmp_path / "e.csv"
    write_rows(empty, [])
    for arguments, kind, message in (
        ((a,), ConfigError, "two files of rows"),
        ((a, b, short), ConfigError, "found 3"),
        ((a, a), ConfigError, "named twice"),
        ((a, other), ConfigError, "nme_box and nme_ion; choose one by --metric"),
        ((a, short), DataError, "197 only in the first"),
        ((a, empty), DataError, "holds no rows"),
        (("--folds", a, b), DataError, "without a common face, found 200"),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, kind), result.output
        assert message in str(result.exception)


def test_equal_models_have_no_p(tmp_path: Path) -> None:
    errors = np.linspace(0.01, 0.02, 9)
    a, b = (write(tmp_path / name, errors) for name in ("a.csv", "b.csv"))
    values = json.loads(run(a, b, "--json", "-").stdout)
    assert values["p"] is None
    assert not math.isnan(values["levene_p"])
