"""Time networks and whole steps, in turns."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float64

from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, ModelFileError
from canthus.geometry import hull_box
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.runtime.sessions import MAX_BATCH, MOST_SECONDS, BoundedSession, read_model

FREE_SIDE = 112
"""Height and width of inputs that leave them open."""
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
    """A model that is ready to be timed: ``run`` runs it once on ``feeds``, which has one array per input."""

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
    """Open an ONNX file and fill its inputs with random numbers.

    Args:
        model: the file or its content.
        threads: threads inside one operator; operators run one after the other.
        shapes: input name -> shape, for inputs whose open sides ``fill_shape`` guesses wrong; names of other inputs are
            ignored.

    Raises:
        ConfigError: the batch of the model is fixed to another size, an input has an unsupported type, or the model
            does not run on the made-up inputs.
        ModelFileError: the file is no ONNX model, or one that ``onnx_checks.check_onnx`` refuses; its weights may be in
            other files of its folder.
    """
    session = BoundedSession(
        model if isinstance(model, bytes) else read_model(model),
        source=name,
        threads=threads,
        folder=None if isinstance(model, bytes) else Path(model).resolve().parent,
        fixed=False,
        seconds=MOST_SECONDS * max(1, batch / MAX_BATCH),
    )
    given = dict(shapes or {})
    feeds = {
        value.name: _made_up(
            value.type, tuple(given.get(value.name) or fill_shape(value.shape, batch=batch, name=name)), name=name
        )
        for value in session.inputs
    }
    try:
        session.run(None, feeds)
    except ModelFileError as error:
        raise ConfigError(f"{error}. These inputs are made up; name their shapes by --shape") from error
    return Candidate(name, feeds, lambda: session.run(None, feeds))


def fill_shape(declared: Sequence[int | str | None], *, batch: int, name: str) -> tuple[int, ...]:
    """Replace the open sides of a declared shape by numbers.

    The first side is the batch.  An input with four sides is a picture: open heights and widths become ``FREE_SIDE``,
    and it has 3 channels, in the second place unless the last place has 1 or 3.  Other open sides become 1.

    Raises:
        ConfigError: the batch of the model is fixed to another size.
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
    """Input shape for ``DETECTOR_PICTURE``, its sides rounded up to a multiple of the largest stride."""
    multiple = max(strides)
    height, width = (-(-side // multiple) * multiple for side in DETECTOR_PICTURE)
    return batch, height, width, 3


def _made_up(kind: str, shape: tuple[int, ...], *, name: str) -> np.ndarray:
    if kind not in _TYPES:
        raise ConfigError(f"{name}: an input is {kind}; supported types: {', '.join(_TYPES)}")
    dtype, rng = np.dtype(_TYPES[kind]), np.random.default_rng(0)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind != "b":
        return rng.integers(0, 128, shape).astype(dtype)
    return np.ones(shape, dtype)


def time_in_turns(
    runs: Sequence[Callable[[], object]],
    *,
    rounds: int,
    calls: int = 5,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Float64[np.ndarray, "m calls"]]:
    """Time several functions in turns, so that a busy or throttled moment affects all of them.

    Each round visits every function, beginning with the next one each time.  A visit makes one untimed call, which
    fills the caches, and then ``calls`` timed ones.

    Args:
        calls: timed calls per visit.
        warm_up: untimed calls of each function before the first round.
        clock: in seconds; ``time.process_time`` is that of all threads, and other programs disturb it less.

    Yields:
        The seconds of each round, one line per function.

    Raises:
        ValueError: ``rounds`` or ``calls`` is below one.
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
                start = clock()
                runs[index]()
                seconds[index, call] = clock() - start
        yield seconds


@final
@dataclass(frozen=True)
class Latency:
    """Quantiles of the seconds of one run."""

    median_s: float
    p10_s: float
    p90_s: float


def latency(seconds: Float64[np.ndarray, " n"]) -> Latency:
    """Quantiles of measured seconds.  There is no mean, because slow outliers come from the machine."""
    p10, median, p90 = (float(v) for v in np.quantile(seconds, (0.1, 0.5, 0.9)))
    return Latency(median_s=median, p10_s=p10, p90_s=p90)


def share_of_peak(multiply_adds: int, seconds: float, peak_flops: float) -> float:
    """Floating-point operations per second over ``peak_flops``; a multiply-add is two operations."""
    return 2 * multiply_adds / seconds / peak_flops


PICTURE = 240
"""Side in pixels of the drawn picture that whole steps crop the face from."""
UNCOUNTED_CASCADE = "a cascade of ferns compares pixels and adds shapes; it has no multiply-adds of a network"


def open_landmark_candidate(
    path: str | os.PathLike[str], *, name: str, threads: int, batch: int = 1, whole: bool
) -> Candidate:
    """Open a landmark model to time inference on crops, or the whole step from picture to points.

    Args:
        path: ONNX file with a card, or ``.npz`` file of a cascade.
        threads: threads inside one operator of a network; a cascade runs in NumPy on one thread.
        whole: also crop the faces from a drawn picture of ``PICTURE`` pixels and map the points back.

    Raises:
        ConfigError: the model does not run with this batch.
        ModelFileError: the file is no landmark model of canthus.
    """
    model = open_model(path, threads=threads)
    crops = np.random.default_rng(0).integers(0, 256, (batch, model.card.size, model.card.size, 3), np.uint8)
    if is_cascade(path):
        feeds = {"image": crops}
    else:
        feeds = dict(open_candidate(path, name=name, threads=threads, batch=batch).feeds)
    if not whole:
        return Candidate(name, feeds, lambda: model.answer(crops))
    face = draw_face(np.random.default_rng(0), size=PICTURE)
    boxes = np.repeat(hull_box(face.points)[None], batch, axis=0)
    landmarker = Landmarker(model)
    return Candidate(name, feeds, lambda: landmarker(face.image, boxes))


def is_cascade(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds a fitted cascade rather than a network."""
    return Path(path).suffix == ".npz"
