"""Model files opened in ONNX Runtime: landmark networks and face detectors."""

import functools
import logging
import os
from collections.abc import Sequence
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
from canthus.runtime.cards import DETECTOR, LANDMARKS, METADATA_KEY, ROW, DetectorCard, ModelCard
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
"""Errors of ONNX Runtime for a bad file; they share no base class of their own."""

MAX_BATCH = 32
"""Crops in one run.  More crops are split into several runs to bound the memory."""

logger = logging.getLogger(__name__)


@functools.cache
def usable_threads(threads: int) -> int:
    """The number of threads, at most that of the processors that this process may use.

    More threads than processors only wait for each other: 2000 of them take a minute for one picture.  A smaller number
    than asked for is logged as a warning, once a process for each number.

    Raises:
        ConfigError: ``threads`` is below one.
    """
    if threads < 1:
        raise ConfigError(f"Expected at least 1 thread, found {threads}")
    most = processors()
    if threads > most:
        logger.warning("%d threads were asked for; %d are used, one for each processor", threads, most)
    return min(threads, most)


def processors() -> int:
    """Number of logical processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_model(model: str | os.PathLike[str], *, kind: str = LANDMARKS) -> Path:
    """File of a model given by name or by path.

    Args:
        model: ``default``, the name of an embedded model, or a path.  An embedded model takes precedence over a file of
            the same name in the current folder; write ``./name`` for the file.
        kind: ``LANDMARKS`` or ``DETECTOR``.

    Raises:
        ConfigError: an unknown name that does not look like a path.
        ModelFileError: it looks like a path, and there is no such file.
    """
    known, default, noun = embedded_models(), DEFAULT, "model"
    if kind == DETECTOR:
        known, default, noun = embedded_detectors(), DEFAULT_DETECTOR, "detector"
    name = os.fspath(model)
    wanted = default if name == "default" else name
    if isinstance(model, str) and wanted in known:
        return known[wanted]
    path = Path(name)
    if path.is_file():
        return path
    if name == "default":
        raise ModelFileError(f"The embedded {noun} {default!r} is not in this installation; install canthus again")
    if path.is_dir():
        raise ModelFileError(f"{name}: is a folder, expected an ONNX file")
    if path.suffix or path.name != name:
        raise ModelFileError(f"{name}: no such file; embedded {noun}s: {', '.join(known) or 'none'}")
    raise unknown_name(name, [*known, "default"], kind=noun)


def read_model(path: str | os.PathLike[str]) -> bytes:
    """Content of a model file.

    Raises:
        ModelFileError: the file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error


def open_onnx(data: bytes, *, source: str, threads: int) -> tuple[Any, str]:
    """Open a model on the CPU; return the session of ONNX Runtime, and the card as JSON.

    Args:
        data: content of the file.
        source: the file, for errors.
        threads: threads within one operator.

    Raises:
        ConfigError: ``threads`` is below one.
        ModelFileError: not an ONNX model, or a model without a card.
    """
    threads = usable_threads(threads)
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
            f"{source}: holds no model card (metadata entry {METADATA_KEY!r}), so its scheme and crop are unknown; "
            "make the file with: canthus export CHECKPOINT"
        )
    logger.debug("opened %s, %d threads", source, threads)
    return session, metadata[METADATA_KEY]


@final
@dataclass(frozen=True)
class Answer:
    """Output of a landmark model for ``n`` crops.

    Attributes:
        points: in pixels of the crops.
        spread: logarithm of the expected error of each point, in sides of the crop; None if the model has no such
            output.
        scores: confidence of each point in [0, 1] (see ``Calibration``); None without spread or calibration.
    """

    points: Float32[np.ndarray, "n k 2"]
    spread: Float32[np.ndarray, "n k"] | None = None
    scores: Float32[np.ndarray, "n k"] | None = None


@final
class LandmarkSession:
    """A landmark model, ready to run.

    ``source`` is the path of the file, or "bytes".
    """

    def __init__(self, data: bytes, *, source: str, threads: int = 1) -> None:
        """Load a model from the content of its file; ``open`` also takes names and paths.

        Raises:
            ConfigError: ``threads`` is below one.
            ModelFileError: not an ONNX model, no card, or inputs and outputs that a landmark model does not have.
        """
        self._session, card = open_onnx(data, source=source, threads=threads)
        self.card = ModelCard.from_json(card, source=source)
        self.scheme = self.card.find_scheme()
        self.source = source
        self.size_bytes = len(data)
        self._input = _input_name(self._session, ["n", self.card.size, self.card.size, 3], source=source)
        outputs = self._session.get_outputs()
        self._outputs = [_output_name(outputs, "points", ["n", self.scheme.count, 2], source=source)]
        if any(value.name == "spread" for value in outputs):
            self._outputs.append(_output_name(outputs, "spread", ["n", self.scheme.count], source=source))
        if self.card.calibration and not self.tells_spread:
            raise ModelFileError(f"{source}: the card has a calibration, but there is no output 'spread' to calibrate")

    @staticmethod
    def open(model: str | os.PathLike[str] | bytes = "default", *, threads: int = 1) -> "LandmarkSession":
        """Open a landmark model.

        Args:
            model: ``default``, a name that ``canthus models`` lists, a path, or the content of a file.
            threads: threads within one operator.

        Raises:
            ConfigError: no embedded model has that name.
            ModelFileError: the file is missing, or is not a landmark model of canthus.
        """
        data, source = _content(model, LANDMARKS)
        return LandmarkSession(data, source=source, threads=threads)

    @property
    def tells_spread(self) -> bool:
        """Whether the model has the output ``spread``."""
        return "spread" in self._outputs

    @property
    def gives_scores(self) -> bool:
        """Whether answers have a confidence: the model has a spread, and its card a calibration."""
        return self.card.calibration is not None

    def __call__(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Float32[np.ndarray, "n k 2"]:
        """Points of each crop in its pixels; see ``answer``."""
        return self.answer(crops).points

    def answer(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Answer:
        """Points of each crop, with spread and confidence if the model gives them.

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


@final
class DetectorSession:
    """A detector network, ready to run. Its attributes are those of ``LandmarkSession`` but for the scheme."""

    def __init__(self, data: bytes, *, source: str, threads: int = 1) -> None:
        """Load a detector from the content of its file; ``open`` also takes names and paths.

        Raises:
            ConfigError: ``threads`` is below one.
            ModelFileError: not an ONNX model, no card, or inputs and outputs that a detector does not have.
        """
        self._session, card = open_onnx(data, source=source, threads=threads)
        self.card = DetectorCard.from_json(card, source=source)
        self.source = source
        self.size_bytes = len(data)
        self._input = _input_name(self._session, ["n", "h", "w", 3], source=source)
        self._output = _output_name(self._session.get_outputs(), "faces", ["n", "cells", ROW], source=source)

    @staticmethod
    def open(model: str | os.PathLike[str] | bytes = "default", *, threads: int = 1) -> "DetectorSession":
        """Open a face detector; ``model`` and errors as for ``LandmarkSession.open``."""
        data, source = _content(model, DETECTOR)
        return DetectorSession(data, source=source, threads=threads)

    def __call__(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n cells 15"]:
        """Output of every cell of each picture, for ``canthus_detector.decode``.

        Args:
            images: RGB; both sides are multiples of the largest stride.
        """
        outputs: Float32[np.ndarray, "n cells 15"] = self._session.run([self._output], {self._input: images})[0]
        return outputs


def _content(model: str | os.PathLike[str] | bytes, kind: str) -> tuple[bytes, str]:
    """Content of a model's file, and its source."""
    if isinstance(model, bytes):
        return model, "bytes"
    path = find_model(model, kind=kind)
    return read_model(path), os.fspath(path)


def _input_name(session: Any, shape: Sequence[int | str], *, source: str) -> str:
    """Name of the only input, which takes bytes of this shape."""
    inputs = session.get_inputs()
    if len(inputs) == 1 and inputs[0].type == "tensor(uint8)" and _fits(inputs[0].shape, shape):
        return str(inputs[0].name)
    raise ModelFileError(f"{source}: expected one input, tensor(uint8) {_shown(shape)}; found {_described(inputs)}")


def _output_name(outputs: Sequence[Any], name: str, shape: Sequence[int | str], *, source: str) -> str:
    """The name itself, if there is such an output of this shape."""
    if any(v.name == name and v.type == "tensor(float)" and _fits(v.shape, shape) for v in outputs):
        return name
    expected = f"an output {name!r}, tensor(float) {_shown(shape)}"
    raise ModelFileError(f"{source}: expected {expected}; found {_described(outputs)}")


def _fits(found: Sequence[Any], expected: Sequence[int | str]) -> bool:
    """Whether numbers agree and letters stand for free sides; the first side, the batch, may be either."""
    pairs = zip(found[1:], expected[1:], strict=False)
    return len(found) == len(expected) and all(
        side == wanted if isinstance(wanted, int) else not isinstance(side, int) for side, wanted in pairs
    )


def _shown(shape: Sequence[int | str]) -> str:
    letters = [side for side in shape[1:] if isinstance(side, str)]
    free = f" with free {' and '.join(letters)}" if letters else ""
    return f"[{', '.join(map(str, shape))}]{free}"


def _described(values: Sequence[Any]) -> str:
    return ", ".join(f"{value.name} {value.type} {value.shape}" for value in values)
