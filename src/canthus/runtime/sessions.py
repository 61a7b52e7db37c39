"""ONNX files ready to run: landmark networks and face detectors."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime
from jaxtyping import Float32, UInt8
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from canthus.errors import ConfigError, ModelFileError
from canthus.geometry import unit_to_pixels
from canthus.lookup import unknown_name
from canthus.runtime.cards import METADATA_KEY, ROW, DetectorCard, ModelCard
from canthus.zoo import DEFAULT, DEFAULT_DETECTOR, embedded_detectors, embedded_models

ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
"""What ONNX Runtime raises on a bad file; these share no base class of their own."""


def find_file(model: str | os.PathLike[str], known: Mapping[str, Path], *, default: str, kind: str) -> Path:
    """File of a model given by name or by path.

    Args:
        model: ``default``, one of the ``known`` names, or a path.  A name that is also a file in the current folder
            means the embedded model; write ``./name`` for the file.
        known: embedded models, name -> file.
        default: the name that ``default`` stands for.
        kind: what the models are, for errors.

    Raises:
        ConfigError: neither a known name nor a file, and it does not look like a path.
        ModelFileError: it looks like a path, and there is no file.
    """
    name = os.fspath(model)
    wanted = default if name == "default" else name
    if isinstance(model, str) and wanted in known:
        return known[wanted]
    path = Path(name)
    if path.is_file():
        return path
    if name == "default":
        raise ModelFileError(f"The embedded {kind} {default!r} is not in this installation; install canthus again")
    if path.is_dir():
        raise ModelFileError(f"{name}: is a folder, expected an ONNX file")
    if path.suffix or path.name != name:
        raise ModelFileError(f"{name}: no such file; embedded {kind}s: {', '.join(known) or 'none'}")
    raise unknown_name(name, [*known, "default"], kind=kind)


def read_model(path: str | os.PathLike[str]) -> bytes:
    """Content of a model file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error


def open_onnx(data: bytes, *, source: str, threads: int) -> tuple[Any, str]:
    """A session on the CPU, and the text of the card.

    Args:
        data: content of the file.
        source: the file, for errors.
        threads: threads inside one operator.

    Raises:
        ConfigError: ``threads`` is below one.
        ModelFileError: no ONNX model, or no card in it.
    """
    if threads < 1:
        raise ConfigError(f"Expected at least 1 thread, found {threads}")
    if not data:
        raise ModelFileError(f"{source}: the file is empty, expected an ONNX model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{source}: is no ONNX model that ONNX Runtime can open ({reason})") from error
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelFileError(
            f"{source}: holds no model card (metadata entry {METADATA_KEY!r}), so how to use it is unknown; "
            "make the file with: canthus export CHECKPOINT"
        )
    return session, metadata[METADATA_KEY]


logger = logging.getLogger(__name__)

MAX_BATCH = 32
"""Crops in one run; larger sets go in several, so that memory stays bounded in a crowd."""


@final
@dataclass(frozen=True)
class Answer:
    """What a model says of some crops.

    Attributes:
        points: in pixels of the crops.
        spread: logarithm of the expected error of each point, in sides of the crop; None where the file tells none.
        scores: confidence of each point in [0, 1], see ``Calibration``; None without spread or calibration.
    """

    points: Float32[np.ndarray, "n k 2"]
    spread: Float32[np.ndarray, "n k"] | None = None
    scores: Float32[np.ndarray, "n k"] | None = None


@final
class LandmarkSession:
    """A landmark model ready to run.

    Attributes:
        card: what the file says about itself.
        scheme: numbering of the points.
        source: path of the file, or "bytes".
        size_bytes: of the file.
    """

    def __init__(self, data: bytes, *, source: str, threads: int = 1) -> None:
        """Load a model from the content of its file; ``open`` also takes names and paths.

        Raises:
            ConfigError: ``threads`` is below one.
            ModelFileError: no ONNX model, no card, or other inputs and outputs than a landmark model has.
        """
        self._session, card = open_onnx(data, source=source, threads=threads)
        self.card = ModelCard.from_json(card, source=source)
        self.scheme = self.card.find_scheme()
        self.source = source
        self.size_bytes = len(data)
        self._input = _checked_input(self._session, self.card, source=source)
        self._outputs = _checked_outputs(self._session, self.scheme.count, source=source)
        if self.card.calibration and not self.tells_spread:
            raise ModelFileError(f"{source}: the card has a calibration, but there is no output 'spread' to calibrate")
        logger.debug("opened %s: %s, %d threads", source, self.card.name, threads)

    @staticmethod
    def open(model: str | os.PathLike[str] | bytes = "default", *, threads: int = 1) -> "LandmarkSession":
        """Open an embedded model by name, a file by path, or the content of a file.

        Args:
            model: ``default``, a name that ``canthus models`` lists, a path, or bytes.
            threads: threads inside one operator.

        Raises:
            ConfigError: no embedded model has that name.
            ModelFileError: the file is missing, no ONNX model, or no landmark model of canthus.
        """
        if isinstance(model, bytes):
            return LandmarkSession(model, source="bytes", threads=threads)
        path = find_model(model)
        return LandmarkSession(read_model(path), source=os.fspath(path), threads=threads)

    @property
    def tells_spread(self) -> bool:
        """Whether the file has the output ``spread``."""
        return "spread" in self._outputs

    @property
    def gives_scores(self) -> bool:
        """Whether answers have confidence: the file has a spread, and its card a calibration."""
        return self.card.calibration is not None

    def __call__(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Float32[np.ndarray, "n k 2"]:
        """Points of each crop.

        Args:
            crops: RGB squares of ``card.size`` pixels; n may be 0.

        Returns:
            Points in pixels of the crops.
        """
        return self.answer(crops).points

    def answer(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Answer:
        """Points of each crop and, where the model tells them, their spread and confidence.

        Args:
            crops: RGB squares of ``card.size`` pixels; n may be 0.
        """
        count = self.scheme.count
        runs = [
            self._session.run(self._outputs, {self._input: crops[first : first + MAX_BATCH]})
            for first in range(0, len(crops), MAX_BATCH)
        ] or [[np.zeros((0, count, 2), np.float32), np.zeros((0, count), np.float32)]]
        outputs = runs[0] if len(runs) == 1 else [np.concatenate(parts) for parts in zip(*runs, strict=True)]
        points = unit_to_pixels(outputs[0], self.card.size)
        if not self.tells_spread:
            return Answer(points)
        calibration, spread = self.card.calibration, outputs[1]
        return Answer(points, spread, calibration.scores(spread, margin=self.card.margin) if calibration else None)


def find_model(model: str | os.PathLike[str]) -> Path:
    """File of a model given by name (``default`` and those of ``canthus models``) or by path.

    A name that is also a file in the current folder means the embedded model; write ``./name`` for the file.

    Raises:
        ConfigError: neither a known name nor a file, and it does not look like a path.
        ModelFileError: it looks like a path, and there is no file.
    """
    return find_file(model, embedded_models(), default=DEFAULT, kind="model")


def _checked_input(session: Any, card: ModelCard, *, source: str) -> str:
    inputs = session.get_inputs()
    expected = [card.size, card.size, 3]
    if len(inputs) == 1 and inputs[0].type == "tensor(uint8)" and list(inputs[0].shape[1:]) == expected:
        return str(inputs[0].name)
    found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
    raise ModelFileError(f"{source}: expected one input, tensor(uint8) [n, {card.size}, {card.size}, 3]; found {found}")


def _checked_outputs(session: Any, count: int, *, source: str) -> list[str]:
    """Names of the outputs to ask for: ``points``, and ``spread`` where there is one."""
    outputs = session.get_outputs()
    shapes = {value.name: list(value.shape[1:]) for value in outputs if value.type == "tensor(float)"}
    with_spread = any(value.name == "spread" for value in outputs)
    wanted = {"points": [count, 2]} | ({"spread": [count]} if with_spread else {})
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in outputs)
            expected = ", ".join(str(side) for side in ("n", *shape))
            raise ModelFileError(f"{source}: expected an output {name!r}, tensor(float) [{expected}]; found {found}")
    return list(wanted)


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
