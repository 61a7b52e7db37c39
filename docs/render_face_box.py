"""Draw what a face box is: a drawn face with its 68 points, its box, the network's crop, and the boxes of others.

Run: python docs/render_face_box.py     (writes docs/images/face_box.png; extra: plots)
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from canthus.data import facemask, wild21
from canthus.data.synthetic import FaceShape, draw_face
from canthus.geometry import BoxHabit, box_size, crop_square, hull_box
from canthus.images import crop_image
from canthus.runtime.haar_detector import CENTRE_OFFSET, FACE_SIZE
from canthus.runtime.sessions import LandmarkSession
from canthus.types import Image

SIDE = 700
SEED = 3
FADED = 0.6
"""How far the drawing is faded, so that lines stand out."""
GREEN, BLUE, ORANGE, VIOLET, RED = "#0a7d32", "#1f5fd0", "#d06a00", "#8a2be2", "#d0103a"
TARGET = Path(__file__).parent / "images" / "face_box.png"


def drawn_face() -> tuple[Image, Float32[np.ndarray, "68 2"]]:
    """A frontal face, cut out with some room about it."""
    shape = FaceShape(eyes=0.8, mouth=0.15, smile=0.4)
    sample = draw_face(np.random.default_rng(SEED), size=1000, shape=shape)
    view, affine = crop_image(sample.image, crop_square(hull_box(sample.points), 1.75), SIDE)
    faded = (1 - FADED) * cv2.medianBlur(view, 9) + FADED * 255
    return faded.astype(np.uint8), affine.apply(sample.points)


def haar_square(face: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    """The cascade's square for a face box: the square of the mean side that the map leads to."""
    own = BoxHabit(CENTRE_OFFSET, FACE_SIZE).own_boxes(face)
    centre, side = (own[:2] + own[2:]) / 2, box_size(own).mean()
    return np.concatenate([centre - side / 2, centre + side / 2])


def draw_box(axes: Any, box: Float[np.ndarray, " 4"], color: str, text: str, **style: Any) -> None:
    """A box, which counts from the edge of the first pixel, and its name for the legend."""
    x1, y1, x2, y2 = (float(v) - 0.5 for v in box)
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, label=text, **style))


def finish(axes: Any, title: str) -> None:
    """Title above, names of the lines below."""
    axes.set_title(title, fontsize=14, pad=8)
    axes.set_axis_off()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), fontsize=12, frameon=False, handlelength=2.4)


def main() -> None:
    """Draw both halves and write."""
    view, points = drawn_face()
    face, margin = hull_box(points), LandmarkSession.open("default").card.margin
    figure = Figure(figsize=(12.4, 7.75), dpi=100)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.955, bottom=0.175, wspace=0.03)
    for axes in (left, right):
        axes.imshow(view)
    left.scatter(*points.T, s=22, color=GREEN, edgecolor="white", linewidth=0.6, zorder=3, label="68 points")
    draw_box(left, face, GREEN, "face box: the tight hull of the points", linewidth=3)
    seen = f"crop of the network: square, {margin:g} times the longer side"
    draw_box(left, crop_square(face, margin), BLUE, seen, linewidth=2.4, linestyle=(0, (5, 2.5)))
    finish(left, "face box and crop")
    draw_box(right, face, GREEN, "face box", linewidth=3)
    draw_box(right, haar_square(face), ORANGE, "square of OpenCV's cascade (haar)", linewidth=2.2)
    draw_box(right, wild21.HABIT.own_boxes(face), VIOLET, "rectangle of wild21", linewidth=2.2)
    draw_box(right, facemask.HABIT.own_boxes(face), RED, "box of facemask", linewidth=2.2)
    finish(right, "how others box the same face")
    figure.savefig(TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
