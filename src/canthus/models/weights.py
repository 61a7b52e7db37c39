"""Start a network from a local file: weights of torch, or of its own ONNX export."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.errors import ModelFileError
from canthus.lookup import require

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


LEAST_VARIANCE = 1e-8
"""Of a channel that is always the same; its norm keeps some scale."""
BATCH = 64


def load_onnx_weights(network: nn.Module, path: Path, images: Float[Tensor, "n 3 s s"]) -> None:
    """Fill a network from its own export; heads of the spread that the file lacks stay as they are.

    Args:
        network: the network that the file was made of.
        path: the ONNX file.
        images: pictures as in training, in [0, 1]; the statistics of the batch norms are measured on them.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: no ONNX file, or the export of another network.
    """
    merged = _merged_weights(path)
    norms = dict(_norms(network))
    own = {name: p for name, p in network.named_parameters() if not name.startswith("spread.")}
    with torch.no_grad():
        for name, parameter in own.items():
            owner = name.rpartition(".")[0]
            if owner in norms.values():
                continue  # set below, from what the convolution before it carries
            stored = merged.get(name)
            if stored is None or stored.shape != parameter.shape:
                found = "nothing of that name" if stored is None else f"shape {tuple(stored.shape)}"
                raise ModelFileError(
                    f"{path}: is the export of another network: expected {name} of shape {tuple(parameter.shape)}, "
                    f"found {found}"
                )
            parameter.copy_(stored)
        for convolution, norm in norms.items():
            _set_plain(_module(network, norm), merged[f"{convolution}.bias"])
        means, variances = _statistics(network, norms, images)
        for convolution, norm in norms.items():
            _set_statistics(_module(network, norm), means[convolution], variances[convolution])


def _merged_weights(path: Path) -> dict[str, Tensor]:
    """Weights and biases of the file by the names that the network gives them."""
    onnx = require("onnx", extra="train")
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf raises what the damaged byte leads to
        raise ModelFileError(f"{path}: is no ONNX file ({error})") from error
    arrays = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in arrays:
            name = node.input[1].removeprefix("network.")
            found[name] = arrays[node.input[1]]
            if len(node.input) > 2:
                found[f"{name.removesuffix('.weight')}.bias"] = arrays[node.input[2]]
    return found


def _norms(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of each convolution and of the batch norm right after it."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            children = list(module.named_children())
            for (first, convolution), (second, norm) in itertools.pairwise(children):
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    prefix = f"{name}." if name else ""
                    yield prefix + first, prefix + second


def _module(network: nn.Module, name: str) -> nn.BatchNorm2d:
    module = network.get_submodule(name)
    if not isinstance(module, nn.BatchNorm2d):
        raise TypeError(f"{name} is {type(module).__name__}, not a batch norm")
    return module


def _set_plain(norm: nn.BatchNorm2d, bias: Tensor) -> None:
    """Make the norm add the bias and do nothing else."""
    mean, variance = _buffers(norm)
    mean.zero_()
    variance.fill_(1.0)
    norm.weight.fill_((1.0 + norm.eps) ** 0.5)
    norm.bias.copy_(bias)


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Give the norm its statistics without changing what it computes."""
    own_mean, own_variance = _buffers(norm)
    variance = variance.clamp(min=LEAST_VARIANCE)
    own_mean.copy_(mean)
    own_variance.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.add_(mean)


def _buffers(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("The batch norm keeps no statistics")
    return norm.running_mean, norm.running_var


def _statistics(
    network: nn.Module, norms: dict[str, str], images: Float[Tensor, "n 3 s s"]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and variance of each channel behind every convolution."""
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def listen(name: str) -> torch.utils.hooks.RemovableHandle:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            values = output.double()
            sums[name] = sums.get(name, torch.zeros(())) + values.sum(dim=(0, 2, 3))
            squares[name] = squares.get(name, torch.zeros(())) + values.square().sum(dim=(0, 2, 3))
            counts[name] = counts.get(name, 0) + output.numel() // output.shape[1]

        return network.get_submodule(name).register_forward_hook(add)

    handles = [listen(name) for name in norms]
    training = network.training
    network.eval()
    for part in images.split(BATCH):
        network(part)
    network.train(training)
    for handle in handles:
        handle.remove()
    means = {name: (sums[name] / counts[name]) for name in norms}
    variances = {name: (squares[name] / counts[name] - means[name].square()) for name in norms}
    return {n: m.float() for n, m in means.items()}, {n: v.float() for n, v in variances.items()}
