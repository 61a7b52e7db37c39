"""Draw faces at known angles, with the direction that ``head_pose`` reads from their points.

Run: python docs/render_pose.py     (writes docs/images/pose.png)
"""

from pathlib import Path

import cv2
import numpy as np

from canthus.data.synthetic import FaceShape, draw_face
from canthus.geometry import crop_square, hull_box
from canthus.images import crop_image, write_image
from canthus.pose import head_pose, rotation_matrix
from canthus.types import Image

SIDE = 240
SEED = 3
INK = (200, 20, 20)
TARGET = Path(__file__).parent / "images" / "pose.png"
TURNS = [
    [("yaw +0.35", FaceShape(yaw=0.35)), ("pitch +0.25", FaceShape(pitch=0.25)), ("roll +0.35", FaceShape(roll=0.35))],
    [
        ("yaw -0.35", FaceShape(yaw=-0.35)),
        ("pitch -0.25", FaceShape(pitch=-0.25)),
        ("roll -0.35", FaceShape(roll=-0.35)),
    ],
]


def draw(text: str, shape: FaceShape) -> Image:
    """One face with its label and an arrow where its nose points."""
    sample = draw_face(np.random.default_rng(SEED), size=480, shape=shape)
    view, affine = crop_image(sample.image, crop_square(hull_box(sample.points), 1.5), SIDE)
    points = affine.apply(sample.points)
    turn = rotation_matrix(head_pose(points[None]).angles)[0]
    view = (0.6 * cv2.medianBlur(view, 5) + 0.4 * 255).astype(np.uint8)
    start = points[30]
    for axis, color, length in (((0, 0, -1), INK, 110), ((0, -1, 0), (20, 90, 200), 60)):
        end = start + length * (turn @ np.array(axis, np.float64))[:2]
        cv2.arrowedLine(
            view, np.rint(start).astype(int).tolist(), np.rint(end).astype(int).tolist(), color, 3, cv2.LINE_AA
        )
    cv2.putText(view, text, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2, cv2.LINE_AA)
    return view


def main() -> None:
    """Draw all turns in two rows."""
    sheet = np.vstack([np.hstack([draw(text, shape) for text, shape in row]) for row in TURNS])
    write_image(TARGET, sheet)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
