"""Fewer bits for the weights of ONNX files.

``canthus export --half`` stores them in 16 bits.  ``python -m canthus.export.rounding FILE ...`` rounds those of
float32 files, so that they compress better.
"""

import math
import sys
from pathlib import Path

import numpy as np

from canthus.files import write_bytes
from canthus.lookup import require

BITS = 18
"""Significant bits kept of 24, a precision of two parts in a million."""
LEAST = 1024
"""Numbers of the smallest tensor that is stored in 16 bits."""


def round_weights(path: Path, *, bits: int = BITS) -> None:
    """Round the float32 weights of an ONNX file to the nearest, in place.

    Meant for the embedded files.  Compare the outputs afterwards, since a network may be sensitive to it.

    Args:
        bits: significant bits to keep, 2 to 24.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    onnx = require("onnx", extra="train")
    model = onnx.load(path)
    step = 1 << (24 - bits)
    for tensor in model.graph.initializer:
        if tensor.data_type == tensor.FLOAT and tensor.raw_data:
            values = np.frombuffer(tensor.raw_data, np.uint32).astype(np.uint64)
            tensor.raw_data = ((values + step // 2) // step * step).astype(np.uint32).tobytes()
    write_bytes(path, model.SerializeToString())


def store_half(path: Path) -> None:
    """Store the large float32 weights of an ONNX file in 16 bits, in place; ``Cast`` operators make them float32 again.

    ONNX Runtime does so once, when it opens the file, so that the network is as fast as before.  Tensors with fewer
    than ``LEAST`` numbers, or with numbers that 16 bits cannot hold, stay as they are.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    onnx = require("onnx", extra="train")
    model = onnx.load(path)
    stored = list(model.graph.initializer)
    casts = []
    for index, tensor in enumerate(stored):
        if tensor.data_type != tensor.FLOAT or math.prod(tensor.dims) < LEAST:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if np.abs(values).max() <= np.finfo(np.float16).max:
            name = f"{tensor.name}_half"
            stored[index] = onnx.numpy_helper.from_array(values.astype(np.float16), name)
            casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=tensor.FLOAT))
    del model.graph.initializer[:]
    model.graph.initializer.extend(stored)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    write_bytes(path, model.SerializeToString())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        round_weights(Path(name))
