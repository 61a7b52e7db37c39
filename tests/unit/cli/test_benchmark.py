"""``canthus benchmark`` from the outside; times are shown, never judged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.benchmark import parse_shapes
from canthus.cli.main import app
from canthus.errors import CanthusError, ConfigError, ModelFileError
from canthus.evaluation.benchmark import model_files
from canthus.evaluation.run import evaluate
from canthus.images import read_image, write_image
from canthus.zoo import DEFAULT, embedded_detectors, embedded_models
from json_schemas import check_schema
from small_networks import write_small_cascade


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)])


def test_table_names_machine_peak_and_models(tiny_model: Callable[..., Path]) -> None:
    path = tiny_model()
    result = run("--model", path, "--model", path, "--repeats", "2", "--threads", "2")
    assert result.exit_code == 0, result.output
    for expected in ("ONNX Runtime", "2 threads, batch 1, 2 runs", "GFLOP/s", "median", "input image 1x32x32x3"):
        assert expected in result.stdout


def test_json_alone_is_on_standard_output(tiny_model: Callable[..., Path]) -> None:
    path = tiny_model()
    result = run("--model", path, "--repeats", "1", "--batch", "3", "--json", "-")
    values = json.loads(result.stdout)
    check_schema("benchmark", values)
    (model,) = values["models"]
    assert model["shapes"] == {"image": [3, 32, 32, 3]}
    assert model["size_bytes"] == path.stat().st_size
    assert set(model) >= {"median_s", "p10_s", "p90_s", "ratio", "parameters", "multiply_adds", "peak_share"}
    assert set(values["machine"]) == {"cpu", "cores", "system", "python", "onnxruntime"}
    assert values["threads"] == 1
    assert "GFLOP/s" in result.stderr


def test_json_file(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    result = run("--model", tiny_model(), "--repeats", "1", "--json", tmp_path / "b.json")
    assert result.exit_code == 0
    assert json.loads((tmp_path / "b.json").read_text())["repeats"] == 1


def test_json_into_nowhere_is_one_error(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    result = run("--model", tiny_model(), "--repeats", "1", "--json", tmp_path)
    assert isinstance(result.exception, CanthusError)
    assert "cannot be written" in str(result.exception)


def test_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("text")
    for model in (tmp_path / "m.onnx", tmp_path / "absent.onnx"):
        assert isinstance(run("--model", model).exception, ModelFileError)


def test_a_model_given_twice_is_measured_twice(tiny_model: Callable[..., Path]) -> None:
    path = str(tiny_model())
    assert list(model_files([path, path, path])) == [path, f"{path}#2", f"{path}#3"]


def test_shapes_are_read() -> None:
    assert parse_shapes(["image=1,3,112,112", "a=b=4"]) == {"image": (1, 3, 112, 112), "a=b": (4,)}


@pytest.mark.parametrize("entry", ["image", "image=", "=1,2", "image=1,x", "image=1,-2", "image=0"])
def test_malformed_shapes_are_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="expected INPUT=N,C,H,W"):
        parse_shapes([entry])


def test_a_cascade_is_timed_beside_a_network(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    cascade = write_small_cascade(tmp_path / "esr.npz")
    result = run("--model", tiny_model(), "--model", cascade, "--repeats", "2", "--batch", "2", "--json", "-")
    assert result.exit_code == 0, result.output
    _, model = json.loads(result.stdout)["models"]
    assert model["shapes"] == {"image": [2, 32, 32, 3]}
    assert model["size_bytes"] == cascade.stat().st_size
    assert model["multiply_adds"] is None
    assert "ferns" in model["note"]
    assert f"{cascade}: not counted" in result.stderr


def test_whole_steps_are_of_landmark_models(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    cascade = write_small_cascade(tmp_path / "esr.npz")
    result = run("--model", tiny_model(), "--model", cascade, "--repeats", "2", "--whole", "--json", "-")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["whole"]
    assert values["models"][0]["multiply_adds"] is not None
    assert "whole step" in result.stderr
    refused = run("--model", "face_detector", "--whole").exception
    assert isinstance(refused, ModelFileError)
    assert "is a face detector" in str(refused)
    refused = run("--model", cascade, "--whole", "--shape", "image=1,3,8,8").exception
    assert isinstance(refused, ConfigError)


def test_a_detector_is_found_by_name_and_timed_on_a_picture() -> None:
    assert model_files(["face_detector", "default"]) == {
        "face_detector": embedded_detectors()["face_detector"],
        "default": embedded_models()[DEFAULT],
    }
    result = run("--model", "face_detector", "--repeats", "1", "--json", "-")
    assert json.loads(result.stdout)["models"][0]["shapes"] == {"image": [1, 480, 640, 3]}
    result = run("--model", "face_detector", "--repeats", "1", "--shape", "image=1,64,96,3", "--json", "-")
    assert json.loads(result.stdout)["models"][0]["shapes"] == {"image": [1, 64, 96, 3]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two faces of 300-W: a bright spot amid a ring of 68 points, where ``tiny_model`` puts it."""
    for name, centre in (("1_1", (50, 50)), ("2_1", (60, 45))):
        image = np.zeros((100, 110, 3), np.uint8)
        image[centre[1] - 2 : centre[1] + 3, centre[0] - 2 : centre[0] + 3] = 255
        angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        points = np.array(centre) + 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 1
        place = tmp_path / "300w" / "helen" / "testset"
        place.mkdir(parents=True, exist_ok=True)
        write_image(place / f"{name}.png", image)
        lines = "\n".join(f"{x:.4f} {y:.4f}" for x, y in points)
        (place / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return tmp_path / "300w"


def test_errors_stand_beside_the_costs(tiny_model: Callable[..., Path], root: Path, tmp_path: Path) -> None:
    good, poor = tiny_model(name="good.onnx", spread=40 / 60), tiny_model(name="poor.onnx", spread=30 / 60)
    plot = tmp_path / "cost.png"
    result = run("--model", good, "--model", poor, "--repeats", "1", "--dataset", "300w", "--root", root,
                 "--split", "common", "--plot", plot, "--json", "-")  # fmt: skip
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    check_schema("benchmark", values)
    assert values["tested"] == "300w/common"
    assert values["error_unit"] == "NME over the inter-ocular distance"
    errors = [model["error"] for model in values["models"]]
    evaluated = [evaluate(model, "300w", root, split="common") for model in (good, poor)]
    assert errors == [pytest.approx(report.to_dict()["nme_ion"]) for report in evaluated]
    assert errors[0] < errors[1]
    assert "error: NME over the inter-ocular distance on 300w/common" in result.stderr
    assert read_image(plot).std() > 10


def test_models_of_one_file_name_are_all_in_the_plot(
    tiny_model: Callable[..., Path], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("canthus.cli.benchmark.plot_cost", lambda path, models, **_: drawn.extend(models))
    path = str(tiny_model())
    run("--model", path, "--model", path, "--repeats", "1", "--dataset", "300w", "--root", root, "--split", "common",
        "--plot", tmp_path / "cost.png")  # fmt: skip
    assert drawn == [path, f"{path}#2"]


def test_errors_need_a_dataset_and_its_folder(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    for options, message in (
        (("--dataset", "300w"), "needs --root"),
        (("--plot", tmp_path / "cost.png"), "'plot' has no effect without --dataset"),
        (("--root", tmp_path), "'root' has no effect without --dataset"),
    ):
        refused = run("--model", tiny_model(), "--repeats", "1", *options).exception
        assert isinstance(refused, ConfigError)
        assert message in str(refused)


def test_errors_are_of_landmark_models(root: Path) -> None:
    refused = run("--model", "face_detector", "--dataset", "300w", "--root", root).exception
    assert isinstance(refused, ModelFileError)
