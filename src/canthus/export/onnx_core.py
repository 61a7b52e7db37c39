"""Networks as plain ONNX: float32 planes of fixed size in, and nothing but the network inside.

The files of canthus take bytes of any number of crops.  Converters to other formats fail on the change from bytes to
floats, on free sides or on operators that compute shapes; the core has none of these.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime
from jaxtyping import Float32, Float64, UInt8

from canthus.errors import ModelFileError, printable
from canthus.evaluation.onnx_counts import widened
from canthus.lookup import require
from canthus.runtime.cards import METADATA_KEY, DetectorCard, ModelCard
from canthus.runtime.sessions import BoundedSession, read_model

PLANES = (0, 3, 1, 2)
"""Axes of a batch of pictures ``(n, h, w, 3)`` in the order of the core's input."""


@final
@dataclass(frozen=True)
class CoreInput:
    """What the core takes: float32 ``(n, 3, h, w)``, each number ``pixel * scale + offset`` of a byte.

    Attributes:
        shape: ``(n, 3, h, w)``.
        colour: order of the planes, ``rgb`` or ``bgr``.
        scale: factor of each plane.
        offset: added to each plane.
    """

    shape: tuple[int, ...]
    colour: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def planes(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n 3 h w"]:
        """RGB pictures as the core takes them."""
        ordered = images if self.colour == "rgb" else images[..., ::-1]
        numbers = ordered * np.array(self.scale) + np.array(self.offset)
        return np.ascontiguousarray(numbers.transpose(PLANES), np.float32)


@final
@dataclass(frozen=True)
class Core:
    """A network in plain ONNX.

    Attributes:
        model: the ``ModelProto``; its input is called ``image``.
        input: what it takes.
        outputs: shape of each output by name.
    """

    model: Any
    input: CoreInput
    outputs: Mapping[str, tuple[int, ...]]

    @property
    def operators(self) -> list[str]:
        """Names of the operators, each once, sorted."""
        return sorted({node.op_type for node in self.model.graph.node})


def core_of(content: bytes, shape: tuple[int, int, int], *, source: str, scaled: bool = False) -> Core:
    """Make the core of a network.

    Args:
        content: ONNX file of canthus, which takes bytes ``(n, h, w, 3)``.
        shape: n, h and w of the core, which are fixed.
        source: the file, for errors.
        scaled: leave the scaling of pixels inside, so that the input is 0 to 255.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: the network does not begin by making floats of its bytes, or does not run at this size.
    """
    onnx = require("onnx", extra="train")
    model = widened(onnx.load_from_string(content))
    count, height, width = shape
    beginning = _Beginning(model.graph, (count, height, width, 3))
    beginning.remove()
    if not beginning.floats:
        raise ModelFileError(f"{source}: does not begin by turning its bytes into floats, so it has no float core")
    if scaled:
        beginning.add_scaling()
    beginning.add_input()
    model = _simplified(model, source=source)
    inside = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    scale, offset = inside if scaled else (beginning.scale.tolist(), beginning.offset.tolist())
    given = CoreInput((count, 3, height, width), beginning.colour, tuple(scale), tuple(offset))
    outputs = {value.name: _sides(value) for value in model.graph.output}
    if any(side < 1 for sides in outputs.values() for side in sides):
        raise ModelFileError(f"{source}: the size of its outputs is not known at a fixed size of its input: {outputs}")
    return Core(model, given, outputs)


def run_file(path: Path) -> Callable[[Float32[np.ndarray, "n 3 h w"]], list[np.ndarray]]:
    """The file of a core in ONNX Runtime, on one thread."""
    session = BoundedSession(read_model(path), source=str(path), threads=1)
    return lambda planes: session.run(None, {"image": planes})


def finished_model(model: Any, card: ModelCard | DetectorCard) -> bytes:
    """Put a card into an ONNX model in memory, check the model, and return the content of its file.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: the model is not valid.
    """
    onnx = require("onnx", extra="train")
    for entry in [e for e in model.metadata_props if e.key == METADATA_KEY]:
        model.metadata_props.remove(entry)
    model.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    model.producer_name = "canthus"
    what = f"{card.scheme} landmarks of one face" if isinstance(card, ModelCard) else "face detector"
    model.doc_string = printable(f"{card.name}: {what}. Licence of the weights: {card.licence}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelFileError(f"{card.name}: the model is not valid ONNX: {error}") from error
    content: bytes = model.SerializeToString()
    return content


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings, log records below errors, and printed text; exporters report steps that no user needs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@final
class _Beginning:
    """The operators between the bytes of a picture and the network: order of axes and colours, type, scaling."""

    def __init__(self, graph: Any, shape: tuple[int, ...]) -> None:
        self._graph, self._shape = graph, shape
        self._tools = require("onnx", extra="train")
        self._at: str = graph.input[0].name
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._stored |= {n.output[0]: a.t for n in graph.node for a in n.attribute if n.op_type == "Constant" and a.t}
        self.axes: tuple[int, ...] = (0, 1, 2, 3)
        self.colour = "rgb"
        self.floats = False
        self.scale: Float64[np.ndarray, " 3"] = np.ones(3)
        self.offset: Float64[np.ndarray, " 3"] = np.zeros(3)

    def remove(self) -> None:
        """Take away all operators whose work the caller, or the core's input, can do."""
        steps: dict[str, Callable[[Any], bool]] = {
            "Transpose": self._transpose, "Cast": self._cast, "Gather": self._colours, "Identity": lambda node: True,
            "Mul": self._arithmetic, "Div": self._arithmetic, "Add": self._arithmetic, "Sub": self._arithmetic,
        }  # fmt: skip
        while True:
            readers = [node for node in self._graph.node if self._at in node.input]
            for node in readers:
                if node.op_type == "Shape":
                    self._fix_shape(node)
            rest = [node for node in readers if node.op_type != "Shape"]
            if len(rest) != 1 or rest[0].op_type not in steps or not steps[rest[0].op_type](rest[0]):
                return
            self._at = rest[0].output[0]
            self._graph.node.remove(rest[0])

    def add_scaling(self) -> None:
        """Put the scaling back in front of the network, as one product and one sum."""
        for operator, values, idle in (("Add", self.offset, 0), ("Mul", self.scale, 1)):
            if (values != idle).any():
                name = f"{operator.lower()}_of_pixels"
                sides = tuple(3 if axis == 3 else 1 for axis in self.axes)
                tensor = self._tools.numpy_helper.from_array(values.astype(np.float32).reshape(sides), name)
                self._graph.initializer.append(tensor)
                self._insert(operator, f"before_{operator.lower()}", second=[name])

    def add_input(self) -> None:
        """Give the network its input ``image`` of planes."""
        if self.axes != PLANES:
            self._insert("Transpose", "planes", perm=[PLANES.index(axis) for axis in self.axes])
        for node in self._graph.node:
            for place, name in enumerate(node.input):
                if name == self._at:
                    node.input[place] = "image"
        del self._graph.input[:]
        sides = [self._shape[axis] for axis in PLANES]
        self._graph.input.append(
            self._tools.helper.make_tensor_value_info("image", self._tools.TensorProto.FLOAT, sides)
        )

    def _insert(self, operator: str, name: str, *, second: Sequence[str] = (), **attributes: Any) -> None:
        """An operator in front of the network, which reads the tensor ``name``."""
        node = self._tools.helper.make_node(operator, [name, *second], [self._at], f"{name}_node", **attributes)
        self._graph.node.insert(0, node)
        self._at = name

    def _fix_shape(self, node: Any) -> None:
        """Replace an operator ``Shape`` by the sides, which are known."""
        first, last = (_attribute(node, name, default) for name, default in (("start", 0), ("end", 4)))
        sides = np.array([self._shape[axis] for axis in self.axes][first:last], np.int64)
        name = node.output[0]
        self._graph.node.remove(node)
        self._graph.initializer.append(self._tools.numpy_helper.from_array(sides, name))

    def _transpose(self, node: Any) -> bool:
        order = _attribute(node, "perm", (3, 2, 1, 0))
        self.axes = tuple(self.axes[axis] for axis in order)
        return True

    def _cast(self, node: Any) -> bool:
        found: bool = _attribute(node, "to", 0) == self._tools.TensorProto.FLOAT
        self.floats |= found  # a network of 16 bits casts again, which stays inside
        return found

    def _colours(self, node: Any) -> bool:
        chosen = self._number(node.input[1])
        if chosen is None or self.axes[_attribute(node, "axis", 0)] != 3 or chosen.tolist() != [2, 1, 0]:
            return False
        self.colour = "bgr" if self.colour == "rgb" else "rgb"
        self.scale, self.offset = self.scale[::-1], self.offset[::-1]
        return True

    def _arithmetic(self, node: Any) -> bool:
        """Whether the operator joins each plane with one number, which then becomes part of the scaling."""
        place = 0 if node.input[1] == self._at else 1
        number = self._per_plane(self._number(node.input[place]))
        if number is None or not self.floats or (node.op_type == "Div" and place == 0):
            return False
        if node.op_type in ("Mul", "Div"):
            factor = number if node.op_type == "Mul" else 1 / number
            self.scale, self.offset = self.scale * factor, self.offset * factor
        elif node.op_type == "Add":
            self.offset = self.offset + number
        else:
            sign = 1.0 if place == 1 else -1.0
            self.scale, self.offset = sign * self.scale, sign * (self.offset - number)
        return True

    def _number(self, name: str) -> np.ndarray | None:
        tensor = self._stored.get(name)
        return None if tensor is None else np.asarray(self._tools.numpy_helper.to_array(tensor))

    def _per_plane(self, values: np.ndarray | None) -> Float64[np.ndarray, " 3"] | None:
        if values is None or values.size not in (1, 3):
            return None
        if values.size == 3:
            sides = (1,) * (4 - values.ndim) + values.shape
            if len(sides) != 4 or sides[self.axes.index(3)] != 3:
                return None
        return np.broadcast_to(values.astype(np.float64).ravel(), 3).copy()


def _simplified(model: Any, *, source: str) -> Any:
    """The model with everything computed that does not depend on the picture, and with the shapes of all tensors."""
    onnx = require("onnx", extra="train")
    del model.graph.value_info[:], model.metadata_props[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simplified.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime raises many types
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelFileError(f"{source}: does not run at this size of its input ({reason})") from error
        model = onnx.load(path)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    _name_sides(model, onnx)
    used = {node.domain for node in model.graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(entry)
    model.producer_name = "canthus"
    return model


def _name_sides(model: Any, onnx: Any) -> None:
    """Write the sides that are known into operators ``Reshape``, which may have left one of them open."""
    known = {value.name: _sides(value) for value in (*model.graph.value_info, *model.graph.output)}
    for node in model.graph.node:
        sides = known.get(node.output[0], ())
        if node.op_type == "Reshape" and sides and min(sides) > 0:
            name = f"{node.output[0]}_sides"
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(sides, np.int64), name))
            node.input[1] = name
            del node.attribute[:]
    read = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)


def _sides(value: Any) -> tuple[int, ...]:
    """Sides of a tensor; 0 for those that are not known."""
    return tuple(side.dim_value for side in value.type.tensor_type.shape.dim)


def _attribute(node: Any, name: str, default: Any) -> Any:
    """Value of a whole number, a list of them, or the default."""
    for attribute in node.attribute:
        if attribute.name == name:
            return tuple(attribute.ints) if attribute.ints else attribute.i
    return default
