"""``canthus evaluate`` from the outside: a model that finds bright discs, on a dataset drawn for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.errors import CanthusError, ConfigError, DataError
from canthus.images import read_image, write_image
from canthus.runtime.sessions import LandmarkSession
from json_schemas import check_schema

KEYS = {"faces", "nme_ion", "nme_ipn", "fr_8", "fr_10", "auc_8", "boxes"}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def error_of(*arguments: str | Path) -> CanthusError:
    result = run(*arguments)
    assert isinstance(result.exception, CanthusError), result.output
    return result.exception


def numbers(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    check_schema("evaluate", values)
    return values


def ring(centre: tuple[float, float]) -> np.ndarray:
    """68 points on a ring of radius 20."""
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    return np.asarray(np.array(centre) + 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1), np.float32)


def write_pts(path: Path, points: np.ndarray) -> None:
    lines = "\n".join(f"{x + 1:.4f} {y + 1:.4f}" for x, y in points)
    path.write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three faces of the common test set in the official folders: a bright spot amid each ring of points."""
    for folder, name, centre in (
        ("helen/testset", "1_1", (50, 50)),
        ("helen/testset", "2_1", (60, 45)),
        ("lfpw/testset", "image_0001", (45, 55)),
    ):
        image = np.zeros((100, 110, 3), np.uint8)
        image[centre[1] - 2 : centre[1] + 3, centre[0] - 2 : centre[0] + 3] = 255
        place = tmp_path / "300w" / folder
        place.mkdir(parents=True, exist_ok=True)
        write_image(place / f"{name}.png", image)
        write_pts(place / f"{name}.pts", ring(centre))
    return tmp_path / "300w"


@pytest.fixture
def model(tiny_model: Callable[..., Path]) -> Path:
    """Finds the spot, and puts its ring where the truth has it."""
    return tiny_model(spread=40 / 60)


def test_a_good_model_has_a_small_error(root: Path, model: Path) -> None:
    values = numbers("--model", model, "--dataset", "300w", "--root", root, "--split", "common")
    assert set(values) >= KEYS
    assert values["faces"] == 3
    assert values["nme_ion"] < 0.01
    assert values["auc_8"] > 0.9
    assert values["fr_8"] == values["fr_10"] == 0
    assert (values["boxes"], values["model"], values["split"], values["missed"]) == ("truth", "tiny", "common", 0)
    assert set(values["subsets"]) == {"helen", "lfpw"}


def test_table_names_scale_threshold_and_boxes(root: Path, model: Path) -> None:
    result = run("--model", model, "--dataset", "300w", "--root", root)
    assert result.exit_code == 0, result.output
    for expected in ("tiny on 300w common", "boxes: truth", "inter-ocular", "threshold 8 %", "helen", "inner mouth"):
        assert expected in result.stdout


def test_split_is_recognised_by_the_folders(root: Path, model: Path) -> None:
    ibug = root / "ibug"
    ibug.mkdir()
    (root / "helen" / "testset" / "1_1.png").rename(ibug / "image_003_1.png")
    (root / "helen" / "testset" / "1_1.pts").rename(ibug / "image_003_1.pts")
    values = numbers("--model", model, "--dataset", "300w", "--root", root)
    assert values["split"] == "full"
    assert [values["subsets"][name]["faces"] for name in ("common", "challenging")] == [2, 1]


def test_jitter_raises_the_overlap_error_and_is_told(root: Path, model: Path) -> None:
    plain = ("--model", model, "--dataset", "300w", "--root", root)
    moved = numbers(*plain, "--box-jitter", "0.2", "--seed", "5")
    assert moved["protocol"] == "truth, moved by up to 20 % (seed 5)"
    assert moved == numbers(*plain, "--box-jitter", "0.2", "--seed", "5")
    assert moved["nme_ion"] != numbers(*plain)["nme_ion"]


def test_whole_picture_as_detector(root: Path, model: Path) -> None:
    place = ("--model", model, "--dataset", "300w", "--root", root, "--boxes", "detector", "--detector", "none")
    lost = numbers(*place)
    assert (lost["missed"], lost["nme_ion"], lost["fr_8"], lost["auc_8"]) == (3, None, 1.0, 0.0)
    found = numbers(*place, "--min-overlap", "0.1", "--passes", "2", "--threads", "1")
    assert found["missed"] == 0
    assert found["boxes"] == "detector"
    assert "overlap above 0.1" in found["protocol"]
    assert "2 passes" in found["protocol"]


def test_out_rows_and_back_again(root: Path, model: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "out", tmp_path / "rows.parquet"
    place = ("--model", model, "--dataset", "300w", "--root", root)
    result = run(*place, "--out", out, "--rows", rows, "--worst", "2", "--json", tmp_path / "n.json")
    assert result.exit_code == 0, result.output
    names = {"summary.json", "rows.csv", "predictions.json", "worst.png", "errors.png"}
    assert {path.name for path in out.iterdir()} == names
    values = json.loads((tmp_path / "n.json").read_text())
    for file in (rows, out / "rows.csv", out / "predictions.json"):
        again = numbers("--predictions", file)
        # Predictions are written to a thousandth of a pixel, here 1/15000 of the scale, which AUC divides by 8 %.
        assert {key: again[key] for key in KEYS} == pytest.approx({key: values[key] for key in KEYS}, abs=3e-4)


def test_detections_are_scored_against_a_dataset(root: Path, tmp_path: Path) -> None:
    pictures = sorted(root.rglob("*.png"))
    entries = [
        {"image": str(path.relative_to(root)), "faces": [{"points": ring((50, 50)).tolist(), "score": 1.0}]}
        for path in pictures
    ]
    (tmp_path / "d.json").write_text(json.dumps(entries))
    place = ("--predictions", tmp_path / "d.json", "--dataset", "300w", "--root", root)
    values = numbers(*place)
    assert (values["faces"], values["missed"], values["boxes"]) == (3, 0, "detector")
    assert values["nme_ion"] > 0.05
    assert numbers(*place, "--min-overlap", "0.9")["missed"] == 2
    assert "holds no truth" in str(error_of("--predictions", tmp_path / "d.json"))


def test_predictions_without_pictures_say_why_there_is_no_sheet(tmp_path: Path) -> None:
    points = ring((50, 50)).tolist()
    entry = {"image": "far.jpg", "truth": points, "predicted": points}
    (tmp_path / "p.json").write_text(json.dumps([entry]))
    result = run("--predictions", tmp_path / "p.json", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "no worst faces: the pictures are not known" in result.stderr
    assert not (tmp_path / "out" / "worst.png").exists()
    assert numbers("--predictions", tmp_path / "p.json")["boxes"] == "unstated"
    assert numbers("--predictions", tmp_path / "p.json", "--boxes", "truth")["boxes"] == "truth"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "1"], "'seed' has no effect without box-jitter"),
        (["--detector", "haar"], "'detector' has no effect without detected boxes"),
        (["--min-overlap", "0.5"], "'min-overlap' has no effect without detected boxes"),
        (["--boxes", "detector", "--box-jitter", "0.1"], "'box-jitter' has no effect with detected boxes"),
        (["--boxes", "unstated"], "A model needs boxes"),
        (["--boxes", "trut"], "Unknown source of boxes 'trut'. Did you mean 'truth'"),
        (["--box-jitter", "2"], "The box jitter is a fraction"),
        (["--worst", "3"], "--worst needs --out"),
        (["--split", "comon"], "Did you mean 'common'"),
        (["--dataset", "300v"], "Several --dataset can only be compared or pooled with --occlusion or --corruption"),
        (["--rows", "rows.txt"], r"rows are written as .csv or .parquet"),
    ],
)
def test_contradicting_options_are_refused(root: Path, model: Path, options: list[str], message: str) -> None:
    assert message in str(error_of("--model", model, "--dataset", "300w", "--root", root, *options))


@pytest.mark.parametrize(
    "options",
    [["--model", "m.onnx"], ["--threads", "2"], ["--passes", "2"], ["--dataset", "300w"], ["--split", "full"]],
)
def test_options_without_effect_on_predictions_are_refused(tmp_path: Path, options: list[str]) -> None:
    points = ring((50, 50)).tolist()
    (tmp_path / "p.json").write_text(json.dumps([{"image": "a", "truth": points, "predicted": points}]))
    assert f"'{options[0][2:]}' has no effect" in str(error_of("--predictions", tmp_path / "p.json", *options))


def test_a_dataset_must_be_named(model: Path) -> None:
    assert isinstance(error_of("--model", model), ConfigError)


def test_an_empty_folder_is_no_dataset(model: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert isinstance(error_of("--model", model, "--dataset", "300w", "--root", empty), DataError)


def test_confidence_of_a_model_is_scored_and_comes_back_from_its_file(
    root: Path, tiny_model: Callable[..., Path], confident_session: LandmarkSession, tmp_path: Path
) -> None:
    model = tiny_model(spread=40 / 60, card=confident_session.card)
    place = ("--dataset", "300w", "--root", root, "--split", "common")
    values = numbers("--model", model, *place, "--out", tmp_path / "out")["confidence"]
    assert (values["tolerance"], values["points"], values["right"]) == (0.05, 3 * 68, 1.0)
    assert values["ece"] == pytest.approx(1 - values["confidence"])
    assert (tmp_path / "out/reliability.png").is_file()
    again = numbers("--predictions", tmp_path / "out/predictions.json")["confidence"]
    assert again["ece"] == pytest.approx(values["ece"], abs=1e-3)
    strict = numbers("--predictions", tmp_path / "out/predictions.json", "--tolerance", "0.00001")["confidence"]
    assert strict["right"] < values["right"]
    assert "right within 5 % of the face box" in run("--model", model, *place).stdout
    assert "confidence" not in numbers("--model", tiny_model(spread=40 / 60), *place)


def test_tolerance_is_for_predictions_and_positive(root: Path, model: Path, tmp_path: Path) -> None:
    place = ("--dataset", "300w", "--root", root, "--split", "common")
    assert "no effect with a model" in str(error_of("--model", model, *place, "--tolerance", "0.1"))
    assert "positive fraction" in str(error_of("--predictions", tmp_path / "p.json", "--tolerance", "0"))
    run("--model", model, *place, "--out", tmp_path / "out")
    entries = json.loads((tmp_path / "out/predictions.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps([entries[0] | {"tolerance": "wide"}]))
    assert "positive number 'tolerance'" in str(error_of("--predictions", tmp_path / "p.json"))


def test_jitter_report_is_a_table_and_a_picture(root: Path, model: Path, tmp_path: Path) -> None:
    on_set = ("--model", model, "--dataset", "300w", "--root", root, "--split", "common")
    result = run(*on_set, "--jitter-report", tmp_path / "jitter.png")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    (shift,) = [line for line in lines if line[:1] == ["shift"]]
    (scale,) = [line for line in lines if line[:1] == ["scale"]]
    assert len(shift) == len(scale) == 6
    assert float(shift[1]) == float(scale[1]), "true boxes in both"
    assert (read_image(tmp_path / "jitter.png") < 128).any()
    for extra in (("--box-jitter", "0.1"), ("--boxes", "unstated", "--predictions", tmp_path / "p.json")):
        assert "jitter-report" in str(error_of(*on_set, *extra, "--jitter-report", tmp_path / "j.png"))
