"""The model card that an ONNX file carries inside itself."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, final

from canthus.errors import ModelFileError
from canthus.lookup import unknown_name
from canthus.runtime.confidence import Calibration
from canthus.runtime.quantization import Quantization, read_quantization
from canthus.schemes import Scheme, find_scheme

METADATA_KEY = "canthus"
"""Key of the ONNX metadata entry that holds the card as JSON."""
OPTIONAL = ("calibration", "quantization")
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

    def find_scheme(self) -> Scheme:
        """The point scheme itself."""
        return find_scheme(self.scheme)

    def to_json(self) -> str:
        """The card as JSON text."""
        values = asdict(self)
        for name in OPTIONAL:
            if values[name] is None:  # so that versions that do not know the field read the file
                del values[name]
        return json.dumps(values, indent=1)

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
