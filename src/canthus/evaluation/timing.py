"""How long networks and whole steps take: in turns, one thread, medians."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import onnxruntime
from jaxtyping import Float64

from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, ModelFileError
from canthus.geometry import hull_box
from canthus.runtime.landmarker import CropModel, Landmarker, open_model
from canthus.runtime.sessions import ORT_ERRORS

FREE_SIDE = 112
"""Height and width taken for inputs that leave them open."""
DETECTOR_PICTURE = (480, 640)
"""Height and width of the picture on which face detectors are timed."""

_TYPES: dict[str, str] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


@final
@dataclass(frozen=True)
class Candidate:
    """A model that is ready to be timed.

    Attributes:
        name: as it is printed.
        feeds: one array per input.
        run: one run on them.
    """

    name: str
    feeds: Mapping[str, np.ndarray]
    run: Callable[[], object]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input."""
        return {name: array.shape for name, array in self.feeds.items()}


def open_candidate(
    model: str | os.PathLike[str] | bytes,
    *,
    name: str,
    threads: int,
    batch: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Candidate:
    """Open an ONNX file and make up its inputs.

    Args:
        model: the file or its content.
        name: how results call it.
        threads: threads inside one operator; operators run one after the other.
        batch: faces in one run.
        shapes: input name -> shape, for inputs whose open sides are not guessed right; other names are left out.

    Raises:
        ConfigError: the model's batch is fixed to another size, an input has an unusual type, or the made-up inputs do
            not run.
        ModelFileError: no ONNX model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    content = model if isinstance(model, bytes) else os.fspath(model)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ModelFileError(f"{name}: ONNX Runtime cannot open it ({first_line(error)})") from error
    given = dict(shapes or {})
    feeds = {
        value.name: _made_up(
            value.type, tuple(given.get(value.name) or fill_shape(value.shape, batch=batch, name=name)), name=name
        )
        for value in session.get_inputs()
    }
    try:
        session.run(None, feeds)
    except ORT_ERRORS as error:
        tried = ", ".join(f"{key} {list(array.shape)}" for key, array in feeds.items())
        raise ConfigError(
            f"{name}: does not run with made-up inputs {tried} ({first_line(error)}); name their shapes by --shape"
        ) from error
    return Candidate(name, feeds, lambda: session.run(None, feeds))


def fill_shape(declared: Sequence[int | str | None], *, batch: int, name: str) -> tuple[int, ...]:
    """A concrete shape for a declared one with open sides.

    The first side is the batch.  Pictures, four sides, get 3 channels, in the second place unless the last says that
    it holds them, and open heights and widths become ``FREE_SIDE``; other open sides become 1.

    Raises:
        ConfigError: the model fixes the batch to another size.
    """
    sides = [side if isinstance(side, int) and side > 0 else 0 for side in declared]
    if not sides:
        return ()
    if sides[0] == 0:
        sides[0] = batch
    elif sides[0] != batch and (batch != 1 or len(sides) == 4):
        raise ConfigError(f"{name}: its batch is fixed to {sides[0]}, asked for {batch}; export it with an open batch")
    if len(sides) == 4:
        channels = 3 if sides[3] in (1, 3) and sides[1] not in (1, 3) else 1
        sides = [side or (3 if axis == channels else FREE_SIDE) for axis, side in enumerate(sides)]
    return tuple(side or 1 for side in sides)


def detector_shape(strides: Sequence[int], *, batch: int = 1) -> tuple[int, int, int, int]:
    """Shape of ``DETECTOR_PICTURE`` with its sides rounded up to what a detector of these strides takes."""
    multiple = max(strides)
    height, width = (-(-side // multiple) * multiple for side in DETECTOR_PICTURE)
    return batch, height, width, 3


def _made_up(kind: str, shape: tuple[int, ...], *, name: str) -> np.ndarray:
    if kind not in _TYPES:
        raise ConfigError(f"{name}: an input is {kind}; can make up {', '.join(_TYPES)}")
    dtype, rng = np.dtype(_TYPES[kind]), np.random.default_rng(0)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind != "b":
        return rng.integers(0, 128, shape).astype(dtype)
    return np.ones(shape, dtype)


def time_in_turns(
    runs: Sequence[Callable[[], object]], *, rounds: int, calls: int = 5, warm_up: int = 3
) -> Iterator[Float64[np.ndarray, "m calls"]]:
    """Time several things in turns, so that a busy or throttled moment hits all alike.

    Each round visits every one, starting one further each time, with one untimed call to fill the caches and then
    ``calls`` timed ones.

    Args:
        runs: what to time.
        rounds: how often each is visited.
        calls: timed calls a visit.
        warm_up: untimed calls of each before the first round.

    Yields:
        After each round, its seconds: one line per run.
    """
    if rounds < 1 or calls < 1:
        raise ValueError(f"Timing needs at least one round of one call, found {rounds} of {calls}")
    for run in runs:
        for _ in range(warm_up):
            run()
    for number in range(rounds):
        seconds = np.empty((len(runs), calls))
        for place in range(len(runs)):
            index = (number + place) % len(runs)
            runs[index]()
            for call in range(calls):
                start = time.perf_counter()
                runs[index]()
                seconds[index, call] = time.perf_counter() - start
        yield seconds


@final
@dataclass(frozen=True)
class Latency:
    """Quantiles of the seconds of one run."""

    median_s: float
    p10_s: float
    p90_s: float


def latency(seconds: Float64[np.ndarray, " n"]) -> Latency:
    """Quantiles of measured seconds; slow outliers are the machine's, so no mean is given."""
    p10, median, p90 = (float(v) for v in np.quantile(seconds, (0.1, 0.5, 0.9)))
    return Latency(median_s=median, p10_s=p10, p90_s=p90)


def share_of_peak(multiply_adds: int, seconds: float, peak_flops: float) -> float:
    """Floating-point operations per second over the machine's best; a multiply-add is two operations."""
    return 2 * multiply_adds / seconds / peak_flops


def first_line(error: Exception) -> str:
    """The first line of a message of ONNX Runtime, which may go on about its own source code."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


PICTURE = 240
"""Side of the drawn picture whose face is cut out, in pixels."""
UNCOUNTED_CASCADE = "a cascade of ferns compares pixels and adds shapes; it has no multiply-adds of a network"


def open_landmark_candidate(
    path: str | os.PathLike[str], *, name: str, threads: int, batch: int = 1, whole: bool
) -> Candidate:
    """A landmark model ready to be timed: the model alone on crops, or all that one picture asks for.

    Args:
        path: ONNX file with a card, or ``.npz`` of a cascade.
        name: how results call it.
        threads: threads inside one operator of a network; a cascade runs in NumPy and takes one.
        batch: faces in one run.
        whole: also cut the faces out of a drawn picture of ``PICTURE`` pixels and map the points back.

    Raises:
        ConfigError: the file does not run with this batch.
        ModelFileError: no landmark model of canthus.
    """
    model = open_model(path, threads=threads)
    crops = np.random.default_rng(0).integers(0, 256, (batch, model.card.size, model.card.size, 3), np.uint8)
    if is_cascade(path):
        feeds = {"image": crops}
    else:
        feeds = dict(open_candidate(path, name=name, threads=threads, batch=batch).feeds)
    return Candidate(name, feeds, _whole_run(model, batch) if whole else lambda: model.answer(crops))


def is_cascade(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a fitted cascade rather than a network."""
    return Path(path).suffix == ".npz"


def _whole_run(model: CropModel, batch: int) -> Callable[[], object]:
    face = draw_face(np.random.default_rng(0), size=PICTURE)
    boxes = np.repeat(hull_box(face.points)[None], batch, axis=0)
    landmarker = Landmarker(model)
    return lambda: landmarker(face.image, boxes)
