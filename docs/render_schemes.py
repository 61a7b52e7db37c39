"""Draw the numbered 68 points on a drawn face.

Run: python docs/render_schemes.py     (writes docs/images/schemes.png)
"""

from pathlib import Path

import cv2
import numpy as np

from canthus.data.synthetic import FaceShape, draw_face
from canthus.geometry import crop_square, hull_box
from canthus.images import crop_image, write_image

SIDE = 820
SEED = 3
INK = (20, 20, 160)
TARGET = Path(__file__).parent / "images" / "schemes.png"


def main() -> None:
    """Draw a frontal face, enlarge it and write each number beside its point."""
    shape = FaceShape(eyes=1.0, mouth=0.55, smile=0.3, width=1.12)
    sample = draw_face(np.random.default_rng(SEED), size=1000, shape=shape)
    view, affine = crop_image(sample.image, crop_square(hull_box(sample.points), 1.12), SIDE)
    view = (0.45 * cv2.medianBlur(view, 9) + 0.55 * 255).astype(np.uint8)
    middle = affine.apply(sample.points).mean(axis=0)
    for index, (x, y) in enumerate(affine.apply(sample.points)):
        cv2.circle(view, (round(float(x)), round(float(y))), 4, INK, -1, cv2.LINE_AA)
        text = str(index)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        right = 7 if index >= 60 or x > middle[0] + 1 else -width - 7
        up = height + 7 if 60 <= index < 64 or index > 64 or index in (40, 41, 46, 47) else -5
        place = (round(float(x)) + right, round(float(y)) + up)
        cv2.putText(view, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    write_image(TARGET, view)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
