"""Detector and pictures in, found faces out, with the time each picture took."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from canthus.images import read_image
from canthus.runtime.detector import Detector
from canthus.types import Faces, Scene


class Detection(NamedTuple):
    """What a detector found in one picture.

    Attributes:
        faces: in pixels of the picture.
        seconds: that the detector took; reading the picture is not in it.
    """

    faces: Faces
    seconds: float


def detect_scenes(scenes: Iterable[Scene], detector: Detector) -> Iterator[Detection]:
    """Search each picture, one at a time.

    Args:
        scenes: the pictures.
        detector: the detector under test.

    Yields:
        One detection a picture, in their order.

    Raises:
        ImageError: a picture cannot be read.
    """
    for scene in scenes:
        image = read_image(scene.path)
        start = time.perf_counter()
        faces = detector(image)
        yield Detection(faces, time.perf_counter() - start)
