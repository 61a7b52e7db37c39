"""The detector of canthus: one run of its network on the picture brought to a fixed size."""

from typing import final

from canthus.errors import ConfigError
from canthus.images import fit_image
from canthus.runtime.detections import decode
from canthus.runtime.detector_session import DetectorSession
from canthus.types import Faces, Image


@final
class CanthusDetector:
    """Faces by the network of a detector file.

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
        canvas, to_picture = fit_image(image, self.size, multiple=self._multiple)
        height, width = canvas.shape[:2]
        outputs = self.session(canvas[None])[0]
        return decode(outputs, height, width, self.session.card.strides, self.least_score).moved(to_picture)
