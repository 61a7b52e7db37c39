"""Cut 300-W and YouTube Faces like CelebA-HQ, to compare the whole picture with the tight crop as a network's input.

    python benchmarks/whole_picture.py --data DIR --out DIR/celeba_hq     # DIR holds 300w/ and ytf/
    canthus train mobilenet_l_celeba_hq --data DIR                        # tight crop
    canthus train mobilenet_l_celeba_hq --root celeba_hq_whole=DIR/celeba_hq --set margin=1.0 \
        --set train.0.dataset=celeba_hq_whole --set validation.0.dataset=celeba_hq_whole

The pictures are 256 pixels wide, turned so that the eyes are level, and placed by eyes and mouth, as Karras et al.
(2018), appendix C, place those of CelebA-HQ.  ``train`` are the faces of ``300w/fit`` and ``ytf/fit``, ``validation``
every other face of ``300w/validation``, at most 200, ``test`` the other ones and those of ``ytf/validation``, at most
300.  Points that fall outside of the picture stay where they are.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from canthus.data import load_dataset
from canthus.data.celeba_hq import IMAGES, PARTS, POINT_FILES
from canthus.evaluation.conditions import picture_centre
from canthus.files import write_text
from canthus.images import read_image, write_image
from canthus.types import Annotation

SIDE = 256


def cut(face: Annotation) -> tuple[np.ndarray, np.ndarray]:
    """The picture that CelebA-HQ would cut out around a face, and the points in it."""
    corners = picture_centre(face.points.astype(np.float64), face)
    corners = corners.mean(axis=0) + 2 * (corners - corners.mean(axis=0))
    to = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE]]) - 0.5
    matrix = cv2.getAffineTransform(corners[:3].astype(np.float32), to.astype(np.float32))
    picture = cv2.warpAffine(read_image(face.path), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return picture, face.points @ matrix[:, :2].T + matrix[:, 2]


def main() -> None:
    """Write pictures and points in the layout of CelebA-HQ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds 300w/ and ytf/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    found = {
        (name, split): load_dataset(name, arguments.data / name, split)
        for name in ("300w", "ytf")
        for split in ("fit", "validation")
    }
    held = found["300w", "validation"]
    parts = {
        "train": found["300w", "fit"] + found["ytf", "fit"],
        "validation": held[::2],
        "test": held[1::2] + found["ytf", "validation"],
    }
    lines = []
    for part, faces in parts.items():
        for number, face in zip(PARTS[part], faces, strict=False):  # as many as the part has numbers
            picture, points = cut(face)
            write_image(arguments.out / IMAGES / f"{number}.png", picture)
            lines.append(",".join([f"{number}.png", *(f"{value:.3f}" for value in points.ravel())]))
    write_text(arguments.out / POINT_FILES[0], "\n".join(lines) + "\n")
    print(f"wrote {len(lines)} pictures to {arguments.out}")


if __name__ == "__main__":
    main()
