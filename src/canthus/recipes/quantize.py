"""Quantize a landmark model to int8 and compare it with the float model before it is kept."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.compression.quantize import METHODS, RangedModel, named_layers, quantized, see_ranges
from canthus.data import landmark_sets, load_dataset
from canthus.data.packs import PACK_MARGIN, PACK_SIZE
from canthus.errors import ConfigError, ModelFileError, printable
from canthus.export.onnx_core import finished_model
from canthus.files import write_bytes
from canthus.lookup import lookup, require
from canthus.recipes.config import Progress, dataset_root
from canthus.recipes.export import export
from canthus.recipes.held_out import HeldOut, calibration_errors, crop_held_out
from canthus.runtime.cards import ModelCard, Quantization
from canthus.runtime.sessions import LandmarkSession, find_model, read_model
from canthus.zoo import DEFAULT, embedded_models

AUTO = "auto"
"""Value of ``keep``: leave the layers that lose most in float until the loss is small enough."""
AUTO_MOST = 12
"""Largest number of layers that ``AUTO`` leaves in float."""
RANKED_ON = 64
"""Crops on which ``AUTO`` ranks layers."""
HARMS_SHOWN = 8
"""Layers that ``QuantizeReport.describe`` lists."""


@final
@dataclass(frozen=True)
class QuantizeSettings:
    """How a model is quantized, and the largest loss that is accepted.

    Attributes:
        calibrate: ``dataset/split`` whose crops give the ranges of activations.
        check: ``dataset/split`` on which int8 and float are compared.
        method: key of ``METHODS``.
        crops: number of crops drawn from ``calibrate`` by ``seed``; all of them if there are fewer.
        keep: layers that stay in float, see ``named_layers``; or ``auto`` alone.
        most_loss: largest accepted increase of the error over the inter-ocular distance, a fraction; for a scheme
            without eye corners, over the longer side of the face box.
        force: write the file even if it loses more.
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
    """An int8 file beside its float model.

    Attributes:
        path: the int8 file; the attributes that begin with ``float_`` are of the float file.
        nme: error on the check set with true boxes, a fraction.
        moved_px: mean distance between the points of the two, in pixels of the crop.
        confidence: ``ece`` and ``auroc`` of the int8 file; empty if it gives no confidence.
        metric: name of the error, such as ``300w/validation/nme_ion``.
        harms: mean movement of the points in pixels if one layer alone is quantized, by layer, largest first; empty
            unless ``AUTO`` ranked the layers.
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
    metric: str

    @property
    def scale(self) -> str:
        """What errors are divided by, in words."""
        return "inter-ocular distance" if self.metric.endswith("/nme_ion") else "longer side of the face box"

    def describe(self) -> list[str]:
        """Lines of text: size and error beside those of the float model, and what stayed in float."""
        made = self.quantization
        found, before = 100 * self.nme, 100 * self.float_nme
        errors = f"NME {found:.3f} %, the float model {before:.3f} % ({found - before:+.3f})"
        lines = [
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, the float model {self.float_bytes / 1e6:.2f} MB",
            f"{made.checked_on}, {self.faces} faces, ground-truth boxes: {errors}",
            f"points moved by {self.moved_px:.2f} px of the crop",
        ]
        for name, value in self.confidence.items():
            float_value = self.float_confidence[name]
            lines.append(f"{name.upper()}: {100 * value:.2f} %, the float model {100 * float_value:.2f} %")
        lines.append(made.describe())
        if self.harms:
            lines.append("movement of the points where one layer alone is quantized, px of the crop:")
            lines += [f"  {name}: {value:.3f}" for name, value in list(self.harms.items())[:HARMS_SHOWN]]
        return [*lines, f"speed: canthus benchmark --model FLOAT --model {self.path}"]


def int8_path(model: str) -> Path:
    """Default output of ``quantize``: beside the file of a model, or in the current folder for an embedded name."""
    name = DEFAULT if model == "default" else model
    path = Path(name)
    return Path(f"{name}_int8.onnx") if name in embedded_models() else path.with_name(f"{path.stem}_int8.onnx")


def quantize(
    model: str | Path,
    path: Path,
    settings: QuantizeSettings,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress = lambda what, done, total: None,
) -> QuantizeReport:
    """Write an int8 file of a landmark model if its error is close to the float model's.

    An earlier file stays as it is until the new one is complete, and the same settings give the same bytes, so that a
    run that was stopped is simply started again.

    Args:
        model: embedded name, ONNX file, or a checkpoint, which is exported first.
        roots: folder of each dataset at hand, by name.

    Raises:
        ConfigError: unknown names, a dataset without a folder, or settings that do not work.
        DataError: a dataset is missing or damaged.
        ModelFileError: the model cannot be quantized, or the error grows too much; the message has both errors.
        OutputError: the file cannot be written.
        MissingExtraError: onnx is not installed.
    """
    require("onnx", extra="train")
    _check_settings(settings)
    session, data = _open_float(model, path, roots=roots, cache=cache, progress=progress)
    seen, held = (
        _held_out(name, session.card, roots, cache, progress) for name in (settings.calibrate, settings.check)
    )
    chosen = np.random.default_rng(settings.seed).permutation(len(seen.samples))[: settings.crops]
    crops = seen.crops[np.sort(chosen)]
    ranged = see_ranges(data, crops, method=settings.method)
    expected = session(held.crops)
    float_nme = held.error(expected)
    search = _Search(ranged, session, held, crops[:RANKED_ON], float_nme + settings.most_loss, settings.weight_bits)
    content, harms, kept = search.automatic(progress) if settings.keep == (AUTO,) else search.named(settings.keep)
    small = LandmarkSession(content, source=path.name)
    points = small(held.crops)
    report = QuantizeReport(
        path=path,
        size_bytes=small.size_bytes,
        float_bytes=session.size_bytes,
        nme=held.error(points),
        float_nme=float_nme,
        moved_px=_movement(points, expected),
        faces=len(held.samples),
        confidence=calibration_errors(small, held.samples, held.groups),
        float_confidence=calibration_errors(session, held.samples, held.groups),
        harms=harms,
        quantization=Quantization(
            method=settings.method,
            calibrated_on=settings.calibrate,
            crops=len(crops),
            seed=settings.seed,
            weight_bits=settings.weight_bits,
            kept=kept,
            checked_on=settings.check,
            float_nme_ion=round(float_nme, 6),
        ),
        metric=held.metric,
    )
    _refuse_loss(report, settings)
    return replace(report, size_bytes=_write(report, content, session.card))


def _check_settings(settings: QuantizeSettings) -> None:
    lookup(METHODS, settings.method, kind="method of calibration")
    if settings.crops < 1 or not settings.most_loss >= 0:
        raise ConfigError(
            f"Expected at least 1 crop and a loss of at least 0, found {settings.crops} and {settings.most_loss:g}"
        )
    if settings.calibrate == settings.check:
        raise ConfigError(
            f"{settings.check} is given for both calibrate and check; check on other faces than those that calibrate"
        )
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
            source, data = str(model), exported.read_bytes()
    else:
        file = find_model(model)
        if path.exists() and file.samefile(path):
            raise ConfigError(f"{path}: is the float model itself; choose another file for the result")
        source, data = str(file), read_model(file)
    session = LandmarkSession(data, source=source)
    if session.card.quantization:
        raise ModelFileError(f"{source}: is an int8 model already; give the float file that it was made from")
    return session, data


def _held_out(name: str, card: ModelCard, roots: Mapping[str, Path], cache: Path, progress: Progress) -> HeldOut:
    """All faces of ``dataset/split``, cropped as the model expects them."""
    dataset, split = split_name(name)
    return crop_held_out(
        name,
        load_dataset(dataset, dataset_root(roots, dataset), split, scheme=card.find_scheme()),
        cache,
        size=card.size,
        margin=card.margin,
        pack_size=max(PACK_SIZE, math.ceil(card.size * PACK_MARGIN / card.margin)),
        progress=progress,
    )


def split_name(name: str) -> tuple[str, str]:
    """Dataset and split of ``dataset/split``.

    Raises:
        ConfigError: the name has another form, or there is no such dataset or split.
    """
    dataset, slash, split = name.partition("/")
    if not slash or not split:
        raise ConfigError(f"Cannot read {name!r}; expected DATASET/SPLIT such as 300w/fit, or folder/all")
    splits = lookup(landmark_sets(), dataset, kind="dataset").splits
    lookup(dict.fromkeys(splits), split, kind=f"split of {dataset}")
    return dataset, split


@final
@dataclass(frozen=True)
class _Search:
    """Choice of the layers to quantize: ``crops`` rank them, and ``held`` must have an error of ``most`` at most."""

    ranged: RangedModel
    session: LandmarkSession
    held: HeldOut
    crops: UInt8[np.ndarray, "n s s 3"]
    most: float
    weight_bits: int

    def named(self, keep: tuple[str, ...]) -> tuple[bytes, dict[str, float], tuple[str, ...]]:
        """The int8 network with the named layers in float."""
        kept = named_layers(self.ranged, keep)
        return quantized(self.ranged, keep=kept, weight_bits=self.weight_bits), {}, kept

    def automatic(self, progress: Progress) -> tuple[bytes, dict[str, float], tuple[str, ...]]:
        """The int8 network, the movement by layer, and as few layers in float as the accepted error allows."""
        content = quantized(self.ranged, weight_bits=self.weight_bits)
        if self._good_enough(content):
            return content, {}, ()
        harms = self._harms(progress)
        kept: tuple[str, ...] = ()
        for count in range(1, min(AUTO_MOST, len(harms)) + 1):
            kept = tuple(list(harms)[:count])
            content = quantized(self.ranged, keep=kept, weight_bits=self.weight_bits)
            if self._good_enough(content):
                break
        return content, harms, kept

    def _good_enough(self, content: bytes) -> bool:
        points = LandmarkSession(content, source=self.session.source)(self.held.crops)
        return self.held.error(points) <= self.most

    def _harms(self, progress: Progress) -> dict[str, float]:
        """Mean movement of the points if one layer alone is quantized, in pixels, largest first."""
        expected = self.session(self.crops)
        harms = {}
        for done, layer in enumerate(self.ranged.lossy, start=1):
            content = quantized(self.ranged, only=[layer.name], weight_bits=self.weight_bits)
            found = LandmarkSession(content, source=self.session.source)(self.crops)
            harms[layer.name] = _movement(found, expected)
            progress("ranking layers", done, len(self.ranged.lossy))
        return dict(sorted(harms.items(), key=lambda entry: -entry[1]))


def _movement(found: Float32[np.ndarray, "n k 2"], expected: Float32[np.ndarray, "n k 2"]) -> float:
    return float(np.linalg.norm(found - expected, axis=2).mean())


def _refuse_loss(report: QuantizeReport, settings: QuantizeSettings) -> None:
    """Refuse an int8 file whose error grows too much, or is not a number."""
    if not math.isfinite(report.nme):
        raise ModelFileError(f"The int8 model has an error of {report.nme} on {settings.check}; nothing was written")
    if report.nme - report.float_nme <= settings.most_loss or settings.force:
        return
    advice = "more --crops, another --method or a larger --most-loss"
    if settings.keep != (AUTO,):
        advice = f"--keep {AUTO}, {advice}"
    kept = f" with {len(report.quantization.kept)} layers in float" if report.quantization.kept else ""
    raise ModelFileError(
        f"The int8 model{kept} has an error of {report.nme:.3%} of the {report.scale} on {settings.check}, "
        f"the float model {report.float_nme:.3%}: {100 * (report.nme - report.float_nme):.3f} points more; "
        f"{100 * settings.most_loss:.3f} are allowed. Nothing was written; try {advice}, or --force"
    )


def _write(report: QuantizeReport, content: bytes, card: ModelCard) -> int:
    """Write the file with the float model's card and the metrics of the int8 file; return its size."""
    name = report.quantization.checked_on
    metrics = {report.metric: round(report.nme, 6)}
    metrics |= {f"{name}/{key}": value for key, value in report.confidence.items()}
    own = replace(card, name=printable(report.path.stem), metrics=metrics, quantization=report.quantization)
    finished = finished_model(require("onnx", extra="train").load_from_string(content), own)
    LandmarkSession(finished, source=report.path.name)  # a file that cannot be opened is not written
    write_bytes(report.path, finished)
    return len(finished)
