"""Files of detectors: opened by name, path and bytes, told from landmark models, and refused when they are neither."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import canthus.zoo
from canthus.errors import ConfigError, ModelFileError
from canthus.runtime.cards import DETECTOR, DetectorCard
from canthus.runtime.sessions import DetectorSession, LandmarkSession, find_model
from canthus.zoo import DEFAULT
from tiny_detectors import tiny_detector_card, write_tiny_detector

TinyModel = Callable[..., Path]


def card_with(**changes: object) -> str:
    return json.dumps({**json.loads(tiny_detector_card().to_json()), **changes})


def test_a_card_survives_json() -> None:
    card = tiny_detector_card(strides=(8, 16, 32))
    assert DetectorCard.from_json(card.to_json(), source="x") == card


def test_opens_a_path_and_bytes_alike(tmp_path: Path) -> None:
    path = write_tiny_detector(tmp_path / "detector.onnx")
    by_path, by_bytes = DetectorSession.open(path), DetectorSession.open(path.read_bytes(), threads=2)
    assert (by_path.source, by_bytes.source) == (str(path), "bytes")
    assert by_path.card == by_bytes.card == tiny_detector_card()
    assert by_path.size_bytes == path.stat().st_size
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    assert by_path(images).shape == (2, 24, 15)
    np.testing.assert_allclose(by_path(images), by_bytes(images), atol=1e-4)
    np.testing.assert_allclose(by_path(images)[1:], by_path(images[1:]), atol=1e-4)


def test_embedded_files_are_told_apart_by_name(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canthus.zoo, "__file__", str(tmp_path / "__init__.py"))
    landmarks = tiny_model(f"{DEFAULT}.onnx")
    detectors = [
        write_tiny_detector(tmp_path / f"{name}.onnx") for name in ("face_detector_any_angle", "face_detector_small")
    ]
    assert canthus.zoo.embedded_models() == {DEFAULT: landmarks}
    assert list(canthus.zoo.embedded_detectors().values()) == detectors
    assert find_model("default", kind=DETECTOR) == detectors[0]
    assert DetectorSession.open("face_detector_small").source == str(detectors[1])
    assert find_model("default") == landmarks
    with pytest.raises(ConfigError, match="Unknown detector 'face_detector_smal'. Did you mean 'face_detector_small'"):
        find_model("face_detector_smal", kind=DETECTOR)


def test_installation_without_a_detector_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canthus.zoo, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelFileError, match="embedded detector 'face_detector_any_angle' is not in this installation"):
        DetectorSession.open()
    with pytest.raises(ModelFileError, match="no such file; embedded detectors: none"):
        DetectorSession.open(tmp_path / "missing.onnx")


def test_detectors_and_landmark_models_are_not_taken_for_each_other(tiny_model: TinyModel, tmp_path: Path) -> None:
    detector = write_tiny_detector(tmp_path / "detector.onnx")
    with pytest.raises(ModelFileError, match=r"detector.onnx: is a face detector \(for --detector\), expected a land"):
        LandmarkSession.open(detector)
    with pytest.raises(ModelFileError, match=r"is a landmark model \(for --model\), expected a face detector"):
        DetectorSession.open(tiny_model())


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("", "holds no model card"),
        ("{", "the model card is not JSON"),
        ("[]", "the model card is not a JSON object"),
        (card_with(kind="pose"), "is of the unknown kind 'pose', expected a face detector"),
        (card_with(margin=1), "model card: Unknown field 'margin'"),
        (
            json.dumps({"kind": "detector", "name": "x"}),
            r"Missing: architecture \(text\), strides \(a list\), size",
        ),
        (card_with(strides=[]), "There are 0 strides; expected 1 to 16"),
        (card_with(strides=[8, 0]), r"strides\.1 is 0; expected 1 to 1024"),
        (card_with(strides=8), "'strides' must be a list, not 8"),
        (card_with(size=True), "'size' must be a whole number, not True"),
        (card_with(score=50), "score is 50; expected 0 to 1"),
    ],
)
def test_cards_that_are_no_detectors_are_refused(tmp_path: Path, metadata: str, reason: str) -> None:
    with pytest.raises(ModelFileError, match=reason):
        DetectorSession.open(write_tiny_detector(tmp_path / "detector.onnx", metadata=metadata))


def test_networks_of_another_shape_are_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"'faces', tensor\(float\) \[n, cells, 15\] with free cells; found rows"):
        DetectorSession.open(write_tiny_detector(tmp_path / "detector.onnx", output="rows"))
    landmarks = tiny_model(metadata=tiny_detector_card().to_json())
    with pytest.raises(ModelFileError, match=r"with free h and w; found image tensor\(uint8\) \['n', 32, 32, 3\]"):
        DetectorSession.open(landmarks)


def test_threads_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1 thread, found 0"):
        DetectorSession.open(write_tiny_detector(tmp_path / "detector.onnx"), threads=0)
