"""Landmark models of others as files of canthus: operators around the network, and a card.

The network stays as it is.  In front of it, bytes become what it was trained on; behind it, its answer becomes points
in the unit frame of the crop.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, ModelFileError, printable
from canthus.evaluation.onnx_counts import count_graph
from canthus.export.onnx_core import finished_model
from canthus.files import written
from canthus.lookup import lookup, require
from canthus.runtime.cards import ModelCard
from canthus.runtime.onnx_checks import check_onnx
from canthus.runtime.sessions import BoundedSession, LandmarkSession, read_model
from canthus.schemes import Scheme, find_scheme, own_scheme

LAYOUTS = ("nchw", "nhwc", "ncwh", "nwhc")
"""Order of the sides of the input; ``ncwh`` and ``nwhc`` are those of networks that were trained in MATLAB."""
COLOURS = ("rgb", "bgr")
RANGES = {"0..255": (0.0, 1.0), "0..1": (0.0, 255.0), "-1..1": (127.5, 127.5)}
"""Range of the input -> mean and divisor of pixels of 0 to 255."""
UNITS = ("pixels", "0..1", "-1..1")
ORIGINS = ("centre", "corner")
ORDERS = ("pairs", "planes")
NEIGHBOURS = 2
"""Cells on each side of the peak of a heatmap whose mean, weighted by their values, is the point."""
SMALLEST_MAP = 4
"""Least height and width of a heatmap."""
OLDEST_OPSET = 7
"""Since this version of the operators arithmetic works on shapes of different rank."""
COMPARED = 4
"""Drawn faces on which the file is compared with the foreign one."""
MOST_PX = 0.01
"""Largest difference between the two, in pixels of the crop."""


@final
@dataclass(frozen=True)
class Adoption:
    """What a foreign landmark model takes and gives.

    Attributes:
        scheme: name of the scheme, or path of a scheme file.
        margin: side of the crop in units of the longer side of the face box.
        layout: one of ``LAYOUTS``.
        range: key of ``RANGES``, or ``MEAN/DEVIATION`` of pixels of 0 to 255: one number each, or three with commas in
            the order of ``colour``.
        colour: ``rgb`` or ``bgr``.
        output: name of the output with the points; empty if there is only one.
        units: of coordinates: ``pixels`` of the input, ``0..1`` or ``-1..1`` from edge to edge.
        origin: what is zero in pixels (or the lower end of the units): the ``centre`` of the first pixel, or the outer
            ``corner`` of the picture; empty for the centre with ``pixels`` and the corner otherwise.
        order: ``pairs`` where x and y of a point stand together, ``planes`` where all x come first, then all y.
        size: side of the square input; 0 to read it from the file.
        name: of the model; empty for the name of the written file.
        licence: terms of the weights.
    """

    scheme: str
    margin: float
    layout: str = "nchw"
    range: str = "0..1"
    colour: str = "rgb"
    output: str = ""
    units: str = "pixels"
    origin: str = ""
    order: str = "pairs"
    size: int = 0
    name: str = ""
    licence: str = "not stated: a model of others; see the terms of its maker"

    def __post_init__(self) -> None:
        known = {"layout": LAYOUTS, "colour": COLOURS, "units": UNITS, "origin": ("", *ORIGINS), "order": ORDERS}
        for field, values in known.items():
            lookup(dict.fromkeys(values), getattr(self, field), kind=field)
        self.scaling()

    def scaling(self) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
        """Factor and summand of pixels of 0 to 255, in the order of the network's colours.

        Raises:
            ConfigError: the range cannot be read.
        """
        mean, deviation = (np.full(3, number) for number in RANGES.get(self.range, (0.0, 1.0)))
        if self.range not in RANGES:
            parts = [_numbers(part) for part in self.range.split("/")]
            if len(parts) != 2 or not all(len(part) in (1, 3) for part in parts) or 0 in parts[1]:
                raise ConfigError(
                    f"Cannot read --range {self.range!r}; expected {', '.join(RANGES)}, or MEAN/DEVIATION of pixels of "
                    "0 to 255, such as 127.5/128 or 123.7,116.3,103.5/58.4,57.1,57.4"
                )
            mean, deviation = (np.broadcast_to(part, 3).astype(float) for part in parts)
        return 1 / deviation, -mean / deviation

    def placing(self, size: int) -> tuple[float, float]:
        """Factor and summand that turn coordinates of the output into the unit frame."""
        factor, summand = {"pixels": (1 / size, 0.0), "0..1": (1.0, 0.0), "-1..1": (0.5, 0.5)}[self.units]
        origin = self.origin or ("centre" if self.units == "pixels" else "corner")
        return factor, summand + (0.5 / size if origin == "centre" else 0.0)


def _numbers(text: str) -> list[float]:
    try:
        found = [float(number) for number in text.split(",")]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []


@final
@dataclass(frozen=True)
class AdoptReport:
    """A model of others as a file of canthus.

    Attributes:
        output: name and shape of the output that was read, and what it was taken for.
        one_by_one: whether the network takes one crop in a run only.
        difference_px: largest difference from the foreign file on drawn faces, prepared and read outside of the file.
    """

    path: Path
    card: ModelCard
    output: str
    one_by_one: bool
    difference_px: float

    def describe(self) -> list[str]:
        """Lines of text."""
        card = self.card
        megabytes = self.path.stat().st_size / 1e6
        lines = [
            f"{self.path}: {megabytes:.2f} MB, {card.scheme}, {card.size} x {card.size} pixels, margin {card.margin:g}",
            f"output {self.output}",
            f"differs from the given file by at most {self.difference_px:.1e} px on {COMPARED} drawn faces",
        ]
        if self.one_by_one:
            lines.append("the network takes one crop in a run, so that faces of a picture run one after the other")
        return [
            *lines,
            f"next: canthus evaluate --model {self.path} ..., or canthus detect PICTURE --model {self.path}",
        ]


def adopt(source: Path, path: Path, how: Adoption) -> AdoptReport:
    """Write a foreign ONNX landmark model as a file of canthus.

    The output may be ``(n, 2k)`` or ``(n, k, 2)``: x and y of each point; ``(n, 3k)`` or ``(n, k, 3)``: the third
    number is left out; further sides of 1 do not matter; or heatmaps ``(n, k, h, w)`` or ``(n, h, w, k)``.

    Args:
        source: the foreign file, which must pass ``onnx_checks.check_onnx``.
        path: file to write.

    Raises:
        ConfigError: the file has another input, output or number of points than ``how`` says.
        MissingExtraError: onnx is not installed.
        ModelFileError: the file is refused, or the written model does not give the points of the foreign one.
        OutputError: the file cannot be written.
    """
    onnx = require("onnx", extra="train")
    scheme = find_scheme(how.scheme)
    data = read_model(source)
    check_onnx(data, source=str(source))
    model = onnx.load_from_string(data)
    foreign = _Foreign(model, how, scheme, source=str(source))
    answer = foreign.example()
    card = ModelCard(
        name=how.name or printable(path.stem),
        architecture="foreign",
        scheme=scheme.name,
        own_scheme=own_scheme(scheme),
        size=foreign.size,
        margin=how.margin,
        training_data=("not stated",),
        licence=how.licence,
        recipe=f"canthus models adopt {printable(source.name)}, SHA-256 {hashlib.sha256(data).hexdigest()}",
    )
    content, one_by_one = _wrapped(foreign, answer.shape, card)
    session = LandmarkSession(content, source=path.name)
    rng = np.random.default_rng(0)
    drawn = [draw_face(rng, size=max(32, foreign.size)).image[: foreign.size, : foreign.size] for _ in range(COMPARED)]
    expected = np.concatenate([foreign.points(image[None]) for image in drawn]) * foreign.size - 0.5
    difference = float(np.abs(session(np.stack(drawn)) - expected).max())
    if not difference <= MOST_PX:
        raise ModelFileError(
            f"{source}: the written model differs from it by {difference:.2g} px on drawn faces; {MOST_PX:g} is "
            "allowed. Nothing was written"
        )
    with written(path) as unfinished:
        unfinished.write_bytes(content)
        count = count_graph(unfinished, {"image": np.zeros((1, card.size, card.size, 3), np.uint8)})
        counted = replace(card, parameters=count.parameters, multiply_adds=count.multiply_adds)
        unfinished.write_bytes(finished_model(onnx.load_from_string(content), counted))
    return AdoptReport(path, counted, foreign.described(answer.shape), one_by_one, difference)


@final
class _Foreign:
    """A foreign model: its input, its output, and its points as a program outside of the file finds them."""

    def __init__(self, model: Any, how: Adoption, scheme: Scheme, *, source: str) -> None:
        self.model, self.how, self.scheme, self.source = model, how, scheme, source
        self._session = BoundedSession(model.SerializeToString(), source=source, threads=1)
        self._check_opset()
        self.input, self.kind, self.size = self._input()
        self.output = self._output()

    def example(self) -> np.ndarray:
        """The answer for one grey crop."""
        return self._run(np.full((1, self.size, self.size, 3), 128, np.uint8))

    def points(self, image: np.ndarray) -> np.ndarray:
        """Points of one RGB crop in the unit frame."""
        answer = self._run(image).astype(np.float64)
        if maps := self.maps(answer.shape):
            maps_first = answer if maps == "nchw" else answer.transpose(0, 3, 1, 2)
            return np.stack([_peak(heat) for heat in maps_first[0]])[None]
        factor, summand = self.how.placing(self.size)
        if self.how.order == "planes":
            answer = answer.reshape(1, -1, self.scheme.count).transpose(0, 2, 1)
        return answer.reshape(1, self.scheme.count, -1)[..., :2] * factor + summand

    def maps(self, shape: Sequence[int]) -> str:
        """``nchw`` or ``nhwc`` if the output has heatmaps, else empty."""
        if len(shape) != 4 or min(shape[1:3]) < 1:
            return ""
        if shape[1] == self.scheme.count and min(shape[2:]) >= SMALLEST_MAP:
            return "nchw"
        return "nhwc" if shape[3] == self.scheme.count and min(shape[1:3]) >= SMALLEST_MAP else ""

    def numbers(self, shape: Sequence[int]) -> int:
        """Numbers of one point, 2 or 3.

        Raises:
            ConfigError: the output holds another number of points than the scheme has.
        """
        each, count = math.prod(shape[1:]), self.scheme.count
        if shape[0] == 1 and each in (2 * count, 3 * count):
            return each // count
        raise ConfigError(
            f"{self.source}: its output {self.output!r} has the shape {list(shape)} for one crop; {self.scheme.name} "
            f"has {count} points, so {2 * count} or {3 * count} numbers or {count} heatmaps were expected. Name "
            "another --scheme or --output"
        )

    def described(self, shape: Sequence[int]) -> str:
        """The output and what it is taken for, in words."""
        what = f"heatmaps ({self.maps(shape)})" if self.maps(shape) else "x and y"
        if not self.maps(shape):
            third = ", the third number left out" if self.numbers(shape) == 3 else ""
            what = f"{what} in {self.how.units} of the input{third}"
        return f"{printable(self.output)} {list(shape)}: {what}"

    def _run(self, image: np.ndarray) -> np.ndarray:
        factor, summand = self.how.scaling()
        ordered = image if self.how.colour == "rgb" else image[..., ::-1]
        values = ordered * factor + summand
        values = values.transpose(self.axes)
        return self._session.run([self.output], {self.input: np.ascontiguousarray(values, self.kind)})[0]

    @property
    def axes(self) -> list[int]:
        """Axes of pictures ``nhwc`` in the order of the input."""
        return ["nhwc".index(side) for side in self.how.layout]

    def _check_opset(self) -> None:
        found = [entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")]
        if not found or found[0] < OLDEST_OPSET:
            raise ModelFileError(
                f"{self.source}: uses operators of version {found[0] if found else 'unknown'}; expected {OLDEST_OPSET} "
                "or later. Export the model again with a newer version"
            )

    def _input(self) -> tuple[str, str, int]:
        """Name, type and side of the input."""
        inputs = self._session.inputs
        shown = ", ".join(f"{printable(value.name)} {value.type} {value.shape}" for value in inputs)
        kinds = {"tensor(float)": "float32", "tensor(float16)": "float16"}
        if len(inputs) != 1 or inputs[0].type not in kinds or len(inputs[0].shape) != 4:
            raise ConfigError(f"{self.source}: expected one input of floats with four sides; found {shown}")
        count, *sides = inputs[0].shape
        channels = sides.pop(self.how.layout.index("c") - 1)
        known = {side for side in sides if isinstance(side, int)} | ({self.how.size} if self.how.size else set())
        if (isinstance(channels, int) and channels != 3) or len(known) > 1 or (isinstance(count, int) and count != 1):
            raise ConfigError(
                f"{self.source}: expected an input of one or any number of square crops with three colours, "
                f"{self.how.layout}" + (f", of {self.how.size} pixels" if self.how.size else "") + f"; found {shown}"
            )
        if not known:
            raise ConfigError(f"{self.source}: leaves the sides of its input open ({shown}); give one with --size")
        return str(inputs[0].name), kinds[inputs[0].type], int(known.pop())

    def _output(self) -> str:
        names = [str(value.name) for value in self._session.outputs]
        if not self.how.output and len(names) == 1:
            return names[0]
        shown = ", ".join(f"{printable(value.name)} {value.shape}" for value in self._session.outputs)
        if not self.how.output:
            raise ConfigError(f"{self.source}: has several outputs; name that of the points with --output: {shown}")
        if self.how.output not in names:
            raise ConfigError(f"{self.source}: has no output {self.how.output!r}; outputs: {shown}")
        return self.how.output


def _peak(heat: np.ndarray) -> np.ndarray:
    """Place of the peak of a heatmap in the unit frame, see ``NEIGHBOURS``."""
    y, x = np.unravel_index(np.argmax(heat), heat.shape)
    rows, columns = np.indices(heat.shape)
    near = (abs(rows - y) <= NEIGHBOURS) & (abs(columns - x) <= NEIGHBOURS)
    weights = near * (np.maximum(heat, 0) + _LEAST)
    sums = np.array([(weights * columns).sum(), (weights * rows).sum()])
    return np.asarray((sums / weights.sum() + 0.5) / (heat.shape[1], heat.shape[0]))


_LEAST = 1e-6
"""Added to the values about a peak, so that their sum is never zero."""


def _wrapped(foreign: _Foreign, shape: Sequence[int], card: ModelCard) -> tuple[bytes, bool]:
    """The file of canthus, and whether it takes one crop in a run only."""
    contents = []
    for count in ("n", 1):
        graph = _Graph(foreign, count)
        graph.read_points(shape)
        contents.append(finished_model(graph.finished(), card))
    try:
        session = LandmarkSession(contents[0], source=foreign.source)
        images = np.random.default_rng(0).integers(0, 256, (2, card.size, card.size, 3), np.uint8)
        together, alone = session(images), np.concatenate([session(image[None]) for image in images])
        if np.abs(together - alone).max() <= MOST_PX:
            return contents[0], False
    except ModelFileError:
        pass  # such as a network that reshapes to a batch of one
    return contents[1], True


@final
class _Graph:
    """The foreign network between the operators in front of it and behind it."""

    def __init__(self, foreign: _Foreign, count: int | str) -> None:
        onnx = require("onnx", extra="train")
        self._tools, self._foreign, self._count = onnx, foreign, count
        self._model = onnx.compose.add_prefix(foreign.model, "foreign/")
        self._at = f"foreign/{foreign.output}"
        graph = self._model.graph
        del graph.value_info[:], graph.input[:], graph.output[:], self._model.metadata_props[:]
        size, how = foreign.size, foreign.how
        graph.input.append(onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [count, size, size, 3]))
        self._inside = list(graph.node)
        del graph.node[:]
        last = f"foreign/{foreign.input}"
        self._before(last, how)
        graph.node.extend(self._inside)

    def _before(self, last: str, how: Adoption) -> None:
        """Bytes to what the network takes, in the tensor ``last``."""
        factor, summand = how.scaling()
        kind = self._tools.TensorProto.FLOAT
        steps: list[Callable[[], Any]] = [lambda: self._add("Cast", to=kind)]
        if how.colour == "bgr":
            steps.append(lambda: self._add("Gather", np.array([2, 1, 0]), axis=3))
        if (factor != 1).any():
            steps.append(lambda: self._add("Mul", factor.astype(np.float32)))
        if summand.any():
            steps.append(lambda: self._add("Add", summand.astype(np.float32)))
        if how.layout != "nhwc":
            steps.append(lambda: self._add("Transpose", perm=self._foreign.axes))
        if self._foreign.kind == "float16":
            steps.append(lambda: self._add("Cast", to=self._tools.TensorProto.FLOAT16))
        after, self._at = self._at, "image"
        for step in steps:
            step()
        self._model.graph.node[-1].output[0] = last
        self._at = after

    def read_points(self, shape: Sequence[int]) -> None:
        """The output of the network to points ``(n, k, 2)`` in the unit frame."""
        foreign, count = self._foreign, self._foreign.scheme.count
        if foreign.kind == "float16":
            self._add("Cast", to=self._tools.TensorProto.FLOAT)
        if maps := foreign.maps(shape):
            if maps == "nhwc":
                self._add("Transpose", perm=[0, 3, 1, 2])
            self._read_maps(*(shape[2:] if maps == "nchw" else shape[1:3]))
        else:
            numbers, planes = foreign.numbers(shape), foreign.how.order == "planes"
            self._add("Reshape", np.array([-1, numbers, count] if planes else [-1, count, numbers]))
            if planes:
                self._add("Transpose", perm=[0, 2, 1])
            if numbers == 3:
                self._add("Gather", np.array([0, 1]), axis=2)
            factor, summand = foreign.how.placing(foreign.size)
            self._add("Mul", np.array(factor, np.float32))
            self._add("Add", np.array(summand, np.float32))
        self._model.graph.node[-1].output[0] = "points"
        points = self._tools.helper.make_tensor_value_info(
            "points", self._tools.TensorProto.FLOAT, [self._count, count, 2]
        )
        self._model.graph.output.append(points)

    def _read_maps(self, height: int, width: int) -> None:
        """Heatmaps to the mean place of the cells about each peak, see ``_peak``."""
        count = self._foreign.scheme.count
        rows, columns = (grid.reshape(1, 1, -1).astype(np.float32) for grid in np.indices((height, width)))
        self._add("Reshape", np.array([-1, count, height * width]))
        heat = self._at
        self._add("ArgMax", axis=2, keepdims=1)
        place = self._add("Cast", to=self._tools.TensorProto.FLOAT)
        self._add("Div", np.array(width, np.float32))
        row = self._add("Floor")
        start = self._add("Mul", np.array(width, np.float32))
        column = self._add("Sub", at=place, second=start)
        near = []
        for middle, grid in ((row, rows), (column, columns)):
            self._add("Sub", grid, at=middle)
            self._add("Abs")
            near.append(self._add("Less", np.array(NEIGHBOURS + 0.5, np.float32)))
        self._add("And", at=near[0], second=near[1])
        mask = self._add("Cast", to=self._tools.TensorProto.FLOAT)
        self._add("Relu", at=heat)
        self._add("Add", np.array(_LEAST, np.float32))
        weights = self._add("Mul", second=mask)
        places = np.stack([(columns.ravel() + 0.5) / width, (rows.ravel() + 0.5) / height, np.ones(height * width)], 1)
        sums = self._add("MatMul", places.astype(np.float32), at=weights)
        total = self._add("Gather", np.array([2]), at=sums, axis=2)
        self._add("Gather", np.array([0, 1]), at=sums, axis=2)
        self._add("Div", second=total)

    def _add(
        self, operator: str, constant: np.ndarray | None = None, *, at: str = "", second: str = "", **settings: Any
    ) -> str:
        """One operator on the tensor at hand, or on ``at``; return the name of its output, which is then at hand."""
        graph = self._model.graph
        name = f"{operator.lower()}_{len(graph.node)}"
        inputs = [at or self._at, *([second] if second else [])]
        if constant is not None:
            graph.initializer.append(self._tools.numpy_helper.from_array(constant, f"{name}_constant"))
            inputs.append(f"{name}_constant")
        graph.node.append(self._tools.helper.make_node(operator, inputs, [name], name, **settings))
        self._at = name
        return name

    def finished(self) -> Any:
        """The model without operators that nothing reads."""
        graph = self._model.graph
        read, kept = {"points"}, []
        for node in reversed(list(graph.node)):
            if read.intersection(node.output):
                read.update(node.input)
                kept.append(node)
        del graph.node[:]
        graph.node.extend(reversed(kept))
        stored = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend(stored)
        self._model.ir_version = max(self._model.ir_version, 8)
        return self._model
