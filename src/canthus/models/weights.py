"""Start a network from a local file of weights."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from canthus.errors import ModelFileError

_log = logging.getLogger(__name__)


def read_weights_file(path: Path) -> dict[str, Any]:
    """Read what ``torch.save`` wrote, as plain data.

    Raises:
        ModelFileError: no such file, damaged, holding more than plain data, or no dictionary.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file of weights")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged byte leads to
        raise ModelFileError(f"{path}: not a file of weights that can be read safely ({error})") from error
    if not isinstance(loaded, dict):
        raise ModelFileError(f"{path}: expected names with tensors, found {type(loaded).__name__}")
    return loaded


def load_weights(network: nn.Module, path: Path) -> list[str]:
    """Take from a file every tensor that has the name and the shape of one of the network's.

    The file is a state dict as torch saves it, or holds one under ``state_dict``; it is read as plain data.  Last
    layers usually have another shape and stay as they are.

    Returns:
        Names of the network's parameters and buffers that the file does not fill; counters of batches aside.

    Raises:
        ModelFileError: not a file of weights, or nothing in it fits.
    """
    loaded = read_weights_file(path)
    state = loaded.get("state_dict", loaded)
    if not isinstance(state, dict):
        raise ModelFileError(f"{path}: expected names with tensors under 'state_dict', found {type(state).__name__}")
    own = network.state_dict()
    fitting = {
        name: t for name, t in state.items() if isinstance(t, Tensor) and name in own and t.shape == own[name].shape
    }
    if not any(t.ndim > 1 for t in fitting.values()):
        raise ModelFileError(f"{path}: none of its {len(state)} entries has name and shape of a weight of this network")
    network.load_state_dict(fitting, strict=False)
    missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    _log.info("%s: %d of %d tensors taken, left as they were: %s", path, len(fitting), len(own), missing)
    return missing
