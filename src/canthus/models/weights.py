"""Start a network from a local file of weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from canthus.errors import ModelFileError

FEW = 6
"""Names of one kind that a report prints."""


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


@final
@dataclass(frozen=True)
class WeightsReport:
    """What a file of weights had for a network.

    Attributes:
        path: the file.
        part: part of the network that has the file's names, such as ``backbone``; empty for the network itself.
        matched: names of the part that the file filled.
        missing: names of the part that the file does not have; counters of batches aside.
        unexpected: names of the file that the part does not have; counters of batches aside.
        mismatched: names of both whose shapes differ, with the file's shape and the part's.
    """

    path: Path
    part: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def left(self) -> list[str]:
        """Names of the part that stay as they were."""
        return [*self.missing, *self.mismatched]

    def __str__(self) -> str:
        """One line for people."""
        of = f" of the {self.part}" if self.part else ""
        text = f"{self.path}: {len(self.matched)} of {len(self.matched) + len(self.left)} tensors{of} taken"
        shapes = [f"{name} {_shape(theirs)} -> {_shape(own)}" for name, (theirs, own) in self.mismatched.items()]
        kinds = {"missing in the file": self.missing, "unused": self.unexpected, "of another shape": shapes}
        return "; ".join([text, *(f"{kind}: {_few(names)}" for kind, names in kinds.items() if names)])


def load_weights(network: nn.Module, path: Path) -> WeightsReport:
    """Take from a file every tensor that has the name and the shape of one of the network's.

    The file is a state dict as torch saves it, or holds one under ``state_dict``; it is read as plain data.  A network
    with a ``backbone`` may take it there, by the names that the backbone alone has.  Last layers usually have another
    shape and stay as they are.

    Raises:
        ModelFileError: not a file of weights, or nothing in it fits.
    """
    loaded = read_weights_file(path)
    state = loaded.get("state_dict", loaded)
    if not isinstance(state, dict):
        raise ModelFileError(f"{path}: expected names with tensors under 'state_dict', found {type(state).__name__}")
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    parts = {"": network} | {name: child for name, child in network.named_children() if name == "backbone"}
    name = max(parts, key=lambda name: len(tensors.keys() & parts[name].state_dict().keys()))
    own = parts[name].state_dict()
    fitting = {key: value for key, value in tensors.items() if key in own and value.shape == own[key].shape}
    if not any(value.ndim > 1 for value in fitting.values()):
        raise ModelFileError(f"{path}: none of its {len(state)} entries has name and shape of a weight of this network")
    parts[name].load_state_dict(fitting, strict=False)
    return WeightsReport(
        path=path,
        part=name,
        matched=_telling(fitting),
        missing=_telling(own.keys() - tensors.keys()),
        unexpected=_telling(tensors.keys() - own.keys()),
        mismatched={
            key: (tuple(tensors[key].shape), tuple(own[key].shape))
            for key in own
            if key in tensors and key not in fitting
        },
    )


def _telling(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if not name.endswith("num_batches_tracked")))


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= FEW else f"{', '.join(names[:FEW])} and {len(names) - FEW} more"
