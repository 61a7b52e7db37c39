"""Detector and landmarker in a row: one call from a picture to faces with landmarks."""

import os
from collections.abc import Iterable, Iterator
from typing import final

from canthus.errors import ConfigError
from canthus.images import checked_image
from canthus.runtime.detector import Detector
from canthus.runtime.detectors import create_detector, usual_passes
from canthus.runtime.landmarker import Landmarker, open_model
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
    detector: str | os.PathLike[str] | Detector = "default",
    detector_model: str | os.PathLike[str] | None = None,
    detector_size: int | None = None,
    detector_tiles: bool = False,
    threads: int = 1,
    passes: int | None = None,
) -> Pipeline:
    """A pipeline ready to run.

    Args:
        model: ``default``, a name that ``canthus models`` lists, an ONNX file of ``canthus export``, or an ``.npz``
            of ``canthus fit``.
        detector: a name or file that ``create_detector`` takes, or anything that maps a picture to ``Faces``.
        detector_model: file of the detector ``yunet``, or of ``canthus``.
        detector_size: longer side in pixels to which the detector brings pictures.
        detector_tiles: look for small faces in tiles of larger pictures as well.
        threads: threads of the landmark model, and of the detector's where that is of canthus.
        passes: 2 cuts each face out a second time by the points found first; slower, less dependent on the box.  What
            suits the detector unless given, see ``usual_passes``.

    Raises:
        ConfigError: unknown model or detector, a setting that has no effect, or a number below one.
        ModelFileError: a file is missing or of another kind.
    """
    if isinstance(detector, str | os.PathLike):
        found = create_detector(
            detector, model=detector_model, size=detector_size, tiles=detector_tiles, threads=threads
        )
    elif detector_model is not None or detector_size is not None or detector_tiles:
        raise ConfigError("Settings of the detector have no effect on one that is ready; leave them out")
    else:
        found = detector
    count = usual_passes(detector) if passes is None else passes
    return Pipeline(found, Landmarker(open_model(model, threads=threads), passes=count))
