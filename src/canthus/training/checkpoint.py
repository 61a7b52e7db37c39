"""Checkpoints of runs, read as plain data: nothing in the file is executed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from canthus.errors import ModelFileError
from canthus.models.weights import read_weights_file

LAST = "last.ckpt"
BEST = "best.ckpt"
CONFIG = "config.json"
"""Files of a run."""
STATE = "pruning.pt"
"""File of an unfinished pruning: settings, plan so far, weights."""
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
    if not isinstance(loaded.get("state_dict"), dict):
        raise ModelFileError(f"{path}: has no weights under 'state_dict'; expected a checkpoint of canthus")
    return loaded


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error


def checkpoint_config(checkpoint: dict[str, Any], *, source: Path) -> dict[str, Any]:
    """The resolved recipe in a checkpoint; ``source`` names the file in errors.

    Raises:
        ModelFileError: the checkpoint has none, or it is damaged.
    """
    text = checkpoint.get(CONFIG_KEY)
    if not isinstance(text, str):
        raise ModelFileError(
            f"{source}: has no recipe, so its network cannot be rebuilt; expected a checkpoint of canthus train"
        )
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ModelFileError(f"{source}: its recipe is damaged ({error}); use another checkpoint") from error
    if not isinstance(config, dict):
        raise ModelFileError(f"{source}: its recipe is {config!r}; expected a table")
    return config


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of the network: the averaged ones if the run kept an average."""
    prefix = "network."
    state = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
