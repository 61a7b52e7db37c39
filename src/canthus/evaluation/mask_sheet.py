"""Contact sheets of covered faces."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from canthus.data.occlusion import random_cover
from canthus.data.synthetic import draw_face
from canthus.evaluation.occlusion import PROTOCOLS, cover_face
from canthus.evaluation.sheets import draw_dots, picture_tile, tile_rows
from canthus.geometry import crop_square, hull_box
from canthus.images import crop_image, read_image
from canthus.types import Annotation, Image, Sample

TILE = 144
"""Side of a face on a sheet in pixels."""
TRAINING = "training"
"""Name of the sheet of faces as augmentation covers them; each protocol has a sheet of its own."""
_COLOR = (255, 60, 50)
_COLUMNS = 8


def drawn_faces(count: int, rng: np.random.Generator) -> Iterator[tuple[Image, Annotation]]:
    """Drawn faces, for use without a dataset."""
    for number in range(count):
        face, key = draw_face(rng, size=3 * TILE), f"drawn_{number}"
        seen = np.ones(len(face.points), np.bool_)
        truth = Annotation(key, Path(key), face.points, face.scheme, hull_box(face.points), seen, group=key)
        yield face.image, truth


def pictured_faces(annotations: Sequence[Annotation]) -> Iterator[tuple[Image, Annotation]]:
    """Labelled faces with their pictures.

    Raises:
        ImageError: a picture cannot be read.
    """
    for truth in annotations:
        yield read_image(truth.path), truth


def mask_sheets(faces: Sequence[tuple[Image, Annotation]], *, seed: int) -> Iterator[tuple[str, Image]]:
    """One sheet for each occlusion protocol, and one sheet of faces covered as in training with ``cover``.

    A sheet has one row for each face.  Covered points are red.

    Args:
        seed: random seed of the masks.

    Yields:
        Name and picture of each sheet.

    Raises:
        DataError: too few points of a face are known.
        ValueError: there are no faces.
    """
    if not faces:
        raise ValueError("A sheet of masks needs at least one face")
    crops = [_crop(image, truth) for image, truth in faces]
    for name, conditions in PROTOCOLS.items():
        tiles = []
        for image, truth in crops:
            for condition in conditions:
                face = cover_face(image, truth, condition, seed=seed)
                label = condition.name.replace(" % of the", "%") if face.share else "none"
                tiles.append(_tile(face.image, f"{label}: {100 * face.share:.1f} %", face.truth))
        yield name, tile_rows(tiles, columns=len(conditions))
    rng = np.random.default_rng(seed)
    tiles = []
    for image, truth in crops:
        for _ in range(_COLUMNS):
            sample = random_cover(Sample(image, truth.points, truth.scheme), rng, chance=1.0)
            seen = truth.visible if sample.visible is None else sample.visible
            tiles.append(_tile(sample.image, f"{(~seen).sum()} of {len(seen)} points", replace(truth, visible=seen)))
    yield TRAINING, tile_rows(tiles, columns=_COLUMNS)


def _crop(image: Image, truth: Annotation) -> tuple[UInt8[np.ndarray, "s s 3"], Annotation]:
    crop, affine = crop_image(image, crop_square(truth.box, 1.5), TILE)
    points = affine.apply(truth.points)
    return crop, replace(truth, points=points, box=hull_box(points))


def _tile(picture: Image, text: str, truth: Annotation) -> UInt8[np.ndarray, "height width 3"]:
    shown = picture.copy()
    draw_dots(shown, truth.points[~truth.visible], _COLOR, radius=1)
    return picture_tile(shown, [text], width=TILE, text_scale=0.34)
