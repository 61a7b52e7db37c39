"""A float model to a checked int8 one."""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.compression.quantize import METHODS, RangedModel, named_layers, quantized, see_ranges
from canthus.data import LANDMARK_SETS, load_dataset
from canthus.data.packs import PACK_MARGIN, PACK_SIZE
from canthus.errors import ConfigError, ModelFileError
from canthus.export.onnx import finished_model
from canthus.lookup import lookup, require
from canthus.recipes.config import dataset_root
from canthus.recipes.export import export
from canthus.recipes.held_out import HeldOut, calibration_errors, crop_held_out
from canthus.runtime.cards import ModelCard, Quantization
from canthus.runtime.sessions import LandmarkSession, find_model, read_model

Progress = Callable[[str, int, int], None]

AUTO = "auto"
"""As ``keep``: leave out the most harmful layers until the loss is small enough."""
AUTO_MOST = 12
"""Layers that ``AUTO`` leaves in float at most."""
RANKED_ON = 64
"""Crops of the calibration on which layers are ranked."""


@final
@dataclass(frozen=True)
class QuantizeSettings:
    """How a model is quantized and what is accepted.

    Attributes:
        calibrate: ``dataset/split`` whose crops show the ranges of activations.
        check: ``dataset/split`` on which int8 and float are compared.
        method: a key of ``METHODS``.
        crops: number of crops for the ranges, drawn from ``calibrate``; all of them where there are fewer.
        seed: of that choice.
        keep: layers that stay in float, see ``named_layers``; or ``auto`` alone.
        most_loss: largest loss of error over the inter-ocular distance that is accepted, a fraction.
        force: write the file even where it loses more.
        weight_bits: 8, or 7 for processors without VNNI.
    """

    calibrate: str = "300w/fit"
    check: str = "300w/validation"
    method: str = "minmax"
    crops: int = 256
    seed: int = 0
    keep: tuple[str, ...] = ()
    most_loss: float = 0.001
    force: bool = False
    weight_bits: int = 8


@final
@dataclass(frozen=True)
class QuantizeReport:
    """What was made and how it compares with the float model.

    Attributes:
        path: the int8 file.
        size_bytes: its size.
        float_bytes: size of the float file.
        nme: error of the int8 file on the check set, truth boxes, a fraction.
        float_nme: that of the float file.
        moved_px: mean distance between their points, pixels of the crop.
        faces: of the check set.
        confidence: ``ece`` and ``auroc`` of the int8 file; empty where it gives no confidence.
        float_confidence: those of the float file.
        harms: layer -> mean movement of points where it alone is quantized, pixels, worst first; ``auto`` only.
        quantization: what the card says.
    """

    path: Path
    size_bytes: int
    float_bytes: int
    nme: float
    float_nme: float
    moved_px: float
    faces: int
    confidence: Mapping[str, float]
    float_confidence: Mapping[str, float]
    harms: Mapping[str, float]
    quantization: Quantization


def quantize(
    model: str | Path,
    path: Path,
    settings: QuantizeSettings,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress = lambda what, done, total: None,
) -> QuantizeReport:
    """Write an int8 file of a landmark model, unless it errs more than it may.

    Args:
        model: embedded name, ONNX file, or a checkpoint, which is exported first.
        path: ONNX file to write.
        settings: how.
        roots: folder of each dataset at hand, by name.
        cache: folder of packed crops.
        progress: called with (what, done, total).

    Raises:
        ConfigError: unknown names, a dataset without a folder, or settings that do not work.
        DataError: a dataset is not there or damaged.
        ModelFileError: the model is unfit, or the int8 file errs too much; the message has both errors.
        MissingExtraError: onnx is not installed.
    """
    require("onnx", extra="train")
    _check_settings(settings)
    session, data = _open_float(model, path, roots=roots, cache=cache, progress=progress)
    seen = _load_faces(settings.calibrate, session.card, roots, cache, progress)
    held = _load_faces(settings.check, session.card, roots, cache, progress)
    chosen = np.random.default_rng(settings.seed).permutation(len(seen.samples))[: settings.crops]
    crops = seen.crops[np.sort(chosen)]
    ranged = see_ranges(data, crops, method=settings.method)
    content, harms, kept = _made(ranged, session, settings, held, crops=crops[:RANKED_ON], progress=progress)
    made = Quantization(
        method=settings.method,
        calibrated_on=settings.calibrate,
        crops=len(crops),
        seed=settings.seed,
        weight_bits=settings.weight_bits,
        kept=kept,
        checked_on=settings.check,
        float_nme_ion=round(held.error(session(held.crops)), 6),
    )
    report = _compare(path, session, LandmarkSession(content, source=path.name), held, harms=harms, made=made)
    _refuse_loss(report, settings)
    onnx = require("onnx", extra="train")
    finished = finished_model(onnx.load_from_string(content), _card(session.card, report))
    LandmarkSession(finished, source=path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(finished)
    return replace(report, size_bytes=len(finished))


def _check_settings(settings: QuantizeSettings) -> None:
    lookup(METHODS, settings.method, kind="method of calibration")
    if settings.crops < 1 or not settings.most_loss >= 0:
        raise ConfigError(
            f"Expected at least 1 crop and a loss of at least 0, found {settings.crops} and {settings.most_loss:g}"
        )
    if settings.calibrate == settings.check:
        raise ConfigError(f"{settings.check} would be both seen and held out; check on other faces than calibrate")
    if AUTO in settings.keep and len(settings.keep) > 1:
        raise ConfigError(f"Expected --keep {AUTO} alone, or names of layers; found {', '.join(settings.keep)}")


def _open_float(
    model: str | Path, path: Path, *, roots: Mapping[str, Path], cache: Path, progress: Progress
) -> tuple[LandmarkSession, bytes]:
    """The float model and the content of its file."""
    if Path(model).suffix == ".npz":
        raise ModelFileError(f"{model}: is a cascade of ferns, expected a network; a cascade has no int8 form")
    if Path(model).suffix == ".ckpt":
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / f"{path.stem}.onnx"
            export(Path(model), exported, roots=roots, cache=cache, progress=progress)
            return _opened(exported.read_bytes(), str(model))
    source = find_model(model)
    if source.resolve() == path.resolve():
        raise ConfigError(f"{path}: is the float model itself; choose another file for the result")
    return _opened(read_model(source), str(source))


def _opened(data: bytes, source: str) -> tuple[LandmarkSession, bytes]:
    session = LandmarkSession(data, source=source)
    if session.card.quantization:
        raise ModelFileError(f"{source}: is an int8 model already; give the float file that it was made from")
    return session, data


def _load_faces(name: str, card: ModelCard, roots: Mapping[str, Path], cache: Path, progress: Progress) -> HeldOut:
    """All faces of ``dataset/split``, cropped as the model expects them."""
    dataset, split = split_name(name)
    return crop_held_out(
        name,
        load_dataset(dataset, dataset_root(roots, dataset), split, scheme=card.scheme),
        cache,
        size=card.size,
        margin=card.margin,
        pack_size=max(PACK_SIZE, math.ceil(card.size * PACK_MARGIN / card.margin)),
        progress=progress,
    )


def split_name(name: str) -> tuple[str, str]:
    """Dataset and split of ``dataset/split``.

    Raises:
        ConfigError: it reads otherwise, or there is no such dataset or split.
    """
    dataset, slash, split = name.partition("/")
    if not slash or not split:
        raise ConfigError(f"Cannot read {name!r}; expected DATASET/SPLIT such as 300w/fit, or folder/all")
    splits = lookup(LANDMARK_SETS, dataset, kind="dataset").splits
    lookup(dict.fromkeys(splits), split, kind=f"split of {dataset}")
    return dataset, split


def _made(
    ranged: RangedModel,
    session: LandmarkSession,
    settings: QuantizeSettings,
    held: HeldOut,
    *,
    crops: UInt8[np.ndarray, "n s s 3"],
    progress: Progress,
) -> tuple[bytes, dict[str, float], tuple[str, ...]]:
    """The int8 network, the harm of each layer where that was asked for, and the layers left in float."""
    bits = settings.weight_bits
    if settings.keep != (AUTO,):
        kept = named_layers(ranged, settings.keep)
        return quantized(ranged, keep=kept, weight_bits=bits), {}, kept
    content, kept = quantized(ranged, weight_bits=bits), ()
    most = held.error(session(held.crops)) + settings.most_loss
    if _error(content, session, held) <= most:
        return content, {}, kept
    harms = _harms(ranged, session, crops, bits, progress)
    for count in range(1, min(AUTO_MOST, len(harms)) + 1):
        kept = tuple(list(harms)[:count])
        content = quantized(ranged, keep=kept, weight_bits=bits)
        if _error(content, session, held) <= most:
            break
    return content, harms, kept


def _error(content: bytes, session: LandmarkSession, held: HeldOut) -> float:
    return held.error(LandmarkSession(content, source=session.source)(held.crops))


def _harms(
    ranged: RangedModel,
    session: LandmarkSession,
    crops: UInt8[np.ndarray, "n s s 3"],
    weight_bits: int,
    progress: Progress,
) -> dict[str, float]:
    """Layer -> how far points move where it alone is quantized, pixels of the crop, worst first."""
    expected = session(crops)
    harms = {}
    for done, layer in enumerate(ranged.lossy):
        content = quantized(ranged, only=[layer.name], weight_bits=weight_bits)
        harms[layer.name] = _movement(LandmarkSession(content, source=session.source)(crops), expected)
        progress("ranking layers", done + 1, len(ranged.lossy))
    return dict(sorted(harms.items(), key=lambda entry: -entry[1]))


def _movement(found: Float32[np.ndarray, "n k 2"], expected: Float32[np.ndarray, "n k 2"]) -> float:
    return float(np.linalg.norm(found - expected, axis=2).mean())


def _compare(
    path: Path,
    session: LandmarkSession,
    small: LandmarkSession,
    held: HeldOut,
    *,
    harms: Mapping[str, float],
    made: Quantization,
) -> QuantizeReport:
    points, expected = small(held.crops), session(held.crops)
    return QuantizeReport(
        path=path,
        size_bytes=small.size_bytes,
        float_bytes=session.size_bytes,
        nme=held.error(points),
        float_nme=held.error(expected),
        moved_px=_movement(points, expected),
        faces=len(held.samples),
        confidence=calibration_errors(small, held.samples, held.groups),
        float_confidence=calibration_errors(session, held.samples, held.groups),
        harms=harms,
        quantization=made,
    )


def _refuse_loss(report: QuantizeReport, settings: QuantizeSettings) -> None:
    """Refuse an int8 file that errs too much, or whose error is not a number.

    Raises:
        ModelFileError: the message has both errors.
    """
    if not math.isfinite(report.nme):
        raise ModelFileError(f"The int8 model has an error of {report.nme} on {settings.check}; nothing was written")
    if report.nme - report.float_nme <= settings.most_loss or settings.force:
        return
    advice = "more --crops, another --method or a larger --most-loss"
    if settings.keep != (AUTO,):
        advice = f"--keep {AUTO}, {advice}"
    kept = f", {len(report.quantization.kept)} layers in float," if report.quantization.kept else ""
    raise ModelFileError(
        f"The int8 model{kept} errs by {report.nme:.3%} of the inter-ocular distance on {settings.check}, "
        f"the float model by {report.float_nme:.3%}: {100 * (report.nme - report.float_nme):.3f} points more, "
        f"{100 * settings.most_loss:.3f} are allowed. Nothing was written; try {advice}, or --force"
    )


def _card(card: ModelCard, report: QuantizeReport) -> ModelCard:
    """The card of the float model, with what was measured of the int8 file in the place of what was not."""
    name = report.quantization.checked_on
    metrics = {f"{name}/nme_ion": round(report.nme, 6)}
    metrics |= {f"{name}/{key}": value for key, value in report.confidence.items()}
    return replace(card, name=report.path.stem, metrics=metrics, quantization=report.quantization)
