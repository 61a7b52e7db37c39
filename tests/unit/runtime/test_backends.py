"""Networks on other devices and in other libraries than ONNX Runtime on the processor."""

import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import canthus
from canthus.compression.quantize import quantized, see_ranges
from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, MissingExtraError
from canthus.runtime import backends
from canthus.runtime.backends import CARDS, JoinedRuns, find_device
from canthus.runtime.sessions import BoundedSession, DetectorSession, LandmarkSession, find_model
from canthus.zoo import FLOAT
from command import run_command
from tiny_detectors import write_tiny_detector

CUDA = CARDS["cuda"].provider
MODEL = FLOAT
"""Its crops have 128 pixels."""


def drawn_crops(count: int, *, size: int = 128) -> np.ndarray:
    return np.stack([draw_face(np.random.default_rng(seed), size=size).image for seed in range(count)])


@pytest.fixture
def built_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime that was built for cards of NVIDIA, on a machine that has none."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, backends.CPU_PROVIDER])
    make = backends._onnx_session
    monkeypatch.setattr(
        backends, "_onnx_session", lambda data, options, _: make(data, options, ["CPUExecutionProvider"])
    )


@pytest.mark.parametrize(
    ("device", "backend", "built_for", "expected"),
    [
        ("cpu", "onnxruntime", [CUDA], "cpu"),
        ("cuda", "onnxruntime", [CUDA], "cuda"),
        ("auto", "onnxruntime", [CUDA], "cuda"),
        ("auto", "onnxruntime", [CARDS["coreml"].provider], "coreml"),
        ("auto", "onnxruntime", [CARDS["coreml"].provider, CARDS["directml"].provider], "directml"),
        ("auto", "onnxruntime", [], "cpu"),
        ("auto", "openvino", [CUDA], "cpu"),
    ],
)
def test_device_is_what_onnx_runtime_was_built_for(
    monkeypatch: pytest.MonkeyPatch, device: str, backend: str, built_for: list[str], expected: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_for)
    assert find_device(device, backend) == expected


@pytest.mark.parametrize(
    ("device", "backend", "message"),
    [
        ("cuda", "onnxruntime", r"no CUDAExecutionProvider.*it has CPUExecutionProvider\. Run: .*onnxruntime-gpu"),
        ("directml", "onnxruntime", r"no DmlExecutionProvider.*Run: .*onnxruntime-directml"),
        ("coreml", "onnxruntime", r"no CoreMLExecutionProvider.*\(macOS\)"),
        ("gpu", "onnxruntime", "Unknown device 'gpu'. Did you mean 'cpu'"),
        ("cpu", "openvin", "Unknown back end 'openvin'. Did you mean 'openvino'"),
        ("cuda", "openvino", "openvino runs on the processor; leave out the device 'cuda'"),
    ],
)
def test_device_that_is_not_here_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, device: str, backend: str, message: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match=message):
        canthus.load_pipeline(detector="none", device=device, backend=backend)


def test_card_that_cannot_be_started_is_an_error(built_for_cuda: None) -> None:
    with pytest.raises(ConfigError, match=r"cannot start it; are the driver .* of the device 'cuda' installed"):
        LandmarkSession.open(MODEL, device="cuda")


def test_automatic_device_goes_back_to_the_processor(built_for_cuda: None, caplog: pytest.LogCaptureFixture) -> None:
    crops = drawn_crops(1)
    points = LandmarkSession.open(MODEL, device="auto")(crops)
    np.testing.assert_array_equal(points, LandmarkSession.open(MODEL)(crops))
    assert "cannot start it" in caplog.text
    assert "The processor is used" in caplog.text


def test_threads_that_wait_do_not_spin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []

    def spy(data: bytes, options: Any, *, device: str, backend: str) -> tuple[Any, bool]:
        seen.append(options)
        return backends.open_session(data, options, device=device, backend=backend)

    monkeypatch.setattr("canthus.runtime.sessions.open_session", spy)
    DetectorSession.open(write_tiny_detector(tmp_path / "tiny.onnx"), threads=2)
    for kind in ("intra_op", "inter_op"):
        assert seen[0].get_session_config_entry(f"session.{kind}.allow_spinning") == "0"


def test_pickled_pipeline_and_its_settings_keep_the_back_end() -> None:
    pytest.importorskip("openvino")
    pipeline = canthus.load_pipeline(detector="none", backend="openvino", device="auto")
    assert pipeline.settings["backend"] == "openvino"
    assert pipeline.settings["device"] == "auto"


def test_openvino_gives_the_points_of_onnx_runtime() -> None:
    pytest.importorskip("openvino")
    crops = drawn_crops(3)
    ours, theirs = (LandmarkSession.open(MODEL, backend=backend) for backend in ("onnxruntime", "openvino"))
    expected, found = ours.answer(crops), theirs.answer(crops)
    assert theirs.card == ours.card
    # Other orders of summation in float32: 20 layers of products.
    np.testing.assert_allclose(found.points, expected.points, atol=1e-2)
    np.testing.assert_allclose(np.asarray(found.scores), np.asarray(expected.scores), atol=1e-3)
    assert len(theirs(crops[:0])) == 0


def test_openvino_gives_the_faces_of_onnx_runtime() -> None:
    pytest.importorskip("openvino")
    face = draw_face(np.random.default_rng(0), size=200).image
    picture = np.pad(face, ((60, 60), (80, 40), (0, 0)), mode="edge")
    expected, found = (canthus.create_detector(backend=backend)(picture) for backend in ("onnxruntime", "openvino"))
    assert len(expected) == 1
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.1)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)


def test_openvino_runs_int8_files() -> None:
    pytest.importorskip("openvino")
    crops = drawn_crops(4)
    data = find_model(MODEL).read_bytes()
    content = quantized(see_ranges(data, crops))
    small, other = (LandmarkSession(content, source="int8", backend=b) for b in ("onnxruntime", "openvino"))
    whole = LandmarkSession.open(MODEL)(crops)
    rounding = float(np.abs(small(crops) - whole).mean())
    assert 0 < rounding < 1
    # Both round at the same places, but sum the products in other orders, which moves some by a step.
    assert float(np.abs(other(crops) - small(crops)).mean()) < 2 * rounding


def test_openvino_shared_by_threads_gives_equal_points() -> None:
    pytest.importorskip("openvino")
    session, crops = LandmarkSession.open(MODEL, backend="openvino"), drawn_crops(4)
    expected = session(crops)
    found: dict[int, np.ndarray] = {}

    def work(index: int) -> None:
        for _ in range(5):
            found[index] = session(crops[index : index + 1])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(np.concatenate([found[index] for index in range(4)]), expected, atol=1e-3)


def test_missing_openvino_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    backends._openvino_core.cache_clear()
    with pytest.raises(MissingExtraError, match=r"'openvino', which is not installed.*canthus\[openvino\]"):
        BoundedSession(find_model(MODEL).read_bytes(), source="model", threads=1, backend="openvino")
    (tmp_path / "face.png").write_bytes(b"no picture")
    done = run_command(monkeypatch, capfd, "detect", tmp_path / "face.png", "--backend", "openvino")
    assert done.code == 2
    assert done.err.startswith("error: This needs 'openvino'")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["detect", "track", "fatigue", "serve", "batch"])
def test_commands_refuse_a_device_that_is_not_here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    if command == "serve":
        pytest.importorskip("fastapi")
    (tmp_path / "face.png").write_bytes(b"no picture")
    inputs: dict[str, list[str | Path]] = {"serve": ["--no-page"], "batch": [tmp_path / "face.png", tmp_path / "out"]}
    arguments = inputs.get(command, [tmp_path / "face.png"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    done = run_command(monkeypatch, capfd, command, *arguments, "--device", "cuda")
    assert done.code == 2
    assert "onnxruntime-gpu" in done.err
    assert done.err.count("\n") == 1


def test_runs_that_wait_join_the_next_run() -> None:
    batches: list[int] = []
    started, go = threading.Event(), threading.Event()

    def double(names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        batches.append(len(feeds["x"]))
        started.set()
        go.wait()
        return [2 * feeds["x"]]

    joined, found = JoinedRuns(double, most=8), dict[int, np.ndarray]()

    def call(index: int, columns: int) -> None:
        found[index] = joined(None, {"x": np.full((1, columns), index)})[0]

    first = threading.Thread(target=call, args=(0, 2))
    first.start()
    started.wait()
    others = [threading.Thread(target=call, args=(index, 2 if index < 10 else 3)) for index in range(1, 12)]
    for thread in others:
        thread.start()
    while len(joined._waiting) < len(others):
        time.sleep(0.001)
    go.set()
    for thread in [first, *others]:
        thread.join()
    assert {index: values.tolist() for index, values in found.items()} == {
        index: [[2 * index] * (2 if index < 10 else 3)] for index in range(12)
    }
    assert batches[0] == 1
    assert sorted(batches[1:]) == [1, 2, 8]  # nine of one shape in two runs, filled up; two of the other


def test_error_of_a_joined_run_reaches_every_caller() -> None:
    def fail(names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        raise RuntimeError("out of memory")

    joined = JoinedRuns(fail, most=8)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            joined(None, {"x": np.zeros((1, 2))})


def test_detect_on_a_card_gives_the_records_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def joined(data: bytes, options: Any, *, device: str, backend: str) -> tuple[Any, bool]:
        return backends._onnx_session(data, options, [backends.CPU_PROVIDER]), device == "cuda"

    monkeypatch.setattr("canthus.runtime.sessions.open_session", joined)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    for seed in range(6):
        canthus.write_image(tmp_path / f"{seed}.png", draw_face(np.random.default_rng(seed), size=200).image)
    found = {}
    for device in ("cpu", "cuda"):
        done = run_command(monkeypatch, capfd, "detect", tmp_path, "--json", "-", "--device", device)
        assert done.code == 0
        found[device] = json.loads(done.out)
    assert [record["image"] for record in found["cuda"]] == [record["image"] for record in found["cpu"]]
    for ours, theirs in zip(found["cpu"], found["cuda"], strict=True):
        assert len(ours["faces"]) == len(theirs["faces"]) == 1
        points = [np.array(record["faces"][0]["points"]) for record in (ours, theirs)]
        np.testing.assert_allclose(points[1], points[0], atol=0.02)
