"""An int8 file from a float one, on drawn faces: kept where it is as good, refused where it is not."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import CanthusError, ConfigError, ModelFileError
from canthus.evaluation.onnx_counts import count_graph
from canthus.evaluation.timing import detector_shape
from canthus.export.onnx import replace_card
from canthus.images import write_image
from canthus.recipes.export import measured_by_twin
from canthus.recipes.held_out import Finding
from canthus.recipes.quantize import QuantizeSettings, int8_path, quantize
from canthus.recipes.quantize_report import DetectorQuantizeReport, QuantizeReport
from canthus.runtime.cards import DETECTOR, Calibration, FaceCalibration, ModelCard
from canthus.runtime.sessions import DetectorSession, LandmarkSession, find_model
from canthus.zoo import DEFAULT
from drawn_scenes import write_scenes
from small_networks import write_small_cascade, write_small_landmarker

LOOSE = QuantizeSettings(crops=24, most_loss=0.05, weight_bits=7)  # with 8, processors without VNNI saturate


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 60, np.random.default_rng(0))
    return folder


@pytest.fixture
def harmed(tmp_path: Path) -> Path:
    """A model that bytes ruin."""
    return write_small_landmarker(tmp_path / "harmed.onnx", gain=1000)


def make(model: Path, faces: Path, settings: QuantizeSettings = LOOSE) -> QuantizeReport:
    out = model.with_name("int8.onnx")
    report = quantize(model, out, settings, roots={"300w": faces}, cache=faces / "cache")
    assert isinstance(report, QuantizeReport)
    return report


def run(model: str | Path, faces: Path, *arguments: str | Path) -> Result:
    options = ["--root", f"300w={faces}", "--cache", str(faces / "cache"), *map(str, arguments)]
    return CliRunner().invoke(app, ["quantize", str(model), *options], env={"COLUMNS": "200"})


def test_the_card_survives_and_says_how_it_was_made(faces: Path, tmp_path: Path) -> None:
    model = write_small_landmarker(tmp_path / "m.onnx", tells_spread=True)
    report = make(model, faces)
    before, after = LandmarkSession.open(model).card, LandmarkSession.open(report.path).card
    image = {"image": np.zeros((1, before.size, before.size, 3), np.uint8)}
    own, whole = count_graph(report.path, image), count_graph(model, image)
    assert (after.parameters, after.multiply_adds) == (own.parameters, own.multiply_adds)
    assert own.parameters == whole.parameters - 1, "the scale of the bytes is in the first weights"
    before = replace(before, parameters=own.parameters, multiply_adds=own.multiply_adds)
    assert replace(after, metrics=before.metrics, name=before.name, quantization=None) == before
    assert after.quantization == report.quantization
    assert after.metrics["300w/validation/nme_ion"] == pytest.approx(report.nme, abs=1e-6)
    assert {"300w/validation/ece", "300w/validation/auroc"} >= set(after.metrics) - {"300w/validation/nme_ion"}
    assert report.confidence.keys() == report.float_confidence.keys()
    assert report.quantization.crops == 24
    assert report.size_bytes == report.path.stat().st_size
    with pytest.raises(ModelFileError, match="int8 model already"):
        quantize(report.path, tmp_path / "again.onnx", LOOSE, roots={"300w": faces}, cache=faces / "cache")


def test_the_card_takes_what_was_measured_of_a_twin(faces: Path, tmp_path: Path) -> None:
    whole = write_small_landmarker(tmp_path / "whole.onnx", tells_spread=True)
    honest = tmp_path / "honest.onnx"
    quantize(whole, honest, LOOSE, roots={"300w": faces}, cache=faces / "cache")
    measured = LandmarkSession.open(honest).card
    how = measured.quantization
    assert how is not None
    measured = replace(
        measured, metrics={"300w/validation/nme_ion": 0.042}, calibration=Calibration(0.05, 1.5, 0.5),
        face_calibration=FaceCalibration(0.06, 1.25, 0.75), quantization=replace(how, float_nme_ion=0.041),
    )  # fmt: skip
    replace_card(honest, measured)
    report = make(whole, faces, replace(LOOSE, twin=honest))
    card = LandmarkSession.open(report.path).card
    assert card == replace(measured, name="int8", twin="honest")
    assert report.describe()[-2].startswith(f"card: errors and confidence of its twin {honest}")
    with pytest.raises(ConfigError, match="it is float, expected int8"):
        make(whole, faces, replace(LOOSE, twin=whole))
    with pytest.raises(ConfigError, match="its architecture is none, expected"):
        measured_by_twin(replace(card, architecture="pfld"), honest)
    with pytest.raises(ConfigError, match="belongs to landmark models"):
        measured_by_twin(DetectorSession.open("face_detector").card, honest)
    with pytest.raises(ConfigError, match="belongs to landmark models"):
        quantize("face_detector", tmp_path / "d.onnx", replace(LOOSE, twin=honest), roots={}, cache=tmp_path)
    replace_card(whole, replace(LandmarkSession.open(whole).card, twin="another"))
    with pytest.raises(ConfigError, match="has the errors and the confidence of its twin another"):
        make(whole, faces)


def test_more_failed_faces_are_refused(harmed: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ruined = make(harmed, faces, replace(LOOSE, force=True))
    monkeypatch.setattr("canthus.recipes.quantize.FAILED", (ruined.float_nme + ruined.nme) / 2)
    loose = replace(LOOSE, most_loss=10.0, most_failures=0.1)
    with pytest.raises(ModelFileError, match=r"error above .*% on .* of the faces of 300w/validation.*--most-failures"):
        make(harmed, faces, loose)
    report = make(harmed, faces, replace(loose, most_failures=1.0))
    assert report.failures > report.float_failures + 0.1
    assert any(line.startswith("faces with an error above ") for line in report.describe())
    kept = make(harmed, faces, replace(loose, keep=("auto",)))
    assert kept.failures <= kept.float_failures + 0.1
    assert kept.quantization.kept


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facemask")
    write_scenes(folder, train=10, validation=6)
    return folder


def quantized_detector(model: str, scenes: Path, out: Path, settings: QuantizeSettings) -> DetectorQuantizeReport:
    report = quantize(model, out, settings, roots={"facemask": scenes}, cache=scenes / "cache")
    assert isinstance(report, DetectorQuantizeReport)
    return report


def test_a_detector_is_quantized_and_compared(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    settings = QuantizeSettings(crops=8, weight_bits=7, most_loss=0.3)
    report = quantized_detector("face_detector", scenes, out, settings)
    small, whole = DetectorSession.open(out), DetectorSession.open("face_detector")
    assert small.size_bytes < whole.size_bytes / 2
    own = count_graph(out, {"image": np.zeros(detector_shape(small.card.strides), np.uint8)})
    assert own.multiply_adds == whole.card.multiply_adds
    assert own.parameters > (whole.card.parameters or 0), "the three grids share weights, but not their bytes"
    named = replace(whole.card, name=small.card.name, metrics=small.card.metrics)
    expected = replace(named, parameters=own.parameters, multiply_adds=own.multiply_adds)
    assert replace(small.card, quantization=None) == expected
    assert small.card.quantization == report.quantization
    assert small.card.quantization.calibrated_on == "facemask/train"
    assert small.card.metrics == {"facemask/validation/ap_50": pytest.approx(report.found.ap_50, abs=1e-6)}
    assert report.float_found.recall > 0.5
    assert report.float_found.loss(report.found) <= 0.3
    assert report.pictures == 6
    assert "6 pictures" in "\n".join(report.describe())
    assert "average precision of" in small.card.quantization.describe()
    with pytest.raises(ModelFileError, match="int8 model already"):
        quantized_detector(str(out), scenes, tmp_path / "again.onnx", settings)


def test_a_detector_that_loses_faces_is_refused(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = iter([Finding(0.9, 0.9), Finding(0.9, 0.8)])
    monkeypatch.setattr("canthus.recipes.quantize.found_faces_of", lambda *_: next(findings))
    out = tmp_path / "small.onnx"
    with pytest.raises(ModelFileError, match=r"finds 80.00% of the faces .* the float detector 90.00%.*0.50% less are"):
        quantized_detector(str(find_model("default", kind=DETECTOR)), scenes, out, QuantizeSettings(crops=2))
    assert not out.exists()


@pytest.mark.parametrize(
    ("before", "after", "loss"),
    [((0.9, 0.8), (0.8, 0.8), 0.1), ((0.9, 0.8), (0.95, 0.7), 0.1), ((float("nan"), 0.8), (float("nan"), 0.9), -0.1)],
)
def test_the_loss_of_a_detector_is_the_larger_one(
    before: tuple[float, float], after: tuple[float, float], loss: float
) -> None:
    assert Finding(*before).loss(Finding(*after)) == pytest.approx(loss)


def test_the_same_seed_gives_the_same_file(faces: Path, tmp_path: Path) -> None:
    model = write_small_landmarker(tmp_path / "m.onnx")
    assert make(model, faces).path.read_bytes() == make(model, faces).path.read_bytes()


def test_a_bad_result_is_refused_and_not_left_behind(harmed: Path, faces: Path) -> None:
    with pytest.raises(ModelFileError, match=r"an error of .*%.* the float model .*%.*5\.000 are allowed.*--keep auto"):
        make(harmed, faces)
    assert [path.name for path in harmed.parent.iterdir()] == ["harmed.onnx"]
    report = make(harmed, faces, replace(LOOSE, force=True))
    assert report.nme > report.float_nme + 0.05
    assert report.path.is_file()


def test_the_most_harmful_layers_are_left_in_float(harmed: Path, faces: Path) -> None:
    report = make(harmed, faces, replace(LOOSE, keep=("auto",)))
    assert set(report.quantization.kept) == {"convolution", "numbers"}
    assert list(report.harms.values()) == sorted(report.harms.values(), reverse=True)
    assert report.nme <= report.float_nme + 0.05
    named = make(harmed, faces, replace(LOOSE, keep=("first", "Gemm")))
    assert set(named.quantization.kept) == {"convolution", "numbers"}


def test_a_good_result_leaves_nothing_out(faces: Path, tmp_path: Path) -> None:
    report = make(write_small_landmarker(tmp_path / "m.onnx"), faces, replace(LOOSE, keep=("auto",)))
    assert report.quantization.kept == ()
    assert report.harms == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"check": "300w/fit"}, "other faces"),
        ({"calibrate": "300w"}, "DATASET/SPLIT"),
        ({"calibrate": "300w/fits"}, "fit"),
        ({"calibrate": "wflw/train"}, "--root wflw=DIR"),
        ({"method": "max"}, "minmax"),
        ({"crops": 0}, "at least 1 crop"),
        ({"most_loss": float("nan")}, "a loss of at least 0"),
        ({"keep": ("auto", "Gemm")}, "alone"),
    ],
)
def test_settings_that_do_not_work_are_refused(
    faces: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    model = write_small_landmarker(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=message):
        make(model, faces, replace(LOOSE, **changes))  # type: ignore[arg-type]


def test_other_files_are_refused(faces: Path, tmp_path: Path) -> None:
    model = write_small_landmarker(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="the float model itself"):
        quantize(model, model, LOOSE, roots={"300w": faces}, cache=faces / "cache")
    with pytest.raises(ModelFileError, match="cascade"):
        make(write_small_cascade(tmp_path / "esr.npz"), faces)


def test_the_command_prints_both_errors(faces: Path, tmp_path: Path) -> None:
    model = write_small_landmarker(tmp_path / "m.onnx", tells_spread=True)
    result = run(
        model, faces, "--most-loss", "5", "--crops", "24", "--seed", "3", "--keep", "last", "--weight-bits", "7"
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "m_int8.onnx").is_file()
    for expected in ("the float model", "points moved by", "24 crops of 300w/fit, seed 3; in float: spread", "ECE"):
        assert expected in result.stderr
    shown = CliRunner().invoke(app, ["models", str(tmp_path / "m_int8.onnx"), "--json", "-"])
    (entry,) = json.loads(shown.stdout)
    assert entry["quantization"]["kept"] == ["spread"]
    assert entry["numbers"].startswith("int8, 7 bits a weight")


def test_the_command_refuses(harmed: Path, faces: Path) -> None:
    result = run(harmed, faces, "--crops", "24")
    assert isinstance(result.exception, CanthusError)
    assert "Nothing was written" in str(result.exception)
    assert not harmed.with_name("harmed_int8.onnx").exists()


def test_names_of_results() -> None:
    assert int8_path("default") == Path(f"{DEFAULT}_int8.onnx")
    assert int8_path("runs/a/best.ckpt") == Path("runs/a/best_int8.onnx")


def test_a_damaged_entry_of_a_card_is_refused(faces: Path, tmp_path: Path) -> None:
    report = make(write_small_landmarker(tmp_path / "m.onnx"), faces)
    values = json.loads(LandmarkSession.open(report.path).card.to_json())
    for damaged, reason in (
        ({**values["quantization"], "crops": "many"}, r"'quantization\.crops' must be a whole number"),
        ({"method": "minmax"}, r"Missing: quantization\.calibrated_on"),
        ("int8", "'quantization' must be a table"),
    ):
        with pytest.raises(ModelFileError, match=f"m: model card: .*{reason}"):
            ModelCard.from_json(json.dumps({**values, "quantization": damaged}), source="m")


KILLED = """
import json, os, sys
from pathlib import Path

import numpy as np

from canthus.recipes.held_out import Finding
from canthus.recipes.quantize import QuantizeSettings, quantize  # imported once; each run is a process of its own

model, faces, folder = map(Path, sys.argv[1:])
settings = QuantizeSettings(crops=8, most_loss=1.0, weight_bits=7)
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.truncate"}


def run(cache, left=None):
    # A new process that quantizes, and is gone before it changes a file for the time ``left``; the number of changes.
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        changes = 0

        def count(event, arguments):
            nonlocal changes
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writes or event in WRITES:
                changes += 1
                if changes == left:
                    os._exit(9)

        sys.addaudithook(count)
        quantize(model, folder / "int8.onnx", settings, roots={"300w": faces}, cache=folder / cache)
        os.write(sink, str(changes).encode())
        os._exit(0)
    os.close(sink)
    _, status = os.waitpid(child, 0)
    changes = os.read(source, 100)
    os.close(source)
    return status, int(changes or 0)


status, changes = run("whole")
assert status == 0, status
whole = (folder / "int8.onnx").read_bytes()
(folder / "int8.onnx").write_bytes(b"an earlier file")
kills = sorted({*np.linspace(1, changes, 3).round().astype(int).tolist(), changes - 1})
for left in kills:
    status, _ = run(f"cache_{left}", left)
    assert os.waitstatus_to_exitcode(status) == 9, status
    assert (folder / "int8.onnx").read_bytes() in (b"an earlier file", whole), left
    status, _ = run(f"cache_{left}")
    assert status == 0, status
    assert (folder / "int8.onnx").read_bytes() == whole, left
    (folder / "int8.onnx").write_bytes(b"an earlier file")
print(changes, len(kills))
"""


def test_a_run_that_was_killed_gives_the_same_file_when_started_again(tmp_path: Path) -> None:
    """Killed before the first and the last change of a file, and between; an earlier file stays until then."""
    write_synthetic_300w(tmp_path / "300w", 20, np.random.default_rng(0), size=64)
    model = write_small_landmarker(tmp_path / "m.onnx")
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-c", KILLED, str(model), str(tmp_path / "300w"), str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    changes, kills = map(int, done.stdout.split())
    assert changes > 20
    assert kills == 4


def test_a_failure_keeps_the_earlier_file(harmed: Path, faces: Path) -> None:
    out = harmed.with_name("int8.onnx")
    out.write_bytes(b"an earlier file")
    with pytest.raises(ModelFileError, match="Nothing was written"):
        make(harmed, faces)
    assert out.read_bytes() == b"an earlier file"


def test_the_command_overwrites_neither_the_model_nor_files_of_others(faces: Path, tmp_path: Path) -> None:
    model = write_small_landmarker(tmp_path / "m.onnx")
    (tmp_path / "link.onnx").hardlink_to(model)
    write_image(tmp_path / "photo.jpg", np.zeros((8, 8, 3), np.uint8))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name, reason in (("link.onnx", "would overwrite the input"), ("photo.jpg", "would overwrite a picture")):
        result = run(model, faces, "--out", tmp_path / name)
        assert isinstance(result.exception, CanthusError)
        assert reason in str(result.exception)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
