"""Draw the README's picture: matplotlib's sample portrait, plain and with the landmarks of the embedded model.

Run: python docs/render_hero.py     (needs the extra 'plots'; writes docs/images/hero.jpg)
"""

from pathlib import Path

import matplotlib.cbook
import numpy as np

import canthus
from canthus.geometry import crop_square
from canthus.images import crop_image

SIDE = 560
MARGIN = 1.9
TARGET = Path(__file__).parent / "images" / "hero.jpg"


def main() -> None:
    """Find the face, cut it out enlarged, and put both views side by side."""
    image = canthus.read_image(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    found = canthus.load_pipeline()(image)
    if len(found) != 1:
        raise SystemExit(f"expected one face in the portrait, found {len(found)}")
    view, affine = crop_image(image, crop_square(found.faces.boxes[0], MARGIN), SIDE)
    corners = affine.apply(found.faces.boxes.reshape(-1, 2) - 0.5) + 0.5
    frame = canthus.Frame(
        faces=canthus.Faces(boxes=corners.reshape(-1, 4).astype(np.float32), scores=found.faces.scores),
        landmarks=canthus.Landmarks(points=affine.apply(found.landmarks.points), scheme=found.landmarks.scheme),
    )
    canthus.write_image(TARGET, np.hstack([view, canthus.draw_frame(view, frame)]))
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
