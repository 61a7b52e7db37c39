"""Cost of models on this machine: parameters, multiply-adds, file size, latency, and the error that it buys."""

import contextlib
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime

from canthus.errors import ConfigError, MissingExtraError, ModelFileError
from canthus.evaluation.onnx_counts import GraphCount, count_graph, side_files
from canthus.evaluation.rows import protocol_of
from canthus.evaluation.run import Progress, evaluate, no_progress
from canthus.evaluation.summary import summarize
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
from canthus.runtime.cards import DETECTOR, LANDMARKS, DetectorCard, ModelCard, card_kind
from canthus.runtime.landmarker import CropModel, open_model
from canthus.runtime.sessions import DetectorSession, find_model, open_onnx, processors, read_model, usable_threads
from canthus.zoo import DEFAULT, DEFAULT_DETECTOR, embedded_detectors, embedded_models

PEAK_SIDE = 512
"""Side of the square matrices whose product measures the machine: large enough for full speed, 1 MB each."""
PEAK_MODEL = Path(__file__).with_name("matrix_product.onnx")
"""ONNX file of that product: ``y = x @ w`` in float32, ``PEAK_SIDE ** 3`` multiply-adds, every number of ``w`` 1/64.

It runs in the same library with the same threads as the networks, so it shows the speed that they could reach.
``w`` is a ``ConstantOfShape`` node, which ONNX Runtime replaces by stored numbers when it opens the file.
"""


@final
@dataclass(frozen=True)
class Machine:
    """The processor, the logical cores that this process may use, and the versions that a latency depends on."""

    cpu: str
    cores: int
    system: str
    python: str
    onnxruntime: str


def describe_machine() -> Machine:
    """The machine this runs on."""
    return Machine(
        cpu=_cpu_name(Path("/proc/cpuinfo")),
        cores=processors(),
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


@final
@dataclass(frozen=True)
class ModelCost:
    """Cost of one model.

    Attributes:
        size_bytes: of the file; where onnx is installed, with the files beside it that hold weights.
        latency: of one run, all faces of the batch together.
        ratio: its median over that of the first model.
        count: parameters and multiply-adds of one run; None where they are unknown.
        peak_share: operations per second over the machine's measured peak in float32; None without a count.
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
class Errors:
    """Mean errors of models over the faces of a test set, in true boxes.

    Attributes:
        tested: dataset and split, such as ``300w/validation``.
        unit: what the errors are, such as ``NME over the inter-ocular distance``.
        of: name of the model -> error as a fraction.
    """

    tested: str
    unit: str
    of: Mapping[str, float]


@final
@dataclass(frozen=True)
class Benchmark:
    """Costs of several models, measured in turns in one run.

    Attributes:
        threads: threads inside one operator.
        batch: faces in one run.
        repeats: timed runs of each model.
        peak_flops: fastest float32 matrix product seen in the same run, in operations per second.
        whole: whether cropping and mapping points back were timed as well.
        errors: of the models on a test set; None if they were not measured.
    """

    machine: Machine
    threads: int
    batch: int
    repeats: int
    peak_flops: float
    models: tuple[ModelCost, ...]
    whole: bool = False
    errors: Errors | None = None


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
    """Measure models in turns, together with a matrix product that gives the machine's peak speed.

    Parameters and multiply-adds are read from the card of a model, or else counted from the graph (extra: train).

    Args:
        models: name -> ONNX file, or ``.npz`` file of a cascade; the others are compared with the first.
        repeats: timed runs of each model, rounded up to whole rounds.
        shapes: input name -> shape, for inputs with open sides; each model takes the inputs that it has.
        whole: time cropping, inference and mapping points back; landmark models with a card only.
        on_round: called after each round with its number and the number of rounds.

    Raises:
        ConfigError: a model does not run on made-up inputs; ``shapes`` names an input that no model has; or both
            ``shapes`` and ``whole`` are given, although the card holds the shape.
        ModelFileError: a file is no ONNX model; with ``whole``, no landmark model of canthus.
        ValueError: no models, or a count below one.
    """
    if not models or min(threads, batch, repeats) < 1:
        raise ValueError(
            f"Expected at least one model, thread, face and repeat; found {len(models)}, {threads}, {batch}, {repeats}"
        )
    threads = usable_threads(threads)
    cards = {name: _card(path) for name, path in models.items()}
    candidates = _candidates(models, cards, threads=threads, batch=batch, shapes=shapes or {}, whole=whole)
    peak = open_candidate(PEAK_MODEL, name="peak", threads=threads)
    calls = min(5, repeats)
    rounds = -(-repeats // calls)
    turns = time_in_turns([c.run for c in (*candidates, peak)], rounds=rounds, calls=calls)
    seconds = []
    for number, taken in enumerate(turns, start=1):
        seconds.append(taken)
        if on_round:
            on_round(number, rounds)
    together = np.concatenate(seconds, axis=1)
    peak_flops = 2 * PEAK_SIDE**3 / float(together[-1].min())
    times = [latency(row) for row in together[:-1]]
    costs = []
    for candidate, took in zip(candidates, times, strict=True):
        count, why = _count(models[candidate.name], candidate, cards[candidate.name], batch=batch)
        share = share_of_peak(count.multiply_adds, took.median_s, peak_flops) if count else None
        size, ratio = _size(models[candidate.name]), took.median_s / times[0].median_s
        costs.append(ModelCost(candidate.name, candidate.shapes, size, took, ratio, count, share, why))
    return Benchmark(describe_machine(), threads, batch, rounds * calls, peak_flops, tuple(costs), whole)


def measure_errors(
    models: Mapping[str, str | os.PathLike[str]],
    *,
    dataset: str,
    root: str | os.PathLike[str],
    split: str | None = None,
    progress: Progress = no_progress,
) -> Errors:
    """Measure the mean error of landmark models over the faces of a test set, with true boxes.

    Args:
        models: name -> ONNX file with a card, or ``.npz`` file of a cascade.
        dataset, root, split: as for ``canthus.evaluate``.

    Raises:
        ConfigError: unknown dataset, or one whose points cannot be converted to those of a model.
        DataError: the dataset cannot be read.
        ModelFileError: a file is no landmark model of canthus.
    """
    reports = {name: evaluate(path, dataset, root, split=split, progress=progress) for name, path in models.items()}
    report = next(iter(reports.values()))
    protocol = protocol_of(report.dataset, report.scale)
    errors = {name: float(getattr(summarize(report.rows), protocol.error)) for name, report in reports.items()}
    return Errors(f"{report.dataset}/{report.split}", f"NME over the {protocol.scale}", errors)


def benchmark_json(result: Benchmark) -> dict[str, Any]:
    """The numbers of a benchmark for ``json``: seconds, bytes and fractions; null where a number is not known."""
    values = asdict(result)
    errors = values.pop("errors") or {"tested": None, "unit": None, "of": {}}
    values |= {"tested": errors["tested"], "error_unit": errors["unit"]}
    for cost in values["models"]:
        count = cost.pop("count") or {"parameters": None, "multiply_adds": None, "uncounted": []}
        note = cost.pop("uncounted")
        cost.update({**cost.pop("latency"), **count, "note": note, "error": errors["of"].get(cost["name"])})
    return values


def _candidates(
    models: Mapping[str, str | os.PathLike[str]],
    cards: Mapping[str, ModelCard | DetectorCard | None],
    *,
    threads: int,
    batch: int,
    shapes: Mapping[str, Sequence[int]],
    whole: bool,
) -> list[Candidate]:
    if whole and shapes:
        raise ConfigError("--whole takes the shape of the crops from the model's card; leave out --shape or --whole")
    candidates = []
    for name, path in models.items():
        if whole or is_cascade(path):
            candidate = open_landmark_candidate(path, name=name, threads=threads, batch=batch, whole=whole)
        else:
            known = {**_usual_shapes(cards[name], batch), **shapes}
            candidate = open_candidate(path, name=name, threads=threads, batch=batch, shapes=known)
        candidates.append(candidate)
    inputs = {name for candidate in candidates for name in candidate.shapes}
    unknown = sorted(set(shapes) - inputs)
    if unknown:
        raise ConfigError(f"No model has an input {unknown[0]!r}; inputs: {', '.join(sorted(inputs))}")
    return candidates


def _card(path: str | os.PathLike[str]) -> ModelCard | DetectorCard | None:
    """The card of a network of canthus; None for any other file."""
    if is_cascade(path):
        return None
    try:
        return _read_card(path)
    except ModelFileError:  # The file is opened once more to be timed; an error that matters is raised there.
        return None


def _read_card(path: str | os.PathLike[str]) -> ModelCard | DetectorCard:
    source = os.fspath(path)
    _, card = open_onnx(read_model(path), source=source, threads=1)
    of_detector = card_kind(card, source=source) == DETECTOR
    return (DetectorCard if of_detector else ModelCard).from_json(card, source=source)


def _usual_shapes(card: ModelCard | DetectorCard | None, batch: int) -> dict[str, tuple[int, ...]]:
    """The inputs for which a card holds the multiply-adds."""
    if isinstance(card, DetectorCard):
        return {"image": detector_shape(card.strides, batch=batch)}
    return {} if card is None else {"image": (batch, card.size, card.size, 3)}


def _count(
    path: str | os.PathLike[str], candidate: Candidate, card: ModelCard | DetectorCard | None, *, batch: int
) -> tuple[GraphCount | None, str]:
    """The count, or None and the reason."""
    if is_cascade(path):
        return None, UNCOUNTED_CASCADE
    counts = (card.parameters, card.multiply_adds) if card else (None, None)
    if counts[0] is not None and counts[1] is not None and candidate.shapes == _usual_shapes(card, batch):
        return GraphCount(counts[0], batch * counts[1]), ""
    try:
        return count_graph(path, candidate.feeds), ""
    except (MissingExtraError, ModelFileError) as error:
        return None, str(error)


def _size(path: str | os.PathLike[str]) -> int:
    beside: list[Path] = []
    if not is_cascade(path):
        with contextlib.suppress(MissingExtraError, ModelFileError):
            beside = side_files(path)
    return sum(file.stat().st_size for file in (Path(path), *beside))


MODEL_REPEATS, DETECTOR_REPEATS = 50, 10
"""Timed runs of a landmark model and of a detector for ``model_entries``; fewer for slow ones."""
TIMING_S = 10.0
"""Seconds that these runs should take together."""


def model_files(models: Sequence[str]) -> dict[str, Path]:
    """Name -> file of landmark models and detectors, given by embedded name or file.

    A model given again is listed again, as ``name#2``.

    Raises:
        ConfigError: an unknown name.
        ModelFileError: a file is missing.
    """
    detectors = embedded_detectors()
    files: dict[str, Path] = {}
    for model in models:
        repeat = sum(name.partition("#")[0] == model for name in files) + 1
        kind = DETECTOR if model in detectors else LANDMARKS
        files[model if repeat == 1 else f"{model}#{repeat}"] = find_model(model, kind=kind)
    return files


def model_entries(model: str | None = None) -> list[dict[str, Any]]:
    """Cards of models with their size and their speed on this machine.

    Args:
        model: embedded name or file of a landmark model or detector; None for all embedded ones.

    Returns:
        For each model, landmark models first: the fields of its card, ``name``, ``default``, ``kind`` (``landmarks``
        or ``detector``), ``size_bytes`` and ``median_ms`` (one face, or one picture of 640 x 480, on one thread).
        Landmark models also have ``numbers``, ``parameters``, ``multiply_adds`` and ``note``.

    Raises:
        ConfigError: an unknown name, or no model is embedded.
        ModelFileError: a file is missing, or is not a model of canthus.
    """
    paths, detectors = embedded_models(), embedded_detectors()
    if model is not None:
        path = model_files([model])[model]
        detects = not is_cascade(path) and isinstance(_read_card(path), DetectorCard)
        paths, detectors = ({}, {model: path}) if detects else ({model: path}, {})
    if not paths and not detectors:
        raise ConfigError("No model is embedded in this installation; install canthus again")
    repeats = min((_repeats(open_model(path)) for path in paths.values()), default=MODEL_REPEATS)
    costs = benchmark_models(paths, repeats=repeats).models if paths else ()
    return [
        *(_landmark_entry(cost, open_model(paths[cost.name]).card) for cost in costs),
        *(_detector_entry(name, path) for name, path in detectors.items()),
    ]


def _repeats(model: CropModel) -> int:
    """Timed runs of a landmark model that fit into ``TIMING_S``, at least one."""
    size = model.card.size
    return _affordable(lambda: model.answer(np.zeros((1, size, size, 3), np.uint8)), MODEL_REPEATS)


def _affordable(run: Callable[[], object], most: int) -> int:
    start = time.perf_counter()
    run()
    return max(1, min(most, int(TIMING_S / (time.perf_counter() - start))))


def _landmark_entry(cost: ModelCost, card: ModelCard) -> dict[str, Any]:
    return {
        **asdict(card),
        "name": cost.name,
        "default": cost.name == DEFAULT,
        "kind": "landmarks",
        "numbers": card.quantization.describe() if card.quantization else "float",
        "size_bytes": cost.size_bytes,
        "parameters": cost.count.parameters if cost.count else None,
        "multiply_adds": cost.count.multiply_adds if cost.count else None,
        "note": cost.uncounted,
        "median_ms": round(cost.latency.median_s * 1e3, 4),
    }


def _detector_entry(name: str, path: Path) -> dict[str, Any]:
    session = DetectorSession.open(path)
    picture = np.random.default_rng(0).integers(0, 256, detector_shape(session.card.strides), dtype=np.uint8)
    rounds = _affordable(lambda: session(picture), DETECTOR_REPEATS)
    calls = 5 if rounds == DETECTOR_REPEATS else 1
    seconds = np.concatenate(list(time_in_turns([lambda: session(picture)], rounds=rounds, calls=calls)), axis=1)
    return {
        **asdict(session.card),
        "name": name,
        "default": name == DEFAULT_DETECTOR,
        "size_bytes": session.size_bytes,
        "median_ms": round(latency(seconds[0]).median_s * 1e3, 4),
    }
