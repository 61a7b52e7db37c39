"""Training of system B on drawn faces: two heads, a teacher, published weights, and the ways to export."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import ConfigError
from canthus.models import create_model
from canthus.models.backbones import create_backbone
from canthus.models.layers import LEVELS, UNSEEN, ByteRange
from canthus.models.weights import WeightsReport
from canthus.recipes.build import load_network, start_network
from canthus.recipes.config import TrainConfig, load_recipe
from canthus.recipes.export import export, training_sets
from canthus.recipes.quantize import QuantizeSettings, quantize
from canthus.recipes.quantize_report import QuantizeReport
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.runtime.sessions import LandmarkSession
from canthus.training.checkpoint import network_weights, read_checkpoint

MODEL = "{backbone='BACKBONE', width=0.125, hidden=[32], heatmap_side=16, heatmap_hidden=[16, 16, 16]}"
SLIM = "{backbone='resnet_slim',width=0.125,head='flat',heatmaps=false,spread=true,rounded=ROUNDED}"
SMALL = [
    "epochs=2", "faces_per_epoch=32", "batch_size=16", "size=32", "pack_size=64",
    "train.1.dataset=300w", "train.1.until=1.0", "validation.1.dataset=300w", "loss_settings.scale=100.0",
]  # fmt: skip


class StopError(Exception):
    """Stands for a kill."""


def small(name: str, backbone: str, *changes: str) -> TrainConfig:
    return load_recipe(name, [*SMALL, f"model_settings={MODEL.replace('BACKBONE', backbone)}", *changes])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 40, np.random.default_rng(0), size=64)
    return folder


def run(
    config: TrainConfig, faces: Path, out: Path, write: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    place = Surroundings(roots={"300w": faces}, cache=faces / "cache", out=out, accelerator="cpu")
    train(config, place, pack_faces(config, place), write=write)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def teacher(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher")
    run(small("joint_resnet50_68", "resnet50"), faces, out)
    return out / "best.ckpt"


def distilled(teacher: Path, *changes: str) -> TrainConfig:
    settings = [f"distill.teacher='{teacher}'", "distill.width=16", *changes]
    return small("joint_mobilenet_distilled_68", "mobilenet_v2", *settings)


def test_the_recipes_say_what_the_paper_prints() -> None:
    for name in ("joint_resnet50_68", "joint_mobilenet_68", "joint_mobilenet_distilled_68"):
        config = load_recipe(name)
        assert (config.size, config.batch_size, config.epochs) == (128, 32, 60)
        assert (config.optimizer.name, config.optimizer.learning_rate) == ("sgd", 0.01)
        assert (config.schedule.name, config.schedule.step_epochs, config.schedule.final_factor) == ("step", 20, 0.01)
        assert config.loss_settings["heatmap_weight"] == 1.0
        network = create_model(config.model, points=68, size=config.size, settings=config.model_settings)
        assert network.heatmap_head is not None
    assert load_recipe("joint_mobilenet_distilled_68").distill.teacher == "runs/joint_resnet50_68/best.ckpt"


def test_a_teacher_stays_out_of_the_checkpoint_and_of_the_average(teacher: Path, faces: Path, tmp_path: Path) -> None:
    config = distilled(teacher, "ema_decay=0.5", "distill.output_weight=1.0")
    rows = run(config, faces, tmp_path)
    assert rows[-1]["train/feature_loss"] < rows[0]["train/feature_loss"]
    assert np.isfinite(rows[-1]["train/output_loss"])
    state = read_checkpoint(tmp_path / "last.ckpt")
    assert {name for name in state["state_dict"] if not name.startswith("network.")} == {
        "distiller.student.weight", "distiller.student.bias", "distiller.target.weight",
    }  # fmt: skip
    alone = create_model("joint", points=68, size=32, settings=config.model_settings)
    assert set(network_weights(state)) == set(alone.state_dict())
    assert sum(t.numel() for t in state["current_model_state"].values()) < 2 * sum(
        p.numel() for p in alone.state_dict().values()
    )


def test_a_stopped_distillation_goes_on_as_if_unbroken(teacher: Path, faces: Path, tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise StopError

    config = distilled(teacher, "epochs=3")
    whole = run(config, faces, tmp_path / "whole")
    with pytest.raises(StopError):
        run(config, faces, tmp_path / "stopped", kill)
    for stopped, unbroken in zip(run(config, faces, tmp_path / "stopped"), whole, strict=True):
        for key in unbroken.keys() - {"seconds"}:
            assert stopped[key] == pytest.approx(unbroken[key], rel=1e-4), key


def test_the_card_names_the_sets_of_the_teacher(teacher: Path) -> None:
    assert training_sets(distilled(teacher, "train.0.dataset=folder", "train.1.dataset=folder")) == ("300w", "folder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distill.teacher=nowhere.ckpt", "Train the teacher first"),
        ("size=64", "has size 32, the recipe 64"),
        ("margin=1.5", "has margin 1.3, the recipe 1.5"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    teacher: Path, faces: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(distilled(teacher, change), faces, tmp_path)


def test_published_weights_start_the_backbone_and_the_run_says_so(faces: Path, tmp_path: Path) -> None:
    source = create_backbone("mobilenet_v2", width=0.125)
    torch.save({**source.state_dict(), "classifier.1.bias": torch.zeros(1000)}, tmp_path / "mobilenet_v2.pth")
    said: list[str] = []
    start = [f"init='{tmp_path / 'mobilenet_v2.pth'}'", "optimizer.learning_rate=0.0", "epochs=1"]
    run(small("joint_mobilenet_68", "mobilenet_v2", *start), faces, tmp_path / "run", said.append)
    assert "of the backbone taken; unused: classifier.1.bias" in said[0]
    report = json.loads((tmp_path / "run/init.json").read_text())
    assert (report["part"], report["unexpected"], report["missing"]) == ("backbone", ["classifier.1.bias"], [])
    network, _ = load_network(tmp_path / "run/last.ckpt")
    name = "features.17.conv.2.weight"
    torch.testing.assert_close(network.get_parameter(f"backbone.{name}"), source.get_parameter(name))


def test_regression_alone_trains_without_heatmaps(faces: Path, tmp_path: Path) -> None:
    changes = ["loss_settings.heatmap_weight=0", "model_settings.heatmaps=false", "epochs=1"]
    rows = run(small("joint_mobilenet_68", "mobilenet_v2", *changes), faces, tmp_path)
    assert np.isfinite(rows[0]["train/loss"])


def test_a_network_without_heatmaps_may_start_one_with_them(faces: Path, tmp_path: Path) -> None:
    changes = ["loss_settings.heatmap_weight=0", "model_settings.heatmaps=false", "epochs=1"]
    run(small("joint_mobilenet_68", "mobilenet_v2", *changes), faces, tmp_path)
    before, _ = load_network(tmp_path / "last.ckpt")
    joint = start_network(small("joint_mobilenet_68", "mobilenet_v2", f"init='{tmp_path / 'last.ckpt'}'"))
    for name, value in before.state_dict().items():
        torch.testing.assert_close(joint.state_dict()[name], value)
    assert joint.heatmap_head is not None


def test_a_head_of_expected_errors_that_reads_more_starts_anew(faces: Path, tmp_path: Path) -> None:
    def flat(*more: str) -> TrainConfig:
        model = "{backbone='mobilenet_v2',width=0.125,head='flat',heatmaps=false,spread=true,spread_means=MEANS}"
        settings = [f"model_settings={model.replace('MEANS', more[0])}", "loss_settings.heatmap_weight=0", "epochs=1"]
        return load_recipe("joint_mobilenet_68", [*SMALL, *settings, *more[1:]])

    run(flat("false"), faces, tmp_path)
    before, _ = load_network(tmp_path / "last.ckpt")
    told: list[WeightsReport] = []
    wider = start_network(flat("true", f"init='{tmp_path / 'last.ckpt'}'"), report=told.append)
    assert list(told[0].mismatched) == ["spread.layers.0.weight"]
    for name, value in before.state_dict().items():
        if name not in told[0].mismatched:
            torch.testing.assert_close(wider.state_dict()[name], value)


def int8_of(rounded: bool, faces: Path, out: Path) -> QuantizeReport:
    """An int8 file of a small network that was trained with or without rounding."""
    settings = ["model_settings=" + SLIM.replace("ROUNDED", str(rounded).lower()), "loss_settings.heatmap_weight=0"]
    config = load_recipe("joint_mobilenet_68", [*SMALL, *settings, "epochs=6", "schedule.name=cosine"])
    run(config, faces, out)
    export(out / "last.ckpt", out / "float.onnx", roots={}, cache=out)
    loose = QuantizeSettings(crops=24, most_loss=0.05, weight_bits=7)
    report = quantize(out / "float.onnx", out / "int8.onnx", loose, roots={"300w": faces}, cache=faces / "cache")
    assert isinstance(report, QuantizeReport)
    return report


def test_an_int8_file_has_the_ranges_of_the_training(faces: Path, tmp_path: Path) -> None:
    int8_of(True, faces, tmp_path)
    network, _ = load_network(tmp_path / "last.ckpt")
    ranges = {name: layer for name, layer in network.named_modules() if isinstance(layer, ByteRange)}
    assert len(ranges) == 1 + 3 * 9 + 3, "after the patches, three in a block, and in shortcuts with a convolution"
    assert all(layer.high < UNSEEN / 10 for layer in ranges.values()), "averages of the weights forget the start"
    # Half of the first range, so that some activations lie beyond its end.
    (first, layer), *_ = ranges.items()
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    checkpoint["state_dict"][f"network.{first}.high"] = layer.high / 2
    torch.save(checkpoint, tmp_path / "half.ckpt")
    export(tmp_path / "half.ckpt", tmp_path / "half.onnx", roots={}, cache=tmp_path)
    settings = QuantizeSettings(crops=24, weight_bits=7, force=True)
    quantize(tmp_path / "half.onnx", tmp_path / "half8.onnx", settings, roots={"300w": faces}, cache=faces / "cache")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "half8.onnx").graph.initializer}
    scales = [float(value) for name, value in stored.items() if name.endswith("_scale") and value.ndim == 0]
    assert min(abs(scale - float(layer.high) / 2 / LEVELS) for scale in scales) < 1e-6


def test_a_training_may_start_from_an_int8_file(faces: Path, tmp_path: Path) -> None:
    whole = int8_of(False, faces, tmp_path)
    settings = QuantizeSettings(crops=24, most_loss=0.05, weight_bits=7, keep=("first",))
    quantize(tmp_path / "float.onnx", tmp_path / "k.onnx", settings, roots={"300w": faces}, cache=faces / "cache")
    _, config = load_network(tmp_path / "last.ckpt")
    assert isinstance(config, TrainConfig)
    crops = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255.0
    exact = LandmarkSession.open(tmp_path / "float.onnx")(crops)
    for path in (whole.path, tmp_path / "k.onnx"):
        network = start_network(replace(config, init=str(path)), lambda: images).eval()
        with torch.no_grad():
            points = network(images).points.numpy() * 32 - 0.5
        found = LandmarkSession.open(path)(crops)
        rounding = np.linalg.norm(found - exact, axis=2).mean()
        assert np.linalg.norm(points - found, axis=2).mean() < 2 * rounding + 0.02


def test_the_heatmaps_stay_behind_unless_asked_for(faces: Path, tmp_path: Path) -> None:
    run(small("joint_mobilenet_68", "mobilenet_v2", "epochs=1"), faces, tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    sizes, points = [], []
    for how in ("", "regression"):
        path = tmp_path / f"{how or 'default'}.onnx"
        sizes.append(export(tmp_path / "best.ckpt", path, roots={}, cache=tmp_path, decode=how).size_bytes)
        points.append(LandmarkSession.open(path)(pictures))
    np.testing.assert_array_equal(points[0], points[1])
    whole, _ = load_network(tmp_path / "best.ckpt")
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert sizes[0] < 4 * sum(p.numel() for p in whole.parameters()), "without what only training needs"
