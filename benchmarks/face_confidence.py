"""Fit and measure the confidence of whole faces: the probability that the points of a face are right.

Run:    python benchmarks/face_confidence.py DATA [--model MODEL] [--write FILE.onnx]
        DATA holds the folders 300w, wild21 and facemask
Prints: a table by kind of face, the two numbers of the map, and the confidence of the faces of facemask.
Writes: with --write, the map into the model card of that ONNX file; nothing else of the file changes.

Points are right if their mean error is at most 6 % of the longer side of the face box (``FACE_TOLERANCE``).  Faces come
from photos that the embedded model has not learned from: 300w/validation (68 points) and every second picture of wild21
(its five points).  Each is seen as it is, turned in the plane of the picture, on its side, upside down, small, and in a
box that is far off; those of 300w also with parts covered.  Boxes of all but the far ones are set off at random like
those of a detector.  Some are also seen in the box that the embedded detector finds about them: on an upside-down face
it often lies about the eyes and the forehead.  Crops of the backgrounds of wild21 and facemask show no face: they are
wrong whatever the points.

The map is fitted on one half of the photos and measured on the other; a hash of the photo, or the person, says on which
half it lies.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from canthus.data import load_dataset
from canthus.data.occlusion import random_cover
from canthus.data.scenes import load_scenes
from canthus.data.splits import fold_of
from canthus.evaluation.reliability import area_under_roc, calibration_error, confidence_bins, fit_face_calibration
from canthus.export.onnx import replace_card
from canthus.geometry import Affine, box_iou, box_size, hull_box
from canthus.images import crop_image, read_image
from canthus.runtime.cards import FACE_TOLERANCE, FaceCalibration
from canthus.runtime.detectors import create_detector
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.runtime.sessions import LandmarkSession
from canthus.schemes import FIVE, Scheme
from canthus.types import Image, Sample, Scene

EVERY = {"wild21": 2, "facemask": 1}
"""Every how many pictures of a set are used, so that a run takes a few minutes."""
LEAST_SIDE = 40
"""Longer side in pixels of the smallest face of wild21; smaller ones are made from larger ones."""
DOUBTFUL = 0.5
JITTER = 0.05
"""Standard deviation of a box's centre, in longer sides of the box; that of its log size is twice as much."""
KINDS: dict[str, tuple[float, float]] = {
    "as it is": (0, 0),
    "turned by up to 30°": (5, 30),
    "turned by 30° to 60°": (30, 60),
    "turned by 60° to 120°": (60, 120),
    "on its side": (90, 90),
    "upside down": (180, 180),
}
"""Kind -> range of the angle in degrees, either way round."""
DETECTED = ("as it is", "turned by 30° to 60°", "on its side", "upside down")
"""Kinds that are also seen in boxes of the embedded detector."""
LEAST_OVERLAP = 0.2
"""Intersection over union from which a detected box belongs to a face, whose turned box fits badly."""


@dataclass(frozen=True)
class Seen:
    """Points of one face or background as the model gave them: their confidence and whether they are right."""

    kind: str
    held_out: bool
    right: bool
    scores: Float32[np.ndarray, " k"]


@dataclass(frozen=True)
class Faces:
    """Labelled faces of one picture; ``points`` are those of ``scheme``."""

    image: Image
    group: str
    boxes: Float32[np.ndarray, "n 4"]
    points: Float32[np.ndarray, "n k 2"]
    scheme: Scheme


class Harvest:
    """Runs a model on faces of all kinds."""

    def __init__(self, model: str, seed: int) -> None:
        self.landmarker = Landmarker(open_model(model))
        self.detector = create_detector()
        self.rng = np.random.default_rng(seed)

    def faces(self, faces: Faces, *, detect: bool) -> Iterator[Seen]:
        """The faces of a picture in every kind."""
        for kind, (low, high) in KINDS.items():
            degrees = self.rng.uniform(low, high)
            other = turned(faces, float(degrees * self.rng.choice([-1, 1])))
            yield from self.seen(kind, other, self.set_off(other.boxes))
            if detect and kind in DETECTED:
                yield from self.detected(f"{kind}, as detected", other)
        small = shrunk(faces, self.rng.uniform(16, 40))
        yield from self.seen("small, 16 to 40 px", small, self.set_off(small.boxes))
        yield from self.seen("in a box far off", faces, self.far(faces.boxes))
        if faces.scheme is not FIVE:
            covered = self.covered(faces)
            yield from self.seen("covered", covered, self.set_off(covered.boxes))

    def detected(self, kind: str, faces: Faces) -> Iterator[Seen]:
        """The faces that the detector finds, in its boxes."""
        found = self.detector(faces.image).boxes
        overlaps = box_iou(faces.boxes, found)
        hit = overlaps.max(axis=1, initial=0) > LEAST_OVERLAP
        if hit.any():
            chosen = Faces(faces.image, faces.group, faces.boxes[hit], faces.points[hit], faces.scheme)
            yield from self.seen(kind, chosen, found[overlaps[hit].argmax(axis=1)])

    def seen(self, kind: str, faces: Faces, boxes: Float32[np.ndarray, "n 4"]) -> Iterator[Seen]:
        """Points that the model gives for the faces in these boxes."""
        marks = self.landmarker(faces.image, boxes)
        found = marks.points if marks.scheme is faces.scheme else marks.convert(faces.scheme).points
        away = np.linalg.norm(found.astype(np.float64) - faces.points, axis=2).mean(axis=1)
        right = away <= FACE_TOLERANCE * box_size(faces.boxes).max(axis=1)
        for one, scores in zip(right, scores_of(marks.scores), strict=True):
            yield Seen(kind, held_out(faces.group), bool(one), scores)

    def backgrounds(self, image: Image, scene: Scene, *, most: int = 2) -> Iterator[Seen]:
        """Squares of a picture that touch no labelled face."""
        boxes, faces = [], scene.face_boxes()
        around = faces + box_size(faces).max(axis=1, keepdims=True, initial=0.0) * np.array(
            [-0.5, -0.5, 0.5, 0.5], np.float32
        )
        largest = min(image.shape[:2]) / 2
        for _ in range(20):
            side = np.exp(self.rng.uniform(np.log(LEAST_SIDE), np.log(max(largest, LEAST_SIDE + 1))))
            corner = self.rng.uniform(0, np.maximum(1, np.array(image.shape[1::-1]) - side))
            box = np.concatenate([corner, corner + side]).astype(np.float32)
            shared = np.minimum(box[2:], around[:, 2:]) - np.maximum(box[:2], around[:, :2])
            if not (shared > 0).all(axis=1).any():
                boxes.append(box)
            if len(boxes) == most:
                break
        if boxes:
            for scores in scores_of(self.landmarker(image, np.stack(boxes)).scores):
                yield Seen("no face", held_out(scene.group), False, scores)

    def set_off(self, boxes: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
        """Boxes as a detector gives them."""
        return self.moved(
            boxes, self.rng.normal(0, JITTER, (len(boxes), 2)), self.rng.normal(0, 2 * JITTER, len(boxes))
        )

    def far(self, boxes: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
        """Boxes shifted by 0.2 to 0.9 of their longer side and scaled by up to two."""
        angle, length = self.rng.uniform(0, 2 * np.pi, len(boxes)), self.rng.uniform(0.2, 0.9, len(boxes))
        shift = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return self.moved(boxes, shift, self.rng.uniform(-np.log(2), np.log(2), len(boxes)))

    @staticmethod
    def moved(
        boxes: Float32[np.ndarray, "n 4"], shift: Float[np.ndarray, "n 2"], log_scale: Float[np.ndarray, " n"]
    ) -> Float32[np.ndarray, "n 4"]:
        """Boxes shifted by parts of their longer side, and scaled."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + shift * box_size(boxes).max(axis=1, keepdims=True)
        halves = box_size(boxes) / 2 * np.exp(log_scale)[:, None]
        return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)

    def covered(self, faces: Faces) -> Faces:
        """The first face alone, with parts covered, in a square of 224 pixels of twice its size."""
        side = float(box_size(faces.boxes[0]).max())
        centre = (faces.boxes[0, :2] + faces.boxes[0, 2:]) / 2
        image, affine = crop_image(faces.image, np.concatenate([centre - side, centre + side]), 224)
        sample = random_cover(Sample(image, affine.apply(faces.points[0]), faces.scheme), self.rng, chance=1.0)
        points = sample.points[None]
        return Faces(sample.image, faces.group, hull_box(points), points, faces.scheme)


def scores_of(scores: Float32[np.ndarray, "n k"] | None) -> Float32[np.ndarray, "n k"]:
    """The confidence of the points.

    Raises:
        SystemExit: the model gives none.
    """
    if scores is None:
        raise SystemExit("This model gives no confidence of points; export it with --data, from a recipe with spread")
    return scores


def held_out(group: str) -> bool:
    """Whether a photo, or person, is measured on and not fitted on."""
    return fold_of(f"face confidence {group}", 2) == 1


def turned(faces: Faces, degrees: float) -> Faces:
    """The faces turned in the plane, in a picture that holds all of it."""
    if degrees == 0:
        return faces
    height, width = faces.image.shape[:2]
    side = int(np.ceil(np.hypot(width, height)))
    shift = ((side - width) / 2, (side - height) / 2)
    affine = Affine.about(((width - 1) / 2, (height - 1) / 2), angle=np.radians(degrees), shift=shift)
    image = np.asarray(cv2.warpAffine(faces.image, affine.matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)
    points = affine.apply(faces.points)
    if faces.scheme is not FIVE:
        return Faces(image, faces.group, hull_box(points), points, faces.scheme)
    # The five points do not tell the hull of the turned face; an upright box of its sides is near enough.
    centres = affine.apply((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - np.float32(0.5)) + np.float32(0.5)
    halves = box_size(faces.boxes) / 2
    halves = halves[:, ::-1] if abs(abs(degrees) - 90) < 45 else halves
    return Faces(image, faces.group, np.concatenate([centres - halves, centres + halves], axis=1), points, faces.scheme)


def shrunk(faces: Faces, side: float) -> Faces:
    """The faces in a smaller picture, so that the longer side of the first is ``side`` pixels."""
    scale = min(1.0, side / float(box_size(faces.boxes[0]).max()))
    width, height = (max(1, round(scale * length)) for length in faces.image.shape[1::-1])
    image = np.asarray(cv2.resize(faces.image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    factor = np.array([width, height], np.float32) / faces.image.shape[1::-1]
    points = ((faces.points + 0.5) * factor - 0.5).astype(np.float32)
    boxes = (faces.boxes * np.tile(factor, 2)).astype(np.float32)
    return Faces(image, faces.group, boxes, points, faces.scheme)


def harvest(data: Path, model: str, seed: int) -> list[Seen]:
    """All faces and backgrounds of the three sets."""
    run = Harvest(model, seed)
    rows: list[Seen] = []
    for face in load_dataset("300w", data / "300w", "validation"):
        points = face.points[None]
        faces = Faces(read_image(face.path), face.group, hull_box(points), points, face.scheme)
        for draw in range(3):  # 300w/validation has 199 faces: each is drawn three times
            rows += run.faces(faces, detect=draw == 0)
    for name in ("wild21", "facemask"):
        for number, scene in enumerate(load_scenes(name, data / name, "all")[:: EVERY[name]]):
            image, boxes = read_image(scene.path), scene.face_boxes()
            rows += run.backgrounds(image, scene)
            large = np.isfinite(scene.points).all(axis=(1, 2)) & (box_size(boxes).max(axis=1, initial=0) >= LEAST_SIDE)
            if large.any():
                faces = Faces(image, scene.group, boxes[large], scene.points[large], FIVE)
                rows += run.faces(faces, detect=number % 3 == 0)
    return rows


def stacked(rows: list[Seen]) -> tuple[Float32[np.ndarray, "n k"], Bool[np.ndarray, " n"]]:
    """Confidence of the points, and whether they are right."""
    return np.stack([row.scores for row in rows]), np.array([row.right for row in rows], bool)


def print_table(rows: list[Seen], fitted: FaceCalibration) -> None:
    """One line for each kind, then all, of the photos that the map was not fitted on."""
    print("| faces | n | right | mean confidence | doubtful | ECE | AUROC |\n|---|---|---|---|---|---|---|")
    kinds = list(dict.fromkeys(row.kind for row in rows))
    for kind in (*kinds, "all"):
        scores, right = stacked([row for row in rows if kind in (row.kind, "all")])
        found = fitted.confidence(scores)
        auroc = area_under_roc(found, right)
        print(
            f"| {kind} | {len(right)} | {right.mean():.1%} | {found.mean():.1%} | {(found < DOUBTFUL).mean():.1%} | "
            f"{calibration_error(confidence_bins(found, right)):.1%} | {'-' if np.isnan(auroc) else f'{auroc:.1%}'} |"
        )


def print_masks(data: Path, model: str, fitted: FaceCalibration) -> None:
    """Share of doubtful faces of facemask, whose points are not labelled, by label and size."""
    landmarker = Landmarker(open_model(model))
    groups: dict[tuple[str, bool], list[Float32[np.ndarray, " k"]]] = {}
    for scene in load_scenes("facemask", data / "facemask", "all"):
        boxes = scene.face_boxes()
        scores = scores_of(landmarker(read_image(scene.path), boxes).scores)
        for label, side, row in zip(scene.labels, box_size(boxes).max(axis=1, initial=0), scores, strict=True):
            groups.setdefault((label, bool(side < 60)), []).append(row)
    print("\n| facemask | size | n | doubtful |\n|---|---|---|---|")
    for (label, small), found in sorted(groups.items()):
        doubtful = (fitted.confidence(np.stack(found)) < DOUBTFUL).mean()
        print(f"| {label} | {'below' if small else 'from'} 60 px | {len(found)} | {doubtful:.1%} |")


def write_map(path: Path, fitted: FaceCalibration) -> None:
    """Put the map into the card of an ONNX file."""
    replace_card(path, replace(LandmarkSession.open(str(path)).card, face_calibration=fitted))
    print(f"\nwritten into the card of {path}")


def main() -> None:
    """Parse, run, fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds 300w, wild21 and facemask")
    parser.add_argument("--model", default="default", help="landmark model with confidence of points")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE.onnx", help="write the map into the card of this file")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = harvest(arguments.data, arguments.model, arguments.seed)
    fitting, measured = ([row for row in rows if row.held_out is side] for side in (False, True))
    fitted = fit_face_calibration(*stacked(fitting), tolerance=FACE_TOLERANCE)
    print_table(measured, fitted)
    print(f"\n{fitted}, fitted on {len(fitting)} crops")
    print_masks(arguments.data, arguments.model, fitted)
    if arguments.write:
        write_map(arguments.write, fitted)


if __name__ == "__main__":
    main()
