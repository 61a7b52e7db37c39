"""What runs a network: ONNX Runtime on the processor or a graphics card, or OpenVINO.

All have the interface of ``onnxruntime.InferenceSession``, as far as ``sessions.BoundedSession`` uses it.
"""

import contextlib
import functools
import io
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias, final

import numpy as np
import onnxruntime

from canthus.errors import ConfigError
from canthus.lookup import require, unknown_name

ONNXRUNTIME = "onnxruntime"
OPENVINO: Mapping[str, str] = {"openvino": "f32", "openvino-bf16": "bf16"}
"""Back ends of OpenVINO, and the numbers in which they compute."""
BACKENDS = (ONNXRUNTIME, *OPENVINO)
CPU, AUTO = "cpu", "auto"
CPU_PROVIDER = "CPUExecutionProvider"

MOST_CARD_MEMORY = 4 << 30
"""Bytes that a model may use on a card of NVIDIA."""

logger = logging.getLogger(__name__)

Run: TypeAlias = Callable[[Sequence[str] | None, Mapping[str, np.ndarray]], list[np.ndarray]]


@final
@dataclass(frozen=True)
class Card:
    """A kind of graphics card or other accelerator.

    Attributes:
        provider: execution provider of ONNX Runtime.
        wheel: what to install for it.
        options: of the provider.
    """

    provider: str
    wheel: str
    options: Mapping[str, str] = field(default_factory=dict)


CARDS = {
    # Products of 19 bits (TF32) would move points more than other processors do; the exhaustive search for the fastest
    # convolution takes seconds for each new shape.
    "cuda": Card(
        "CUDAExecutionProvider",
        "pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]' (Linux and Windows, NVIDIA)",
        {"cudnn_conv_algo_search": "HEURISTIC", "gpu_mem_limit": str(MOST_CARD_MEMORY), "use_tf32": "0"},
    ),
    "directml": Card(
        "DmlExecutionProvider", "pip uninstall onnxruntime; pip install onnxruntime-directml (Windows, DirectX 12)"
    ),
    "coreml": Card("CoreMLExecutionProvider", "pip install onnxruntime (macOS)"),
}
"""Name of a device -> what it needs; ``auto`` tries them in this order."""
DEVICES = (CPU, *CARDS, AUTO)


def find_device(device: str, backend: str = ONNXRUNTIME) -> str:
    """The device that is meant: a key of ``CARDS`` or ``cpu``.

    ``auto`` is the first of ``CARDS`` that the installed ONNX Runtime was built for, else the processor.

    Raises:
        ConfigError: no such device or back end, the installed ONNX Runtime was built without it, or the back end runs
            on the processor alone.
    """
    if backend not in BACKENDS:
        raise unknown_name(backend, BACKENDS, kind="back end")
    if device not in DEVICES:
        raise unknown_name(device, DEVICES, kind="device")
    if backend in OPENVINO:
        if device not in (CPU, AUTO):
            raise ConfigError(f"The back end {backend} runs on the processor; leave out the device {device!r}")
        return CPU
    built_for = onnxruntime.get_available_providers()
    if device == AUTO:
        return next((name for name, card in CARDS.items() if card.provider in built_for), CPU)
    if device != CPU and CARDS[device].provider not in built_for:
        raise ConfigError(
            f"The installed ONNX Runtime {onnxruntime.__version__} has no {CARDS[device].provider}, which the device "
            f"{device!r} needs; it has {', '.join(built_for)}. Run: {CARDS[device].wheel}"
        )
    return device


def open_session(data: bytes, options: Any, *, device: str, backend: str) -> tuple[Any, bool]:
    """A network, ready to run, and whether it runs on a card.

    Args:
        data: content of an ONNX file.
        options: of ONNX Runtime; OpenVINO gets the same number of threads.
        device: ``auto`` goes back to the processor, with a warning, where a card cannot be started.

    Raises:
        ConfigError: the device or back end is unknown, or does not work here.
        MissingExtraError: OpenVINO is not installed.
        Exception: errors of the library about the file.
    """
    found = find_device(device, backend)
    if backend in OPENVINO:
        return OpenVinoSession(data, threads=options.intra_op_num_threads, numbers=OPENVINO[backend]), False
    if found == CPU:
        return _onnx_session(data, options, [CPU_PROVIDER]), False
    session = _on_card(data, options, CARDS[found])
    if session is not None:
        return session, True
    problem = (
        f"ONNX Runtime has {CARDS[found].provider} and cannot start it; are the driver and libraries of the device "
        f"{found!r} installed? {CARDS[found].wheel}"
    )
    if device != AUTO:
        raise ConfigError(problem)
    logger.warning("%s. The processor is used.", problem)
    return _onnx_session(data, options, [CPU_PROVIDER]), False


def _onnx_session(data: bytes, options: Any, providers: Sequence[Any]) -> Any:
    # Without its fallback, which prints and tries the same once more.
    return onnxruntime.InferenceSession(data, options, providers=list(providers), enable_fallback=0)


def _on_card(data: bytes, options: Any, card: Card) -> Any:
    """A session on a card; None where ONNX Runtime could not start it, for which it has no error."""
    if card is CARDS["cuda"] and hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    if card is CARDS["directml"]:
        options.enable_mem_pattern = False  # DirectML has none
    session = _onnx_session(data, options, [(card.provider, dict(card.options)), CPU_PROVIDER])
    return session if card.provider in session.get_providers() else None


@final
@dataclass(frozen=True)
class Value:
    """An input or output; a free side of ``shape`` is "?"."""

    name: str
    type: str
    shape: list[int | str]


@final
class OpenVinoSession:
    """A network in OpenVINO on the processor; threads may share it.

    Args:
        data: content of an ONNX file.
        threads: threads of one run.
        numbers: ``f32`` or ``bf16``; layers of int8 stay so.

    Raises:
        ConfigError: the processor does not compute with these numbers.
        MissingExtraError: OpenVINO is not installed.
        RuntimeError: OpenVINO cannot open the file.
    """

    def __init__(self, data: bytes, *, threads: int, numbers: str = "f32") -> None:
        core = _openvino_core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if numbers == "bf16" and "BF16" not in able:
            raise ConfigError(
                f"This processor does not compute in bf16 (it has {', '.join(able)}); use the back end openvino, or a "
                "processor with AVX-512 BF16 or AMX"
            )
        model = core.read_model(data)
        metadata = model.get_rt_info()["framework"] if model.has_rt_info("framework") else {}
        self._metadata = {name: str(value.value) for name, value in metadata.items()}
        settings = {
            "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": numbers, "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }  # fmt: skip
        self._compiled = core.compile_model(model, "CPU", settings)
        self._here = threading.local()

    def get_inputs(self) -> list[Value]:
        """Inputs with name, type and shape."""
        return _values(self._compiled.inputs)

    def get_outputs(self) -> list[Value]:
        """Outputs, likewise; one that has several names in OpenVINO is listed by each of them."""
        return _values(self._compiled.outputs)

    def get_modelmeta(self) -> SimpleNamespace:
        """The metadata of the file."""
        return SimpleNamespace(custom_metadata_map=self._metadata)

    def run(
        self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray], options: Any = None
    ) -> list[np.ndarray]:
        """The outputs of these names, or all; ``options`` has no effect."""
        if not hasattr(self._here, "request"):
            self._here.request = self._compiled.create_infer_request()
        found = self._here.request.infer({name: np.ascontiguousarray(array) for name, array in feeds.items()})
        return [found[name] for name in (self._compiled.outputs if names is None else names)]


@functools.cache
def _openvino_core() -> Any:
    return require("openvino", extra="openvino").Core()


_TYPES = {"u8": "uint8", "f32": "float"}


def _values(ports: Sequence[Any]) -> list[Value]:
    found = []
    for port in ports:
        kind = port.element_type.get_type_name()
        sides = [side.get_length() if side.is_static else "?" for side in port.partial_shape]
        found += [Value(name, f"tensor({_TYPES.get(kind, kind)})", sides) for name in sorted(port.names)]
    return found


@final
@dataclass(eq=False)
class _Call:
    names: Sequence[str] | None
    feeds: Mapping[str, np.ndarray]
    done: Future[list[np.ndarray]]

    @property
    def rows(self) -> int:
        return len(next(iter(self.feeds.values())))

    def fits(self, other: "_Call") -> bool:
        """Whether both go into one run: the same outputs, and inputs that differ in the number of rows alone."""
        return self.names == other.names and all(
            name in other.feeds and array.shape[1:] == other.feeds[name].shape[1:] for name, array in self.feeds.items()
        )


@final
class JoinedRuns:
    """Runs that threads ask for at the same time, in one run each time: what waits while one goes on joins the next.

    A card takes about as long for many pictures as for one.  The rows of a joined run are filled up to a power of two,
    because each new shape costs time.

    Args:
        run: runs the network on inputs whose first side is free.
        most: largest number of rows of a joined run.
    """

    def __init__(self, run: Run, *, most: int) -> None:
        self._run, self._most = run, most
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._waiting: list[_Call] = []

    def __call__(self, names: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of one call."""
        call = _Call(names, feeds, Future())
        with self._lock:
            self._waiting.append(call)
        with self._turn:
            if not call.done.done():
                self._answer(self._taken(call))
        return call.done.result()

    def _taken(self, call: _Call) -> list[_Call]:
        """The call and those that fit to it, oldest first."""
        with self._lock:
            group, rows = [call], call.rows
            for other in self._waiting:
                if other is not call and call.fits(other) and rows + other.rows <= self._most:
                    group.append(other)
                    rows += other.rows
            self._waiting = [other for other in self._waiting if other not in group]
        return group

    def _answer(self, group: list[_Call]) -> None:
        try:
            if len(group) == 1:
                group[0].done.set_result(self._run(group[0].names, group[0].feeds))
                return
            ends = np.cumsum([call.rows for call in group])
            outputs = self._run(group[0].names, _joined(group, int(ends[-1])))
            for call, end in zip(group, ends.tolist(), strict=True):
                call.done.set_result([output[end - call.rows : end] for output in outputs])
        except BaseException as error:  # noqa: BLE001 - raised again in each of the threads that wait
            for call in group:
                call.done.set_exception(error)


def _joined(group: Sequence[_Call], rows: int) -> dict[str, np.ndarray]:
    """Inputs of all calls, with zeros up to a power of two."""
    lacking = (1 << (rows - 1).bit_length()) - rows
    feeds = {}
    for name, first in group[0].feeds.items():
        zeros = np.zeros((lacking, *first.shape[1:]), first.dtype)
        feeds[name] = np.concatenate([*(call.feeds[name] for call in group), zeros])
    return feeds
