"""Landmarks of faces: crop each face, run the model, map the points back to the picture."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from canthus.errors import ConfigError, ModelFileError
from canthus.geometry import FAR, TURNED, Affine, box_size, crop_square, crop_turn
from canthus.images import checked_image, crop_image
from canthus.runtime.backends import CPU, ONNXRUNTIME
from canthus.runtime.cards import ModelCard
from canthus.runtime.esr import EsrModel
from canthus.runtime.sessions import Answer, LandmarkSession
from canthus.schemes import Scheme
from canthus.types import DOUBTFUL, Faces, Image, Landmarks, as_floats


@runtime_checkable
class CropModel(Protocol):
    """A landmark model that is ready to run, such as ``LandmarkSession`` and ``EsrModel``."""

    card: ModelCard
    scheme: Scheme
    size_bytes: int

    @property
    def gives_scores(self) -> bool:
        """Whether answers have a confidence."""
        ...

    def answer(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Answer:
        """Points in pixels of each crop; crops are RGB squares of ``card.size`` pixels."""
        ...


def open_model(
    model: str | os.PathLike[str] | bytes = "default",
    *,
    threads: int = 1,
    device: str = CPU,
    backend: str = ONNXRUNTIME,
) -> CropModel:
    """Open a landmark model by name, path or content; an ``.npz`` file is a cascade, anything else a network.

    A cascade runs in NumPy, whatever ``threads``, ``device`` and ``backend`` are.

    Raises:
        ConfigError: no embedded model has that name, or the device or back end does not work here.
        MissingExtraError: OpenVINO is not installed.
        ModelFileError: the file is missing, or is not a landmark model of canthus.
    """
    if not isinstance(model, bytes) and Path(model).suffix == ".npz":
        if not Path(model).is_file():
            raise ModelFileError(f"{model}: no such file")
        return EsrModel.open(model)
    return LandmarkSession.open(model, threads=threads, device=device, backend=backend)


def gives_face_confidence(model: CropModel) -> bool:
    """Whether the landmarks of a model have a confidence of the whole face."""
    return model.gives_scores and model.card.face_calibration is not None


@final
class Landmarker:
    """Find the landmarks of faces whose boxes are known.

    All faces of a picture go through the model together.

    Args:
        session: the model.
        passes: crops per face.  2 crops each face again around the hull of the first points, so that the result depends
            less on the box; each pass costs one run of the model.
        most_passes: further passes, up to this number in all, for the faces whose hull still moves by more than
            ``SETTLED`` from one pass to the next; by default ``passes``, so none.

    Raises:
        ConfigError: ``passes`` is below one, or ``most_passes`` below ``passes``.
    """

    def __init__(self, session: CropModel, *, passes: int = 1, most_passes: int | None = None) -> None:
        most = passes if most_passes is None else most_passes
        if passes < 1:
            raise ConfigError(f"Expected at least 1 pass, found {passes}")
        if most < passes:
            raise ConfigError(f"Expected most_passes of at least {passes}, the number of passes; found {most}")
        self.session = session
        self.passes = passes
        self.most_passes = most

    def __call__(
        self,
        image: Image,
        boxes: Float32[np.ndarray, "n 4"],
        *,
        turns: Float32[np.ndarray, " n"] | None = None,
    ) -> Landmarks:
        """Landmarks of the faces in ``boxes``, which are face boxes in pixels (see ``docs/coordinates.md``).

        Args:
            turns: how far the crop of each face is turned, in radians clockwise on the screen; by default not at all.
                The box of a turned face has the sides of the upright face, about its centre in the picture.

        Raises:
            TypeError: not a picture, or the boxes are no array of real numbers.
            ValueError: no RGB picture, boxes of another shape, or a box that is not finite, has no area, or is further
                than ``FAR`` from the picture; turns of another shape.
        """
        image, boxes = checked_image(image), as_floats(boxes, "boxes", (None, 4))
        good = (np.abs(boxes) < FAR).all(axis=1) & (box_size(boxes) > 0).all(axis=1)  # NaN is not below FAR either
        if not good.all():
            box = boxes[np.argmin(good)].tolist()
            raise ValueError(
                f"Box {np.argmin(good)} is {box}; expected finite x1, y1, x2, y2 below {FAR:g}, x1 < x2 and y1 < y2"
            )
        turns = np.zeros(len(boxes), np.float32) if turns is None else as_floats(turns, "turns", (len(boxes),))
        if not np.isfinite(turns).all():
            index = int(np.argmin(np.isfinite(turns)))
            raise ValueError(f"Expected finite turns in radians; turn {index} is {turns[index]}")
        answer = self._settled(image, boxes, turns)
        return self.landmarks(answer.points, answer.scores)

    def of_faces(self, image: Image, faces: Faces, *, retried: int | None = None) -> Landmarks:
        """Landmarks of detected faces, whatever side they are turned to.

        A face that is turned by more than ``TURNED`` by the five points of its detector gets a crop that is turned
        upright.  A face that is doubtful then is looked at in all ``DIRECTIONS``, and the surest answer is taken if it
        is not doubtful.  Without five points, all crops are upright.

        Args:
            retried: how many faces, from the first on, may be looked at in other directions, ``MOST_TRIED`` of them at
                most; by default all.

        Raises:
            TypeError, ValueError: as when the landmarker is called with the boxes.
        """
        if faces.points is None:
            return self(image, faces.boxes)
        turns = crop_turn(faces.points)
        found = self(image, faces.boxes, turns=turns)
        if found.face_confidence is None:
            return found
        chosen = np.flatnonzero((found.face_confidence < DOUBTFUL)[:retried])[:MOST_TRIED]
        if not len(chosen):
            return found
        further = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False, dtype=np.float32)[1:]
        directions = (turns[chosen, None] + further).ravel()
        others = self(image, np.repeat(faces.boxes[chosen], len(further), axis=0), turns=directions)
        return _surer(found, others, chosen)

    def _settled(self, image: Image, boxes: Float32[np.ndarray, "n 4"], turns: Float32[np.ndarray, " n"]) -> Answer:
        """The answer after all passes."""
        answer = self._answer(image, boxes, turns)
        for done in range(1, self.most_passes):
            before, boxes = boxes, _hulls_or_boxes(answer.points, boxes, turns, self.session.scheme)
            moving = np.ones(len(boxes), bool) if done < self.passes else _moves(before, boxes)
            if not moving.any():
                break
            answer = _merged(answer, self._answer(image, boxes[moving], turns[moving]), moving)
        return answer

    def landmarks(self, points: Float32[np.ndarray, "n k 2"], scores: Float32[np.ndarray, "n k"] | None) -> Landmarks:
        """Points of the model with their confidence and that of each face, where the model gives them."""
        calibration = self.session.card.face_calibration
        whole = None if scores is None or calibration is None else calibration.confidence(scores)
        return Landmarks(points, self.session.scheme, scores, whole)

    def _answer(self, image: Image, boxes: Float32[np.ndarray, "n 4"], turns: Float32[np.ndarray, " n"]) -> Answer:
        """The answer of the model in crops turned by ``turns`` radians, with points in pixels of the picture."""
        size = self.session.card.size
        crops = np.empty((len(boxes), size, size, 3), np.uint8)
        affines = []
        for index, (square, turn) in enumerate(zip(crop_square(boxes, self.session.card.margin), turns, strict=True)):
            crops[index], affine = crop_image(image, square, size, turn=float(turn))
            affines.append(affine)
        answer = self.session.answer(crops)
        points = answer.points.copy()
        for index, affine in enumerate(affines):
            points[index] = affine.inverse().apply(points[index])
        return replace(answer, points=points)


DIRECTIONS = 8
"""Directions in which a doubtful face is looked at, evenly spaced: networks know turns up to half of their distance."""
MOST_TRIED = 4
"""Doubtful faces of a picture, best first, that are looked at in all directions, so that no crowd takes much longer."""
STILL_TURNED = math.radians(20)
"""A followed face whose last crop was turned gets turned crops down to this turn, so that crops do not alternate."""
SETTLED = 0.05
"""Largest shift of a side of a settled box from one pass to the next, in longer sides of the box."""


def _moves(before: Float32[np.ndarray, "n 4"], after: Float32[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
    """Whether a box differs from the one of the pass before."""
    return np.asarray(np.abs(after - before).max(axis=1) > SETTLED * box_size(after).max(axis=1))


def _merged(answer: Answer, newer: Answer, chosen: Bool[np.ndarray, " n"]) -> Answer:
    """The answer with that of a further pass for the chosen faces."""
    if chosen.all():
        return newer
    values = {}
    for name in ("points", "spread", "scores"):
        old = getattr(answer, name)
        if old is not None:
            old = old.copy()
            old[chosen] = getattr(newer, name)
        values[name] = old
    return Answer(**values)


def _surer(found: Landmarks, others: Landmarks, chosen: Int64[np.ndarray, " m"]) -> Landmarks:
    """The landmarks, with the surest of the ``others`` of each face ``chosen`` where that one is not doubtful."""
    if found.face_confidence is None or others.face_confidence is None:
        return found
    confidence = others.face_confidence.reshape(len(chosen), -1)
    best = confidence.argmax(axis=1) + np.arange(len(chosen)) * confidence.shape[1]
    sure = others.face_confidence[best] >= DOUBTFUL
    values = {}
    for name in ("points", "scores", "face_confidence"):
        values[name] = getattr(found, name).copy()
        values[name][chosen[sure]] = getattr(others, name)[best[sure]]
    return replace(found, **values)


def _hulls_or_boxes(
    points: Float32[np.ndarray, "n k 2"],
    boxes: Float32[np.ndarray, "n 4"],
    turns: Float32[np.ndarray, " n"],
    scheme: Scheme,
) -> Float32[np.ndarray, "n 4"]:
    """Face box of the points of each face, or its box if that is less than one pixel wide or high.

    The box of a turned face has the sides that it has when the face is upright, about its centre in the picture.
    """
    if len(points) == 0:
        return boxes
    hulls = scheme.face_boxes(points)
    for index in np.flatnonzero(turns):
        hulls[index] = turned_box(points[index], float(turns[index]), scheme)
    usable = (box_size(hulls) >= 1).all(axis=1, keepdims=True)
    return np.where(usable, hulls, boxes).astype(np.float32)


def turned_box(points: Float32[np.ndarray, "k 2"], turn: float, scheme: Scheme) -> Float32[np.ndarray, " 4"]:
    """Face box of a face turned by ``turn`` radians: the sides of the upright face, about its centre in the picture."""
    upright = Affine.about((0.0, 0.0), angle=-turn)
    box = scheme.face_boxes(upright.apply(points))
    centre, half = upright.inverse().apply((box[:2] + box[2:]) / 2 - 0.5) + 0.5, box_size(box) / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def kept_turn(points: Float32[np.ndarray, "k 2"], scheme: Scheme, before: float) -> float:
    """Turn of the next crop of a followed face in radians, after a crop with the turn ``before``; 0 if nearly upright.

    The face is turned as the line from the middle of its eyes to that of its mouth; it is upright in a scheme without
    eyes or mouth.
    """
    middles = scheme.middles(points)
    if middles is None:
        return 0.0
    (right_x, right_y), (left_x, left_y), (x, y) = middles
    turn = math.atan2((right_x + left_x) / 2 - x, y - (right_y + left_y) / 2)
    return turn if abs(turn) > (STILL_TURNED if before else TURNED) else 0.0
