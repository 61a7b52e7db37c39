"""Errors by covered share of the face: conditions, runs and the report."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from canthus.data.occluders import BITS, IRREGULAR, NATURAL, FacePlace, covered_share, place_face
from canthus.data.occlusion import FILLS, painted, random_mask, seen_points
from canthus.errors import ConfigError, DataError
from canthus.evaluation.plots import plot_error_by_cover
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.rows import FaceError, face_error, write_rows
from canthus.evaluation.run import Predictor, pictures_of, predict
from canthus.geometry import Affine, crop_square
from canthus.pose import head_pose
from canthus.schemes import IBUG_68, convert
from canthus.types import Annotation, Image, Sample

CANVAS, CANVAS_MARGIN = 256, 2.0
"""Masks are drawn in squares of this many pixels, this many face boxes wide, and laid over the picture."""


@final
@dataclass(frozen=True)
class Condition:
    """One way in which faces are covered.

    Attributes:
        name: as tables print it.
        low: least share of the face that is covered.
        high: the share stays below this; 0 where the mask does not follow a share.
        kinds: shapes that masks are made of; none for the uncovered face.
        fill: what the mask shows; drawn anew for each face where empty.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    kinds: tuple[str, ...] = ()
    fill: str = "black"


UNCOVERED = Condition("none")
_CENTRE_FACE = Condition("centre 25 % of the face", 0.24, 0.26, ("centre_square",))
_CENTRE_PICTURE = Condition("centre 25 % of the picture", kinds=("picture_square",))


def _classes(kinds: tuple[str, ...], fill: str) -> tuple[Condition, ...]:
    """Six classes of covered share."""
    return tuple(Condition(f"{low}-{low + 10} %", low / 100, (low + 10) / 100, kinds, fill) for low in range(0, 60, 10))


PROTOCOLS: dict[str, tuple[Condition, ...]] = {
    "paper_c": (UNCOVERED, *_classes(IRREGULAR, "black"), _CENTRE_FACE, _CENTRE_PICTURE),
    "natural": (UNCOVERED, *_classes(NATURAL, "")),
}
"""``paper_c``: black irregular masks and centred squares, after the MobileNet-L paper; ``natural``: hands and such.

Differs: the paper counts shares of the picture, these are shares of the face, whatever way it was cut out.
"""


@final
@dataclass(frozen=True)
class CoveredFace:
    """A picture with one face covered.

    Attributes:
        image: the picture.
        truth: of that face, ``visible`` False for covered points.
        share: of the hull of the landmarks that is covered, counted.
    """

    image: Image
    truth: Annotation
    share: float


def cover_face(image: Image, truth: Annotation, condition: Condition, *, seed: int = 0) -> CoveredFace:
    """Cover one face; the mask depends on the face's key, the condition and the seed, and on no model.

    Args:
        image: the picture.
        truth: the face.
        condition: how.
        seed: of the masks.

    Raises:
        DataError: fewer than three of the face's points are known.
    """
    if not condition.kinds:
        return CoveredFace(image, truth, 0.0)
    to_canvas = Affine.crop(crop_square(truth.box, CANVAS_MARGIN), CANVAS)
    points = to_canvas.apply(truth.points)
    face = place_face(points, truth.scheme, CANVAS)
    if face is None:
        raise DataError(f"{truth.key}: too few points are known to cover shares of its face")
    rng = _generator(seed, condition, truth.key)
    mask = _mask(rng, face, condition, points, truth)
    sample = Sample(image, truth.points, truth.scheme, visible=truth.visible)
    covered, hidden = _laid_over(image, mask, to_canvas, rng, face=face, fill=condition.fill)
    return CoveredFace(covered, replace(truth, visible=seen_points(sample, hidden)), covered_share(mask, face))


def score_covered(
    annotations: Sequence[Annotation],
    predictor: Predictor,
    conditions: Sequence[Condition],
    *,
    seed: int,
    dataset: str,
    split: str,
) -> Iterator[FaceError]:
    """Predict every face inside its truth box under every condition, each picture read once.

    Args:
        annotations: labelled faces.
        predictor: the network under test.
        conditions: how faces are covered.
        seed: of the masks.
        dataset: name of the set, for the rows.
        split: part of it, for the rows.

    Yields:
        One row a face and condition, with the name of the condition, the covered share and the yaw of the head.

    Raises:
        ConfigError: the network's point scheme is not that of the truth.
        DataError: a face cannot be covered or scored.
        ImageError: a picture cannot be read.
    """
    for image, truths in pictures_of(annotations):
        for truth in truths:
            yaw = head_yaw(truth)
            for condition in conditions:
                face = cover_face(image, truth, condition, seed=seed)
                points, scores = predict(predictor, face.image, truth.box[None], truth)[0]
                prediction = Prediction(face.truth, points, True, truth.box, 1.0, scores)
                row = face_error(prediction, dataset=dataset, split=split, boxes="truth")
                yield replace(row, occlusion=condition.name, covered=face.share, yaw=yaw)


def head_yaw(truth: Annotation) -> float:
    """Yaw of a head in radians, from its true points; NaN where its scheme does not lead to 68 points."""
    try:
        points = convert(truth.points[None], truth.scheme, IBUG_68)
    except ConfigError:
        return float("nan")
    return float(head_pose(points).yaw[0])


def _generator(seed: int, condition: Condition, key: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{condition.name}/{'/'.join(condition.kinds)}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _mask(
    rng: np.random.Generator,
    face: FacePlace,
    condition: Condition,
    points: Float64[np.ndarray, "k 2"] | np.ndarray,
    truth: Annotation,
) -> UInt8[np.ndarray, "s s"]:
    if condition is not _CENTRE_PICTURE:
        return random_mask(rng, face, low=condition.low, high=condition.high, kinds=condition.kinds)
    mask = np.zeros_like(face.region)
    corners = picture_centre(points.astype(np.float64), truth)
    cv2.fillConvexPoly(mask, np.round(corners * (1 << BITS)).astype(np.int32), 255, cv2.LINE_8, BITS)
    return mask


def picture_centre(points: Float64[np.ndarray, "k 2"], truth: Annotation) -> Float64[np.ndarray, "4 2"]:
    """Corners of the middle quarter of the picture that CelebA-HQ would cut out around a face.

    Karras et al. (2018), "Progressive Growing of GANs", appendix C: the side is the larger of 4 eye distances and 3.6
    distances of eyes and mouth, the centre a tenth of the latter below the eyes.

    Args:
        points: of the face, any unit.
        truth: names the points of eyes and mouth by its scheme.
    """
    scheme = truth.scheme
    right, left = (points[list(group)].mean(axis=0) for group in scheme.pupils)
    mouth = points[[i for name, group in scheme.groups.items() if "mouth" in name for i in group]].mean(axis=0)
    eyes = (right + left) / 2
    across, down = left - right, mouth - eyes
    length = max(4.0 * float(np.linalg.norm(across)), 3.6 * float(np.linalg.norm(down)))
    across = across + np.array([down[1], -down[0]])
    x = across / np.linalg.norm(across) * length / 4
    y = np.array([-x[1], x[0]])
    return np.asarray(eyes + 0.1 * down + np.stack([-x - y, x - y, x + y, y - x]), np.float64)


def _laid_over(
    image: Image,
    mask: UInt8[np.ndarray, "s s"],
    to_canvas: Affine,
    rng: np.random.Generator,
    *,
    face: FacePlace,
    fill: str,
) -> tuple[Image, UInt8[np.ndarray, "h w"]]:
    """The picture under a mask drawn on the canvas, and the mask in the picture's pixels."""
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


PROFILE_YAW = math.radians(30)
"""Faces turned further to the side than this are profile faces.  The MobileNet-L paper names no limit."""


@final
@dataclass(frozen=True)
class CoverLine:
    """Errors of some faces under one condition; fractions, NaN where there is nothing to average.

    Attributes:
        occlusion: name of the condition.
        faces: how many.
        covered: mean share of the face that was covered.
        nme_ion: mean error over the inter-ocular distance.
        nmse_as_printed: mean error over the inter-pupil distance, which the MobileNet-L paper's formula for NMSE says.
        nmse_squared: mean squared error over the squared inter-pupil distance, which its name says.
        nme_visible: ``nme_ion`` of the points that are seen.
        nme_hidden: ``nme_ion`` of the points that are covered, or hidden in the truth.
        ratio: ``nme_ion`` over that of the same faces uncovered.
    """

    occlusion: str
    faces: int
    covered: float
    nme_ion: float
    nmse_as_printed: float
    nmse_squared: float
    nme_visible: float
    nme_hidden: float
    ratio: float


GROUPS: dict[str, Callable[[FaceError], bool]] = {
    "all": lambda row: True,
    "frontal": lambda row: abs(row.yaw) <= PROFILE_YAW,
    "profile": lambda row: abs(row.yaw) > PROFILE_YAW,
}
"""Faces that tables show apart; a face of unknown yaw is in the first one only."""


def cover_lines(rows: Sequence[FaceError], group: str = "all") -> list[CoverLine]:
    """One line a condition, in order of first appearance.

    Args:
        rows: of one model.
        group: key of ``GROUPS``.
    """
    chosen = [row for row in rows if GROUPS[group](row)]
    names = list(dict.fromkeys(row.occlusion for row in chosen))
    plain = _mean(row.nme_ion for row in chosen if row.occlusion == "none")
    return [_line(name, [row for row in chosen if row.occlusion == name], plain) for name in names]


def cover_json(models: Mapping[str, Sequence[FaceError]]) -> dict[str, Any]:
    """The numbers, ready for ``json``: for each model and group of faces a list of lines."""
    return {
        "profile_yaw_deg": round(math.degrees(PROFILE_YAW), 6),
        "models": {
            name: {group: [_plain(asdict(line)) for line in cover_lines(rows, group)] for group in GROUPS}
            for name, rows in models.items()
        },
    }


def write_cover_report(
    folder: str | os.PathLike[str], models: Mapping[str, Sequence[FaceError]], *, title: str
) -> Iterator[Path]:
    """Write ``summary.json``, ``rows_MODEL.csv`` and last ``occlusion.png`` (extra: plots).

    Args:
        folder: made where absent.
        models: rows of each model.
        title: what was measured.

    Yields:
        Each file once it is written.

    Raises:
        DataError: the folder cannot be made or written to.
        MissingExtraError: matplotlib is not installed; all other files are written by then.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(cover_json(models), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to ({error.strerror}); choose another folder") from error
    yield folder / "summary.json"
    for name, rows in models.items():
        path = folder / f"rows_{name}.csv"
        write_rows(path, rows)
        yield path
    plot_error_by_cover(
        folder / "occlusion.png", {name: cover_curve(rows) for name, rows in models.items()}, title=title
    )
    yield folder / "occlusion.png"


def cover_curve(rows: Sequence[FaceError]) -> dict[str, tuple[float, float]]:
    """Condition -> mean covered share and mean error over the inter-ocular distance."""
    return {line.occlusion: (line.covered, line.nme_ion) for line in cover_lines(rows)}


def _line(name: str, rows: Sequence[FaceError], plain: float) -> CoverLine:
    error = _mean(row.nme_ion for row in rows)
    return CoverLine(
        occlusion=name,
        faces=len(rows),
        covered=_mean(row.covered for row in rows),
        nme_ion=error,
        nmse_as_printed=_mean(row.nme_ipn for row in rows),
        nmse_squared=_mean(row.nmse_ipn_squared for row in rows),
        nme_visible=_mean(row.nme_visible for row in rows),
        nme_hidden=_mean(row.nme_hidden for row in rows),
        ratio=error / plain if plain > 0 else math.nan,
    )


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
