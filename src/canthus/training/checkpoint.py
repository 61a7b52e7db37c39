"""Checkpoints: what a run saves, and reading one back without executing anything in it."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from canthus.errors import ModelFileError

LAST = "last.ckpt"
BEST = "best.ckpt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as plain data (weights only, nothing is unpickled).

    Raises:
        ModelFileError: missing, damaged, or holding more than plain data.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such checkpoint. A run keeps its own as {LAST} and {BEST}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged byte leads to
        raise ModelFileError(f"{path}: not a checkpoint that canthus can read safely ({error})") from error
    if not isinstance(loaded, dict) or "state_dict" not in loaded:
        raise ModelFileError(f"{path}: holds no weights under 'state_dict'; is it a canthus checkpoint?")
    return loaded


def checkpoint_config(checkpoint: dict[str, Any], *, source: Path) -> dict[str, Any]:
    """The resolved recipe that a checkpoint carries.

    Raises:
        ModelFileError: the checkpoint carries none.
    """
    text = checkpoint.get("canthus_config")
    if not isinstance(text, str):
        raise ModelFileError(f"{source}: carries no recipe, so the network cannot be rebuilt from it")
    config: dict[str, Any] = json.loads(text)
    return config


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The network's own weights: the averaged ones where the run kept an average."""
    prefix = "network."
    state = checkpoint["state_dict"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
