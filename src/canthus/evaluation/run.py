"""Run a model or a detector over a dataset: one row a face."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from canthus.errors import ConfigError
from canthus.evaluation.boxes import MIN_OVERLAP, BoxJitter, match_boxes
from canthus.evaluation.predictions import Prediction
from canthus.images import read_image
from canthus.runtime.detector import Detector
from canthus.types import Annotation, Faces, Image, Landmarks, Scene


@runtime_checkable
class Predictor(Protocol):
    """Landmarks of the faces in given boxes; the runtime's ``Landmarker`` is one."""

    def __call__(self, image: Image, boxes: Float32[np.ndarray, "n 4"]) -> Landmarks:
        """Landmarks in pixels of the picture, one row per box."""
        ...


def predict_on_truth(
    annotations: Sequence[Annotation],
    predictor: Predictor,
    *,
    jitter: BoxJitter | None = None,
) -> Iterator[Prediction]:
    """Predict every labelled face inside its truth box.

    Args:
        annotations: labelled faces; faces of one picture are predicted together.
        predictor: the network under test.
        jitter: shifts and scales the boxes first.

    Raises:
        ConfigError: the network's point scheme is not that of the truth.
        ImageError: a picture cannot be read.
    """
    for image, truths in pictures_of(annotations):
        boxes = np.stack([jitter.apply(truth.box, truth.key) if jitter else truth.box for truth in truths])
        faces = predict(predictor, image, boxes, truths[0])
        for truth, box, (points, scores) in zip(truths, boxes, faces, strict=True):
            overlap = match_boxes(truth.box[None], box[None], min_overlap=0.0)[0].overlap
            yield Prediction(truth, points, found=True, box=box, overlap=overlap, scores=scores)


def predict_on_detected(
    annotations: Sequence[Annotation],
    predictor: Predictor,
    detector: Detector,
    *,
    min_overlap: float = MIN_OVERLAP,
) -> Iterator[Prediction]:
    """Detect faces in the whole picture, then predict each labelled face in the box that overlaps it best.

    Args:
        annotations: labelled faces.
        predictor: the network under test.
        detector: finds the boxes.
        min_overlap: a labelled face without a detected box of larger intersection over union is missed.

    Raises:
        ConfigError: the network's point scheme is not that of the truth.
        ImageError: a picture cannot be read.
    """
    for image, truths in pictures_of(annotations):
        detected = detector(image).boxes
        matches = match_boxes(np.stack([truth.box for truth in truths]), detected, min_overlap=min_overlap)
        boxes = detected[[match.index for match in matches if match.found]]
        faces = iter(predict(predictor, image, boxes, truths[0]))
        for truth, match in zip(truths, matches, strict=True):
            if match.found:
                points, scores = next(faces)
                box = detected[match.index]
                yield Prediction(truth, points, found=True, box=box, overlap=match.overlap, scores=scores)
            else:
                yield Prediction.missed(truth, overlap=match.overlap)


def pictures_of(annotations: Sequence[Annotation]) -> Iterator[tuple[Image, list[Annotation]]]:
    """Each picture, read once, with its faces."""
    by_path: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        by_path.setdefault(str(annotation.path), []).append(annotation)
    for path, truths in by_path.items():
        yield read_image(path), truths


def predict(
    predictor: Predictor, image: Image, boxes: Float32[np.ndarray, "n 4"], truth: Annotation
) -> list[tuple[Float32[np.ndarray, "k 2"], Float32[np.ndarray, " k"] | None]]:
    """Points of each face in ``boxes``, in the scheme of ``truth``, and their confidence where the network gives it.

    Raises:
        ConfigError: the network has another scheme.
    """
    if len(boxes) == 0:
        return []
    landmarks = predictor(image, boxes)
    if landmarks.scheme.name != truth.scheme.name:
        raise ConfigError(
            f"The model predicts {landmarks.scheme.name}, the truth of {truth.key} is {truth.scheme.name}; "
            "choose a model and a dataset of the same scheme"
        )
    scores = [None] * len(landmarks) if landmarks.scores is None else list(landmarks.scores)
    return list(zip(landmarks.points, scores, strict=True))


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
