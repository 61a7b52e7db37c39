"""Network, initial weights, teacher and objective of a recipe."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from canthus.compression.plan import PrunePlan, apply_plan
from canthus.errors import ConfigError, ModelFileError
from canthus.lookup import lookup, unknown_name
from canthus.losses import HEATMAP_LOSSES, LOSSES
from canthus.losses.weights import PointLoss, weigh_points
from canthus.models import create_model
from canthus.models.face_detector import FaceDetector
from canthus.models.joint import JointNetwork, decoding
from canthus.models.output import Network, example_output
from canthus.models.weights import (
    WeightsReport,
    counts_points,
    load_onnx_weights,
    load_weights,
    read_weights_file,
    without_dead_channels,
)
from canthus.recipes.config import Recipe, TrainConfig, from_values, read_config
from canthus.runtime.sessions import LandmarkSession
from canthus.training.checkpoint import CONFIG_KEY, PLAN_KEY, checkpoint_config, network_weights, read_checkpoint
from canthus.training.distillation import Teacher
from canthus.training.fit import usable_precision
from canthus.training.objectives import (
    JOINT,
    JointSettings,
    Objective,
    heatmaps_objective,
    joint_objective,
    points_objective,
)
from canthus.zoo import embedded_models


def update_feature_channels(network: nn.Module) -> None:
    """Set ``network.feature_channels`` to the width that its feature map has now, after pruning."""
    if isinstance(network, Network) and (features := example_output(network, network.size).features) is not None:
        network.feature_channels = features.shape[1]


NEW_HEADS = ("spread.", "heatmap_head.")
"""Prefixes of weights that may be missing in the checkpoint a network starts from."""


def fresh_network(config: Recipe) -> nn.Module:
    """The recipe's network with random weights.

    Raises:
        ConfigError: unknown model or scheme, or a setting that the network does not take.
    """
    if isinstance(config, TrainConfig):
        points = config.find_scheme().count
        return create_model(config.model, points=points, size=config.size, settings=config.model_settings)
    try:
        return FaceDetector(**config.model_settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The face detector cannot be made with {config.model_settings}: {error}") from error


def start_network(
    config: Recipe,
    images: Callable[[], Tensor] | None = None,
    *,
    report: Callable[[WeightsReport], None] = lambda report: None,
) -> nn.Module:
    """The recipe's network with the weights that ``init`` names.

    A checkpoint of canthus or an exported model must fit the network; only the heads of the spread and of the heatmaps
    may be missing, or in a checkpoint have other shapes: then they start with random weights.  What depends on the
    number of points, or in a checkpoint on the side of the input, is left out where these differ, and starts with
    random weights, too.  From any other file of weights, the tensors that fit are taken.

    Args:
        images: returns training pictures, ``(n, 3, s, s)`` in [0, 1]; needed to start from an exported model.
        report: called with the tensors that were taken from a plain file of weights, or from a network of another
            number of points or another side of the input.

    Raises:
        ConfigError: there is no file ``init``, or it is a checkpoint of another network.
        ModelFileError: ``init`` is not a file of weights, or nothing in it fits.
    """
    network = fresh_network(config)
    if not config.init:
        return network
    path = init_file(config.init)
    if path.suffix == ".onnx":
        if images is None or not isinstance(config, TrainConfig):
            raise ConfigError(
                f"init={config.init} is an exported model; only a landmark network that has training pictures at hand "
                "can start from one. Give a checkpoint"
            )
        before, points = LandmarkSession.open(path).scheme.count, config.find_scheme().count
        taken = load_onnx_weights(network, path, images(), before=before, points=points)
        if taken.mismatched:
            report(taken)
        return network
    if CONFIG_KEY not in read_weights_file(path):
        report(load_weights(network, path))
        return network
    weights = network_weights(read_checkpoint(path))
    own = network.state_dict()
    if head := _layers_of_other_sizes(weights, own, config, path):
        weights = {name: value for name, value in weights.items() if name not in head}
        report(WeightsReport(path, "", tuple(weights), (), (), head))
    fresh = {name: value for name, value in own.items() if name.startswith(NEW_HEADS) or name in head}
    try:
        network.load_state_dict(fresh | weights)
    except RuntimeError as error:
        raise ConfigError(f"init={config.init} holds the weights of another network: {error}") from error
    return network


def _layers_of_other_sizes(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], config: Recipe, path: Path
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """The weights whose shape follows from the number of points or the side of the input, where it differs: both.

    So are those of heads that may be missing, where theirs differ.
    """
    earlier = read_config(checkpoint_config(read_checkpoint(path), source=path))
    if not (isinstance(config, TrainConfig) and isinstance(earlier, TrainConfig)):
        return {}
    before, points = earlier.find_scheme().count, config.find_scheme().count
    same = earlier.model, earlier.model_settings
    resized = earlier.size != config.size and same == (config.model, config.model_settings)

    def follows(theirs: Sequence[int], ours: Sequence[int]) -> bool:
        return counts_points(theirs, ours, before=before, points=points) or (resized and theirs != ours)

    return {
        name: (tuple(value.shape), tuple(own[name].shape))
        for name, value in weights.items()
        if name in own
        and (follows(value.shape, own[name].shape) or (name.startswith(NEW_HEADS) and value.shape != own[name].shape))
    }


def load_network(checkpoint: Path) -> tuple[nn.Module, Recipe]:
    """The network of a checkpoint, pruned as its plan says, with its (averaged) weights, in eval mode; and its recipe.

    Channels that no longer varied in training give their constant (``without_dead_channels``).

    Raises:
        ModelFileError: not a checkpoint, it holds no recipe, or its pruning plan is damaged or for another network.
        ConfigError: its recipe does not fit this version.
    """
    state = read_checkpoint(checkpoint)
    config = read_config(checkpoint_config(state, source=checkpoint))
    network = fresh_network(config)
    if PLAN_KEY in state:
        apply_plan(network, PrunePlan.from_json(state[PLAN_KEY]))
        update_feature_channels(network)
    try:
        network.load_state_dict(without_dead_channels(network_weights(state)))
    except RuntimeError as error:
        raise ModelFileError(
            f"{checkpoint}: its weights do not fit the network {config.name} as this version of canthus builds it; "
            f"train it again, or use the version that trained it ({str(error).splitlines()[-1].strip()})"
        ) from error
    return network.eval(), config


def load_teacher(config: TrainConfig) -> Teacher:
    """The teacher of a recipe, frozen.

    Raises:
        ConfigError: there is no such checkpoint, or its network takes other crops or gives other points than the
            recipe's.
        ModelFileError: not a checkpoint.
    """
    path = Path(config.distill.teacher)
    if not path.is_file():
        raise ConfigError(
            f"distill.teacher={path}: no such checkpoint. Train the teacher first, or name another with --set "
            "distill.teacher=FILE"
        )
    teacher, taught = _trained_teacher(path, path.stat().st_mtime_ns)
    for name in ("scheme", "size", "margin"):
        own, theirs = getattr(config, name), getattr(taught, name, "none")
        if own != theirs:
            raise ConfigError(f"The teacher {path} has {name} {theirs}, the recipe {own}; they must be the same")
    if isinstance(taught, TrainConfig) and not taught.find_scheme().is_numbered_as(config.find_scheme()):
        raise ConfigError(f"The teacher {path} numbers the points of {config.scheme} in another way than the recipe")
    return teacher


@functools.lru_cache(maxsize=1)
def _trained_teacher(path: Path, changed_ns: int) -> tuple[Teacher, Recipe]:
    """A checkpoint's network as a teacher; cached, because pruning needs it after every layer."""
    network, config = load_network(path)
    if isinstance(network, JointNetwork):
        network = decoding(network, "regression")
    return Teacher(network, half=usable_precision(config.precision).startswith("bf16")), config


def init_file(init: str) -> Path:
    """File that the setting ``init`` names: an embedded model, or a path.

    Raises:
        ConfigError: it is neither.
    """
    path = embedded_models().get(init, Path(init))
    if not path.is_file():
        raise ConfigError(
            f"init={init}: no such checkpoint. Train the stage before first, name another with --set "
            "init=FILE, an embedded model by its name, or start from random weights with --set init="
        )
    return path


def loss_of(config: TrainConfig) -> PointLoss:
    """The loss on points or on heatmaps that a recipe names, with its settings and weights of points.

    Raises:
        ConfigError: unknown loss or part of the face, or settings it does not take.
    """
    return _weighed_loss(config, config.loss, config.loss_settings)


def _weighed_loss(config: TrainConfig, name: str, settings: Mapping[str, Any]) -> PointLoss:
    function = lookup(LOSSES | HEATMAP_LOSSES, name, kind="loss")
    loss = functools.partial(function, **settings)
    predicted = torch.zeros(1, 1, 1, 4, 4) if name in HEATMAP_LOSSES else torch.zeros(1, 1, 2)
    try:
        loss(predicted, torch.zeros(1, 1, 2))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Loss {name!r} refuses {dict(settings)}: {error}") from error
    axis = 2 if name in HEATMAP_LOSSES else 1
    return weigh_points(loss, config.find_scheme(), config.point_weights, axis=axis)


def objective_of(config: TrainConfig) -> Objective:
    """The objective that a recipe trains its network by.

    Raises:
        ConfigError: unknown loss or part of the face, or settings that the loss does not accept.
    """
    if config.loss_unit != "pixels" and config.loss not in LOSSES:
        raise ConfigError(f"The loss {config.loss!r} has units of its own; leave out loss_unit = {config.loss_unit!r}")
    if config.loss == JOINT:
        settings = from_values(JointSettings, config.loss_settings, "loss_settings.")
        lookup(LOSSES, settings.point_loss, kind="loss_settings.point_loss")
        size = 1 if settings.point_loss == "l2" else config.size
        points = points_objective(_weighed_loss(config, settings.point_loss, settings.point_settings), size=size)
        maps = heatmaps_objective(_weighed_loss(config, "heatmap_l2", {"sigma": settings.sigma}))
        return joint_objective(points, maps, settings)
    if config.loss in HEATMAP_LOSSES:
        return heatmaps_objective(loss_of(config))
    if config.loss in LOSSES:
        return points_objective(loss_of(config), size=config.size if config.loss_unit == "pixels" else 1)
    raise unknown_name(config.loss, [*LOSSES, *HEATMAP_LOSSES, JOINT], kind="loss")
