"""Quantize a landmark model or a face detector to int8, and compare it with the float one before it is kept."""

import functools
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, final

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from canthus.compression.quantize import AUTO, METHODS, RangedModel, Search, fit_rounding, see_ranges
from canthus.data.scenes import load_scenes
from canthus.errors import ConfigError, ModelFileError, printable
from canthus.export.onnx import Card
from canthus.export.onnx_core import finished_model
from canthus.files import write_bytes
from canthus.lookup import lookup, require
from canthus.recipes.config import Progress, dataset_root
from canthus.recipes.export import export, graph_counts, measured_by_twin
from canthus.recipes.held_out import (
    calibration_errors,
    detector_pictures,
    found_faces_of,
    load_held_out,
    score_change,
    split_name,
)
from canthus.recipes.quantize_report import FAILED, DetectorQuantizeReport, QuantizeReport
from canthus.runtime.cards import DETECTOR, LANDMARKS, ModelCard, Quantization, card_kind
from canthus.runtime.sessions import DetectorSession, LandmarkSession, find_model, open_onnx, read_model
from canthus.types import Scene
from canthus.zoo import DEFAULT, FLOAT, embedded_detectors, embedded_models

FITTED, NEAREST = "fitted", "nearest"
ROUNDINGS = dict.fromkeys((FITTED, NEAREST))
"""Ways to round weights: so that the outputs of a layer change least, or each by itself."""
RANKED_ON = 64
"""Crops on which ``AUTO`` ranks layers; an eighth as many pictures of a detector."""
SPLITS = {LANDMARKS: ("300w/fit", "300w/validation"), DETECTOR: ("facemask/train", "facemask/validation")}
"""Kind of model -> usual ``calibrate`` and ``check``."""
MOST_LOSS = {LANDMARKS: 0.001, DETECTOR: 0.005}
"""Kind of model -> usual ``most_loss``."""


@final
@dataclass(frozen=True)
class QuantizeSettings:
    """How a model is quantized, and the largest loss that is accepted.

    Attributes:
        calibrate: ``dataset/split`` whose crops or pictures give the ranges of activations; by default that of
            ``SPLITS``.
        check: ``dataset/split`` on which int8 and float are compared; likewise.
        method: key of ``METHODS``.
        crops: number of crops or pictures drawn from ``calibrate`` by ``seed``; all of them if there are fewer.
        keep: layers that stay in float, see ``named_layers``; or ``auto`` alone.
        most_loss: largest accepted increase of the error over the inter-ocular distance, a fraction; for a scheme
            without eye corners, over the longer side of the face box.  For a detector, largest accepted decrease of the
            average precision, and of the recall at its usual score.  By default as in ``MOST_LOSS``.
        force: write the file even if it loses more.
        weight_bits: 8, or 7 for processors without VNNI.
        rounding: ``fitted``, so that the outputs of each layer change least, or ``nearest``.
        most_failures: largest accepted increase of the share of faces whose error is above ``FAILED``; not for
            detectors.
        twin: int8 file of the landmark model whose errors and calibrations the card gets, see ``measured_by_twin``.
    """

    calibrate: str | None = None
    check: str | None = None
    method: str = "minmax"
    crops: int = 256
    seed: int = 0
    keep: tuple[str, ...] = ()
    most_loss: float | None = None
    force: bool = False
    weight_bits: int = 8
    rounding: str = FITTED
    most_failures: float = 0.0075
    twin: Path | None = None

    def of_kind(self, kind: str) -> "QuantizeSettings":
        """These settings, with what is usual for ``LANDMARKS`` or ``DETECTOR`` where nothing was given."""
        return replace(
            self,
            calibrate=self.calibrate or SPLITS[kind][0],
            check=self.check or SPLITS[kind][1],
            most_loss=MOST_LOSS[kind] if self.most_loss is None else self.most_loss,
        )


def int8_path(model: str) -> Path:
    """Default output of ``quantize``: beside the file of a model, or in the current folder for an embedded name."""
    name = DEFAULT if model == "default" else model
    path = Path(name)
    embedded = {*embedded_models(), *embedded_detectors()}
    return Path(f"{name}_int8.onnx") if name in embedded else path.with_name(f"{path.stem}_int8.onnx")


def quantize(
    model: str | Path,
    path: Path,
    settings: QuantizeSettings,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress = lambda what, done, total: None,
) -> QuantizeReport | DetectorQuantizeReport:
    """Write an int8 file of a landmark model or a face detector if it is nearly as good as the float one.

    An earlier file stays as it is until the new one is complete, and the same settings give the same bytes, so that a
    run that was stopped is simply started again.

    Args:
        model: embedded name, ONNX file, or a checkpoint, which is exported first; of either kind.
        roots: folder of each dataset at hand, by name.

    Raises:
        ConfigError: unknown names, a dataset without a folder, or settings that do not work.
        DataError: a dataset is missing or damaged.
        ModelFileError: the model cannot be quantized, or it loses too much; the message has both errors.
        OutputError: the file cannot be written.
        MissingExtraError: onnx is not installed.
    """
    require("onnx", extra="train")
    source, data = _read_float(model, path, roots=roots, cache=cache, progress=progress)
    kind = card_kind(open_onnx(data, source=source, threads=1)[1], source=source)
    settings = settings.of_kind(kind)
    _check_settings(settings)
    if kind == DETECTOR:
        if settings.twin:
            raise ConfigError("--twin belongs to landmark models, found a detector; leave it out")
        detector = DetectorSession(data, source=source)
        return _quantize_detector(detector, data, path, settings, roots=roots, progress=progress)
    session = LandmarkSession(data, source=source)
    if session.card.twin and settings.twin is None:
        raise ConfigError(
            f"{source}: has the errors and the confidence of its twin {session.card.twin}, which an int8 file cannot "
            "take over; quantize the twin as well and give its int8 file as --twin"
        )
    return _quantize_landmarks(session, data, path, settings, roots=roots, cache=cache, progress=progress)


def _quantize_landmarks(
    session: LandmarkSession, data: bytes, path: Path, settings: QuantizeSettings, *,
    roots: Mapping[str, Path], cache: Path, progress: Progress,
) -> QuantizeReport:  # fmt: skip
    _refuse_int8(session)
    seen, held = (
        load_held_out(str(name), session.card, roots, cache, progress) for name in (settings.calibrate, settings.check)
    )
    crops = seen.crops[_drawn(len(seen.samples), settings)]
    ranged = _ranged(data, lambda: crops, settings, progress)
    expected = session(held.crops)
    before, ranked_on = held.errors(expected), session(crops[:RANKED_ON])
    search = Search(
        ranged,
        settings.weight_bits,
        lambda content: not _excess(held.errors(_opened(content, session)(held.crops)), before, settings),
        lambda content: _movement(_opened(content, session)(crops[:RANKED_ON]), ranked_on),
        functools.partial(progress, "ranking layers"),
    )
    content, harms, kept = search(settings.keep)
    small = LandmarkSession(content, source=path.name)
    points = small(held.crops)
    errors = held.errors(points)
    report = QuantizeReport(
        path=path,
        size_bytes=small.size_bytes,
        float_bytes=session.size_bytes,
        nme=float(errors.mean()),
        float_nme=float(before.mean()),
        moved_px=_movement(points, expected),
        faces=len(held.samples),
        confidence=calibration_errors(small, held.samples, held.groups),
        float_confidence=calibration_errors(session, held.samples, held.groups),
        harms=harms,
        quantization=_quantization(settings, len(crops), kept, float_nme_ion=round(float(before.mean()), 6)),
        metric=held.metric,
        failures=_failures(errors),
        float_failures=_failures(before),
    )
    _refuse_loss(_excess(errors, before, settings), report.quantization, settings)
    name = report.quantization.checked_on
    metrics = {report.metric: round(report.nme, 6)} | {f"{name}/{k}": v for k, v in report.confidence.items()}
    card = replace(session.card, metrics=metrics, quantization=report.quantization)
    return replace(report, size_bytes=_write(path, content, card, settings.twin), twin=settings.twin)


def _quantize_detector(
    session: DetectorSession, data: bytes, path: Path, settings: QuantizeSettings, *,
    roots: Mapping[str, Path], progress: Progress,
) -> DetectorQuantizeReport:  # fmt: skip
    _refuse_int8(session)
    seen, held = (_scenes(str(name), roots) for name in (settings.calibrate, settings.check))
    chosen = [seen[index] for index in _drawn(len(seen), settings)]
    ranged = _ranged(data, lambda: detector_pictures(chosen, session.card, progress), settings, progress)
    ranked_on = list(detector_pictures(chosen[: RANKED_ON // 8], session.card, progress))
    before, most_loss = found_faces_of(session, held, progress), float(settings.most_loss or 0)
    search = Search(
        ranged,
        settings.weight_bits,
        lambda content: before.loss(found_faces_of(_opened(content, session), held, progress)) <= most_loss,
        lambda content: score_change(_opened(content, session), session, ranked_on),
        functools.partial(progress, "ranking layers"),
    )
    content, harms, kept = search(settings.keep)
    small = DetectorSession(content, source=path.name)
    found = found_faces_of(small, held, progress)
    known = None if math.isnan(before.ap_50) else round(before.ap_50, 6)
    report = DetectorQuantizeReport(
        path=path,
        size_bytes=small.size_bytes,
        float_bytes=session.size_bytes,
        found=found,
        float_found=before,
        pictures=len(held),
        faces=sum(int((~scene.ignored).sum()) for scene in held),
        harms=harms,
        quantization=_quantization(settings, len(chosen), kept, float_ap_50=known),
    )
    excess = ""
    if before.loss(found) > most_loss:
        excess = (
            f"finds {found.recall:.2%} of the faces of {settings.check} at an average precision of {found.ap_50:.2%}, "
            f"the float detector {before.recall:.2%} at {before.ap_50:.2%}; {most_loss:.2%} less are allowed"
        )
    _refuse_loss(excess, report.quantization, settings)
    metrics = {} if known is None else {f"{settings.check}/ap_50": round(found.ap_50, 6)}
    card = replace(session.card, metrics=metrics, quantization=report.quantization)
    return replace(report, size_bytes=_write(path, content, card, None))


def _ranged(
    data: bytes,
    pictures: Callable[[], Iterable[UInt8[np.ndarray, "h w 3"]]],
    settings: QuantizeSettings,
    progress: Progress,
) -> RangedModel:
    """The float network with the ranges of its activations and the rounded weights that the settings ask for."""
    ranged = see_ranges(data, pictures(), method=settings.method)
    if settings.rounding != FITTED:
        return ranged
    told = functools.partial(progress, "rounding weights")
    return fit_rounding(ranged, pictures(), weight_bits=settings.weight_bits, progress=told)


def _drawn(count: int, settings: QuantizeSettings) -> Int64[np.ndarray, " n"]:
    """Indices of the crops or pictures that give the ranges, ascending."""
    return np.sort(np.random.default_rng(settings.seed).permutation(count)[: settings.crops])


def _quantization(
    settings: QuantizeSettings, crops: int, kept: tuple[str, ...], **before: float | None
) -> Quantization:
    return Quantization(
        method=settings.method,
        calibrated_on=str(settings.calibrate),
        crops=crops,
        seed=settings.seed,
        weight_bits=settings.weight_bits,
        rounding=settings.rounding,
        kept=kept,
        checked_on=str(settings.check),
        **before,
    )


def _scenes(name: str, roots: Mapping[str, Path]) -> list[Scene]:
    """All pictures of ``dataset/split``."""
    dataset, split = split_name(name, kind=DETECTOR)
    scenes = load_scenes(dataset, dataset_root(roots, dataset), split)
    if not any((~scene.ignored).any() for scene in scenes):
        raise ConfigError(f"{name} has no labelled faces; name another split")
    return scenes


Session = TypeVar("Session", LandmarkSession, DetectorSession)


def _opened(content: bytes, like: Session) -> Session:
    return type(like)(content, source=like.source)


def _failures(errors: Float64[np.ndarray, " n"]) -> float:
    return float((errors > FAILED).mean())


def _excess(errors: Float64[np.ndarray, " n"], before: Float64[np.ndarray, " n"], settings: QuantizeSettings) -> str:
    """What the int8 model of these errors loses too much of, in words; empty where it is good enough."""
    most_loss = float(settings.most_loss or 0)
    nme, float_nme = float(errors.mean()), float(before.mean())
    if not nme - float_nme <= most_loss:
        return (
            f"has an error of {nme:.3%} on {settings.check}, the float model {float_nme:.3%}: "
            f"{100 * (nme - float_nme):.3f} points more; {100 * most_loss:.3f} are allowed"
        )
    failures, float_failures = _failures(errors), _failures(before)
    if failures - float_failures > settings.most_failures:
        return (
            f"has an error above {FAILED:.0%} on {failures:.2%} of the faces of {settings.check}, the float model on "
            f"{float_failures:.2%}; {100 * settings.most_failures:.2f} points more are allowed (--most-failures)"
        )
    return ""


def _check_settings(settings: QuantizeSettings) -> None:
    lookup(METHODS, settings.method, kind="method of calibration")
    lookup(ROUNDINGS, settings.rounding, kind="rounding")
    loss = min(float(settings.most_loss or 0), settings.most_failures)
    if settings.crops < 1 or not loss >= 0:
        raise ConfigError(f"Expected at least 1 crop and a loss of at least 0, found {settings.crops} and {loss:g}")
    if settings.calibrate == settings.check:
        raise ConfigError(
            f"{settings.check} is given for both calibrate and check; check on other faces than those that calibrate"
        )
    if AUTO in settings.keep and len(settings.keep) > 1:
        raise ConfigError(f"Expected --keep {AUTO} alone, or names of layers; found {', '.join(settings.keep)}")


def _read_float(
    model: str | Path, path: Path, *, roots: Mapping[str, Path], cache: Path, progress: Progress
) -> tuple[str, bytes]:
    """The name and the content of the file of the float model."""
    if Path(model).suffix == ".npz":
        raise ModelFileError(f"{model}: is a cascade of ferns, expected a network; a cascade has no int8 form")
    if Path(model).suffix == ".ckpt":
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / f"{path.stem}.onnx"
            export(Path(model), exported, roots=roots, cache=cache, progress=progress)
            return str(model), exported.read_bytes()
    file = find_model(model, kind=DETECTOR if str(model) in embedded_detectors() else LANDMARKS)
    if path.exists() and file.samefile(path):
        raise ConfigError(f"{path}: is the float model itself; choose another file for the result")
    return str(file), read_model(file)


def _refuse_int8(session: LandmarkSession | DetectorSession) -> None:
    if session.card.quantization:
        other = f", or the embedded {FLOAT}" if isinstance(session, LandmarkSession) else ""
        raise ModelFileError(
            f"{session.source}: is an int8 model already; give the float file that it was made from{other}"
        )


def _movement(found: Float32[np.ndarray, "n k 2"], expected: Float32[np.ndarray, "n k 2"]) -> float:
    return float(np.linalg.norm(found - expected, axis=2).mean())


def _refuse_loss(excess: str, made: Quantization, settings: QuantizeSettings) -> None:
    """Refuse an int8 file that loses too much, which is said by ``excess``, unless it is asked for."""
    if not excess or settings.force:
        return
    advice = "more --crops, another --method or a larger --most-loss"
    if settings.keep != (AUTO,):
        advice = f"--keep {AUTO}, {advice}"
    kept = f" with {len(made.kept)} layers in float" if made.kept else ""
    raise ModelFileError(f"The int8 model{kept} {excess}. Nothing was written; try {advice}, or --force")


def _write(path: Path, content: bytes, card: Card, twin: Path | None) -> int:
    """Write the file with the card, and its own counts and what was measured of its twin in it; return its size."""
    own = replace(card, name=printable(path.stem))
    with tempfile.TemporaryDirectory() as folder:
        unfinished = Path(folder) / path.name
        unfinished.write_bytes(content)
        own = replace(own, **graph_counts(unfinished, own))
    if twin:
        own = measured_by_twin(own, twin)
    finished = finished_model(require("onnx", extra="train").load_from_string(content), own)
    # A file that cannot be opened is not written.
    (LandmarkSession if isinstance(card, ModelCard) else DetectorSession)(finished, source=path.name)
    write_bytes(path, finished)
    return len(finished)
