"""From a picture to faces with landmarks: a detector followed by a landmarker."""

import os
from collections.abc import Iterable, Iterator
from typing import final

from canthus.errors import ConfigError
from canthus.images import checked_image
from canthus.runtime.detectors import Detector, create_detector, usual_passes
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.types import Faces, Frame, Image


@final
class Pipeline:
    """Find faces and their landmarks in pictures.

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
        """Faces and landmarks of one picture; the frame has length 0 if there is no face.

        Raises:
            ValueError: not an RGB picture, uint8 ``(h, w, 3)``.
        """
        image = checked_image(image)
        return self.mark(image, self.detector(image))

    def mark(self, image: Image, faces: Faces) -> Frame:
        """Landmarks of faces that are already known, from another detector or drawn by hand.

        Their boxes should be face boxes (``docs/coordinates.md``); with other boxes, use two passes.

        Raises:
            ValueError: not an RGB picture, or a box that is not finite or has no area.
        """
        return Frame(faces, self.landmarker(checked_image(image), faces.boxes))

    def stream(self, images: Iterable[Image]) -> Iterator[Frame]:
        """Yield the frame of each picture, in order; ``images`` may be an endless generator."""
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
    """Open a landmark model and a detector.

    Args:
        model: ``default``, a name that ``canthus models`` lists, an ONNX file of ``canthus export``, an ``.npz`` file
            of ``canthus fit``, or the content of an ONNX file.
        detector: a name or file that ``create_detector`` accepts, or any function from a picture to ``Faces``.
        detector_model: ONNX file for the detector ``canthus`` or ``yunet``.
        detector_size: longer side in pixels to which the detector resizes pictures.
        detector_tiles: also search tiles of larger pictures for small faces.
        threads: threads of the landmark model and of the canthus detector.
        passes: crops per face.  2 crops each face again around the first landmarks, which is slower and depends less on
            the box.  By default what suits the detector; see ``usual_passes``.

    Raises:
        ConfigError: an unknown model or detector, a setting without effect, or a number below one.
        ModelFileError: a file is missing, or is not of the expected kind.
    """
    found: Detector
    if isinstance(detector, str | os.PathLike):
        found = create_detector(
            detector, model=detector_model, size=detector_size, tiles=detector_tiles, threads=threads
        )
    elif detector_model is not None or detector_size is not None or detector_tiles:
        raise ConfigError("Settings of the detector have no effect on a detector that exists already; leave them out")
    else:
        found = detector
    count = usual_passes(detector) if passes is None else passes
    return Pipeline(found, Landmarker(open_model(model, threads=threads), passes=count))
