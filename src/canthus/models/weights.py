"""Load the weights of a network from a local file: a state dict of torch, or its own ONNX export."""

import functools
import hashlib
import io
import itertools
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.errors import ModelFileError
from canthus.evaluation.onnx_counts import CENTRED, read_graph
from canthus.files import write_bytes
from canthus.lookup import require
from canthus.models.output import evaluating, hooked
from canthus.runtime.onnx_checks import check_onnx
from canthus.runtime.sessions import read_model

FEW = 6
"""Number of names of one kind that a report prints."""

LEAST_VARIANCE = 1e-8
"""Lower bound of a batch norm's variance, for channels that are constant."""

DEAD_VARIANCE = 1e-12
"""Running variance below which a channel did not vary for hundreds of steps; batch norms add 1e-5 to it."""

BATCH = 64
"""Pictures in one run while statistics of batch norms are measured."""

_END, _END_SIZE = b"PK\x05\x06", 22
"""Last record of a file of ``torch.save``, which is a zip archive; it ends with the length of a comment."""
_DIGEST = b"canthus sha256 "
_COMMENT_SIZE = len(_DIGEST) + 64


def write_weights_file(path: Path, entries: Mapping[str, Any]) -> None:
    """Write a file as ``torch.save`` does, whole or not at all, with a SHA-256 of its bytes as the archive's comment.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(entries), buffer)
    body = buffer.getvalue()[:-2] + struct.pack("<H", _COMMENT_SIZE)
    write_bytes(path, body + _comment(body))


def _comment(body: bytes | memoryview) -> bytes:
    return _DIGEST + hashlib.sha256(body).hexdigest().encode()


def _check_digest(path: Path, data: bytes) -> None:
    """Compare the bytes with their SHA-256 where the file has one; files of torch and of earlier versions have none.

    Raises:
        ModelFileError: they differ.
    """
    end = len(data) - _COMMENT_SIZE
    has_digest = data[max(0, end - _END_SIZE) :].startswith(_END)
    if has_digest and data[end:] != _comment(memoryview(data)[:end]):
        raise ModelFileError(f"{path}: is damaged: its bytes do not match their SHA-256; use another checkpoint")


def read_weights_file(path: Path) -> dict[str, Any]:
    """Read a file of ``torch.save`` as plain data; nothing in it is executed.

    Raises:
        ModelFileError: the file is missing, damaged, contains more than plain data, or is no dictionary.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: there is no such file of weights")
    try:
        data = path.read_bytes()
        _check_digest(path, data)
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except ModelFileError:
        raise
    except Exception as error:  # torch raises many types
        raise ModelFileError(
            f"{path}: not a file of weights, cut off, or it cannot be read safely ({_reason(error)})"
        ) from error
    if not isinstance(loaded, dict):
        raise ModelFileError(f"{path}: expected a dictionary of tensors, found {type(loaded).__name__}")
    return loaded


def _reason(error: Exception) -> str:
    """What ``torch.load`` says about the file in one line, without its advice to load it unsafely."""
    text = str(error)
    about_file = text.partition("WeightsUnpickler error:")[2] or text
    lines = [line.strip() for line in about_file.splitlines() if line.strip()]
    return lines[0].partition(". ")[0] if lines else type(error).__name__


@final
@dataclass(frozen=True)
class WeightsReport:
    """Which tensors of a network were loaded from a file of weights. Counters of batches are not listed.

    Attributes:
        path: the file.
        part: part of the network that the file fits, such as ``backbone``; empty for the whole network.
        matched: names that were loaded.
        missing: names of the part that the file lacks.
        unexpected: names of the file that the part lacks.
        mismatched: names in both with different shapes: (the file's shape, the part's shape).
    """

    path: Path
    part: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def left(self) -> list[str]:
        """Names of the part that were not loaded."""
        return [*self.missing, *self.mismatched]

    def __str__(self) -> str:
        """The report in one line."""
        of = f" of the {self.part}" if self.part else ""
        text = f"{self.path}: {len(self.matched)} of {len(self.matched) + len(self.left)} tensors{of} taken"
        shapes = [f"{name} {_shape(theirs)} -> {_shape(own)}" for name, (theirs, own) in self.mismatched.items()]
        kinds = {
            "missing in the file": self.missing,
            "unused": self.unexpected,
            "of another shape, so random at the start": shapes,
        }
        return "; ".join([text, *(f"{kind}: {_few(names)}" for kind, names in kinds.items() if names)])


def load_weights(network: nn.Module, path: Path) -> WeightsReport:
    """Load from a file every tensor that has the name and the shape of a tensor of the network.

    The file is a state dict saved by torch, or has one under ``state_dict``. If more of its names fit the network's
    ``backbone`` than the network, it is loaded into the backbone. Last layers usually have another shape and keep their
    weights.

    Raises:
        ModelFileError: the file cannot be read, or no weight in it fits.
    """
    loaded = read_weights_file(path)
    state = loaded.get("state_dict", loaded)
    if not isinstance(state, dict):
        raise ModelFileError(f"{path}: expected a dictionary under 'state_dict', found {type(state).__name__}")
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    parts = {"": network} | {name: child for name, child in network.named_children() if name == "backbone"}
    name = max(parts, key=lambda name: len(tensors.keys() & parts[name].state_dict().keys()))
    own = parts[name].state_dict()
    fitting = {key: value for key, value in tensors.items() if key in own and value.shape == own[key].shape}
    if not any(value.ndim > 1 for value in fitting.values()):
        raise ModelFileError(f"{path}: none of its {len(state)} entries has the name and shape of a network's weight")
    parts[name].load_state_dict(fitting, strict=False)
    return WeightsReport(
        path=path,
        part=name,
        matched=_listed(fitting),
        missing=_listed(own.keys() - tensors.keys()),
        unexpected=_listed(tensors.keys() - own.keys()),
        mismatched={
            key: (tuple(tensors[key].shape), tuple(own[key].shape))
            for key in own
            if key in tensors and key not in fitting
        },
    )


def _listed(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if not name.endswith("num_batches_tracked")))


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= FEW else f"{', '.join(names[:FEW])} and {len(names) - FEW} more"


def counts_points(theirs: Sequence[int], own: Sequence[int], *, before: int, points: int) -> bool:
    """Whether two shapes differ in one side alone, which counts the points of a network: ``before`` and ``points``."""
    sides = [(a, b) for a, b in zip(theirs, own, strict=False) if a != b]
    return len(theirs) == len(own) and len(sides) == 1 and sides[0][0] * points == sides[0][1] * before


def load_onnx_weights(
    network: nn.Module, path: Path, images: Float[Tensor, "n 3 s s"], *, before: int = 0, points: int = 0
) -> WeightsReport:
    """Load the weights of a network from its own export.

    An export has no batch norms: they are part of its convolutions. The network gets the convolutions of the file, and
    batch norms whose statistics are measured on pictures and which change nothing. An int8 file gives the rounded
    weights. Heads of expected errors that the file lacks, or whose shape is another, keep their weights, and so does
    the head of another number of points.

    Args:
        network: the network that was exported.
        path: the ONNX file.
        images: pictures as in training, in [0, 1].
        before: number of points of the file; 0 if it must be that of the network.
        points: number of points of the network.

    Returns:
        The tensors that were taken, and those of the head under ``mismatched``.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: not an ONNX file, or the export of another network.
    """
    stored = _stored_weights(path, network)
    norms = {name: norm for name, norm in _norms(network) if f"{name}.bias" in stored}
    skipped = tuple(f"{name}." for name, module in network.named_modules() if module in norms.values())
    matched: list[str] = []
    head: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            found = stored.get(name)
            other_spread = name.startswith("spread.") and (found is None or found.shape != parameter.shape)
            if name.startswith(skipped) or other_spread:
                continue
            if found is not None and counts_points(found.shape, parameter.shape, before=before, points=points):
                head[name] = (tuple(found.shape), tuple(parameter.shape))
                continue
            if found is None or found.shape != parameter.shape:
                raise ModelFileError(
                    f"{path}: is the export of another network: expected {name} of shape {tuple(parameter.shape)}, "
                    f"found {'nothing of that name' if found is None else f'shape {tuple(found.shape)}'}"
                )
            parameter.copy_(found)
            matched.append(name)
        for convolution, norm in norms.items():
            norm.bias.copy_(stored[f"{convolution}.bias"])
            none = torch.zeros(norm.num_features, dtype=torch.float64)
            _set_statistics(norm, none, torch.ones_like(none))
        measured = _statistics(network, norms, images)
        for convolution, norm in norms.items():
            _set_statistics(norm, *measured[convolution])
    return WeightsReport(path, "", _listed(matched), (), (), head)


def _stored_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Weights and biases of an ONNX file by their names in the network."""
    check_onnx(read_model(path), source=str(path))  # all weights in this file
    graph = read_graph(path).graph
    onnx = require("onnx", extra="train")
    arrays = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
    rounded = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    # A first convolution reads the bytes less their zero point, in float or as stored.
    centred = {node.output[0]: arrays.get(node.input[1]) for node in graph.node if node.name == CENTRED}
    centred |= {
        name: arrays.get(node.input[2]) for name, node in rounded.items() if node.input[1] == f"{CENTRED}_scale"
    }
    found: dict[str, Tensor] = {}
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        weight, *bias = (_float(name, arrays, rounded) for name in node.input[1:])
        if weight is None:
            continue
        source = rounded[node.input[1]].input[0] if node.input[1] in rounded else node.input[1]
        name = source.removeprefix("network.").removesuffix("_quantized").removesuffix(".weight")
        found[f"{name}.weight"] = weight
        if bias and bias[0] is not None:
            found[f"{name}.bias"] = bias[0]
        zero = centred.get(node.input[0])
        if zero is not None:
            _divide_bytes(found, name, network, float(zero))
    return found


def _float(name: str, arrays: Mapping[str, Tensor], rounded: Mapping[str, Any]) -> Tensor | None:
    """A stored tensor; one that is stored as whole numbers times its scale, or None if it is computed."""
    if name not in rounded:
        return arrays.get(name)
    numbers, scale, *zero = (arrays.get(part) for part in rounded[name].input)
    if numbers is None or scale is None:
        return None
    sides = (-1, *(1 for _ in numbers.shape[1:]))  # a scale for each output channel, or one for all
    centred = numbers.double()
    if zero and zero[0] is not None:
        centred = centred - zero[0].double().reshape(sides)
    return (centred * scale.double().reshape(sides)).float()


def _divide_bytes(found: dict[str, Tensor], name: str, network: nn.Module, zero: float) -> None:
    """Let a first convolution for bytes take the normalized picture again, in place, see ``byte_input``."""
    normalize = getattr(network, "normalize", nn.Identity())
    black, white = (normalize(torch.full((3, 1, 1), value)).double() for value in (0.0, 1.0))
    slope = (white - black) / 255
    own = found[f"{name}.weight"].double() / slope
    shift = torch.einsum("oihw,i->o", own, (slope * zero + black).reshape(-1))
    found[f"{name}.weight"] = own.float()
    found[f"{name}.bias"] = (found[f"{name}.bias"].double() - shift).float()


def without_dead_channels(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with which batch norms give the constant of channels that no longer varied in training.

    Such a channel has a running variance of almost 0, so that its norm would multiply by 300 what an unusual picture
    wakes in it, and nothing in training has limited that.  On pictures like those of the training nothing changes.

    Args:
        weights: names and values of a network's state dict.
    """
    found = dict(weights)
    for name, variance in weights.items():
        scale = name.removesuffix("running_var") + "weight"
        if name.endswith(".running_var") and scale in weights:
            found[scale] = torch.where(variance < DEAD_VARIANCE, torch.zeros_like(weights[scale]), weights[scale])
    return found


def _norms(network: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Name of each convolution, and the batch norm that is listed right after it."""
    for name, module in network.named_modules():
        for (first, convolution), (_, norm) in itertools.pairwise(module.named_children()):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield f"{name}.{first}".removeprefix("."), norm


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Set the statistics of a norm that adds its bias and change its parameters so that it still does only that."""
    variance = variance.clamp(min=LEAST_VARIANCE)
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.add_(mean)


def _statistics(
    network: nn.Module, names: Iterable[str], images: Float[Tensor, "n 3 s s"]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of each output channel of convolutions."""
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    squares: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    counts = Counter[str]()

    def add(name: str, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        values = output.double()
        sums[name] = sums[name] + values.sum(dim=(0, 2, 3))
        squares[name] = squares[name] + values.square().sum(dim=(0, 2, 3))
        counts[name] += output.numel() // output.shape[1]

    hooks = [(network.get_submodule(name).register_forward_hook, functools.partial(add, name)) for name in names]
    with evaluating(network), hooked(hooks):
        for part in images.split(BATCH):
            network(part)
    means = {name: sums[name] / count for name, count in counts.items()}
    variances = {name: squares[name] / count - means[name].square() for name, count in counts.items()}
    return {name: (mean.float(), variances[name].float()) for name, mean in means.items()}
