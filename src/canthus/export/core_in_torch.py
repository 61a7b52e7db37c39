"""The core of an ONNX file as a torch module, for formats that are made from torch.

The module is built from the graph of the file and not from the network's own class, so that embedded models, pruned
networks and exported files without a checkpoint take the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.errors import ModelFileError
from canthus.export.onnx_core import Core
from canthus.lookup import require

Inputs: TypeAlias = Sequence[Any]
"""Values of the inputs of an operator: tensors, numbers of ``_SETTINGS``, and None for inputs that are left out."""
Settings: TypeAlias = Mapping[str, Any]
"""Attributes of an operator."""


class _Step(NamedTuple):
    """One operator; its inputs are names of tensors, or numbers that are known."""

    operator: str
    inputs: tuple[Any, ...]
    output: str
    settings: Settings


@final
class CoreModule(nn.Module):
    """A core that runs in torch: ``(n, 3, h, w)`` in, the outputs of the file as a tuple out.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: the core has an operator, or a setting of one, that is not built here; the message names it.
    """

    def __init__(self, core: Core) -> None:
        super().__init__()
        onnx = require("onnx", extra="train")
        unknown = sorted({*core.operators} - {*_OPERATORS} - {"Constant"})
        if unknown:
            raise ModelFileError(
                f"The network has operators that are not built in torch: {', '.join(unknown)}; the formats made "
                f"from torch take {', '.join(sorted(_OPERATORS))}. Use --to onnx-core or openvino"
            )
        stored = {tensor.name: tensor for tensor in core.model.graph.initializer}
        stored |= {n.output[0]: n.attribute[0].t for n in core.model.graph.node if n.op_type == "Constant"}
        arrays = {name: np.array(onnx.numpy_helper.to_array(tensor)) for name, tensor in stored.items()}
        self._buffers_by_name = {name: f"constant_{number}" for number, name in enumerate(arrays)}
        for name, place in self._buffers_by_name.items():
            self.register_buffer(place, torch.from_numpy(arrays[name]))
        self._steps = [
            _Step(
                node.op_type,
                tuple(
                    arrays[name].tolist() if place in _SETTINGS.get(node.op_type, ()) and name in arrays else name
                    for place, name in enumerate(node.input)
                ),
                node.output[0],
                {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in core.model.graph.node
            if node.op_type != "Constant"
        ]
        self._outputs = tuple(core.outputs)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the file, in their order."""
        values: dict[str, Any] = {name: getattr(self, place) for name, place in self._buffers_by_name.items()}
        values |= {"image": image, "": None}
        for step in self._steps:
            inputs = [values[entry] if isinstance(entry, str) else entry for entry in step.inputs]
            values[step.output] = _OPERATORS[step.operator](inputs, step.settings)
        return tuple(values[name] for name in self._outputs)


def _padded(image: Tensor, s: Settings, value: float = 0.0) -> tuple[Tensor, list[int]]:
    """The input of a convolution or pooling, and the padding that remains to be done by it."""
    if s.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelFileError(f"The network pads by {s['auto_pad'].decode()}, which is not built in torch")
    top, left, bottom, right = s.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        return image, [top, left]
    return functional.pad(image, (left, right, top, bottom), value=value), [0, 0]


def _convolution(i: Inputs, s: Settings) -> Tensor:
    image, pads = _padded(i[0], s)
    bias = i[2] if len(i) > 2 else None
    strides, dilations = s.get("strides", [1, 1]), s.get("dilations", [1, 1])
    return functional.conv2d(image, i[1], bias, strides, pads, dilations, s.get("group", 1))


def _product(i: Inputs, s: Settings) -> Tensor:
    first, second = (x.t() if s.get(name, 0) else x for x, name in zip(i, ("transA", "transB"), strict=False))
    product: Tensor = s.get("alpha", 1.0) * (first @ second) if s.get("alpha", 1.0) != 1 else first @ second
    return product if len(i) < 3 or i[2] is None else product + s.get("beta", 1.0) * i[2]


def _largest(i: Inputs, s: Settings) -> Tensor:
    image, pads = _padded(i[0], s, -torch.inf)
    return functional.max_pool2d(image, s["kernel_shape"], s.get("strides", [1, 1]), pads, ceil_mode=_ceil(s))


def _average(i: Inputs, s: Settings) -> Tensor:
    image, pads = _padded(i[0], s)
    counted = bool(s.get("count_include_pad", 0))
    strides = s.get("strides", [1, 1])
    pooled = functional.avg_pool2d(image, s["kernel_shape"], strides, pads, _ceil(s), count_include_pad=counted)
    if counted or image is i[0]:
        return pooled
    # Torch counts the zeros that were padded before it; the share of the cells that are pixels takes them out.
    return pooled / _average([torch.ones_like(i[0])], {**s, "count_include_pad": 1})


def _ceil(s: Settings) -> bool:
    return bool(s.get("ceil_mode", 0))


def _resized(i: Inputs, s: Settings) -> Tensor:
    mode, where = s.get("mode", b"nearest"), s.get("coordinate_transformation_mode", b"half_pixel")
    rounding = s.get("nearest_mode", b"round_prefer_floor")
    if len(i) > 3 and i[3]:
        given: dict[str, Any] = {"size": i[3][2:]}
    else:
        given = {"scale_factor": i[2][2:]}
    if (mode, where, rounding) == (b"nearest", b"asymmetric", b"floor"):
        return functional.interpolate(i[0], **given, mode="nearest")
    if (mode, where) == (b"linear", b"half_pixel"):
        return functional.interpolate(i[0], **given, mode="bilinear", align_corners=False)
    raise ModelFileError(
        f"The network resizes by {mode.decode()} of {where.decode()}, which is not built in torch; use another target"
    )


def _flattened(i: Inputs, s: Settings) -> Tensor:
    image: Tensor = i[0]
    axis = s.get("axis", 1)
    axis += image.ndim if axis < 0 else 0
    if axis in (0, image.ndim):
        return image.reshape((1, -1) if axis == 0 else (-1, 1))
    return image.flatten(axis).flatten(0, axis - 1)


def _mean(i: Inputs, s: Settings) -> Tensor:
    axes = i[1] if len(i) > 1 else list(s["axes"])
    mean: Tensor = i[0].mean(dim=axes, keepdim=bool(s.get("keepdims", 1)))
    return mean


def _clipped(i: Inputs, s: Settings) -> Tensor:
    low, high = (*i[1:], None, None)[:2]
    return torch.clamp(i[0], low, high)


def _normalized(i: Inputs, s: Settings) -> Tensor:
    return functional.batch_norm(i[0], i[3], i[4], i[1], i[2], eps=s.get("epsilon", 1e-5))


def _hard_sigmoid(i: Inputs, s: Settings) -> Tensor:
    return torch.clamp(s.get("alpha", 0.2) * i[0] + s.get("beta", 0.5), 0.0, 1.0)


def _place_of_largest(i: Inputs, s: Settings) -> Tensor:
    return torch.argmax(i[0], dim=s.get("axis", 0), keepdim=bool(s.get("keepdims", 1)))


_SETTINGS = {"Clip": (1, 2), "Expand": (1,), "ReduceMean": (1,), "Reshape": (1,), "Resize": (1, 2, 3)}
"""Operator -> inputs that are read as numbers, because torch takes them as settings."""
_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16}
"""Types by their number in ``onnx.proto``."""

_OPERATORS: dict[str, Callable[[Inputs, Settings], Any]] = {
    "Add": lambda i, s: i[0] + i[1],
    "And": lambda i, s: i[0] & i[1],
    "ArgMax": _place_of_largest,
    "AveragePool": _average,
    "BatchNormalization": _normalized,
    "Cast": lambda i, s: i[0].to(_TYPES[s["to"]]),
    "Clip": _clipped,
    "Concat": lambda i, s: torch.cat(list(i), dim=s["axis"]),
    "Conv": _convolution,
    "Div": lambda i, s: i[0] / i[1] if i[0].is_floating_point() else i[0] // i[1],
    "Expand": lambda i, s: i[0] * torch.ones(i[1], dtype=i[0].dtype),
    "Flatten": _flattened,
    "Floor": lambda i, s: torch.floor(i[0]),
    "GatherElements": lambda i, s: torch.gather(i[0], s.get("axis", 0), i[1]),
    "Gemm": _product,
    "GlobalAveragePool": lambda i, s: i[0].mean(dim=[2, 3], keepdim=True),
    "Greater": lambda i, s: i[0] > i[1],
    "HardSigmoid": _hard_sigmoid,
    "Identity": lambda i, s: i[0],
    "LeakyRelu": lambda i, s: functional.leaky_relu(i[0], s.get("alpha", 0.01)),
    "Less": lambda i, s: i[0] < i[1],
    "Log": lambda i, s: torch.log(i[0]),
    "MatMul": lambda i, s: i[0] @ i[1],
    "MaxPool": _largest,
    "Mod": lambda i, s: torch.remainder(i[0], i[1]),
    "Mul": lambda i, s: i[0] * i[1],
    "PRelu": lambda i, s: torch.where(i[0] < 0, i[0] * i[1], i[0]),
    "ReduceMean": _mean,
    "Relu": lambda i, s: functional.relu(i[0]),
    "Reshape": lambda i, s: i[0].reshape(i[1]),
    "Resize": _resized,
    "Sigmoid": lambda i, s: torch.sigmoid(i[0]),
    "Softmax": lambda i, s: torch.softmax(i[0], dim=s.get("axis", -1)),
    "Sub": lambda i, s: i[0] - i[1],
    "Tanh": lambda i, s: torch.tanh(i[0]),
    "Transpose": lambda i, s: i[0].permute(*s["perm"]),
    "Where": lambda i, s: torch.where(i[0], i[1], i[2]),
}
"""Operator -> its result in torch."""
