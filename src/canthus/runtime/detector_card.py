"""The card that the ONNX file of a face detector carries inside itself."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import final

from canthus.errors import ModelFileError
from canthus.runtime.card import DETECTOR, card_values


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

    def to_json(self) -> str:
        """The card as JSON text."""
        return json.dumps(asdict(self), indent=1)

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
