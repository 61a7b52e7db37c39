"""What a face detector is, and the simplest one: the whole picture as one face."""

from typing import Protocol, final, runtime_checkable

import numpy as np

from canthus.types import Faces, Image


@runtime_checkable
class Detector(Protocol):
    """Anything that finds faces in a picture.

    The boxes it returns are *face boxes*: the tight hull of the 68 landmarks, brows to chin and ear to ear (see
    ``docs/coordinates.md``).  A detector with another habit maps its boxes before it returns them.
    """

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture, best first; none gives length 0."""
        ...


@final
class WholePicture:
    """The whole picture as one face box, for pictures that are already cut to the face."""

    def __call__(self, image: Image) -> Faces:
        """One face."""
        height, width = image.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))
