"""How many small faces of large pictures are found, with and without tiles.

    python benchmarks/pasted_faces.py DIR/300w

Thirty faces of ``300w/validation``, each in a square of twice its size, are pasted into one picture of smooth noise.
A face is found where a box of ``detect`` overlaps the hull of its points by more than 0.4.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from canthus.data import load_dataset
from canthus.geometry import box_iou
from canthus.images import read_image
from canthus.runtime.detectors import Tiles
from canthus.runtime.pipeline import load_pipeline
from canthus.types import Annotation, Image

COLUMNS, ROWS = 6, 5
TILES: tuple[tuple[Tiles, str], ...] = (
    (False, "the whole picture only"),
    ("auto", "by itself"),
    (True, "--detector-tiles"),
)
SIDES = {(4000, 3000): (48, 64, 80, 120, 200), (1920, 1080): (32, 48, 64, 80, 100)}
"""Longer sides of the faces in pixels, by the size of the picture."""


def pasted(faces: list[Annotation], width: int, height: int, side: int) -> tuple[Image, np.ndarray]:
    """A picture with faces whose longer sides have ``side`` pixels, and their boxes."""
    noise = np.random.default_rng(0).integers(60, 190, (height // 40, width // 40, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    boxes = []
    for index, face in enumerate(faces):
        low, high = face.points.min(axis=0), face.points.max(axis=0)
        longer = float((high - low).max())
        first = np.maximum((low + high) / 2 - longer, 0).astype(int)
        last = ((low + high) / 2 + longer).astype(int)
        crop = read_image(face.path)[first[1] : last[1], first[0] : last[0]]
        scale = side / longer
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        crop = np.asarray(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=kind), np.uint8)
        centre = np.array([(index % COLUMNS + 0.5) * width / COLUMNS, (index // COLUMNS + 0.5) * height / ROWS])
        x, y = np.maximum(centre - np.array(crop.shape[1::-1]) / 2, 0).astype(int).tolist()
        image[y : y + crop.shape[0], x : x + crop.shape[1]] = crop[: height - y, : width - x]
        boxes.append(np.concatenate([(point - first) * scale + (x, y) for point in (low, high)]))
    return image, np.array(boxes, np.float32)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--detector", default="default")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    faces = list(load_dataset("300w", options.root, "validation"))[::COLUMNS][: COLUMNS * ROWS]
    for (width, height), sides in SIDES.items():
        print(f"{width} x {height}, faces of {', '.join(map(str, sides))} pixels, found of {len(faces)}:")
        for tiles, name in TILES:
            pipeline, found = load_pipeline(detector=options.detector, detector_tiles=tiles), []
            for side in sides:
                image, boxes = pasted(faces, width, height, side)
                overlaps = box_iou(boxes, pipeline(image).faces.boxes).max(axis=1, initial=0)
                found.append(int((overlaps > 0.4).sum()))
            print(f"  {name}: {', '.join(map(str, found))}", flush=True)


if __name__ == "__main__":
    main()
