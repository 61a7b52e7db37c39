"""What the card of an int8 model says about how it was made."""

from dataclasses import dataclass, fields
from typing import Any, final

from canthus.errors import ModelFileError

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
