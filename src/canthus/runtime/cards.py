"""Cards of model files: what a landmark model, a detector or an int8 model says about itself, read and checked."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from canthus.errors import ModelFileError
from canthus.lookup import unknown_name
from canthus.schemes import Scheme, find_scheme

_KINDS: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "calibrated_on": (str,),
    "crops": (int,),
    "seed": (int,),
    "weight_bits": (int,),
    "kept": (list, tuple),
    "checked_on": (str,),
    "float_nme_ion": (float, int),
}

ROW = 15
"""Numbers a cell puts out: logit of the score, dx, dy, log width, log height, then x and y of five points."""


@final
@dataclass(frozen=True)
class Quantization:
    """How the numbers of an int8 model were chosen, and what that was held against.

    Attributes:
        method: how ranges follow from what was seen: ``minmax``, ``percentile`` or ``entropy``.
        calibrated_on: ``dataset/split`` of the crops that ranges were seen on.
        crops: their number.
        seed: of their choice.
        weight_bits: 8, or 7 for processors without VNNI.
        kept: names of the layers that stay in float.
        checked_on: ``dataset/split`` that int8 and float were compared on.
        float_nme_ion: error of the float model there, a fraction; that of this file is among the metrics.
    """

    method: str
    calibrated_on: str
    crops: int
    seed: int
    weight_bits: int
    kept: tuple[str, ...]
    checked_on: str
    float_nme_ion: float

    def describe(self) -> str:
        """One line for a reader."""
        kept = f"; in float: {', '.join(self.kept)}" if self.kept else ""
        return (
            f"int8, {self.weight_bits} bits a weight; ranges ({self.method}) of {self.crops} crops of "
            f"{self.calibrated_on}, seed {self.seed}{kept}; the float model had {self.float_nme_ion:.2%} on "
            f"{self.checked_on}"
        )


def read_quantization(values: object, *, source: str) -> Quantization:
    """The entry of a card; ``source`` names the file in errors.

    Raises:
        ModelFileError: fields are missing, unknown or of another kind.
    """
    names = [f.name for f in fields(Quantization)]
    if (
        not isinstance(values, dict)
        or set(values) != set(names)
        or any(type(values[name]) not in kinds for name, kinds in _KINDS.items())
    ):
        raise ModelFileError(f"{source}: the quantization must hold {', '.join(names)}; found {values!r}")
    known: dict[str, Any] = dict(values)
    return Quantization(**{**known, "kept": tuple(str(name) for name in known["kept"])})


TOLERANCE = 0.05
"""What counts as right unless stated otherwise: 5 % of the longer side of the face box, 8 or 9 % of the inter-ocular
distance of a frontal face, about the threshold from which 300-W counts a face as failed."""


@final
@dataclass(frozen=True)
class Calibration:
    """How expected errors become confidence; fitted on held-out faces when a model is exported.

    The confidence of a point is the probability that it lies within ``tolerance`` of its true place:

    p = 1 / (1 + exp(-(slope (ln(tolerance) - ln(expected)) + offset))),

    with the expected error and the tolerance in longer sides of the face box.  That is the distribution function of a
    log-logistic error, and the map of Platt (1999), "Probabilistic Outputs for Support Vector Machines".

    Attributes:
        tolerance: what counts as right, fraction of the longer side of the face box.
        slope: positive, so that a larger expected error never gives more confidence.
        offset: of the log odds.
    """

    tolerance: float
    slope: float
    offset: float

    def __post_init__(self) -> None:
        values = (self.tolerance, self.slope, self.offset)
        if not all(math.isfinite(v) for v in values) or min(values[:2]) <= 0:
            raise ModelFileError(
                f"A calibration needs a positive tolerance and slope and a finite offset; found {values}"
            )

    def scores(self, spread: Float32[np.ndarray, "n k"], *, margin: float) -> Float32[np.ndarray, "n k"]:
        """Confidence of points in [0, 1].

        Args:
            spread: logarithm of the expected error, in sides of the crop.
            margin: side of the crop over the longer side of the face box.
        """
        odds = self.slope * (math.log(self.tolerance / margin) - spread.astype(np.float64)) + self.offset
        # The same as 1 / (1 + exp(-odds)), which overflows far from zero.
        return (0.5 * (1 + np.tanh(odds / 2))).astype(np.float32)


METADATA_KEY = "canthus"
"""Key of the ONNX metadata entry that holds the card as JSON."""
COUNTS = ("parameters", "multiply_adds")
OPTIONAL = ("calibration", "quantization", *COUNTS)
"""Fields of a card that files have only where they apply."""
LANDMARKS = "landmarks"
DETECTOR = "detector"
KINDS = {
    LANDMARKS: "a landmark model (for --model)",
    DETECTOR: "a face detector (for --detector)",
}
"""What a card can describe, in words."""


@final
@dataclass(frozen=True)
class ModelCard:
    """What the runtime and a reader need to know about a landmark network.

    Attributes:
        name: name of the model, as ``canthus models`` prints it.
        architecture: key of the ``MODELS`` table, for retraining.
        scheme: name of the point scheme.
        size: side of the square input in pixels.
        margin: side of the crop, in units of the longer side of the face box.
        training_data: names of the sets.
        licence: terms of the weights.
        recipe: the command or recipe that made the file.
        metrics: measured numbers, such as ``300w/validation/nme_ion``; fractions, not percent.
        calibration: how the file's expected errors become confidence; None where it gives none.
        quantization: how the file was turned to int8; None where it computes in float.
        parameters: number of weights; None where the export did not count them.
        multiply_adds: of one face; None where the export did not count them.
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

    def find_scheme(self) -> Scheme:
        """The point scheme itself."""
        return find_scheme(self.scheme)

    def to_json(self) -> str:
        """The card as JSON text."""
        return _card_json(asdict(self))

    @staticmethod
    def from_json(text: str, *, source: str) -> "ModelCard":
        """Read a card; ``source`` names the file in errors.

        Raises:
            ModelFileError: not JSON, of a detector, or fields are missing or unknown.
        """
        values = card_values(text, kind=LANDMARKS, known=[f.name for f in fields(ModelCard)], source=source)
        values["training_data"] = tuple(values["training_data"])
        if values.get("calibration") is not None:
            values["calibration"] = _calibration(values["calibration"], source=source)
        if values.get("quantization") is not None:
            values["quantization"] = read_quantization(values["quantization"], source=source)
        return ModelCard(**values)


def _card_json(values: dict[str, Any]) -> str:
    """JSON without the optional fields that are None, so that versions without these fields read the file."""
    return json.dumps({k: v for k, v in values.items() if v is not None or k not in OPTIONAL}, indent=1)


def _calibration(values: object, *, source: str) -> Calibration:
    names = [f.name for f in fields(Calibration)]
    if (
        not isinstance(values, dict)
        or set(values) != set(names)
        or any(type(v) not in (int, float) for v in values.values())
    ):
        raise ModelFileError(f"{source}: the calibration must hold the numbers {', '.join(names)}; found {values!r}")
    return Calibration(**values)


def card_values(text: str, *, kind: str, known: Collection[str], source: str) -> dict[str, Any]:
    """Fields of a card of one kind; ``metrics`` and those of ``OPTIONAL`` may be missing.

    Args:
        text: the card as JSON.
        kind: what the file is expected to be; the card of a landmark model need not say.
        known: names of the fields.
        source: the file, for errors.

    Raises:
        ModelFileError: not JSON, of another kind, or fields are missing or unknown.
    """
    values, found = _json_object(text, source=source), card_kind(text, source=source)
    if found != kind:
        what = KINDS.get(found, f"of the unknown kind {found!r}")
        raise ModelFileError(f"{source}: is {what}, expected {KINDS[kind]}")
    if "kind" not in known:
        values.pop("kind", None)
    for name in values:
        if name not in known:
            raise ModelFileError(f"{source}: {unknown_name(name, known, kind='field of the model card')}")
    missing = set(known) - set(values) - {"metrics", *OPTIONAL}
    if missing:
        raise ModelFileError(f"{source}: the model card lacks {', '.join(sorted(missing))}")
    for name in COUNTS:
        count = values.get(name)
        if count is not None and (type(count) is not int or count < 0):
            raise ModelFileError(f"{source}: {name} of the model card is {count!r}, expected a whole number")
    return values


def card_kind(text: str, *, source: str) -> str:
    """What a card describes; one that does not say is of a landmark model.

    Raises:
        ModelFileError: not JSON.
    """
    return str(_json_object(text, source=source).get("kind", LANDMARKS))


def _json_object(text: str, *, source: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{source}: the model card is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ModelFileError(f"{source}: the model card is no JSON object")
    return values


@final
@dataclass(frozen=True)
class DetectorCard:
    """What the runtime and a reader need to know about a detector network.

    Attributes:
        name: name of the detector, as ``canthus models`` prints it.
        architecture: key of the ``MODELS`` table, for retraining.
        strides: pixels between the cells of each grid, in the order of the outputs.
        size: longer side in pixels to which a picture is usually brought.
        score: faces scored lower are usually left out.
        training_data: names of the sets.
        licence: terms of the weights.
        recipe: the command or recipe that made the file.
        metrics: measured numbers; fractions, not percent.
        kind: tells the card from that of a landmark model.
        parameters: number of weights; None where the export did not count them.
        multiply_adds: of one picture of 640 x 480 pixels; None where the export did not count them.
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

    def to_json(self) -> str:
        """The card as JSON text."""
        return _card_json(asdict(self))

    @staticmethod
    def from_json(text: str, *, source: str) -> "DetectorCard":
        """Read a card; ``source`` names the file in errors.

        Raises:
            ModelFileError: not JSON, of a landmark model, fields are missing or unknown, or a number is none.
        """
        values = card_values(text, kind=DETECTOR, known=[f.name for f in fields(DetectorCard)], source=source)
        strides, size, score = values["strides"], values["size"], values["score"]
        if not (isinstance(strides, list) and strides and all(_is_count(stride) for stride in strides)):
            raise ModelFileError(f"{source}: the strides of the model card are {strides}, expected numbers such as 8")
        if not _is_count(size):
            raise ModelFileError(f"{source}: the size of the model card is {size}, expected a number of pixels")
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise ModelFileError(f"{source}: the score of the model card is {score}, expected one from 0 to 1")
        values["strides"] = tuple(strides)
        values["training_data"] = tuple(values["training_data"])
        return DetectorCard(**values)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
