"""Networks of heatmaps train from their maps, and export as networks that answer with points."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import ConfigError
from canthus.recipes.config import TrainConfig, from_values, load_fit, load_recipe, recipe_names
from canthus.recipes.export import export
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.runtime.sessions import LandmarkSession


def config() -> TrainConfig:
    return from_values(
        TrainConfig,
        {
            "name": "drawn_fan",
            "model": "fan",
            "model_settings": {"stacks": 1, "depth": 2, "channels": 16},
            "loss": "heatmap_l2",
            "size": 32,
            "pack_size": 64,
            "epochs": 2,
            "faces_per_epoch": 16,
            "batch_size": 8,
            "ema_decay": 0.0,
            "train": [{"dataset": "300w", "split": "fit"}],
            "validation": [{"dataset": "300w", "split": "validation"}],
            "augmentation": {"cover": 0.5, "flip": 0.5},
        },
    )


@pytest.fixture
def place(tmp_path: Path) -> Surroundings:
    write_synthetic_300w(tmp_path / "300w", 12, np.random.default_rng(0), size=64)
    roots = {"300w": tmp_path / "300w"}
    return Surroundings(roots=roots, cache=tmp_path / "cache", out=tmp_path / "run", accelerator="cpu")


def test_it_trains_and_exports(place: Surroundings, tmp_path: Path) -> None:
    packs = pack_faces(config(), place)
    assert packs.train[0].pack.images.shape[1] == 64
    best = train(config(), place, packs)
    report = export(best, tmp_path / "fan.onnx", roots=place.roots, cache=place.cache)
    assert report.real
    session = LandmarkSession.open(tmp_path / "fan.onnx")
    points = session(np.zeros((2, 32, 32, 3), np.uint8))
    assert points.shape == (2, 68, 2)
    assert ((points > -0.5) & (points < 31.5)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "l2"}, "set loss = 'heatmap_l2'"),
        ({"model": "pfld", "model_settings": {"width": 0.25}}, "This loss needs heatmaps"),
        ({"loss": "heatmap_l3"}, "Did you mean 'heatmap_l2'"),
        ({"loss_settings": {"sigmas": 1}}, "refuses"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(place: Surroundings, change: dict[str, object], message: str) -> None:
    wrong = replace(config(), **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        train(wrong, place, pack_faces(wrong, place))


def test_the_recipes_of_system_c_can_be_read() -> None:
    assert {"mobilenet_l_68", "mobilenet_l_celeba_hq", "fan_68"} <= set(recipe_names())
    for name in ("mobilenet_l_68", "mobilenet_l_celeba_hq"):
        paper = load_recipe(name)
        assert (paper.size, paper.batch_size, paper.loss) == (256, 16, "l2")
        assert paper.optimizer.settings == {"betas": [0.0, 0.9]}
        assert paper.optimizer.learning_rate == 1e-4
    assert load_recipe("fan_68").model_settings["stacks"] == 4
    cascade = load_fit("esr_68").cascade
    assert (cascade.stages, cascade.ferns, cascade.features) == (10, 500, 5)
