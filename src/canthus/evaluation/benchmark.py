"""Cost of networks on this machine: parameters, multiply-adds, time."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from canthus.errors import ConfigError, ModelFileError
from canthus.evaluation.graph import GraphCount, count_graph, side_files
from canthus.evaluation.onnx_file import product_model
from canthus.evaluation.timing import (
    UNCOUNTED_CASCADE,
    Candidate,
    Latency,
    detector_shape,
    is_cascade,
    latency,
    open_candidate,
    open_landmark_candidate,
    share_of_peak,
    time_in_turns,
)
from canthus.runtime.cards import DETECTOR, DetectorCard, card_kind
from canthus.runtime.sessions import open_onnx, read_model

PEAK_SIDE = 512
"""Side of the square matrices whose product measures the machine: large enough for full speed, 1 MB each."""


@final
@dataclass(frozen=True)
class Machine:
    """What a latency depends on besides the model.

    Attributes:
        cpu: name of the processor.
        cores: logical cores that this process may use.
        system: operating system and architecture.
        python: version of Python.
        onnxruntime: version of ONNX Runtime.
    """

    cpu: str
    cores: int
    system: str
    python: str
    onnxruntime: str


def describe_machine() -> Machine:
    """The machine this runs on."""
    import onnxruntime

    return Machine(
        cpu=_cpu_name(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
    )


def _cpu_name(cpuinfo: Path) -> str:
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in ("model name", "hardware") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def peak_model(side: int = PEAK_SIDE) -> bytes:
    """An ONNX file with one float32 matrix product of ``side x side``, ``side ** 3`` multiply-adds.

    Run by the same library with the same threads as the networks, it shows what those could reach.
    """
    weights = np.random.default_rng(0).uniform(-1, 1, (side, side)).astype("<f4")
    return product_model(weights.tobytes(), side)


@final
@dataclass(frozen=True)
class ModelCost:
    """What one model costs.

    Attributes:
        name: as given.
        shapes: shape of each input.
        size_bytes: of the file, with side files.
        latency: of one run, all faces of the batch together.
        ratio: its median over that of the first network.
        count: parameters and multiply-adds of one run, or None; ``uncounted`` then says why.
        peak_share: operations per second over the machine's measured best in float32; None without a count.
        uncounted: why there is no count, or "".
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    size_bytes: int
    latency: Latency
    ratio: float
    count: GraphCount | None
    peak_share: float | None
    uncounted: str


@final
@dataclass(frozen=True)
class Benchmark:
    """Costs of several networks, measured in turns in one run.

    Attributes:
        machine: what they ran on.
        threads: threads inside one operator.
        batch: faces in one run.
        repeats: timed runs of each network.
        peak_flops: fastest float32 matrix product seen in the same run, in operations per second.
        models: in the order given.
        whole: whether cutting faces out and mapping points back was timed as well.
    """

    machine: Machine
    threads: int
    batch: int
    repeats: int
    peak_flops: float
    models: tuple[ModelCost, ...]
    whole: bool = False


def benchmark_models(
    models: Mapping[str, str | os.PathLike[str]],
    *,
    threads: int = 1,
    batch: int = 1,
    repeats: int = 200,
    shapes: Mapping[str, Sequence[int]] | None = None,
    whole: bool = False,
    on_round: Callable[[int, int], None] | None = None,
) -> Benchmark:
    """Measure models in turns, each round with the matrix product that gives the machine's best.

    Args:
        models: name -> ONNX file, or ``.npz`` of a cascade; the first is what the others are compared with.
        threads: threads inside one operator.
        batch: faces in one run.
        repeats: timed runs of each network, rounded up to whole rounds.
        shapes: input name -> shape, for open sides; each model takes those that it has.
        whole: time all that the faces of a picture ask for, see ``whole_step``; landmark models with a card only.
        on_round: called after each round with its number and the number of rounds.

    Raises:
        ConfigError: a model does not run with made-up inputs, or ``shapes`` names an input that no model has, or comes
            with ``whole``, where the card says the shape.
        ModelFileError: a file is no ONNX model; with ``whole``: no landmark model of canthus.
        ValueError: no models, or a count below one.
    """
    if not models or min(threads, batch, repeats) < 1:
        raise ValueError(
            f"Expected at least one model, thread, face and repeat; found {len(models)}, {threads}, {batch}, {repeats}"
        )
    candidates = _candidates(models, threads=threads, batch=batch, shapes=shapes or {}, whole=whole)
    peak = open_candidate(peak_model(), name="peak", threads=threads)
    calls = min(5, repeats)
    rounds = -(-repeats // calls)
    seconds = []
    for number, taken in enumerate(
        time_in_turns([c.run for c in (*candidates, peak)], rounds=rounds, calls=calls), start=1
    ):
        seconds.append(taken)
        if on_round:
            on_round(number, rounds)
    together = np.concatenate(seconds, axis=1)
    peak_flops = 2 * PEAK_SIDE**3 / float(together[-1].min())
    costs = _costs(candidates, list(models.values()), [latency(row) for row in together[:-1]], peak_flops)
    return Benchmark(describe_machine(), threads, batch, rounds * calls, peak_flops, costs, whole)


def benchmark_json(result: Benchmark) -> dict[str, Any]:
    """The numbers of a benchmark, ready for ``json``: seconds, bytes and fractions; null where not counted."""
    values = asdict(result)
    for cost in values["models"]:
        count = cost.pop("count") or {"parameters": None, "multiply_adds": None, "uncounted": []}
        note = cost.pop("uncounted")
        cost.update({**cost.pop("latency"), **count, "note": note})
    return values


def _candidates(
    models: Mapping[str, str | os.PathLike[str]],
    *,
    threads: int,
    batch: int,
    shapes: Mapping[str, Sequence[int]],
    whole: bool,
) -> list[Candidate]:
    if whole and shapes:
        raise ConfigError("The shape of a whole step's crops is in the model's card; leave out --shape or --whole")
    candidates = [
        open_landmark_candidate(path, name=name, threads=threads, batch=batch, whole=whole)
        if whole or is_cascade(path)
        else open_candidate(
            path, name=name, threads=threads, batch=batch, shapes={**_own_shapes(path, batch), **shapes}
        )
        for name, path in models.items()
    ]
    inputs = {name for candidate in candidates for name in candidate.shapes}
    unknown = sorted(set(shapes) - inputs)
    if unknown:
        raise ConfigError(f"No model has an input {unknown[0]!r}; inputs: {', '.join(sorted(inputs))}")
    return candidates


def _own_shapes(path: str | os.PathLike[str], batch: int) -> dict[str, tuple[int, ...]]:
    """The picture of a face detector, which says in its card that it is one; other files declare their sides."""
    try:
        _, card = open_onnx(read_model(path), source=os.fspath(path), threads=1)
        if card_kind(card, source=os.fspath(path)) != DETECTOR:
            return {}
        strides = DetectorCard.from_json(card, source=os.fspath(path)).strides
    except ModelFileError:  # of others, or of none: what is wrong with it is told where it is opened to be timed
        return {}
    return {"image": detector_shape(strides, batch=batch)}


def _costs(
    candidates: Sequence[Candidate],
    paths: Sequence[str | os.PathLike[str]],
    times: Sequence[Latency],
    peak_flops: float,
) -> tuple[ModelCost, ...]:
    costs = []
    for candidate, path, taken in zip(candidates, paths, times, strict=True):
        count, why = _count(path, candidate.feeds)
        share = share_of_peak(count.multiply_adds, taken.median_s, peak_flops) if count else None
        ratio = taken.median_s / times[0].median_s
        costs.append(ModelCost(candidate.name, candidate.shapes, _size(path), taken, ratio, count, share, why))
    return tuple(costs)


def _count(path: str | os.PathLike[str], feeds: Mapping[str, np.ndarray]) -> tuple[GraphCount | None, str]:
    """The count, or why there is none: it is a note beside the latency, not worth losing the run for."""
    if is_cascade(path):
        return None, UNCOUNTED_CASCADE
    try:
        return count_graph(path, feeds), ""
    except ModelFileError as error:
        return None, str(error)


def _size(path: str | os.PathLike[str]) -> int:
    """Bytes of the model, with the files that hold some of its numbers."""
    if is_cascade(path):
        return Path(path).stat().st_size
    try:
        beside = side_files(path)
    except ModelFileError:
        beside = []
    return sum(file.stat().st_size for file in (Path(path), *beside))
