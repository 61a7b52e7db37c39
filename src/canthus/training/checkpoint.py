"""Checkpoints: what a run saves, and reading one back without executing anything in it."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from canthus.errors import ModelFileError
from canthus.models.weights import read_weights_file

LAST = "last.ckpt"
BEST = "best.ckpt"
CONFIG_KEY = "canthus_config"
"""Entry of a checkpoint that holds the resolved recipe as JSON."""
PLAN_KEY = "canthus_prune_plan"
"""Entry of a checkpoint of a pruned network that holds the plan it was pruned by, as JSON."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as plain data (weights only, nothing is unpickled).

    Raises:
        ModelFileError: missing, damaged, or holding more than plain data.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such checkpoint. A run keeps its own as {LAST} and {BEST}")
    loaded = read_weights_file(path)
    if "state_dict" not in loaded:
        raise ModelFileError(f"{path}: holds no weights under 'state_dict'; is it a canthus checkpoint?")
    return loaded


def checkpoint_config(checkpoint: dict[str, Any], *, source: Path) -> dict[str, Any]:
    """The resolved recipe that a checkpoint carries.

    Raises:
        ModelFileError: the checkpoint carries none.
    """
    text = checkpoint.get(CONFIG_KEY)
    if not isinstance(text, str):
        raise ModelFileError(f"{source}: carries no recipe, so the network cannot be rebuilt from it")
    config: dict[str, Any] = json.loads(text)
    return config


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The network's own weights: the averaged ones where the run kept an average."""
    prefix = "network."
    state = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
