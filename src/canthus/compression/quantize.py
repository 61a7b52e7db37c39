"""Static int8 quantization: unsigned bytes for activations, signed bytes for weights.

Jacob et al. (2018), "Quantization and Training of Integer-Arithmetic-Only Inference", as ONNX Runtime implements it:
ranges of the activations are measured on real crops, each output channel of a weight has its own scale, and the
operators of the graph stand between pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses.

Weights are rounded as ``rounding`` says.

Differs: operators before the first layer with weights and after the last one stay in float, and so does the output of
the last layer, because a byte divides the crop into 256 positions at most, too few for points.
"""

import copy
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import UInt8

from canthus.compression.byte_input import skip_float, take_bytes
from canthus.compression.rounding import PICTURES, fitted_weights
from canthus.errors import ConfigError, ModelFileError
from canthus.evaluation.onnx_counts import CENTRED
from canthus.export.onnx_core import quiet
from canthus.lookup import lookup, require, unknown_name

METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Method that chooses the range of an activation: all values; all but one in 100 000 at either end; the range that
loses the least information."""

_METHOD_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "percentile": {"symmetric": False, "percentile": 99.999, "num_bins": 2048}
}
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_PRODUCTS = ["Gemm", "MatMul"]
"""Operators whose outputs are rounded only if another quantized operator reads them."""
_HARMLESS = frozenset({"Flatten", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that move or clip numbers, and lose nothing that their neighbours do not lose."""
_AT_ONCE = 16
"""Crops per run while ranges are measured; all activations of a run are in memory."""
_MOST_PIXELS = 200_000
"""Pixels of the crops of a run; larger pictures are run one by one."""
AUTO = "auto"
"""In the place of names of layers: leave those in float that lose most, until the loss is small enough."""
AUTO_MOST = 12
"""Largest number of layers that ``AUTO`` leaves in float."""


@final
@dataclass(frozen=True)
class Layer:
    """One operator that can be quantized."""

    name: str
    operator: str


@final
@dataclass(frozen=True)
class RangedModel:
    """A float network and the ranges of its activations.

    Attributes:
        model: the network, with the shapes of its tensors.
        ranges: of all tensors, in the form of ONNX Runtime.
        layers: the layers that can be quantized, in the order of the graph.
        outside: names of the operators that stay in float: before the first layer with weights and after the last.
        weights: name of a weight -> its values once rounded; without an entry each number is rounded by itself.
    """

    model: Any
    ranges: Any
    layers: tuple[Layer, ...]
    outside: frozenset[str]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def lossy(self) -> tuple[Layer, ...]:
        """The layers whose rounding can add to the error."""
        return tuple(layer for layer in self.layers if layer.operator not in _HARMLESS)


def see_ranges(data: bytes, pictures: Iterable[UInt8[np.ndarray, "h w 3"]], *, method: str = "minmax") -> RangedModel:
    """Run a float network on crops or pictures and measure the range of every activation.

    Args:
        data: content of the ONNX file.
        pictures: crops of a landmark model, or pictures as a detector sees them, like those in use; taken one by one.
        method: key of ``METHODS``.

    Raises:
        ConfigError: unknown method.
        ModelFileError: the network is quantized already, or has no layers to quantize.
        MissingExtraError: onnx is not installed.
    """
    onnx, tools = require("onnx", extra="train"), require("onnxruntime.quantization", extra="train")
    wanted = lookup(METHODS, method, kind="method of calibration")
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, prepared = Path(folder) / "float.onnx", Path(folder) / "prepared.onnx"
        source.write_bytes(data)
        tools.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(str(prepared))
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type}_{number}"
        zero = take_bytes(model)
        onnx.save(model, str(prepared))
        outside = _outside(model)
        layers = tuple(
            Layer(n.name, n.op_type) for n in model.graph.node if n.op_type in _operators() and n.name not in outside
        )
        if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
            raise ModelFileError("The network is quantized already; give the float file that it was made from")
        if not any(layer.operator in _WEIGHTED for layer in layers):
            raise ModelFileError("The network has no convolution or matrix product, so there is nothing to quantize")
        calibrator = tools.create_calibrator(
            prepared,
            list(_operators()),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=getattr(tools.CalibrationMethod, wanted),
            extra_options=dict(_METHOD_OPTIONS.get(method, {})),
        )
        for batch in _batches(pictures):
            calibrator.collect_data(_Reader({model.graph.input[0].name: batch}))
        ranges = calibrator.compute_data()
        if zero is not None:
            ranges[CENTRED] = tools.TensorData(lowest=np.float32(-zero), highest=np.float32(255 - zero))
        return RangedModel(model, ranges, layers, outside)


def fit_rounding(
    ranged: RangedModel,
    pictures: Iterable[UInt8[np.ndarray, "h w 3"]],
    *,
    weight_bits: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RangedModel:
    """The network with weights that are rounded so that the outputs of each layer change least, see ``rounding``.

    Args:
        pictures: as for ``see_ranges``; the first ``rounding.PICTURES`` are used.
        progress: gets the number of weights that are rounded, and of all.
    """
    sample = _batches(islice(pictures, PICTURES))
    with quiet():
        weights = fitted_weights(ranged.model, sample, skip=ranged.outside, weight_bits=weight_bits, progress=progress)
    return replace(ranged, weights=weights)


def quantized(
    ranged: RangedModel, *, keep: Collection[str] = (), only: Collection[str] = (), weight_bits: int = 8
) -> bytes:
    """The int8 network as content of an ONNX file.

    Args:
        keep: names of layers that stay in float.
        only: names of the layers to quantize; empty for all.
        weight_bits: 8, or 7 for processors without VNNI, whose sums of products may saturate.

    Raises:
        ConfigError: another number of bits.
    """
    if weight_bits not in (7, 8):
        raise ConfigError(f"Weights have 7 or 8 bits, found {weight_bits}")
    tools = require("onnxruntime.quantization", extra="train")
    model = copy.deepcopy(ranged.model)
    _put_rounded(model, ranged, lambda name: name not in {*keep, *ranged.outside} and (not only or name in only))
    with quiet():
        quantizer = tools.QDQQuantizer(
            model,
            True,  # a scale for each channel
            weight_bits == 7,
            tools.QuantType.QInt8,
            tools.QuantType.QUInt8,
            ranged.ranges,
            list(only),
            sorted({*keep, *ranged.outside}),
            list(_operators()),
            {"OpTypesToExcludeOutputQuantization": _PRODUCTS},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        skip_float(quantizer.model.model)
    content: bytes = quantizer.model.model.SerializeToString()
    return content


def _put_rounded(model: Any, ranged: RangedModel, is_quantized: Callable[[str], bool]) -> None:
    """Put the rounded weights into the layers that are quantized, in place; what a float layer reads stays exact."""
    from_array = require("onnx.numpy_helper", extra="train").from_array
    exact = {name for node in model.graph.node if not is_quantized(node.name) for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in ranged.weights and tensor.name not in exact:
            tensor.CopyFrom(from_array(ranged.weights[tensor.name], tensor.name))


def named_layers(ranged: RangedModel, entries: Sequence[str]) -> tuple[str, ...]:
    """Names of layers from names, operators such as ``Gemm``, and ``first`` and ``last`` for the layers with weights.

    Raises:
        ConfigError: no layer has that name or operator.
    """
    weighted = [layer.name for layer in ranged.layers if layer.operator in _WEIGHTED]
    known = {layer.name: [layer.name] for layer in ranged.layers}
    for layer in ranged.layers:
        known.setdefault(layer.operator, []).append(layer.name)
    known |= {"first": weighted[:1], "last": weighted[-1:]}
    for entry in entries:
        if entry not in known:
            raise unknown_name(entry, known, kind="layer")
    return tuple(dict.fromkeys(name for entry in entries for name in known[entry]))


def _batches(pictures: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[UInt8[np.ndarray, "n h w 3"]]:
    """Pictures of one size after the other, together as far as they are small."""
    batch: list[np.ndarray] = []
    for picture in pictures:
        pixels = (len(batch) + 1) * picture.shape[0] * picture.shape[1]
        if batch and (picture.shape != batch[0].shape or len(batch) == _AT_ONCE or pixels > _MOST_PIXELS):
            yield np.stack(batch)
            batch = []
        batch.append(picture)
    if batch:
        yield np.stack(batch)


@final
@dataclass(frozen=True)
class Search:
    """The choice of the layers to quantize.

    Attributes:
        ranged: the float network.
        weight_bits: of the weights.
        good_enough: whether an int8 network, given as content of its file, loses little enough.
        harm: how much an int8 network changes the outputs.
        progress: gets the number of layers that were ranked, and of all.
    """

    ranged: RangedModel
    weight_bits: int
    good_enough: Callable[[bytes], bool]
    harm: Callable[[bytes], float]
    progress: Callable[[int, int], None] = lambda done, total: None

    def __call__(self, keep: Sequence[str]) -> tuple[bytes, dict[str, float], tuple[str, ...]]:
        """The int8 network; for ``AUTO`` the harm of each layer alone, largest first; the layers that stay in float.

        Args:
            keep: as for ``named_layers``, or ``AUTO`` alone.

        Raises:
            ConfigError: no layer has that name or operator.
        """
        if tuple(keep) == (AUTO,):
            return self._automatic()
        kept = named_layers(self.ranged, keep)
        return self._made(keep=kept), {}, kept

    def _made(self, **layers: Collection[str]) -> bytes:
        return quantized(self.ranged, weight_bits=self.weight_bits, **layers)

    def _automatic(self) -> tuple[bytes, dict[str, float], tuple[str, ...]]:
        content = self._made()
        if self.good_enough(content):
            return content, {}, ()
        harms = {}
        for done, layer in enumerate(self.ranged.lossy, start=1):
            harms[layer.name] = self.harm(self._made(only=[layer.name]))
            self.progress(done, len(self.ranged.lossy))
        harms = dict(sorted(harms.items(), key=lambda entry: -entry[1]))
        kept: tuple[str, ...] = ()
        for count in range(1, min(AUTO_MOST, len(harms)) + 1):
            kept = tuple(list(harms)[:count])
            content = self._made(keep=kept)
            if self.good_enough(content):
                break
        return content, harms, kept


@final
class _Reader:
    """One batch, in the form that ONNX Runtime reads."""

    def __init__(self, feeds: dict[str, np.ndarray]) -> None:
        self._left = [feeds]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def _operators() -> tuple[str, ...]:
    registry = require("onnxruntime.quantization.registry", extra="train")
    return tuple(sorted({*registry.QLinearOpsRegistry, *registry.QDQRegistry}))


def _outside(model: Any) -> frozenset[str]:
    """Operators with no weights before them or none after them, and convolutions at the end of a network.

    Such a convolution draws heatmaps, whose peaks are the points.
    """
    nodes = list(model.graph.node)
    fed: set[str] = set()
    outside = set()
    for node in nodes:
        if node.op_type in _WEIGHTED or fed.intersection(node.input):
            fed.update(node.output)
        else:
            outside.add(node.name)
    feeding: set[str] = set()
    for node in reversed(nodes):
        leads_on = bool(feeding.intersection(node.output))
        if node.op_type in _WEIGHTED or leads_on:
            feeding.update(node.input)
        if not leads_on and node.op_type not in _PRODUCTS:
            outside.add(node.name)
    return frozenset(outside)
