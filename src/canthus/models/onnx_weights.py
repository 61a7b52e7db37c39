"""Go on training where only the exported file is left: weights of an ONNX model back into its network.

An export merges every batch norm into the convolution before it.  To train on, the norms are needed again: their
statistics are measured on pictures, and their scale and shift are set so that the network computes what the file does.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.errors import ModelFileError
from canthus.lookup import require

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
