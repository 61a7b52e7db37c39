"""From the error that a network expects of a point to the chance that the point is right."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.errors import ModelFileError

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
