"""The few parts of an ONNX file that counting needs, read and written without the ``onnx`` package.

An ONNX file is a Protocol Buffers message: fields of a tag and a value, where a value is an integer or a run of bytes
that may be a message itself.  Numbers of fields are those of ``onnx.proto`` (ONNX 1.17, IR version 10).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import final

from canthus.errors import ModelFileError

FLOAT, INT64, STRING, BOOL = 1, 7, 8, 9
"""TensorProto.DataType"""

_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_TENSOR, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TENSOR = 1, 3, 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL = 1, 2, 8, 9, 13


@final
@dataclass(frozen=True)
class Tensor:
    """A stored tensor without its numbers.

    Attributes:
        name: what nodes call it; "" inside an attribute.
        shape: its sides.
        kind: TensorProto.DataType.
        location: side file that holds the numbers, or "".
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    location: str


@final
@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        operator: its type, ``Conv`` and the like.
        inputs: names of tensors, "" for an input left out.
        outputs: names of tensors.
        integers: attributes that are one integer.
        tensors: attributes that are one tensor.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, int]
    tensors: Mapping[str, Tensor]


@final
@dataclass(frozen=True)
class Graph:
    """Operators and stored tensors of a network."""

    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]


def parse_graph(data: bytes, *, source: str) -> Graph:
    """Read the graph of an ONNX file; ``source`` names the file in errors.

    Raises:
        ModelFileError: the bytes are no ONNX model.
    """
    nodes: list[Node] = []
    tensors: list[Tensor] = []
    try:
        for graph in _messages(data, _MODEL_GRAPH):
            nodes += [_node(value) for value in _messages(graph, _GRAPH_NODE)]
            tensors += [_tensor(value) for value in _messages(graph, _GRAPH_TENSOR)]
    except (ValueError, IndexError, struct.error) as error:
        raise ModelFileError(f"{source}: not an ONNX file, or damaged ({error})") from error
    if not nodes:
        raise ModelFileError(f"{source}: not an ONNX file, or its graph is empty")
    return Graph(tuple(nodes), tuple(tensors))


def with_outputs(data: bytes, names: Iterable[str]) -> bytes:
    """The same model with further tensors of its graph among its outputs.

    A message that occurs twice in a file is read as one with the fields of both, so the outputs are simply appended.
    """
    return data + run_of_bytes(_MODEL_GRAPH, b"".join(_value(_GRAPH_OUTPUT, name) for name in names))


def product_model(weights: bytes, side: int) -> bytes:
    """A model with one product ``y = x @ w`` of float32 matrices, ``side x side`` each.

    Args:
        weights: ``w``, row by row, four little-endian bytes a number.
        side: rows and columns.
    """
    matrix = run_of_bytes(
        2, run_of_bytes(1, integer(1, FLOAT) + run_of_bytes(2, run_of_bytes(1, integer(1, side)) * 2))
    )
    tensor = integer(_TENSOR_DIMS, side) * 2 + integer(_TENSOR_TYPE, FLOAT)
    tensor += run_of_bytes(_TENSOR_NAME, b"w") + run_of_bytes(_TENSOR_RAW, weights)
    node = run_of_bytes(_NODE_INPUT, b"x") + run_of_bytes(_NODE_INPUT, b"w")
    node += run_of_bytes(_NODE_OUTPUT, b"y") + run_of_bytes(_NODE_OPERATOR, b"MatMul")
    graph = run_of_bytes(_GRAPH_NODE, node) + run_of_bytes(_GRAPH_NAME, b"product")
    graph += run_of_bytes(_GRAPH_TENSOR, tensor)
    graph += _value(_GRAPH_INPUT, "x", matrix) + _value(_GRAPH_OUTPUT, "y", matrix)
    ir_version, operators = integer(1, 8), run_of_bytes(8, run_of_bytes(1, b"") + integer(2, 13))
    return ir_version + operators + run_of_bytes(_MODEL_GRAPH, graph)


def integer(tag: int, value: int) -> bytes:
    """An integer field."""
    return _varint(tag << 3) + _varint(value)


def run_of_bytes(tag: int, value: bytes) -> bytes:
    """A field of bytes: a text, a message, or packed numbers."""
    return _varint(tag << 3 | 2) + _varint(len(value)) + value


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Tags and values of a message, in order.

    Raises:
        ValueError: the bytes are no message.
        IndexError: they end within a field.
    """
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        tag, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _read_varint(data, at)
            yield tag, value
            continue
        if kind == 2:
            length, at = _read_varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if tag == 0 or at + length > len(data):
            raise ValueError(f"field {tag} reaches past the end")
        yield tag, data[at : at + length]
        at += length


def _value(tag: int, name: str, kind: bytes = b"") -> bytes:
    """ValueInfoProto: an input or output of a graph."""
    return run_of_bytes(tag, run_of_bytes(1, name.encode()) + kind)


def _messages(data: bytes | memoryview, tag: int) -> Iterator[memoryview]:
    return (value for found, value in fields(memoryview(data)) if found == tag and isinstance(value, memoryview))


def _texts(data: memoryview, tag: int) -> tuple[str, ...]:
    return tuple(bytes(value).decode() for value in _messages(data, tag))


def _text(data: memoryview, tag: int) -> str:
    return next(iter(_texts(data, tag)), "")


def _integers(data: memoryview, tag: int) -> Iterator[int]:
    """Integers of a repeated field, one by one or packed into one run of bytes."""
    for found, value in fields(data):
        if found != tag:
            continue
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            number, at = _read_varint(value, at)
            yield number


def _node(data: memoryview) -> Node:
    attributes = list(_messages(data, _NODE_ATTRIBUTE))
    return Node(
        operator=_text(data, _NODE_OPERATOR),
        inputs=_texts(data, _NODE_INPUT),
        outputs=_texts(data, _NODE_OUTPUT),
        integers={_text(a, _ATTRIBUTE_NAME): value for a in attributes for value in _integers(a, _ATTRIBUTE_INT)},
        tensors={
            _text(a, _ATTRIBUTE_NAME): _tensor(value) for a in attributes for value in _messages(a, _ATTRIBUTE_TENSOR)
        },
    )


def _tensor(data: memoryview) -> Tensor:
    side_file = {_text(entry, 1): _text(entry, 2) for entry in _messages(data, _TENSOR_EXTERNAL)}
    return Tensor(
        name=_text(data, _TENSOR_NAME),
        shape=tuple(_integers(data, _TENSOR_DIMS)),
        kind=next(_integers(data, _TENSOR_TYPE), 0),
        location=side_file.get("location", ""),
    )


def _varint(value: int) -> bytes:
    """Seven bits a byte, low bits first; the eighth bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
