"""Covered faces on one sheet, to look at."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from canthus.data.occlusion import random_cover
from canthus.data.synthetic import draw_face
from canthus.evaluation.occlusion import PROTOCOLS, cover_face
from canthus.geometry import crop_square, hull_box
from canthus.images import crop_image, read_image
from canthus.types import Annotation, Image, Sample

TILE = 144
"""Side of a face on a sheet in pixels."""

TRAINING = "training"
"""The sheet of what augmentation makes, beside one for each protocol."""

_PAPER, _INK = 245, (30, 30, 30)
_CAPTION = 18
_COLUMNS = 8


def drawn_faces(count: int, rng: np.random.Generator) -> Iterator[tuple[Image, Annotation]]:
    """Drawn faces, for who has no pictures at hand."""
    for number in range(count):
        face = draw_face(rng, size=3 * TILE)
        yield face.image, _annotation(f"drawn_{number}", face)


def pictured_faces(annotations: Sequence[Annotation]) -> Iterator[tuple[Image, Annotation]]:
    """Labelled faces with their pictures.

    Raises:
        ImageError: a picture cannot be read.
    """
    for truth in annotations:
        yield read_image(truth.path), truth


def mask_sheets(
    faces: Sequence[tuple[Image, Annotation]], *, seed: int
) -> Iterator[tuple[str, UInt8[np.ndarray, "h w 3"]]]:
    """One sheet a protocol, a face a row, and one of what training with ``cover`` sees.

    Args:
        faces: pictures with one labelled face each, at least one.
        seed: of the masks.

    Yields:
        Name and picture of each sheet.

    Raises:
        DataError: too few points of a face are known.
        ValueError: there are no faces.
    """
    crops = [_crop(image, truth) for image, truth in faces]
    for name, conditions in PROTOCOLS.items():
        tiles = []
        for image, truth in crops:
            for condition in conditions:
                face = cover_face(image, truth, condition, seed=seed)
                label = condition.name.replace(" % of the", "%") if face.share else "none"
                tiles.append(_tile(face.image, f"{label}: {100 * face.share:.1f} %", face.truth))
        yield name, _sheet(tiles, columns=len(conditions))
    rng = np.random.default_rng(seed)
    tiles = []
    for image, truth in crops:
        for _ in range(_COLUMNS):
            sample = random_cover(Sample(image, truth.points, truth.scheme), rng, chance=1.0)
            seen = truth.visible if sample.visible is None else sample.visible
            tiles.append(_tile(sample.image, f"{(~seen).sum()} of {len(seen)} points", replace(truth, visible=seen)))
    yield TRAINING, _sheet(tiles, columns=_COLUMNS)


def _crop(image: Image, truth: Annotation) -> tuple[UInt8[np.ndarray, "s s 3"], Annotation]:
    crop, affine = crop_image(image, crop_square(truth.box, 1.5), TILE)
    points = affine.apply(truth.points)
    return crop, replace(truth, points=points, box=hull_box(points))


def _annotation(key: str, face: Sample) -> Annotation:
    seen = np.ones(len(face.points), np.bool_)
    return Annotation(key, Path(key), face.points, face.scheme, hull_box(face.points), seen, group=key)


def _tile(picture: Image, text: str, truth: Annotation) -> UInt8[np.ndarray, "height w 3"]:
    """A face with its covered points in red, and a line of text."""
    shown = picture.copy()
    for x, y in np.rint(truth.points[~truth.visible]).astype(int):
        cv2.circle(shown, (int(x), int(y)), 1, (255, 60, 50), -1)
    caption = np.full((_CAPTION, TILE, 3), _PAPER, np.uint8)
    cv2.putText(caption, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.34, _INK, 1, cv2.LINE_AA)
    tile = np.vstack([shown, caption])
    tile[:, -2:] = _PAPER
    return tile


def _sheet(tiles: Sequence[UInt8[np.ndarray, "h w 3"]], *, columns: int) -> UInt8[np.ndarray, "height width 3"]:
    if not tiles:
        raise ValueError("A sheet of masks needs at least one face")
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack(rows)
