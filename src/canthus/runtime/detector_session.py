"""One ONNX face detector: the file, its card, and a call from pictures to what its cells say."""

import logging
import os
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.errors import ModelFileError
from canthus.runtime.detections import ROW
from canthus.runtime.detector_card import DetectorCard
from canthus.runtime.onnx_files import find_file, open_onnx, read_model
from canthus.zoo import DEFAULT_DETECTOR, embedded_detectors

logger = logging.getLogger(__name__)


@final
class DetectorSession:
    """A detector network ready to run.

    Attributes:
        card: what the file says about itself.
        source: path of the file, or "bytes".
        size_bytes: of the file.
    """

    def __init__(self, data: bytes, *, source: str, threads: int = 1) -> None:
        """Load a detector from the content of its file; ``open`` also takes names and paths.

        Raises:
            ConfigError: ``threads`` is below one.
            ModelFileError: no ONNX model, no card, or other inputs and outputs than a detector has.
        """
        self._session, card = open_onnx(data, source=source, threads=threads)
        self.card = DetectorCard.from_json(card, source=source)
        self.source = source
        self.size_bytes = len(data)
        _check_values(self._session, source=source)
        logger.debug("opened %s: %s, %d threads", source, self.card.name, threads)

    @staticmethod
    def open(model: str | os.PathLike[str] | bytes = "default", *, threads: int = 1) -> "DetectorSession":
        """Open an embedded detector by name, a file by path, or the content of a file.

        Args:
            model: ``default``, a name that ``canthus models`` lists, a path, or bytes.
            threads: threads inside one operator.

        Raises:
            ConfigError: no embedded detector has that name.
            ModelFileError: the file is missing, no ONNX model, or no detector of canthus.
        """
        if isinstance(model, bytes):
            return DetectorSession(model, source="bytes", threads=threads)
        path = find_detector(model)
        return DetectorSession(read_model(path), source=os.fspath(path), threads=threads)

    def __call__(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n cells 15"]:
        """What every cell of each picture says; see ``detections.decode``.

        Args:
            images: RGB; both sides are multiples of the largest stride.
        """
        outputs: Float32[np.ndarray, "n cells 15"] = self._session.run(["faces"], {"image": images})[0]
        return outputs


def find_detector(model: str | os.PathLike[str]) -> Path:
    """File of a detector given by name (``default`` and those of ``canthus models``) or by path.

    Raises:
        ConfigError: neither a known name nor a file, and it does not look like a path.
        ModelFileError: it looks like a path, and there is no file.
    """
    return find_file(model, embedded_detectors(), default=DEFAULT_DETECTOR, kind="detector")


def _check_values(session: Any, *, source: str) -> None:
    """Refuse a file whose input or output is not a detector's."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    taken = [(value.name, value.type, [side for side in value.shape if isinstance(side, int)]) for value in inputs]
    if taken != [("image", "tensor(uint8)", [3])] or len(inputs[0].shape) != 4:
        raise ModelFileError(
            f"{source}: expected one input, image tensor(uint8) [n, h, w, 3] with open n, h and w; "
            f"found {_described(inputs)}"
        )
    given = [(value.name, value.type, len(value.shape), value.shape[-1:]) for value in outputs]
    if ("faces", "tensor(float)", 3, [ROW]) not in given:
        raise ModelFileError(
            f"{source}: expected an output 'faces', tensor(float) [n, cells, {ROW}]; found {_described(outputs)}"
        )


def _described(values: Any) -> str:
    return ", ".join(f"{value.name} {value.type} {value.shape}" for value in values)
