"""Conditions under which faces are evaluated: covered in classes of the share, or spoiled in strengths."""

from dataclasses import dataclass, replace
from typing import final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from canthus.data.corruptions import CORRUPTIONS, spoiled
from canthus.data.occluders import (
    BITS,
    IRREGULAR,
    NATURAL,
    FacePlace,
    covered_share,
    place_face,
    place_picture,
)
from canthus.data.occlusion import FILLS, MaskFolder, painted, random_mask, seen_points
from canthus.errors import ConfigError, DataError
from canthus.evaluation.boxes import generator_for
from canthus.geometry import Affine, crop_square, hull_box
from canthus.lookup import lookup
from canthus.types import Annotation, Image, Sample

CANVAS, CANVAS_MARGIN = 256, 2.0
"""Masks are drawn in a square of this many pixels and this many face boxes wide, then mapped onto the picture."""


@final
@dataclass(frozen=True)
class Condition:
    """One way of covering or spoiling faces.

    Attributes:
        low: least covered share.
        high: the covered share stays below this; 0 if the mask does not depend on a share.
        kinds: shapes of the masks; empty for the uncovered face.
        fill: content of the masks; if empty, drawn at random for each face.
        of_picture: whether shares are of the picture that CelebA-HQ would cut out, instead of the face.
        corruption: key of ``CORRUPTIONS`` instead of a mask, or "".
        strength: of the corruption, from 1 to ``STRENGTHS``.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    kinds: tuple[str, ...] = ()
    fill: str = "black"
    of_picture: bool = False
    corruption: str = ""
    strength: int = 0


STRENGTHS = 5
UNCOVERED = Condition("none")
_CENTRE_FACE = Condition("centre 25 % of the face", 0.24, 0.26, ("centre_square",))
_CENTRE_PICTURE = Condition("centre 25 % of the picture", kinds=("picture_square",))


def _classes(kinds: tuple[str, ...], fill: str, *, of_picture: bool = False) -> tuple[Condition, ...]:
    """Six classes of the covered share."""
    ending = " of the picture" if of_picture else ""
    return tuple(
        Condition(f"{low}-{low + 10} %{ending}", low / 100, (low + 10) / 100, kinds, fill, of_picture)
        for low in range(0, 60, 10)
    )


def strengths_of(kind: str) -> tuple[Condition, ...]:
    """A corruption, or ``occlusion`` by natural things over 10 % to 50 % of the face, in each strength."""
    levels = range(1, STRENGTHS + 1)
    if kind in CORRUPTIONS:
        return tuple(Condition(f"{kind} {level}", corruption=kind, strength=level) for level in levels)
    return tuple(
        Condition(f"{kind} {level}", level / 10 - 0.05, level / 10 + 0.05, NATURAL, "", strength=level)
        for level in levels
    )


PROTOCOLS: dict[str, tuple[Condition, ...]] = {
    "paper_c": (UNCOVERED, *_classes(IRREGULAR, "black"), _CENTRE_FACE, _CENTRE_PICTURE),
    "paper_c_picture": (UNCOVERED, *_classes(IRREGULAR, "black", of_picture=True), _CENTRE_PICTURE),
    "natural": (UNCOVERED, *_classes(NATURAL, "")),
}
"""``paper_c``: black irregular masks and centred squares, after the MobileNet-L paper; ``natural``: hands, cups, masks.

Differs: the paper counts shares of the picture, as ``paper_c_picture`` does; the shares of the others are of the face
and do not depend on the crop.
"""

KINDS = (*CORRUPTIONS, "occlusion")
CORRUPTED: dict[str, tuple[Condition, ...]] = {
    "paper_a": (UNCOVERED, *(condition for kind in KINDS for condition in strengths_of(kind)))
}
"""``paper_a``: blur, uneven light, partial occlusion, near infrared and others, after the Blaze_ghost paper.

Differs: the paper shows single pictures and no numbers.
"""


def conditions_of(protocol: str) -> tuple[Condition, ...]:
    """The conditions of a protocol.

    Raises:
        ConfigError: unknown protocol.
    """
    return lookup(PROTOCOLS | CORRUPTED, protocol, kind="occlusion protocol")


@final
@dataclass(frozen=True)
class CoveredFace:
    """A picture with one covered face, whose covered points are not ``visible``.

    ``share`` is the covered share of the hull of the landmarks, counted in pixels.
    """

    image: Image
    truth: Annotation
    share: float


def cover_face(
    image: Image, truth: Annotation, condition: Condition, *, seed: int = 0, masks: MaskFolder | None = None
) -> CoveredFace:
    """Cover or spoil one face.  What is drawn depends on the face's key, the condition and the seed only.

    Args:
        masks: drawn masks for irregular shapes.

    Raises:
        ConfigError: the masks do not cover such a share.
        DataError: fewer than three points of the face are known.
    """
    if condition.corruption:
        kind, rng = condition.corruption, generator_for(f"{seed}/{condition.corruption}/{truth.key}")
        changed = spoiled(image, truth.box, rng, kind=kind, strength=condition.strength / STRENGTHS)
        return CoveredFace(changed, truth, 0.0)
    if not condition.kinds:
        return CoveredFace(image, truth, 0.0)
    to_canvas = Affine.crop(_square(truth, condition), CANVAS)
    points = to_canvas.apply(truth.points)
    face = place_face(points, truth.scheme, CANVAS)
    if face is None:
        raise DataError(f"{truth.key}: too few points are known to cover a share of the face")
    rng = generator_for(f"{seed}/{condition.name}/{'/'.join(condition.kinds)}/{truth.key}")
    mask = _mask(rng, face, condition, points, truth, masks=masks)
    sample = Sample(image, truth.points, truth.scheme, visible=truth.visible)
    covered, hidden = _laid_over(image, mask, to_canvas, rng, face=face, fill=condition.fill)
    return CoveredFace(covered, replace(truth, visible=seen_points(sample, hidden)), covered_share(mask, face))


def _mask(
    rng: np.random.Generator,
    face: FacePlace,
    condition: Condition,
    points: Float64[np.ndarray, "k 2"] | np.ndarray,
    truth: Annotation,
    *,
    masks: MaskFolder | None,
) -> UInt8[np.ndarray, "s s"]:
    if condition.kinds == IRREGULAR:
        canvas = CANVAS * np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
        around = picture_corners(points.astype(np.float64), truth) if condition.of_picture else canvas
        picture = place_picture(around, CANVAS)
        counted = picture if condition.of_picture else face
        if masks:
            return masks.draw(rng, picture, low=condition.low, high=condition.high, within=counted)
        return random_mask(rng, counted, low=condition.low, high=condition.high, kinds=condition.kinds)
    if condition is not _CENTRE_PICTURE:
        return random_mask(rng, face, low=condition.low, high=condition.high, kinds=condition.kinds)
    mask = np.zeros_like(face.region)
    corners = picture_centre(points.astype(np.float64), truth)
    cv2.fillConvexPoly(mask, np.round(corners * (1 << BITS)).astype(np.int32), 255, cv2.LINE_8, BITS)
    return mask


def picture_centre(points: Float64[np.ndarray, "k 2"], truth: Annotation) -> Float64[np.ndarray, "4 2"]:
    """Corners of the central quarter of the crop that CelebA-HQ would take around a face.

    Karras et al. (2018), "Progressive Growing of GANs", appendix C: the side of the crop is the larger of 4 eye
    distances and 3.6 distances of eyes and mouth, its centre a tenth of the latter below the eyes.

    ``points`` may have any unit of length; the scheme of ``truth`` gives the indices of eyes and mouth.
    """
    scheme = truth.scheme
    if not (scheme.pupils and scheme.mouth):
        raise ConfigError(f"This cover is placed by pupils and mouth, of which {scheme.name} lacks one")
    right, left = (points[list(group)].mean(axis=0) for group in scheme.pupils)
    mouth = points[list(scheme.mouth)].mean(axis=0)
    eyes = (right + left) / 2
    across, down = left - right, mouth - eyes
    length = max(4.0 * float(np.linalg.norm(across)), 3.6 * float(np.linalg.norm(down)))
    across = across + np.array([down[1], -down[0]])
    x = across / np.linalg.norm(across) * length / 4
    y = np.array([-x[1], x[0]])
    return np.asarray(eyes + 0.1 * down + np.stack([-x - y, x - y, x + y, y - x]), np.float64)


def picture_corners(points: Float64[np.ndarray, "k 2"], truth: Annotation) -> Float64[np.ndarray, "4 2"]:
    """Corners of the crop that CelebA-HQ would take around a face; arguments as in ``picture_centre``."""
    corners = picture_centre(points, truth)
    return np.asarray(2 * corners - corners.mean(axis=0))


def _square(truth: Annotation, condition: Condition) -> Float32[np.ndarray, " 4"]:
    """The part of the picture that masks are drawn in."""
    if not condition.of_picture:
        return crop_square(truth.box, CANVAS_MARGIN)
    corners = picture_corners(truth.points.astype(np.float64), truth)
    return crop_square(hull_box(corners), 1.0)


def _laid_over(
    image: Image,
    mask: UInt8[np.ndarray, "s s"],
    to_canvas: Affine,
    rng: np.random.Generator,
    *,
    face: FacePlace,
    fill: str,
) -> tuple[Image, UInt8[np.ndarray, "h w"]]:
    """Map a mask from the canvas onto the picture; the covered picture and the mask in its pixels."""
    height, width = image.shape[:2]
    back = to_canvas.inverse().matrix
    hidden = cv2.warpAffine(mask, back, (width, height), flags=cv2.INTER_LINEAR)
    hidden = np.asarray(cv2.threshold(hidden, 127, 255, cv2.THRESH_BINARY)[1], np.uint8)
    if fill == "black":
        return np.where(hidden[:, :, None] > 0, np.uint8(0), image), hidden
    canvas = np.asarray(cv2.warpAffine(image, to_canvas.matrix, (CANVAS, CANVAS)), np.uint8)
    chosen = fill or str(rng.choice(sorted(FILLS)))
    shown = cv2.warpAffine(painted(canvas, mask, rng, face, fill=chosen), back, (width, height))
    return np.where(hidden[:, :, None] > 0, np.asarray(shown, np.uint8), image), hidden
