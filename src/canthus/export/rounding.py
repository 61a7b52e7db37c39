"""Round the weights of ONNX files so that they compress better: ``python -m canthus.export.rounding FILE ...``."""

import sys
from pathlib import Path

import numpy as np

from canthus.files import write_bytes
from canthus.lookup import require

BITS = 18
"""Significant bits kept of 24, a precision of two parts in a million."""


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


if __name__ == "__main__":
    for name in sys.argv[1:]:
        round_weights(Path(name))
