"""What an int8 file loses against the float one that it was made of, as ``canthus quantize`` prints it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from canthus.recipes.held_out import Finding, scale_in_words
from canthus.runtime.cards import Quantization

FAILED = 0.08
"""Error from which a face counts as failed, a fraction."""
HARMS_SHOWN = 8
TWIN_LINE = "card: errors and confidence of its twin {twin}, which has not learned from the faces that measure"
"""What the reports of an export and of a quantization say where the card has what was measured of a twin."""
"""Layers that ``QuantizeReport.describe`` lists."""


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
        failures: share of faces with an error above ``FAILED``.
        harms: mean movement of the points in pixels if one layer alone is quantized, by layer, largest first; empty
            unless ``AUTO`` ranked the layers.
        twin: file whose errors and calibrations are in the card, if they are not the int8 file's own.
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
    failures: float
    float_failures: float
    twin: Path | None = None

    @property
    def scale(self) -> str:
        """What errors are divided by, in words."""
        return scale_in_words(self.metric)

    def describe(self) -> list[str]:
        """Lines of text: size and error beside those of the float model, and what stayed in float."""
        made = self.quantization
        found, before = 100 * self.nme, 100 * self.float_nme
        errors = f"NME {found:.3f} %, the float model {before:.3f} % ({found - before:+.3f})"
        lines = [
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, the float model {self.float_bytes / 1e6:.2f} MB",
            f"{made.checked_on}, {self.faces} faces, ground-truth boxes: {errors}",
            f"faces with an error above {FAILED:.0%}: {self.failures:.2%}, the float model {self.float_failures:.2%}",
            f"points moved by {self.moved_px:.2f} px of the crop",
        ]
        for name, value in self.confidence.items():
            float_value = self.float_confidence[name]
            lines.append(f"{name.upper()}: {100 * value:.2f} %, the float model {100 * float_value:.2f} %")
        lines += [made.describe(), *_harm_lines(self.harms, "movement of the points", "px of the crop")]
        lines += [TWIN_LINE.format(twin=self.twin)] * bool(self.twin)
        return [*lines, f"speed: canthus benchmark --model FLOAT --model {self.path}"]


@final
@dataclass(frozen=True)
class DetectorQuantizeReport:
    """An int8 detector beside its float one.

    Attributes:
        path: the int8 file; the attributes that begin with ``float_`` are of the float file.
        pictures: number of pictures of the check set.
        harms: mean change of the logits of the best cells if one layer alone is quantized, by layer, largest first;
            empty unless ``AUTO`` ranked the layers.
    """

    path: Path
    size_bytes: int
    float_bytes: int
    found: Finding
    float_found: Finding
    pictures: int
    faces: int
    harms: Mapping[str, float]
    quantization: Quantization

    def describe(self) -> list[str]:
        """Lines of text: size and what is found beside those of the float detector, and what stayed in float."""
        found, before = self.found, self.float_found
        lines = [
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, the float detector {self.float_bytes / 1e6:.2f} MB",
            f"{self.quantization.checked_on}, {self.pictures} pictures, {self.faces} faces",
            f"faces found: {found.recall:.2%}, the float detector {before.recall:.2%}",
        ]
        if not math.isnan(found.ap_50):
            lines.append(f"average precision: {found.ap_50:.2%}, the float detector {before.ap_50:.2%}")
        lines += [self.quantization.describe(), *_harm_lines(self.harms, "change of the scores", "logits")]
        return [*lines, f"speed: canthus benchmark --model FLOAT --model {self.path}"]


def _harm_lines(harms: Mapping[str, float], what: str, unit: str) -> list[str]:
    if not harms:
        return []
    shown = list(harms.items())[:HARMS_SHOWN]
    return [f"{what} where one layer alone is quantized, {unit}:", *(f"  {name}: {v:.3f}" for name, v in shown)]
