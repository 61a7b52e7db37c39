"""Training of a face detector on drawn scenes: it learns, goes on after a stop, and is exported as it was trained."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from canthus.errors import ConfigError, ModelFileError
from canthus.export.onnx import verify_export
from canthus.models.face_detector import FaceDetector
from canthus.recipes.build import fresh_network, load_network
from canthus.recipes.config import DetectorConfig, load_any_recipe, load_recipe
from canthus.recipes.export import export, export_untrained
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.sessions import DetectorSession, LandmarkSession
from drawn_scenes import write_scenes

RECIPE = """
task = "detector"
name = "drawn"
model_settings = { width = 0.5, depth = [1, 1, 1] }
epochs = 6
pictures_per_epoch = 64
batch_size = 8
sizes = [96, 128]
inference_size = 192
ema_decay = 0.8
validate_every = 2

[[train]]
dataset = "facemask"
split = "train"

[[validation]]
dataset = "facemask"
split = "validation"

[augmentation]
mosaic = [1.0]
rotation_deg = 10.0
smallest = 30.0

[optimizer]
learning_rate = 5e-3
"""


class StopError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "facemask"
    write_scenes(folder, train=40, validation=10)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "drawn.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def config(recipe: Path) -> DetectorConfig:
    config = load_any_recipe(str(recipe))
    assert isinstance(config, DetectorConfig)
    return config


def run(config: DetectorConfig, scenes: Path, out: Path, write: Callable[[str], None] = lambda line: None) -> Path:
    place = Surroundings(roots={"facemask": scenes}, cache=scenes / "cache", out=out, accelerator="cpu")
    return train(config, place, pack_faces(config, place), write=write)


@pytest.fixture(scope="module")
def unbroken(config: DetectorConfig, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    run(config, scenes, out)
    return out


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_keeps_its_record(unbroken: Path) -> None:
    found = rows(unbroken)
    assert found[-1]["train/loss"] < 0.85 * found[0]["train/loss"]
    assert found[-1]["train/box"] < 0.9 * found[0]["train/box"]
    assert 0 <= found[-1]["ap_50"] <= 1
    assert {p.name for p in unbroken.iterdir()} >= {"config.json", "curves.png", "last.ckpt", "best.ckpt"}


def test_a_stopped_run_goes_on_as_if_unbroken(
    config: DetectorConfig, scenes: Path, unbroken: Path, tmp_path: Path
) -> None:
    def kill(line: str) -> None:
        if line.startswith("epoch 3/"):
            raise StopError

    with pytest.raises(StopError):
        run(config, scenes, tmp_path, kill)
    run(config, scenes, tmp_path)
    assert rows(tmp_path)[-1].keys() == rows(unbroken)[-1].keys()
    for stopped, whole in zip(rows(tmp_path), rows(unbroken), strict=True):
        # An epoch without validation repeats the figures of the last one, which a new process does not know.
        for key in (whole.keys() & stopped.keys()) - {"seconds"}:
            assert stopped[key] == pytest.approx(whole[key], rel=1e-4), key


def test_the_export_computes_what_was_trained_and_carries_its_score(
    unbroken: Path, scenes: Path, tmp_path: Path
) -> None:
    report = export(unbroken / "best.ckpt", tmp_path / "drawn.onnx", roots={"facemask": scenes}, cache=tmp_path)
    assert report.real
    assert report.pictures == 10
    assert report.difference < 1e-3
    session = DetectorSession.open(tmp_path / "drawn.onnx")
    assert session.card.training_data == ("facemask",)
    assert session.card.metrics == report.metrics
    assert "research use only" in session.card.licence
    network, _ = load_network(unbroken / "best.ckpt")
    picture = np.random.default_rng(0).integers(0, 256, size=(2, 64, 160, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(picture).permute(0, 3, 1, 2) / 255.0).numpy()
    assert session(picture) == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ModelFileError, match="detector"):
        LandmarkSession.open(tmp_path / "drawn.onnx")
    assert CanthusDetector(session, least_score=0.0)(picture[0]).boxes.shape[1] == 4


def test_the_file_that_is_kept_is_the_file_that_was_compared(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def compare_and_spoil(network: FaceDetector, session: DetectorSession, pictures: Any, *, half: bool) -> float:
        difference = verify_export(network, session, pictures, half=half)
        compared.append(Path(session.source).read_bytes())
        torch.nn.init.zeros_(network.first_convolution.weight)
        return difference

    monkeypatch.setattr("canthus.recipes.export.verify_export", compare_and_spoil)
    export(unbroken / "best.ckpt", tmp_path / "drawn.onnx", roots={}, cache=tmp_path)
    kept, checked = (onnx.load_from_string(data) for data in ((tmp_path / "drawn.onnx").read_bytes(), *compared))
    assert kept.graph == checked.graph


def test_an_export_without_data_compares_on_noise(unbroken: Path, tmp_path: Path) -> None:
    report = export(unbroken / "last.ckpt", tmp_path / "drawn.onnx", roots={}, cache=tmp_path, licence="mine")
    assert not report.real
    assert report.metrics == {}
    assert DetectorSession.open(tmp_path / "drawn.onnx").card.licence == "mine"


def test_wrong_recipes_say_what_is_wrong(recipe: Path, config: DetectorConfig, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe of a face detector"):
        load_recipe(str(recipe))
    odd = load_any_recipe(str(recipe), ["sizes=[100]"])
    assert isinstance(odd, DetectorConfig)
    with pytest.raises(ConfigError, match="multiples of 32"):
        run(odd, scenes, tmp_path)
    nowhere = Surroundings(roots={}, cache=tmp_path, out=tmp_path, accelerator="cpu")
    with pytest.raises(ConfigError, match="facemask=DIR"):
        pack_faces(config, nowhere)
    refused = load_any_recipe(str(recipe), ["model_settings.breadth=2"])
    assert isinstance(refused, DetectorConfig)
    with pytest.raises(ConfigError, match="breadth"):
        run(refused, scenes, tmp_path / "refused")


@pytest.mark.parametrize(("design", "weights"), [("base", 283_631), ("fast", 158_231)])
def test_designs_learn_and_are_exported(design: str, weights: int, tmp_path: Path) -> None:
    network = FaceDetector(design=design)
    assert sum(weight.numel() for weight in network.parameters()) == weights
    output = network(torch.rand(2, 3, 64, 96))
    assert output.shape == (2, 8 * 12 + 4 * 6 + 2 * 3, 15)
    output.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
    small = DetectorConfig(
        name="small", epochs=1, pictures_per_epoch=32, train=(), validation=(),
        model_settings={"design": design, "width": 0.5, "depth": [1, 1, 1]},
    )  # fmt: skip
    export_untrained(small, tmp_path / "small.onnx")
    assert DetectorSession.open(tmp_path / "small.onnx")(np.zeros((1, 64, 96, 3), np.uint8)).shape == (1, 126, 15)


@pytest.mark.parametrize("settings", [{"design": "slow"}, {"depth": [1, 1]}])
def test_unknown_designs_are_refused(settings: dict[str, Any], config: DetectorConfig) -> None:
    with pytest.raises(ConfigError, match="design of a face detector|cannot be made"):
        fresh_network(replace(config, model_settings=settings))
