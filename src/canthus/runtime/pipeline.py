"""Detector and landmarker in a row: one call from a picture to faces with landmarks."""

import os
from collections.abc import Iterable, Iterator
from typing import final

from canthus.images import checked_image
from canthus.runtime.crop_model import open_model
from canthus.runtime.detector import Detector, create_detector, usual_passes
from canthus.runtime.landmarker import Landmarker
from canthus.types import Faces, Frame, Image


@final
class Pipeline:
    """Find faces, then their landmarks.

    Args:
        detector: finds the face boxes.
        landmarker: finds the points within them.

    Example:
        >>> pipeline = load_pipeline()
        >>> frame = pipeline(read_image("portrait.jpg"))
        >>> frame.landmarks.points.shape
        (1, 68, 2)
    """

    def __init__(self, detector: Detector, landmarker: Landmarker) -> None:
        self.detector = detector
        self.landmarker = landmarker

    def __call__(self, image: Image) -> Frame:
        """Faces and landmarks of one picture; no face gives a frame of length 0.

        Raises:
            ValueError: not an RGB picture, uint8 ``(h, w, 3)``.
        """
        image = checked_image(image)
        return self.mark(image, self.detector(image))

    def mark(self, image: Image, faces: Faces) -> Frame:
        """Landmarks of faces that are already known, from another detector or by hand.

        Args:
            image: the picture.
            faces: their boxes should hug the landmarks as ``docs/coordinates.md`` says; where they do not, a landmarker
                of two passes copes better.
        """
        return Frame(faces, self.landmarker(checked_image(image), faces.boxes))

    def stream(self, images: Iterable[Image]) -> Iterator[Frame]:
        """One frame per picture, in order.

        Pictures are taken one at a time and none is kept, so an endless generator works.
        """
        for image in images:
            yield self(image)


def load_pipeline(
    model: str | os.PathLike[str] | bytes = "default",
    *,
    detector: str | Detector = "haar",
    threads: int = 1,
    passes: int | None = None,
) -> Pipeline:
    """A pipeline ready to run.

    Args:
        model: ``default``, a name that ``canthus models`` lists, an ONNX file of ``canthus export``, or an ``.npz``
            of ``canthus fit``.
        detector: ``haar`` (OpenCV's cascade for frontal faces), ``none`` (the whole picture is one face), or anything
            that maps a picture to ``Faces``.
        threads: threads of the landmark model.
        passes: 2 cuts each face out a second time by the points found first; slower, less dependent on the box.  What
            suits the detector unless given: 2 for ``haar``, else 1.

    Raises:
        ConfigError: unknown model or detector, or a number below one.
        ModelFileError: the file is missing or no landmark model.
    """
    found = create_detector(detector) if isinstance(detector, str) else detector
    count = usual_passes(detector) if passes is None else passes
    return Pipeline(found, Landmarker(open_model(model, threads=threads), passes=count))
