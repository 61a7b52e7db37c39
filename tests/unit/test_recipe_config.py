"""Recipes: what is read, what is refused and how the refusal helps."""

import re
from pathlib import Path

import pytest
import torch

from canthus.errors import ConfigError
from canthus.recipes.build import loss_of
from canthus.recipes.config import (
    TrainConfig,
    from_values,
    load_any_recipe,
    load_fit,
    load_recipe,
    recipe_names,
    to_values,
)

MINIMAL = """
name = "small"
model = "pfld"
epochs = 2
faces_per_epoch = 64

[[train]]
dataset = "300w"
split = "fit"

[[validation]]
dataset = "300w"
split = "validation"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(MINIMAL)
    return str(path)


def test_a_file_becomes_a_config(recipe: str) -> None:
    config = load_recipe(recipe)
    assert (config.name, config.epochs, config.train[0].split) == ("small", 2, "fit")
    assert config.size == 112


def test_changes_reach_every_level(recipe: str) -> None:
    config = load_recipe(
        recipe,
        [
            "epochs=5",
            "optimizer.learning_rate=1e-2",
            "train.0.weight=2",
            "loss=l2",
            "optimizer.settings={momentum=0.9}",
        ],
    )
    assert config.epochs == 5
    assert config.optimizer.learning_rate == 0.01
    assert config.train[0].weight == 2.0
    assert config.loss == "l2"
    assert config.optimizer.settings == {"momentum": 0.9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epoch=5", "Did you mean 'epochs'"),
        ("optimizer.learning_rat=1", "Did you mean 'optimizer.learning_rate'"),
        ("augmentation.rotation=3", "Did you mean 'augmentation.rotation_deg'"),
        ("epochs=many", "'epochs' must be a whole number, not 'many'"),
        ("epochs=2.5", "whole number"),
        ("epochs=true", "whole number"),
        ("optimizer=adam", "must be a table"),
        ("train.7.weight=1", "no '7' there"),
        ("epochs", "expected key=value"),
    ],
)
def test_wrong_changes_are_refused(recipe: str, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe, [change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs=-1", "epochs is -1; expected at least 1"),
        ("epochs=0", "epochs is 0; expected at least 1"),
        ("faces_per_epoch=-64", "faces_per_epoch is -64"),
        ("batch_size=0", "batch_size is 0"),
        ("validate_every=0", "validate_every is 0"),
        ("seed=-1", "seed is -1; expected 0 to"),
        ("size=-112", "size is -112"),
        ("size=100000", "size is 100000; expected 8 to 2048"),
        ("pack_size=0", "pack_size is 0"),
        ("margin=0.0", "margin is 0; expected 0.1 to 100"),
        ("margin=nan", "margin is nan; expected a finite number"),
        ("margin=inf", "margin is inf; expected a finite number"),
        ("ema_decay=1.5", "ema_decay is 1.5; expected 0 to 1"),
        ("spread_weight=-1", "spread_weight is -1"),
        ("point_weights={eyes=-2.0}", "point_weights.eyes is -2"),
        ("precision=64-bit", "Unknown precision '64-bit'"),
        ("train.0.weight=0", "train.0: The setting weight is 0; expected above 0"),
        ("train.0.until=2.0", "train.0: The setting until is 2"),
        ("optimizer.learning_rate=-1e-3", "optimizer: The setting learning_rate is -0.001"),
        ("optimizer.learning_rate=inf", "optimizer: The setting learning_rate is inf; expected a finite number"),
        ("optimizer.weight_decay=-0.1", "optimizer: The setting weight_decay"),
        ("optimizer.clip=-1", "optimizer: The setting clip"),
        ("optimizer.settings={betas=[0.9, nan]}", "optimizer: The setting settings.betas.1 is nan"),
        ("loss_settings={width=nan}", "loss_settings.width is nan"),
        ("schedule.final_factor=-0.5", "schedule: The setting final_factor"),
        ("schedule.step_epochs=0", "schedule: The setting step_epochs is 0"),
        ("schedule.warmup_epochs=-1", "schedule: The setting warmup_epochs"),
        ("augmentation.flip=1.5", "augmentation: The setting flip is 1.5"),
        ("augmentation.cover=-0.1", "augmentation: The setting cover is -0.1"),
        ("augmentation.rotation_deg=-20", "augmentation: The setting rotation_deg"),
        ("augmentation.scale=-2", "augmentation: The setting scale"),
        ("augmentation.cover_most=0", "augmentation: The setting cover_most"),
        ("pose.loss_weight=-1", "pose: The setting loss_weight"),
        ("distill.output_weight=-1", "distill: The setting output_weight is -1"),
        ("distill.width=0", "distill: The setting width"),
        ("name=../elsewhere", "name of a recipe is '../elsewhere'"),
        ("name=/tmp/elsewhere", "name of a recipe"),
    ],
)
def test_nonsense_values_are_refused(recipe: str, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_recipe(recipe, [change])


@pytest.mark.parametrize(
    "change",
    [
        "pictures_per_epoch=0", "sizes=[256, -32]", "inference_size=0", "score=1.5", "loss.box=-1.0",
        "augmentation.mosaic=[0.0, 0.0]", "augmentation.zoom=0.0", "augmentation.dark=2.0", "loss.sizes=[[nan, 1.0]]",
    ],
)  # fmt: skip
def test_nonsense_values_of_a_detector_are_refused(change: str) -> None:
    with pytest.raises(ConfigError, match=f"{change.partition('=')[0].split('.')[-1]}.* is "):
        load_any_recipe("face_detector", [change])


@pytest.mark.parametrize("change", ["cascade.ferns=0", "cascade.features=13", "cascade.radius=-1.0", "size=0"])
def test_nonsense_values_of_a_cascade_are_refused(change: str) -> None:
    with pytest.raises(ConfigError, match="is .*; expected "):
        load_fit("esr_68", [change])


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text(MINIMAL.replace('model = "pfld"\n', ""))
    with pytest.raises(ConfigError, match=r"short.toml: Missing: model \(text\)"):
        load_recipe(str(path))


@pytest.mark.parametrize("name", ["pfld_86", "nowhere.toml"])
def test_an_unknown_recipe_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean|no such recipe"):
        load_recipe(name)


def test_a_broken_file_says_where(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = \n")
    with pytest.raises(ConfigError, match="line 1"):
        load_recipe(str(path))


def test_plain_values_lead_back(recipe: str) -> None:
    config = load_recipe(recipe)
    assert from_values(TrainConfig, to_values(config)) == config


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_is_valid(name: str) -> None:
    config = load_any_recipe(name)
    assert config.name == name


def test_weights_of_points_reach_the_loss(recipe: str) -> None:
    config = load_recipe(recipe, ["point_weights={eyes=3.0}", "augmentation.close_eyes=0.2", "loss=l1"])
    assert config.augmentation.close_eyes == 0.2
    predicted = torch.zeros(1, 68, 2)
    predicted[:, 36:48] = 1.0
    weighed, plain = loss_of(config), loss_of(load_recipe(recipe, ["loss=l1"]))
    truth = torch.zeros(1, 68, 2)
    assert float(weighed(predicted, truth)) == pytest.approx(36 / (56 + 36))
    assert float(plain(predicted, truth)) == pytest.approx(12 / 68)
    with pytest.raises(ConfigError, match="Did you mean 'eyes'"):
        loss_of(load_recipe(recipe, ["point_weights={eye=3.0}"]))
