"""Faces that fill the picture: how many are found, and how many get wrong points, by the side of the picture.

    python benchmarks/close_faces.py DIR/300w [--detector NAME|FILE] [--sides 0.7,0.85] [--faces N]

The first 80 faces of ``300w/validation`` are cut to squares about the middle of their points, as many face sizes wide
as the column says, and enlarged to 480 pixels.  A face is found where ``detect`` finds any; its points are wrong if
their mean error is above 15 % of the inter-ocular distance.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from turned_faces import WRONG, Face, error, labelled_faces

from canthus.images import read_image
from canthus.runtime.pipeline import load_pipeline
from canthus.types import Image

SHOWN = 480
"""Side of the pictures in pixels."""


def closeup(face: Face, side: float) -> tuple[Image, np.ndarray, float]:
    """The picture cut to a square of ``side`` face sizes, the points in it, and its scale."""
    half = side * face.side / 2
    left, top = np.maximum(face.centre - half, 0).astype(int)
    right, bottom = (face.centre + half).astype(int)
    cut = read_image(face.path)[top:bottom, left:right]
    scale = SHOWN / max(cut.shape[:2])
    picture = np.asarray(cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), np.uint8)
    return picture, (face.points - (left, top) + 0.5) * scale - 0.5, scale


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--detector", default="default")
    parser.add_argument("--sides", default="0.7,0.75,0.8,0.85,1", help="of the picture, in face sizes")
    parser.add_argument("--faces", type=int, default=80)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pipeline = load_pipeline(detector=options.detector)
    faces = labelled_faces("300w", options.root)[: options.faces]
    print(f"{len(faces)} faces, detector {options.detector}\n side   found   wrong")
    for side in map(float, options.sides.split(",")):
        errors = []
        for face in faces:
            picture, truth, scale = closeup(face, side)
            found = pipeline(picture).landmarks.points
            errors += [error(points, truth) / (face.unit * scale) for points in found[:1]]
        print(f"{side:5.2f}   {len(errors):5}   {int((np.array(errors) > WRONG).sum()):5}", flush=True)


if __name__ == "__main__":
    main()
