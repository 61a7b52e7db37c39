"""Landmark models timed as they are used: cut out the face, run the model, map its points back."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from canthus.data.synthetic import draw_face
from canthus.evaluation.cost import Candidate, open_candidate
from canthus.geometry import hull_box
from canthus.runtime.landmarker import CropModel, Landmarker, open_model

PICTURE = 240
"""Side of the drawn picture whose face is cut out, in pixels."""
UNCOUNTED_CASCADE = "a cascade of ferns compares pixels and adds shapes; it has no multiply-adds of a network"


def open_landmark_candidate(
    path: str | os.PathLike[str], *, name: str, threads: int, batch: int = 1, whole: bool
) -> Candidate:
    """A landmark model ready to be timed: the model alone on crops, or all that one picture asks for.

    Args:
        path: ONNX file with a card, or ``.npz`` of a cascade.
        name: how results call it.
        threads: threads inside one operator of a network; a cascade runs in NumPy and takes one.
        batch: faces in one run.
        whole: also cut the faces out of a drawn picture of ``PICTURE`` pixels and map the points back.

    Raises:
        ConfigError: the file does not run with this batch.
        ModelFileError: no landmark model of canthus.
    """
    model = open_model(path, threads=threads)
    crops = np.random.default_rng(0).integers(0, 256, (batch, model.card.size, model.card.size, 3), np.uint8)
    if is_cascade(path):
        feeds = {"image": crops}
    else:
        feeds = dict(open_candidate(path, name=name, threads=threads, batch=batch).feeds)
    return Candidate(name, feeds, _whole_run(model, batch) if whole else lambda: model.answer(crops))


def is_cascade(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a fitted cascade rather than a network."""
    return Path(path).suffix == ".npz"


def _whole_run(model: CropModel, batch: int) -> Callable[[], object]:
    face = draw_face(np.random.default_rng(0), size=PICTURE)
    boxes = np.repeat(hull_box(face.points)[None], batch, axis=0)
    landmarker = Landmarker(model)
    return lambda: landmarker(face.image, boxes)
