"""Checkpoints of runs, read as plain data: nothing in the file is executed."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from canthus.errors import ModelFileError
from canthus.models.weights import read_weights_file

LAST = "last.ckpt"
BEST = "best.ckpt"
CONFIG_KEY = "canthus_config"
"""Entry of a checkpoint with the resolved recipe as JSON."""
PLAN_KEY = "canthus_prune_plan"
"""Entry of the checkpoint of a pruned network with its pruning plan as JSON."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as plain data.

    Raises:
        ModelFileError: the file is missing, damaged, holds more than plain data, or holds no weights.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such checkpoint. A run writes {LAST} and {BEST}")
    loaded = read_weights_file(path)
    if "state_dict" not in loaded:
        raise ModelFileError(f"{path}: has no weights under 'state_dict'; expected a checkpoint of canthus")
    return loaded


def checkpoint_config(checkpoint: dict[str, Any], *, source: Path) -> dict[str, Any]:
    """The resolved recipe in a checkpoint; ``source`` names the file in errors.

    Raises:
        ModelFileError: the checkpoint has none.
    """
    text = checkpoint.get(CONFIG_KEY)
    if not isinstance(text, str):
        raise ModelFileError(
            f"{source}: has no recipe, so its network cannot be rebuilt; expected a checkpoint of canthus train"
        )
    config: dict[str, Any] = json.loads(text)
    return config


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of the network: the averaged ones if the run kept an average."""
    prefix = "network."
    state = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
