"""How faces are found, said to each command that looks for them; and models of others, fetched on request."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import canthus.zoo
from canthus.cli.main import app
from canthus.errors import CanthusError, ConfigError, ModelFileError
from canthus.images import write_image
from canthus.runtime import downloads
from canthus.runtime.cards import Calibration, FaceCalibration
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.video import VideoWriter
from canthus.zoo import DEFAULT, FATIGUE
from conftest import tiny_card, write_tiny_model
from tiny_detectors import write_tiny_detector, write_tiny_yunet

TinyModel = Callable[..., Path]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})


def error_of(*arguments: str | Path) -> CanthusError:
    result = run(*arguments)
    assert isinstance(result.exception, CanthusError), result.output
    return result.exception


def faces_of(*arguments: str | Path) -> list[dict[str, Any]]:
    result = run("detect", *arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    (entry,) = json.loads(result.stdout)
    faces: list[dict[str, Any]] = entry["faces"]
    return faces


@pytest.fixture
def place(tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models, a detector, a picture of a 16-pixel face, a video, and nothing embedded or cached."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "zoo").mkdir()
    monkeypatch.setattr(canthus.zoo, "__file__", str(tmp_path / "zoo" / "__init__.py"))
    for name in {DEFAULT, FATIGUE}:
        tiny_model(f"{name}.onnx").rename(f"zoo/{name}.onnx")
    write_tiny_detector(tmp_path / "own.onnx")
    write_tiny_yunet(tmp_path / "yunet.onnx")
    image = np.zeros((960, 1280, 3), np.uint8)
    image[32:48, 64:80] = 255
    write_image("small.png", image)
    write_image("fits.png", image[:480, :640])
    with VideoWriter("clip.mkv", width=160, height=120, fps=10) as writer:
        for number in range(4):
            writer.write(image[:120, :160], number / 10)
    return tmp_path


def test_a_detector_file_and_what_it_finds(place: Path) -> None:
    (face,) = faces_of("fits.png", "--detector", "own.onnx")
    assert face["box"] == [64, 32, 80, 48]
    assert face["five_points"] == [[67.5, 35.5], [75.5, 35.5], [71.5, 39.5], [67.5, 43.5], [75.5, 43.5]]
    assert faces_of("small.png", "--detector", "own.onnx") == []
    (tiled,) = faces_of("--detector-tiles", "small.png", "--detector", "own.onnx")
    assert tiled["box"] == face["box"]
    (large,) = faces_of("small.png", "--detector", "own.onnx", "--detector-size", "1280")
    assert large["box"] == face["box"]


def test_tiles_are_chosen_by_the_size_of_the_picture(place: Path) -> None:
    image = np.zeros((1920, 2560, 3), np.uint8)
    image[64:96, 128:160] = 255  # 8 pixels in the whole picture, 16 in its half
    write_image("large.png", image)
    (face,) = faces_of("large.png", "--detector", "own.onnx")
    assert face["box"] == [128, 64, 160, 96]
    assert faces_of("large.png", "--detector", "own.onnx", "--no-detector-tiles") == []
    assert len(load_pipeline(f"zoo/{DEFAULT}.onnx", detector="own.onnx")("large.png")) == 1
    assert len(load_pipeline(f"zoo/{DEFAULT}.onnx", detector="own.onnx", detector_tiles=False)("large.png")) == 0


@pytest.fixture
def sure(place: Path) -> Path:
    """The folder with a model that tells the confidence of faces: sure in the light, not in the dark."""
    calibration, face = Calibration(tolerance=0.05, slope=1.0, offset=1.5), FaceCalibration(0.06, 8.0, -38.8)
    card = replace(tiny_card(calibration=calibration), face_calibration=face)
    for name in {DEFAULT, FATIGUE}:
        write_tiny_model(place / f"zoo/{name}.onnx", card=card)
    image = np.zeros((480, 640, 3), np.uint8)
    image[32:48, 64:80] = 255
    image[320:336, 480:496] = 234  # found, with a lower score
    write_image("two.png", image)
    with VideoWriter("two.mkv", width=640, height=480, fps=10) as writer:
        for number in range(3):
            writer.write(image, number / 10)
    return place


def test_faces_can_be_left_out_by_score_or_confidence(sure: Path) -> None:
    common = ("two.png", "--detector", "own.onnx")
    first, second = faces_of(*common)
    assert first["score"] > second["score"]
    assert first["face_confidence"] > second["face_confidence"]
    between = {"--min-score": "score", "--min-confidence": "face_confidence"}
    for option, name in between.items():
        limit = (first[name] + second[name]) / 2
        assert faces_of(*common, option, f"{limit:.4f}") == [first]
        assert faces_of(*common, option, "0") == [first, second] or option == "--min-score"
        assert faces_of(*common, option, "1") == []
    csv = run("detect", *common, "--csv", "-").stdout.splitlines()
    assert [line.rpartition(",")[2] for line in csv] == [
        "face_confidence", *(str(face["face_confidence"]) for face in (first, second))
    ]  # fmt: skip
    boxes = ("--boxes", "boxes.json")
    Path("boxes.json").write_text(run("detect", *common, "--json", "-").stdout, encoding="utf-8")
    (only,) = faces_of("two.png", *boxes, "--passes", "1", "--min-confidence", f"{limit:.4f}")
    assert only["box"] == first["box"]
    limit = (first["score"] + second["score"]) / 2
    (best,) = faces_of("two.png", *boxes, "--passes", "1", "--min-score", f"{limit:.4f}")
    assert best["box"] == first["box"]
    assert "leave out --boxes, or" in str(error_of("detect", "two.png", *boxes, "--detector", "own.onnx"))
    assert "no effect with 'none'" in str(error_of("detect", "two.png", "--detector", "none", "--min-score", "0.5"))


def test_doubtful_faces_are_kept_and_counted(sure: Path) -> None:
    first, second = faces_of("two.png", "--detector", "own.onnx")
    assert second["face_confidence"] < 0.5 < first["face_confidence"]
    done = run("detect", "two.png", "--detector", "own.onnx")
    assert f"confidence {second['face_confidence']:.2f}, 68 points" in done.stdout
    assert "1 picture, 2 faces (1 doubtful), 0 failed" in done.stderr


@pytest.mark.parametrize("command", ["track", "fatigue", "detect"])
@pytest.mark.parametrize("option", ["--min-score", "--min-confidence"])
def test_every_command_has_the_limits(sure: Path, command: str, option: str) -> None:
    source = "two.png" if command == "detect" else "two.mkv"
    assert run(command, source, "--detector", "own.onnx", option, "0.5", "--json", "out.json").exit_code == 0
    for wrong in ("-0.1", "1.5", "x"):
        assert run(command, source, "--detector", "own.onnx", option, wrong).exit_code == 2


def test_a_limit_without_a_confidence_is_refused(place: Path) -> None:
    text = str(error_of("detect", "fits.png", "--detector", "own.onnx", "--min-confidence", "0.5"))
    assert text == "The model 'tiny' gives no confidence of the whole face; leave out the least confidence"


def test_the_embedded_detector_is_the_default(place: Path) -> None:
    assert "The embedded detector 'face_detector_any_angle' is not in this installation" in str(
        error_of("detect", "fits.png")
    )
    Path("own.onnx").rename("zoo/face_detector_any_angle.onnx")
    assert [face["box"] for face in faces_of("fits.png")] == [[64, 32, 80, 48]]
    assert faces_of("fits.png", "--detector", "haar") == []


def test_yunet_by_file(place: Path) -> None:
    (face,) = faces_of("fits.png", "--detector", "yunet", "--detector-model", "yunet.onnx")
    assert face["box"] == [64, 35.2, 80, 48]
    assert "run: canthus fetch yunet" in str(error_of("detect", "fits.png", "--detector", "yunet"))


@pytest.mark.parametrize("command", [("detect", "fits.png"), ("track", "clip.mkv"), ("fatigue", "clip.mkv")])
def test_every_command_passes_the_options_on(place: Path, command: tuple[str, str]) -> None:
    for options, reason in (
        (("--detector", "own.onnx", "--detector-size", "15"), "at least 16 pixels, found 15"),
        (("--detector", "none", "--detector-tiles"), "Tiles have no effect with the detector 'none'"),
        (("--detector", "haar", "--detector-model", "own.onnx"), "A model of the detector has no effect with 'haar'"),
        (("--detector", f"zoo/{DEFAULT}.onnx"), "is a landmark model (for --model), expected a face detector"),
        (
            ("--model", "own.onnx", "--detector", "haar"),
            "is a face detector (for --detector), expected a landmark model",
        ),
        (("--detector", "own.onnx", "--threads", "0"), "at least 1 thread"),
    ):
        if command[0] == "detect" or "--threads" not in options:
            assert reason in str(error_of(*command, *options))
    assert run(*command, "--detector", "own.onnx", "--json", "out.json").exit_code == 0


def test_boxes_from_a_file_leave_nothing_to_a_detector(place: Path) -> None:
    for options in (("--detector-size", "320"), ("--detector-tiles",), ("--detector-model", "own.onnx")):
        assert "replaces the detector" in str(error_of("detect", "fits.png", "--boxes", "b.json", *options))


def test_evaluation_names_the_detector_and_its_settings(place: Path) -> None:
    points = np.tile([[72.0, 40.0]], (68, 1)) + np.stack([8 * np.cos(np.arange(68)), 8 * np.sin(np.arange(68))], axis=1)
    folder = place / "300w" / "helen" / "testset"
    folder.mkdir(parents=True)
    (place / "fits.png").rename(folder / "1_1.png")
    lines = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points)
    (folder / "1_1.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    common = ("evaluate", "--dataset", "300w", "--root", "300w", "--split", "common", "--boxes", "detector")
    result = run(*common, "--detector", "own.onnx", "--detector-size", "640", "--detector-tiles", "--json", "-")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["missed"] == 0
    assert values["protocol"].startswith("detector own.onnx at 640 px with tiles, overlap above 0.3; ")
    result = run(*common, "--detector", "yunet", "--detector-model", "yunet.onnx", "--json", "-")
    assert json.loads(result.stdout)["protocol"].startswith("detector yunet yunet.onnx, overlap")
    assert json.loads(result.stdout)["protocol"].endswith("; 2 passes")
    for option in (("--detector-tiles",), ("--detector-size", "320"), ("--detector-model", "own.onnx")):
        assert f"'{option[0][2:]}' has no effect" in str(error_of(*common[:-2], *option))
    assert isinstance(error_of(*common[:-2], "--detector-tiles"), ConfigError)


def test_models_lists_detectors_and_shows_their_cards(place: Path) -> None:
    Path("own.onnx").rename("zoo/face_detector_any_angle.onnx")
    listed = run("models")
    for expected in (
        f"{DEFAULT} (default)",
        "face_detector_any_angle (default)",
        "50.00% drawn/average_precision",
        "640 x 480",
    ):
        assert expected in listed.stdout
    *landmarks, detector = json.loads(run("models", "--json", "-").stdout)
    assert sorted(model["name"] for model in landmarks) == sorted({DEFAULT, FATIGUE})
    assert {model["kind"] for model in landmarks} == {"landmarks"}
    assert detector["kind"] == "detector"
    assert (detector["name"], detector["strides"], detector["default"]) == ("face_detector_any_angle", [16], True)
    assert detector["size_bytes"] == Path("zoo/face_detector_any_angle.onnx").stat().st_size
    for name in ("face_detector_any_angle", "zoo/face_detector_any_angle.onnx"):
        shown = run("models", name)
        for expected in ("usually 640 pixels; strides 16", "least score", "0.5", "tests/tiny_detectors.py"):
            assert expected in shown.stdout


def test_fetch_says_what_it_got_or_what_there_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def fake(download: downloads.Download, *, url: str | None = None) -> Path:
        asked.append((download.name, url))
        return downloads.fetched_path(download)

    monkeypatch.setattr(downloads, "fetch", fake)
    done = run("fetch", "yunet", "--url", "https://mirror.example/yunet.onnx")
    assert done.exit_code == 0, done.output
    assert asked == [("yunet", "https://mirror.example/yunet.onnx")]
    assert "face_detection_yunet_2023mar.onnx: 233 kB, licence MIT, SHA-256 8f2383e4" in done.stdout
    assert "Unknown download 'yunnet'. Did you mean 'yunet'" in str(error_of("fetch", "yunnet"))


def test_fetch_from_a_server_that_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    error = error_of("fetch", "yunet", "--url", "http://127.0.0.1:9/yunet.onnx")
    assert isinstance(error, ModelFileError)
    assert "cannot be fetched into" in str(error)
    assert [path for path in (place / "cache").rglob("*") if path.is_file()] == []
