"""``canthus models`` from the outside; speeds are shown, never judged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import canthus.zoo
from canthus.cli.main import app
from canthus.errors import ModelFileError
from canthus.zoo import DEFAULT
from json_schemas import check_schema
from small_networks import write_small_cascade

TinyModel = Callable[..., Path]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def embedded(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tiny models in the place of the package's own."""
    first, _ = tiny_model(f"{DEFAULT}.onnx"), tiny_model("other.onnx")
    monkeypatch.setattr(canthus.zoo, "__file__", str(first.with_name("__init__.py")))
    return first.parent


def test_list_names_error_size_speed_scheme_and_terms(embedded: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for expected in (
        f"{DEFAULT} (default)",
        "other",
        "12.50% drawn",
        "0.01 MB",
        "ibug_68",
        "Apache-2.0",
        "one thread",
    ):
        assert expected in result.stdout


def test_the_list_is_readable_at_80_columns(embedded: Path) -> None:
    lines = CliRunner().invoke(app, ["models"], env={"COLUMNS": "80"}).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    words = [word for line in lines for word in line.split()]
    assert {DEFAULT, "(default)", "12.50%", "ibug_68", "Apache-2.0"} <= set(words)  # none is cut or broken


def test_json_has_the_whole_card(embedded: Path, tmp_path: Path) -> None:
    other, default = json.loads(run("--json", "-").stdout)
    assert (other["name"], other["default"], default["name"], default["default"]) == (
        "other",
        False,
        DEFAULT,
        True,
    )
    assert default["size_bytes"] == (embedded / f"{DEFAULT}.onnx").stat().st_size
    assert default["median_ms"] > 0
    assert default["metrics"] == {"drawn/nme_ion": 0.125}
    assert {"scheme", "size", "margin", "training_data", "licence", "recipe", "parameters"} <= set(default)
    assert run("--json", tmp_path / "models.json").stdout == ""
    entries = json.loads((tmp_path / "models.json").read_text(encoding="utf-8"))
    assert len(entries) == 2
    check_schema("models", entries)


def test_one_model_shows_its_card(embedded: Path) -> None:
    for name in (DEFAULT, embedded / "other.onnx"):
        result = run(name)
        assert result.exit_code == 0, result.output
        for expected in ("32 x 32 RGB", "training data", "nothing", "tests/conftest.py", "terms of the weights"):
            assert expected in result.stdout


def test_unknown_model(embedded: Path) -> None:
    result = run("missing.onnx")
    assert isinstance(result.exception, ModelFileError)


def test_the_card_of_a_cascade(tmp_path: Path) -> None:
    path = write_small_cascade(tmp_path / "esr.npz")
    result = run(path)
    assert result.exit_code == 0, result.output
    for expected in ("ibug_68", "not counted", "ferns", "Apache-2.0"):
        assert expected in result.stdout
    (entry,) = json.loads(run(path, "--json", "-").stdout)
    assert (entry["parameters"], entry["size_bytes"]) == (None, path.stat().st_size)
