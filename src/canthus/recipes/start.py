"""The network of a recipe and the weights it starts from."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from canthus.errors import ConfigError
from canthus.models import create_model
from canthus.models.onnx_weights import load_onnx_weights
from canthus.models.weights import load_weights, read_weights_file
from canthus.recipes.config import TrainConfig
from canthus.schemes import find_scheme
from canthus.training.checkpoint import CONFIG_KEY, network_weights, read_checkpoint
from canthus.zoo import embedded_models


def start_network(config: TrainConfig, images: Callable[[], Tensor] | None = None) -> nn.Module:
    """The recipe's network with the weights it starts from.

    A checkpoint of canthus must fit as a whole, but for the head of the spread, which may start anew; so must an
    exported model.  Of any other file of weights, what fits is taken.

    Args:
        config: the recipe.
        images: gives pictures as in training, ``(n, 3, s, s)`` in [0, 1]; needed to start from an exported model.

    Raises:
        ConfigError: there is no file ``init``, or it is a checkpoint of another network.
        ModelFileError: ``init`` is no file of weights, or nothing in it fits.
    """
    points = find_scheme(config.scheme).count
    network = create_model(config.model, points=points, size=config.size, settings=config.model_settings)
    if not config.init:
        return network
    path = init_file(config.init)
    if path.suffix == ".onnx":
        if images is None:
            raise ConfigError(f"init={config.init} is an exported model; its statistics need training pictures")
        load_onnx_weights(network, path, images())
        return network
    if CONFIG_KEY not in read_weights_file(path):
        load_weights(network, path)
        return network
    weights = network_weights(read_checkpoint(path))
    fresh = {name: value for name, value in network.state_dict().items() if name.startswith("spread.")}
    try:
        network.load_state_dict(fresh | weights)
    except RuntimeError as error:
        raise ConfigError(f"init={config.init} holds the weights of another network: {error}") from error
    return network


def init_file(init: str) -> Path:
    """File that the setting ``init`` means: an embedded model by its name, or a path.

    Raises:
        ConfigError: neither.
    """
    path = embedded_models().get(init, Path(init))
    if not path.is_file():
        raise ConfigError(
            f"init={init}: no such checkpoint. Train the stage before first, name another with --set "
            "init=FILE, an embedded model by its name, or start from random weights with --set init="
        )
    return path
