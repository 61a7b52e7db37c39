"""The detector of canthus: its network on the picture brought to a fixed size, and once more much smaller."""

from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.errors import ConfigError
from canthus.geometry import box_size
from canthus.images import fit_image
from canthus.runtime.detections import decode, merge_faces
from canthus.runtime.detector_session import DetectorSession
from canthus.types import Faces, Image

SECOND_LOOK = 0.3
"""Size of the second look, as a share of the first."""
NEEDS_SECOND = 400
"""Pixels of the longer side from which a picture may hold faces larger than the network has learned to see."""
LARGEST = 240
"""Faces larger than this in the first look, longer side in pixels, are left to the second."""
SMALLEST = 48
"""Faces smaller than this in the second look are left to the first."""


@final
class CanthusDetector:
    """Faces by the network of a detector file.

    The network knows faces of some 8 to 250 pixels.  Larger ones are found in a second look at 0.3 of the size, which
    costs a tenth of the first and also tells a large face from the small ones that its parts might be taken for.

    Args:
        session: the network.
        size: longer side in pixels to which a picture is brought, what the card says if None; smaller is faster and
            misses smaller faces.  Pictures are enlarged at most twice.
        least_score: faces scored lower are left out; what the card says if None.

    Raises:
        ConfigError: the size is below the largest stride, or the score is outside [0, 1].
    """

    def __init__(self, session: DetectorSession, *, size: int | None = None, least_score: float | None = None) -> None:
        self.session = session
        self.size = session.card.size if size is None else size
        self.least_score = session.card.score if least_score is None else least_score
        self._multiple = max(session.card.strides)
        if self.size < self._multiple:
            raise ConfigError(f"The detector looks at no less than {self._multiple} pixels, found size {self.size}")
        if not 0 <= self.least_score <= 1:
            raise ConfigError(f"Expected a least score from 0 to 1, found {self.least_score:g}")

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture with their five points, best first."""
        found, longer = self._look(image, self.size)
        if longer < NEEDS_SECOND:
            return found[0]
        small = found[0].take(np.flatnonzero(found[1] <= LARGEST))
        (faces, sides), _ = self._look(image, max(self._multiple, round(SECOND_LOOK * longer)))
        return merge_faces([small, faces.take(np.flatnonzero(sides >= SMALLEST))])

    def _look(self, image: Image, size: int) -> tuple[tuple[Faces, Float32[np.ndarray, " n"]], int]:
        """Faces, their longer sides in pixels as the network saw them, and the longer side of the picture then."""
        canvas, to_picture = fit_image(image, size, multiple=self._multiple)
        height, width = canvas.shape[:2]
        outputs = self.session(canvas[None])[0]
        faces = decode(outputs, height, width, self.session.card.strides, self.least_score)
        return (faces.moved(to_picture), box_size(faces.boxes).max(axis=1, initial=0)), max(height, width)
