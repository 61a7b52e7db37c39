"""Faces turned to any side: how many are found, and how many get wrong points, by the angle of the picture.

    python benchmarks/turned_faces.py DIR/300w [--detector NAME|FILE] [--model NAME|FILE] [--angles 0,15] [--every N]
    python benchmarks/turned_faces.py DIR/wild21 --dataset wild21
    python benchmarks/turned_faces.py DIR/300w --min-score 0.5      # sure finds of the detector only

Every picture of ``300w/validation``, or of ``wild21/test``, is turned about its centre, with its labels, on a canvas
that holds all of it, and goes through the pipeline.  A face is found if the centre of the best box that it keeps lies
within a quarter of its size, and the longer side of the box is between half and twice its own.  Its points are wrong if
their mean error is above 15 % of the inter-ocular distance; of wild21, whose faces have five points and are often
profiles, above 15 % of half of the side of the face box.  Each angle is measured twice: in upright crops, and in crops
turned upright by the five points of the detector, as the pipeline does.  One thread; milliseconds are medians of the
processor time of detector and landmarks of a picture.
"""

import argparse
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from canthus.data import load_dataset
from canthus.data.scenes import load_scenes
from canthus.geometry import Affine
from canthus.images import read_image
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.schemes import FIVE, IBUG_68, convert
from canthus.types import Faces, Image

ANGLES = (0, *(sign * degrees for degrees in range(15, 180, 15) for sign in (1, -1)), 180)
"""Angles in degrees, clockwise."""
WRONG = 0.15
"""Least error of wrong points, in the unit of the face."""


@dataclass(frozen=True)
class Face:
    """A labelled face: its points, the centre and longer side of its box, and the unit of its errors, in pixels."""

    path: Path
    points: np.ndarray
    centre: np.ndarray
    side: float
    unit: float


def labelled_faces(dataset: str, root: Path) -> list[Face]:
    """The faces of ``300w/validation`` with 68 points, or of ``wild21/test`` with five."""
    faces = []
    if dataset == "wild21":
        for scene in load_scenes(dataset, root, "test"):
            for box, points in zip(scene.face_boxes(), scene.points, strict=True):
                side = float((box[2:] - box[:2]).max())
                faces.append(Face(scene.path, points, (box[:2] + box[2:]) / 2 - 0.5, side, side / 2))
        return faces
    for found in load_dataset(dataset, root, "validation"):
        low, high = found.points.min(axis=0), found.points.max(axis=0)
        right, left = (found.points[index] for index in IBUG_68.eye_corners)
        unit = float(np.linalg.norm(left - right))
        faces.append(Face(found.path, found.points, (low + high) / 2, float((high - low).max()), unit))
    return faces


def turned_picture(image: Image, angle: float) -> tuple[Image, Affine]:
    """The picture turned by ``angle`` radians on a canvas that holds all of it, and the map to it."""
    height, width = image.shape[:2]
    wide = math.ceil(abs(math.cos(angle)) * width + abs(math.sin(angle)) * height - 1e-9)
    high = math.ceil(abs(math.sin(angle)) * width + abs(math.cos(angle)) * height - 1e-9)
    shift = ((wide - width) / 2, (high - height) / 2)
    turn = Affine.about(((width - 1) / 2, (height - 1) / 2), angle=angle, shift=shift)
    return np.asarray(cv2.warpAffine(image, turn.matrix, (wide, high)), np.uint8), turn


def match(faces: Faces, centre: np.ndarray, side: float) -> int | None:
    """Index of the best detected box that is the face with this centre and side; None if there is none."""
    for index, box in enumerate(faces.boxes):
        off = math.dist((box[:2] + box[2:]) / 2 - 0.5, centre)
        if off < side / 4 and side / 2 < float((box[2:] - box[:2]).max()) < 2 * side:
            return index
    return None


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance in pixels; of five points those that the 68 predicted ones give."""
    points = convert(predicted, IBUG_68, FIVE) if len(truth) == FIVE.count else predicted
    return float(np.linalg.norm(points - truth, axis=-1).mean())


def measure(face: Face, angle: float, pipeline: Pipeline) -> list[float]:
    """Found or not, the errors in upright and turned crops (NaN where not found), and the seconds of both."""
    image, turn = turned_picture(read_image(face.path), angle)
    truth, row = turn.apply(face.points), []
    start = time.process_time()
    frame = pipeline(image)
    whole, start = time.process_time() - start, time.process_time()
    pipeline.detector(image)
    upright = pipeline.landmarker(image, frame.faces.boxes)
    index = match(frame.faces, turn.apply(face.centre[None])[0], face.side)
    for marks, seconds in ((upright, time.process_time() - start), (frame.landmarks, whole)):
        row += [math.nan if index is None else error(marks.points[index], truth) / face.unit, seconds]
    return [float(index is not None), *row]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--dataset", choices=("300w", "wild21"), default="300w")
    parser.add_argument("--detector", default="default")
    parser.add_argument("--size", type=int, default=None, help="longer side to which the detector resizes pictures")
    parser.add_argument("--model", default="default")
    parser.add_argument("--angles", default=",".join(map(str, ANGLES)))
    parser.add_argument("--min-score", type=float, default=None, help="by default as canthus detect without it")
    parser.add_argument("--every", type=int, default=1, help="only every Nth face")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pipeline = load_pipeline(
        options.model, detector=options.detector, detector_size=options.size, min_score=options.min_score
    )
    faces = labelled_faces(options.dataset, options.root)[:: options.every]
    print(f"{len(faces)} faces, detector {options.detector}, model {pipeline.landmarker.session.card.name}")
    print("                         upright crops        turned crops")
    print(" angle   found %     wrong %  error %   ms   wrong %  error %   ms")
    for degrees in (float(text) for text in options.angles.split(",")):
        rows = np.array([measure(face, math.radians(degrees), pipeline) for face in faces])
        text = f"{degrees:6.0f}   {100 * rows[:, 0].mean():7.1f}"
        for column in (1, 3):
            errors = rows[:, column][rows[:, 0] > 0]
            wrong = 100 * (errors > WRONG).mean() if len(errors) else math.nan
            middle = 100 * statistics.median(errors) if len(errors) else math.nan
            text += f"   {wrong:7.1f}  {middle:7.2f}  {1e3 * statistics.median(rows[:, column + 1]):4.1f}"
        print(text, flush=True)


if __name__ == "__main__":
    main()
