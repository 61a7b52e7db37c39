"""Model files opened in ONNX Runtime: landmark networks and face detectors."""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime
from jaxtyping import Float32, UInt8
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from canthus.errors import CanthusError, ConfigError, ModelFileError
from canthus.geometry import unit_to_pixels
from canthus.lookup import unknown_name
from canthus.runtime.backends import CPU, ONNXRUNTIME, OPENVINO, JoinedRuns, open_session
from canthus.runtime.cards import DETECTOR, LANDMARKS, METADATA_KEY, ROW, DetectorCard, ModelCard
from canthus.runtime.onnx_checks import MOST_BYTES, check_onnx
from canthus.runtime.time_limit import result_within
from canthus.zoo import DEFAULT, DEFAULT_DETECTOR, embedded_detectors, embedded_models

ORT_ERRORS: tuple[type[Exception], ...] = (
    MemoryError,
    RuntimeError,
    ValueError,
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)
"""Errors of ONNX Runtime for a bad file; its own share no base class."""

MAX_BATCH = 32
"""Crops in one run.  More crops are split into several runs to bound the memory."""

MOST_MEMORY = 4 << 30
"""Bytes that all models of a process may use together for weights and intermediate results."""
MOST_SECONDS = 120.0
"""Longest time to open a model, and longest run on ``MAX_BATCH`` crops or one picture."""
FARTHEST = 1e6
"""Largest number in an answer of a model, in crops or strides: larger ones are no points, and would overflow."""

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
        ModelFileError: the file cannot be read, or has more than ``onnx_checks.MOST_BYTES``.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MOST_BYTES:
        raise ModelFileError(f"{path}: has more than {MOST_BYTES:,} bytes, expected a smaller model")
    return data


@final
class BoundedSession:
    """A session of ONNX Runtime or OpenVINO, with bounds on what it may read and on its memory and time.

    The file is checked first (``onnx_checks.check_onnx``), and is given to the library as bytes.  All sessions of ONNX
    Runtime share an allocator of ``MOST_MEMORY`` on the processor.  Opening, and the first run on inputs of each shape,
    end after ``seconds``.  A later run on the same shapes takes the same steps, because the check refuses loops, and is
    not watched.
    """

    def __init__(
        self,
        data: bytes,
        *,
        source: str,
        threads: int,
        folder: Path | None = None,
        fixed: bool = True,
        optimize: bool = True,
        seconds: float = MOST_SECONDS,
        device: str = CPU,
        backend: str = ONNXRUNTIME,
    ) -> None:
        """Check and open a model.

        Args:
            data: content of the file.
            source: the file, for errors.
            threads: threads within one operator, at most ``processors()``.
            folder: see ``check_onnx``, as for ``fixed``.
            optimize: let ONNX Runtime join and remove operators.
            seconds: longest time to open the model, and for one run.
            device: see ``backends.DEVICES``.
            backend: see ``backends.BACKENDS``.

        Raises:
            ConfigError: ``threads`` is below one, or the device or back end does not work here.
            MissingExtraError: OpenVINO is not installed.
            ModelFileError: not an ONNX model, one that the check refuses, or one that takes too much memory or time.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_threads(threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what went wrong is in the exceptions
        for kind in ("intra_op", "inter_op"):  # threads that wait would take a whole processor each
            options.add_session_config_entry(f"session.{kind}.allow_spinning", "0")
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        check_onnx(data, source=source, folder=folder, fixed=fixed)
        _bound_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        self._source, self._seconds, self._seen = source, seconds, set[object]()
        self._session, on_card = self._watched(
            functools.partial(open_session, data, options, device=device, backend=backend),
            functools.partial(options.set_load_cancellation_flag, True),
            doing="opening it",
            wrong=f"is no ONNX model that {'OpenVINO' if backend in OPENVINO else 'ONNX Runtime'} can open",
        )
        joins = on_card and _has_free_batch(self._session)
        self._joined = JoinedRuns(self._run_alone, most=MAX_BATCH) if joins else None
        self.inputs: Sequence[Any] = self._session.get_inputs()
        self.outputs: Sequence[Any] = self._session.get_outputs()
        logger.debug("opened %s, %d threads", source, threads)

    def card(self) -> str | None:
        """The card as JSON; None if the file has none.

        Raises:
            ModelFileError: the metadata of the file is not UTF-8.
        """
        try:
            metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{self._source}: its metadata is not UTF-8 ({error.reason})") from error
        return metadata.get(METADATA_KEY)

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names, or all outputs.

        Raises:
            ModelFileError: the model does not run on these inputs, or takes too much memory or time.
        """
        return self._run_alone(names, feeds) if self._joined is None else self._joined(names, feeds)

    def _run_alone(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        shapes = tuple((name, array.shape) for name, array in feeds.items())
        shown = ", ".join(f"{name} {list(shape)}" for name, shape in shapes)
        run = functools.partial(self._session.run, names, dict(feeds))
        outputs: list[np.ndarray]
        if shapes in self._seen:
            outputs = self._translated(run, f"cannot be run on {shown}")
            return outputs
        options = onnxruntime.RunOptions()
        outputs = self._watched(
            functools.partial(run, options),
            lambda: setattr(options, "terminate", True),
            doing=f"one run on {shown}",
            wrong=f"cannot be run on {shown}",
        )
        self._seen.add(shapes)
        return outputs

    def _watched(self, call: Callable[[], Any], stop: Callable[[], None], *, doing: str, wrong: str) -> Any:
        """Result of a call in a thread of its own, which is left behind where it takes too long."""
        try:
            return result_within(self._seconds, functools.partial(self._translated, call, wrong), stop=stop)
        except TimeoutError as error:
            raise ModelFileError(f"{self._source}: {doing} {error}; expected a smaller network or input") from error

    def _translated(self, call: Callable[[], Any], wrong: str) -> Any:
        """Result of a call of the library, whose errors become one line each."""
        try:
            return call()
        except CanthusError:
            raise
        except ORT_ERRORS as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if isinstance(error, MemoryError) or "arena" in reason or "allocat" in reason:
                needs = f"needs more than {MOST_MEMORY / 2**30:g} GiB of memory; expected a smaller network or input"
                raise ModelFileError(f"{self._source}: {needs}") from error
            raise ModelFileError(f"{self._source}: {wrong} ({reason})") from error


def _has_free_batch(session: Any) -> bool:
    return all(value.shape and not isinstance(value.shape[0], int) for value in session.get_inputs())


@functools.cache
def _bound_memory() -> None:
    """Give ONNX Runtime one allocator of bounded size for this process, unless the program has set up one."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    with contextlib.suppress(*ORT_ERRORS):
        onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY}))


def open_onnx(
    data: bytes, *, source: str, threads: int, device: str = CPU, backend: str = ONNXRUNTIME
) -> tuple[BoundedSession, str]:
    """Open a model of canthus; return the session and the card as JSON.

    Args:
        data: content of the file.
        source: the file, for errors.
        threads: threads within one operator.
        device: see ``backends.DEVICES``.
        backend: see ``backends.BACKENDS``.

    Raises:
        ConfigError, MissingExtraError: see ``BoundedSession``.
        ModelFileError: see ``BoundedSession``; or a model without a card.
    """
    session = BoundedSession(data, source=source, threads=threads, device=device, backend=backend)
    card = session.card()
    if card is None:
        raise ModelFileError(
            f"{source}: holds no model card (metadata entry {METADATA_KEY!r}), so its scheme and crop are unknown; "
            "make the file with: canthus export CHECKPOINT"
        )
    return session, card


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

    def __init__(
        self, data: bytes, *, source: str, threads: int = 1, device: str = CPU, backend: str = ONNXRUNTIME
    ) -> None:
        """Load a model from the content of its file; ``open`` also takes names and paths.

        Raises:
            ConfigError: ``threads`` is below one, or the device or back end does not work here.
            MissingExtraError: OpenVINO is not installed.
            ModelFileError: not an ONNX model, no card, or inputs and outputs that a landmark model does not have.
        """
        self._session, card = open_onnx(data, source=source, threads=threads, device=device, backend=backend)
        self.card = ModelCard.from_json(card, source=source)
        self.scheme = self.card.find_scheme()
        self.source = source
        self.size_bytes = len(data)
        self._input = _input_name(self._session, ["n", self.card.size, self.card.size, 3], source=source)
        self._most = 1 if self._session.inputs[0].shape[0] == 1 else MAX_BATCH  # models of others may take one crop
        outputs = self._session.outputs
        self._outputs = [_output_name(outputs, "points", ["n", self.scheme.count, 2], source=source)]
        if any(value.name == "spread" for value in outputs):
            self._outputs.append(_output_name(outputs, "spread", ["n", self.scheme.count], source=source))
        if self.card.calibration and not self.tells_spread:
            raise ModelFileError(f"{source}: the card has a calibration, but there is no output 'spread' to calibrate")

    @staticmethod
    def open(
        model: str | os.PathLike[str] | bytes = "default",
        *,
        threads: int = 1,
        device: str = CPU,
        backend: str = ONNXRUNTIME,
    ) -> "LandmarkSession":
        """Open a landmark model.

        Args:
            model: ``default``, a name that ``canthus models`` lists, a path, or the content of a file.
            threads: threads within one operator.
            device: ``cpu``, ``cuda``, ``directml``, ``coreml`` or ``auto``.
            backend: ``onnxruntime``, ``openvino`` or ``openvino-bf16``.

        Raises:
            ConfigError: no embedded model has that name, or the device or back end does not work here.
            MissingExtraError: OpenVINO is not installed.
            ModelFileError: the file is missing, or is not a landmark model of canthus.
        """
        data, source = _content(model, LANDMARKS)
        return LandmarkSession(data, source=source, threads=threads, device=device, backend=backend)

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

        Raises:
            ModelFileError: the model fails on the crops, or its answer has another shape or is not finite.
            TypeError: ``crops`` is no array of bytes.
            ValueError: its shape is another.
        """
        check_crops(crops, self.card.size)
        count = self.scheme.count
        runs = [self._run(crops[first : first + self._most]) for first in range(0, len(crops), self._most)] or [
            [np.zeros((0, count, 2), np.float32), np.zeros((0, count), np.float32)]
        ]
        outputs = runs[0] if len(runs) == 1 else [np.concatenate(parts) for parts in zip(*runs, strict=True)]
        points = unit_to_pixels(outputs[0], self.card.size)
        if not self.tells_spread:
            return Answer(points)
        calibration, spread = self.card.calibration, outputs[1]
        return Answer(points, spread, calibration.scores(spread, margin=self.card.margin) if calibration else None)

    def _run(self, crops: UInt8[np.ndarray, "n s s 3"]) -> list[np.ndarray]:
        outputs = self._session.run(self._outputs, {self._input: crops})
        shape = (len(crops), self.scheme.count, 2)
        for name, values in zip(self._outputs, outputs, strict=True):
            check_answer(values, shape[:2] if name == "spread" else shape, name=name, source=self.source)
        return outputs


@final
class DetectorSession:
    """A detector network, ready to run. Its attributes are those of ``LandmarkSession`` but for the scheme."""

    def __init__(
        self, data: bytes, *, source: str, threads: int = 1, device: str = CPU, backend: str = ONNXRUNTIME
    ) -> None:
        """Load a detector from the content of its file; ``open`` also takes names and paths.

        Raises:
            ConfigError: ``threads`` is below one, or the device or back end does not work here.
            MissingExtraError: OpenVINO is not installed.
            ModelFileError: not an ONNX model, no card, or inputs and outputs that a detector does not have.
        """
        self._session, card = open_onnx(data, source=source, threads=threads, device=device, backend=backend)
        self.card = DetectorCard.from_json(card, source=source)
        self.source = source
        self.size_bytes = len(data)
        self._input = _input_name(self._session, ["n", "h", "w", 3], source=source)
        self._output = _output_name(self._session.outputs, "faces", ["n", "cells", ROW], source=source)

    @staticmethod
    def open(
        model: str | os.PathLike[str] | bytes = "default",
        *,
        threads: int = 1,
        device: str = CPU,
        backend: str = ONNXRUNTIME,
    ) -> "DetectorSession":
        """Open a face detector; arguments and errors as for ``LandmarkSession.open``."""
        data, source = _content(model, DETECTOR)
        return DetectorSession(data, source=source, threads=threads, device=device, backend=backend)

    def __call__(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n cells 15"]:
        """Output of every cell of each picture, for ``canthus_detector.decode``.

        Args:
            images: RGB; both sides are multiples of the largest stride.

        Raises:
            ModelFileError: the model fails on the pictures, or its answer has another shape or is not finite.
            TypeError: ``images`` is no array of bytes.
            ValueError: its shape is another.
        """
        _check_bytes(images, "pictures", "(n, h, w, 3)")
        if images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"Expected pictures of the shape (n, h, w, 3), found {images.shape}")
        outputs = self._session.run([self._output], {self._input: images})[0]
        count, height, width = images.shape[:3]
        cells = sum((height // stride) * (width // stride) for stride in self.card.strides)
        check_answer(outputs, (count, cells, ROW), name=self._output, source=self.source)
        return outputs


def check_crops(crops: Any, size: int) -> None:
    """Refuse what is no ``uint8`` array of the shape ``(n, size, size, 3)``.

    Raises:
        TypeError: it is no array, or one of another type.
        ValueError: its shape is another.
    """
    shape = f"(n, {size}, {size}, 3)"
    _check_bytes(crops, "crops", shape)
    if crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
        raise ValueError(f"Expected crops of the shape {shape}, found {crops.shape}")


def _check_bytes(value: object, what: str, shape: str) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        found = f"one of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"Expected a numpy array of uint8 {what}, shape {shape}, found {found}")


def check_answer(values: np.ndarray, shape: tuple[int, ...], *, name: str, source: str) -> None:
    """Refuse an answer of another shape, or one with numbers that are not finite or beyond ``FARTHEST``.

    Raises:
        ModelFileError: the answer is refused.
    """
    if values.shape != shape:
        raise ModelFileError(f"{source}: its output {name!r} has the shape {values.shape}, expected {shape}")
    # NaN passes through min and max, and fails both comparisons.
    if not (values.min(initial=0) >= -FARTHEST and values.max(initial=0) <= FARTHEST):
        raise ModelFileError(
            f"{source}: its output {name!r} holds numbers that are not finite, or above {FARTHEST:g}; the file is "
            "damaged, or its training failed"
        )


def _content(model: str | os.PathLike[str] | bytes, kind: str) -> tuple[bytes, str]:
    """Content of a model's file, and its source."""
    if isinstance(model, bytes):
        return model, "bytes"
    path = find_model(model, kind=kind)
    return read_model(path), os.fspath(path)


def _input_name(session: BoundedSession, shape: Sequence[int | str], *, source: str) -> str:
    """Name of the only input, which takes bytes of this shape."""
    inputs = session.inputs
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
