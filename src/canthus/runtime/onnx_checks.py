"""What an ONNX file may hold, checked on its bytes before ONNX Runtime sees them.

A file from a stranger can name other files of this machine as weights, loop without end, or ask for more memory than
there is.  The walk below reads the protobuf wire format by itself: inference runs without the package ``onnx``, whose
parser builds the whole model in memory first and whose checker has no such bounds.  It copies no weights.

Message and field numbers: ``onnx/onnx.proto``.  Wire format: protobuf.dev/programming-guides/encoding.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeAlias, final

from canthus.errors import ConfigError, ModelFileError
from canthus.plain_data import checked_name

MOST_BYTES = 1 << 30
"""Bytes of the largest file that is read."""
MOST_NODES = 20_000
MOST_FIELDS = 2_000_000
"""Fields of all messages in a file; a node of an ordinary network has ten."""
MOST_CREATED = 1 << 24
"""Numbers of the largest tensor that an operator may make from a shape stored in the file."""
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
"""Domains of the operators that ONNX Runtime has of its own."""

_SHAPED_BY: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1,), "ConstantOfShape": (0,),
    "CropAndResize": (3,), "DFT": (1,), "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1), "OneHot": (1,), "Pad": (1,), "Range": (0, 1, 2), "Resize": (1, 2, 3), "Tile": (1,),
    "Upsample": (1,),
}  # fmt: skip
"""Operator -> inputs that say how large its output is."""
_MULTIPLIED = frozenset({"ConstantOfShape", "Expand", "MaxUnpool", "Resize", "Tile", "Upsample"})
"""Operators of these whose output grows with the product of the numbers; that of the others with the largest."""
_COUNTS_VALUES = frozenset({"Compress", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"})
"""Operators that give as many numbers as the values of their inputs decide."""

_NUMBERS = (4, 5, 6, 7, 9, 10, 11)
"""Fields of a tensor that hold its numbers: float, int32, string, int64, raw, double and uint64."""

_Bytes: TypeAlias = memoryview
_Value: TypeAlias = int | memoryview


@final
class _Malformed(Exception):  # noqa: N818 - never leaves this module
    """The bytes are no protobuf message of an ONNX file."""


@final
@dataclass
class _Node:
    """An operator with the names of its inputs and outputs; ``constant`` is the tensor of a ``Constant`` node."""

    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    constant: Sequence[float] | None = None


@final
@dataclass
class _Graph:
    nodes: list[_Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    stored: dict[str, Sequence[float] | None] = field(default_factory=dict)
    """Short tensors of the file by name, with their numbers; None for long ones."""


def check_onnx(data: bytes, *, source: str, folder: Path | None = None, fixed: bool = True) -> None:
    """Refuse what no landmark model or detector needs and what could harm whoever opens the file.

    Refused are: weights in other files, sparse tensors, functions and training steps, operators with graphs inside
    (``If``, ``Loop``, ``Scan``), operators of foreign domains, tensors that claim more numbers than are stored, tensors
    made from a stored shape with more than ``MOST_CREATED`` numbers, and too many nodes.

    Args:
        source: the file, for errors.
        folder: folder of the file, if its weights may be in other files directly inside this folder.
        fixed: also refuse graphs where the size of a tensor depends on the values of the input.  Without them, every
            run on inputs of one shape takes the same memory and the same steps.

    Raises:
        ModelFileError: the file holds one of these, or is no ONNX model.
    """
    if not data:
        raise ModelFileError(f"{source}: the file is empty, expected an ONNX model")
    try:
        graph = _Reader(source, folder).model(memoryview(data))
    except (_Malformed, UnicodeDecodeError) as error:
        raise ModelFileError(f"{source}: is no ONNX model, or is damaged ({error})") from error
    if not graph.nodes:
        raise ModelFileError(f"{source}: is no ONNX model, or its graph is empty")
    _check_created(graph, source)
    if fixed:
        _check_fixed(graph, source)


@final
class _Reader:
    """One walk through a file."""

    def __init__(self, source: str, folder: Path | None) -> None:
        self._source, self._folder, self._left = source, folder, MOST_FIELDS

    def model(self, data: _Bytes) -> _Graph:
        graph = _Graph()
        for number, value in self._fields(data):
            if number == 7:
                self._graph(_message(value), graph)
            elif number in (20, 25):
                self._refuse("functions or training steps", "a plain network")
        return graph

    def _graph(self, data: _Bytes, graph: _Graph) -> None:
        for number, value in self._fields(data):
            if number == 1:
                graph.nodes.append(self._node(_message(value)))
                if len(graph.nodes) > MOST_NODES:
                    self._refuse(f"more than {MOST_NODES} operators", "a smaller network")
            elif number == 5:
                name, numbers = self._tensor(_message(value))
                graph.stored[name] = numbers
            elif number == 11:
                graph.inputs += [_text(v) for n, v in self._fields(_message(value)) if n == 1]
            elif number == 15:
                self._refuse("sparse tensors", "dense ones")

    def _node(self, data: _Bytes) -> _Node:
        node = _Node()
        for number, value in self._fields(data):
            if number == 1:
                node.inputs.append(_text(value))
            elif number == 2:
                node.outputs.append(_text(value))
            elif number == 4:
                node.operator = _text(value)
            elif number == 5:
                node.constant = self._attribute(_message(value), node.constant)
            elif number == 7 and _text(value) not in DOMAINS:
                self._refuse(f"an operator of the domain {_text(value)[:80]!r}", "operators of ONNX itself")
        return node

    def _attribute(self, data: _Bytes, constant: Sequence[float] | None) -> Sequence[float] | None:
        """The numbers of an attribute that can be the value of a ``Constant`` node."""
        for number, value in self._fields(data):
            if number in (6, 11):
                self._refuse("an operator with a graph inside, such as If, Loop or Scan", "a network without them")
            elif number in (22, 23):
                self._refuse("sparse tensors", "dense ones")
            elif number in (5, 10):
                constant = self._tensor(_message(value))[1]
            elif number == 3:
                constant = [_signed(value)]
            elif number == 8:
                constant = [*(constant or ()), *_integers(value)]
        return constant

    def _tensor(self, data: _Bytes) -> tuple[str, Sequence[float] | None]:
        """Name of a stored tensor, and its numbers if they are few."""
        fields: dict[int, list[_Value]] = {}
        for number, value in self._fields(data):
            fields.setdefault(number, []).append(value)
        external = [_message(value) for value in fields.get(13, ())]
        if self._folder is None and (external or any(value != 0 for value in fields.get(14, ()))):
            self._refuse_external()
        dims = [side for value in fields.get(1, ()) for side in _integers(value)]
        parts = [(number, value) for number in _NUMBERS for value in fields.get(number, ())]
        stored = sum(1 if isinstance(value, int) else max(1, len(value)) for _, value in parts)
        stored += self._beside(external) if external else 0
        count = math.prod(dims) if all(side >= 0 for side in dims) else -1
        if not 0 <= count <= 2 * stored:  # numbers of four bits are the smallest
            self._refuse(f"a tensor of shape {_shape(dims)} with {stored} bytes", "as many numbers as its shape says")
        kinds = [_signed(value) for value in fields.get(2, (0,))]
        name = _text(fields.get(8, (memoryview(b""),))[-1])
        return name, _few_numbers(kinds[-1], parts) if count <= 16 else None

    def _beside(self, entries: list[_Bytes]) -> int:
        """Size of a file beside the model that holds a tensor."""
        texts = [{n: _text(v) for n, v in self._fields(entry) if n in (1, 2)} for entry in entries]
        names = [text.get(2, "") for text in texts if text.get(1) == "location"]
        if self._folder is None or len(names) != 1:
            self._refuse_external()
        try:
            path = self._folder / checked_name(names[0], what="file with weights")
        except ConfigError:
            self._refuse_external()
        if path.is_symlink() or not path.is_file():
            self._refuse(f"weights in the file {names[0]!r}", "that file beside the model")
        return path.stat().st_size

    def _refuse_external(self) -> NoReturn:
        self._refuse("weights that are stored in other files", "all of them in this file")

    def _refuse(self, found: str, expected: str) -> NoReturn:
        raise ModelFileError(f"{self._source}: holds {found}; expected {expected}. The file was not opened")

    def _fields(self, data: _Bytes) -> Iterator[tuple[int, _Value]]:
        """Number and value of each field of a message: a whole number, or the bytes of anything else."""
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                self._refuse(f"more than {MOST_FIELDS} fields", "a smaller network")
            key, at = _varint(data, at)
            kind = key & 7
            if kind == 0:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            if kind == 2:
                size, at = _varint(data, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise _Malformed(f"a field of the kind {kind}")
            if at + size > len(data) or not 0 < key >> 3 < 1 << 29:
                raise _Malformed("a field reaches beyond its end")
            yield key >> 3, data[at : at + size]
            at += size


def _varint(data: _Bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = 0
    for index, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + index + 1
    raise _Malformed("a number without an end")


def _message(value: _Value) -> _Bytes:
    if isinstance(value, int):
        raise _Malformed("a number where a message is expected")
    return value


def _text(value: _Value) -> str:
    return str(_message(value), "utf-8")


def _signed(value: _Value) -> int:
    if not isinstance(value, int):
        raise _Malformed("bytes where a number is expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _integers(value: _Value) -> list[int]:
    """The numbers of a repeated field: one, or several packed together; a shape has 64 at most."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers: list[int] = []
    at = 0
    while at < len(value) and len(numbers) < 64:
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


_RAW = {1: "f", 6: "i", 7: "q", 11: "d"}
"""Types of tensors that hold shapes and scales, in the letters of ``struct``: float, int32, int64 and double."""


def _few_numbers(kind: int, parts: list[tuple[int, _Value]]) -> Sequence[float] | None:
    """The numbers of a short tensor; None for types that hold no shapes."""
    if kind not in _RAW:
        return None
    numbers: list[float] = []
    for number, value in parts:
        if number in (5, 7, 11):
            numbers += _integers(value)
        elif not isinstance(value, int):
            letter = {4: "f", 10: "d"}.get(number, _RAW[kind])
            numbers += struct.unpack(f"<{len(value) // struct.calcsize(letter)}{letter}", value)
    return numbers


def _shape(dims: Sequence[int]) -> str:
    return f"[{', '.join(map(str, dims[:8]))}]"


def _check_created(graph: _Graph, source: str) -> None:
    """Refuse tensors that become much larger than the file by a shape, a scale or a count stored in it."""
    known = dict(graph.stored)
    for node in graph.nodes:
        if node.operator == "Constant":
            known |= dict.fromkeys(node.outputs, node.constant)
    for node in graph.nodes:
        for name in _shape_inputs(node):
            sizes = [abs(number) for number in known.get(name) or ()]
            if not all(map(math.isfinite, sizes)):
                size = math.inf
            elif node.operator in _MULTIPLIED:
                size = math.prod(side for side in sizes if side > 1)
            else:
                size = max(sizes, default=0)
            if size > MOST_CREATED:
                raise ModelFileError(
                    f"{source}: its operator {node.operator} makes {size:.3g} numbers from a stored shape; expected "
                    f"{MOST_CREATED} at most. The file was not opened"
                )


def _check_fixed(graph: _Graph, source: str) -> None:
    """Refuse tensors whose size depends on the values of the input and not on its shape alone."""
    readers: dict[str, list[_Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    waiting = [name for name in graph.inputs if name not in graph.stored]
    reached = set(waiting)
    while waiting:
        name = waiting.pop()
        for node in readers.get(name, ()):
            if node.operator in _COUNTS_VALUES or name in _shape_inputs(node):
                raise ModelFileError(
                    f"{source}: the output of its operator {node.operator} is as large as the values of the input say; "
                    "expected a network whose cost depends on the shape of the input alone. The file was not opened"
                )
            new = () if node.operator in ("Shape", "Size") else set(node.outputs) - reached
            reached.update(new)
            waiting.extend(new)


def _shape_inputs(node: _Node) -> list[str]:
    indices = _SHAPED_BY.get(node.operator, ())
    return [node.inputs[index] for index in indices if index < len(node.inputs) and node.inputs[index]]
