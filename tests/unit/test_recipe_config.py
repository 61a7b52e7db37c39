"""Recipes: what is read, what is refused and how the refusal helps."""

from pathlib import Path

import pytest
import torch

from canthus.errors import ConfigError
from canthus.recipes.build import loss_of
from canthus.recipes.config import TrainConfig, from_values, load_any_recipe, load_recipe, recipe_names, to_values

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
