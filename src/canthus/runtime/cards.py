"""Model cards: the description that each model file carries, read and checked."""

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import numpy as np
from jaxtyping import Float32, Float64

from canthus.errors import ConfigError, ModelFileError, printable
from canthus.plain_data import CHANCE, NOT_NEGATIVE, Range, check_ranges, from_values, json_table, to_values
from canthus.schemes import Scheme, carried_scheme

ROW = 15
"""Numbers in a cell of a detector: logit of the score, dx, dy, log width, log height, x and y of five points."""


MARGINS = Range(0.1, 100)
"""Margins of crops: ten times smaller and a hundred times larger than the face."""
SIDES = Range(1, 2048)
"""Sides of crops in pixels; a batch of 32 crops of the largest is 400 MB."""
DETECTOR_SIDES = Range(1, 16_384)
STRIDES = Range(1, 1024)
MOST_STRIDES = 16
COUNTS = Range(0, 1e18)
CALIBRATIONS = Range(0, 1e6, open=True)
LOG_ODDS = Range(-CALIBRATIONS.most, CALIBRATIONS.most)


@final
@dataclass(frozen=True)
class Quantization:
    """How a model was quantized to int8, and how good the float model was for comparison.

    Attributes:
        method: how the ranges were chosen: ``minmax``, ``percentile`` or ``entropy``.
        calibrated_on: ``dataset/split`` of the crops, or pictures of a detector, that the ranges were measured on.
        crops: number of these.
        seed: random seed for choosing them.
        weight_bits: 8, or 7 for processors without VNNI.
        rounding: how weights were rounded: ``fitted`` to the outputs of their layer, or ``nearest``.
        kept: names of the layers that stay in float.
        checked_on: ``dataset/split`` on which int8 and float were compared.
        float_nme_ion: error of the float model there, a fraction; the error of the int8 model is in the metrics.
        float_ap_50: average precision of the float detector there, a fraction; None for a landmark model, and for
            pictures where not all faces are labelled.

    Raises:
        ModelFileError: a number is out of range.
    """

    method: str
    calibrated_on: str
    crops: int
    seed: int
    weight_bits: int
    kept: tuple[str, ...]
    checked_on: str
    float_nme_ion: float | None = None
    float_ap_50: float | None = None
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        ranges = {"crops": COUNTS, "seed": COUNTS, "weight_bits": Range(1, 8)}
        _check_ranges(self, **ranges, float_nme_ion=NOT_NEGATIVE, float_ap_50=CHANCE)

    def describe(self) -> str:
        """The quantization in one line."""
        kept = f"; in float: {', '.join(self.kept)}" if self.kept else ""
        what = "pictures" if self.float_nme_ion is None else "crops"
        bits = f"{self.weight_bits} bits a weight, rounding {self.rounding}"
        text = (
            f"int8, {bits}; ranges ({self.method}) of {self.crops} {what} of {self.calibrated_on}, "
            f"seed {self.seed}{kept}"
        )
        if self.float_nme_ion is not None:
            return f"{text}; the float model had {self.float_nme_ion:.2%} on {self.checked_on}"
        if self.float_ap_50 is not None:
            return f"{text}; the float detector had an average precision of {self.float_ap_50:.1%} on {self.checked_on}"
        return f"{text}; compared on {self.checked_on}"


TOLERANCE = 0.05
"""Default tolerance of a correct point: 5 % of the longer side of the face box.  That is 8 or 9 % of the inter-ocular
distance of a frontal face, about the threshold from which 300-W counts a face as failed."""


@final
@dataclass(frozen=True)
class Calibration:
    """Map from expected errors to confidence, fitted on held-out faces when a model is exported.

    The confidence of a point is the probability that it lies within ``tolerance`` of its true position:

    p = 1 / (1 + exp(-(slope (ln(tolerance) - ln(expected)) + offset))),

    with the expected error and the tolerance in longer sides of the face box.  This is the distribution function of a
    log-logistic error, and the map of Platt (1999), "Probabilistic Outputs for Support Vector Machines".

    Attributes:
        tolerance: largest error of a correct point, as a fraction of the longer side of the face box.
        slope: positive, so that a larger expected error never gives a higher confidence.
        offset: of the log odds.

    Raises:
        ModelFileError: the tolerance or the slope is not positive, or a number is not finite.
    """

    tolerance: float
    slope: float
    offset: float

    def __post_init__(self) -> None:
        _check_ranges(self, tolerance=CALIBRATIONS, slope=CALIBRATIONS, offset=LOG_ODDS)

    def scores(self, spread: Float32[np.ndarray, "n k"], *, margin: float) -> Float32[np.ndarray, "n k"]:
        """Confidence of points in [0, 1].

        Args:
            spread: logarithm of the expected error, in sides of the crop.
            margin: side of the crop over the longer side of the face box.
        """
        odds = self.slope * (math.log(self.tolerance / margin) - spread.astype(np.float64)) + self.offset
        return _probability(odds)


def _probability(log_odds: Float64[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """1 / (1 + exp(-log_odds)), which would overflow far from zero, by the hyperbolic tangent."""
    return (0.5 * (1 + np.tanh(log_odds / 2))).astype(np.float32)


FACE_TOLERANCE = 0.06
"""Mean error of right points, in longer sides of the face box.  On a frontal face that is 10 % of the inter-ocular
distance, from which COFW and WFLW count a face as failed; unlike that distance it does not vanish on profiles."""

_SURE = 1e-4
"""Median confidences are kept this far from 0 and 1, where their log odds are infinite."""


@final
@dataclass(frozen=True)
class FaceCalibration:
    """Map from the confidence of a face's points to the confidence of the whole face.

    The confidence of a face is the probability that its points are right, that is, that their mean error is within
    ``tolerance``.  With the median confidence m of the points it is

    p = 1 / (1 + exp(-(slope ln(m / (1 - m)) + offset))).

    The median, because a network that sees the eyes of an upside-down face may be sure of them and of nothing else.

    ``benchmarks/face_confidence.py`` fits it on faces as they are, and on faces turned, covered, small, cropped far
    off, and on pictures of other things.

    Attributes:
        tolerance: largest mean error of right points, as a fraction of the longer side of the face box.
        slope: positive, so that surer points never give a lower confidence.
        offset: of the log odds.

    Raises:
        ModelFileError: the tolerance or the slope is not positive, or a number is not finite.
    """

    tolerance: float
    slope: float
    offset: float

    def __post_init__(self) -> None:
        _check_ranges(self, tolerance=CALIBRATIONS, slope=CALIBRATIONS, offset=LOG_ODDS)

    def confidence(self, scores: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, " n"]:
        """Confidence of faces in [0, 1], from the confidence of their points."""
        odds = self.slope * median_log_odds(scores) + self.offset
        return _probability(odds)


def median_log_odds(scores: Float32[np.ndarray, "n k"]) -> Float64[np.ndarray, " n"]:
    """Log odds of the median confidence of each face's points."""
    if len(scores) == 0:
        return np.zeros(0)
    ranked, middle = np.sort(scores.astype(np.float64), axis=1), scores.shape[1] // 2  # faster than np.median
    medians = np.clip((ranked[:, middle] + ranked[:, ~middle]) / 2, _SURE, 1 - _SURE)
    return np.asarray(np.log(medians / (1 - medians)))


METADATA_KEY = "canthus"
"""Key of the ONNX metadata entry that holds the card as JSON."""
OPTIONAL = (
    "calibration",
    "face_calibration",
    "quantization",
    "parameters",
    "multiply_adds",
    "own_scheme",
    "conversion",
    "adapted",
)
"""Fields that are left out of a card where they are None, so that earlier versions can read the file."""
MOST_TEXT = 1_000_000
"""Characters of the longest card."""
MOST_DEPTH = 8
"""Tables and lists inside each other in a card; those of canthus have five."""
LANDMARKS = "landmarks"
DETECTOR = "detector"
KINDS = {LANDMARKS: "a landmark model (for --model)", DETECTOR: "a face detector (for --detector)"}
"""Kinds of models that a card describes."""


@final
@dataclass(frozen=True)
class ModelCard:
    """Description of a landmark model, stored in its file.

    Attributes:
        name: name of the model, as ``canthus models`` prints it.
        architecture: key of the ``MODELS`` table, for retraining.
        scheme: name of the point scheme; ``find_scheme`` gives the scheme itself.
        size: side of the square input in pixels.
        margin: side of the crop, in units of the longer side of the face box.
        training_data: names of the datasets.
        licence: terms of the weights.
        recipe: the command or recipe that made the file.
        metrics: measured numbers, such as ``300w/validation/nme_ion``; fractions, not percent.
        calibration: how expected errors become confidence; None if the model gives no confidence.
        quantization: how the model was quantized to int8; None for a float model.
        parameters: number of weights; None if the export did not count them.
        multiply_adds: of one face; None if the export did not count them.
        face_calibration: how confidence of points becomes confidence of the face; None if the model gives none.
        own_scheme: the point scheme, if it is none of canthus; else None.
        conversion: variant by which the points of training sets of another scheme were converted, such as ``chord``;
            evaluations convert their truth by it.  None for the default variants.
        learned_from: ``dataset/split`` of the faces that the weights have learned from, also before ``init``; empty if
            the export did not note them.
        twin: name of the model of the same recipe that has not learned from the faces that measure; ``metrics`` and
            both calibrations are its.  None if they are the model's own.
        adapted: ``dataset/split`` of the labels to which a map in the last weights takes the points, see
            ``canthus adapt``; None if there is no such map.

    Raises:
        ModelFileError: the size is outside ``SIDES``, the margin outside ``MARGINS``, or another number out of range.
    """

    name: str
    architecture: str
    scheme: str
    size: int
    margin: float
    training_data: tuple[str, ...]
    licence: str
    recipe: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    quantization: Quantization | None = None
    parameters: int | None = None
    multiply_adds: int | None = None
    face_calibration: FaceCalibration | None = None
    own_scheme: Scheme | None = None
    conversion: str | None = None
    learned_from: tuple[str, ...] = ()
    twin: str | None = None
    adapted: str | None = None

    def __post_init__(self) -> None:
        _check_ranges(self, size=SIDES, margin=MARGINS, parameters=COUNTS, multiply_adds=COUNTS)

    def find_scheme(self) -> Scheme:
        """The point scheme.

        Raises:
            ConfigError: the name is unknown, and the card does not carry the scheme.
        """
        return carried_scheme(self.scheme, self.own_scheme)

    def to_json(self) -> str:
        """The card as JSON."""
        return _card_json(self)

    @staticmethod
    def from_json(text: str, *, source: str) -> "ModelCard":
        """Read a card; ``source`` names the file in errors.

        Raises:
            ModelFileError: not JSON, the card of a detector, or a field is missing, unknown or of the wrong type.
        """
        return _read_card(ModelCard, text, kind=LANDMARKS, source=source)


@final
@dataclass(frozen=True)
class DetectorCard:
    """Description of a face detector, stored in its file; fields that are not listed are those of ``ModelCard``.

    Attributes:
        strides: pixels between the cells of each grid, in the order of the outputs.
        size: longer side in pixels to which a picture is resized by default.
        score: default score threshold.
        kind: distinguishes the card from that of a landmark model.
        multiply_adds: of one picture of 640 x 480 pixels; None if the export did not count them.

    Raises:
        ModelFileError: a stride is outside ``STRIDES``, the size outside ``DETECTOR_SIDES``, the score outside [0, 1],
            or another number out of range.
    """

    name: str
    architecture: str
    strides: tuple[int, ...]
    size: int
    score: float
    training_data: tuple[str, ...]
    licence: str
    recipe: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    kind: str = DETECTOR
    parameters: int | None = None
    multiply_adds: int | None = None
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.strides) <= MOST_STRIDES:
            raise ModelFileError(
                f"There are {len(self.strides)} strides; expected 1 to {MOST_STRIDES}, such as 8, 16, 32"
            )
        _check_ranges(self, strides=STRIDES, size=DETECTOR_SIDES, score=CHANCE, parameters=COUNTS, multiply_adds=COUNTS)

    def to_json(self) -> str:
        """The card as JSON."""
        return _card_json(self)

    @staticmethod
    def from_json(text: str, *, source: str) -> "DetectorCard":
        """Read a card; ``source`` names the file in errors.

        Raises:
            ModelFileError: not JSON, the card of a landmark model, or a field is missing, unknown or of the wrong type.
        """
        return _read_card(DetectorCard, text, kind=DETECTOR, source=source)


Card = TypeVar("Card", ModelCard, DetectorCard)


def card_kind(text: str, *, source: str) -> str:
    """Kind of a card, a key of ``KINDS``; a card without a kind describes a landmark model.

    Raises:
        ModelFileError: not JSON.
    """
    return str(_card_values(text, source=source).get("kind", LANDMARKS))


def _read_card(cls: type[Card], text: str, *, kind: str, source: str) -> Card:
    values = _card_values(text, source=source)
    found = values.get("kind", LANDMARKS)
    if found != kind:
        what = (
            KINDS[found] if isinstance(found, str) and found in KINDS else f"of the unknown kind {reprlib.repr(found)}"
        )
        raise ModelFileError(f"{source}: is {what}, expected {KINDS[kind]}")
    if kind == LANDMARKS:
        values.pop("kind", None)
    card = from_values(cls, values, source=f"{source}: model card", error=ModelFileError)
    if isinstance(card, ModelCard):
        try:
            card.find_scheme()
        except ConfigError as error:
            raise ModelFileError(f"{source}: model card: {error}") from error
    return card


def _card_json(card: ModelCard | DetectorCard) -> str:
    values = to_values(card)
    if card.quantization is not None:
        values["quantization"] = {k: v for k, v in values["quantization"].items() if v is not None}
    return json.dumps({k: v for k, v in values.items() if v is not None or k not in OPTIONAL}, indent=1)


def _card_values(text: str, *, source: str) -> dict[str, Any]:
    """The values of a card, with its texts fit for any terminal."""
    if len(text) > MOST_TEXT:
        raise ModelFileError(f"{source}: the model card has {len(text)} characters, expected {MOST_TEXT} at most")
    values: dict[str, Any] = _shown(json_table(text, source=f"{source}: the model card", error=ModelFileError), source)
    return values


def _shown(value: Any, source: str, depth: int = 0) -> Any:
    """The value with each text in it printable."""
    if depth > MOST_DEPTH:
        raise ModelFileError(f"{source}: the model card is nested too deep to be read")
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _shown(entry, source, depth + 1) for key, entry in value.items()}
    return [_shown(entry, source, depth + 1) for entry in value] if isinstance(value, list) else value


def _check_ranges(
    values: Quantization | Calibration | FaceCalibration | ModelCard | DetectorCard, **ranges: Range
) -> None:
    try:
        check_ranges(values, **ranges)
    except ConfigError as error:
        raise ModelFileError(str(error)) from error
