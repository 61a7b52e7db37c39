"""Pictures with several drawn faces, on disk in the layout of the face mask set."""

from pathlib import Path

import cv2
import numpy as np

from canthus.data.synthetic import draw_face
from canthus.geometry import hull_box
from canthus.types import Image

CELL = 96


def draw_scene(rng: np.random.Generator) -> tuple[Image, list[list[int]]]:
    """A picture of 2 x 2 cells, one to three of them with a face, and the boxes of the faces."""
    picture = rng.integers(60, 120, size=(2 * CELL, 2 * CELL, 3), dtype=np.uint8)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 3.0), dtype=np.uint8)
    boxes = []
    for cell in rng.permutation(4)[: rng.integers(1, 4)]:
        face = draw_face(rng, size=CELL)
        y, x = (int(v) * CELL for v in divmod(int(cell), 2))
        picture[y : y + CELL, x : x + CELL] = face.image
        boxes.append([round(float(v)) for v in hull_box(face.points) + np.array([x, y, x, y])])
    return picture, boxes


def write_scenes(root: Path, *, train: int, validation: int) -> None:
    """Write drawn scenes with their boxes and the three lists."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    names = [f"scene{i}.png" for i in range(train + 2 * validation)]
    for name in names:
        picture, boxes = draw_scene(rng)
        cv2.imwrite(str(root / "images" / name), picture[..., ::-1])
        (root / "annotations" / name.replace("png", "xml")).write_text(_xml(name, picture, boxes))
    for name, part in (
        ("train", names[:train]),
        ("validate", names[train : train + validation]),
        ("test", names[train + validation :]),
    ):
        (root / f"{name}.txt").write_text("".join(f"{entry}\n" for entry in part))


def _xml(name: str, picture: Image, boxes: list[list[int]]) -> str:
    height, width = picture.shape[:2]
    faces = "".join(
        "<object><name>without_mask</name><bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    return (
        f"<annotation><filename>{name}</filename><size><width>{width}</width><height>{height}</height><depth>3</depth>"
        f"</size>{faces}</annotation>"
    )
