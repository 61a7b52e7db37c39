"""Errors on faces that are covered on purpose: conditions, runs, the report and sheets of the masks."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from canthus.data.occluders import BITS, IRREGULAR, NATURAL, FacePlace, covered_share, place_face
from canthus.data.occlusion import FILLS, painted, random_cover, random_mask, seen_points
from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, DataError
from canthus.evaluation.boxes import generator_for
from canthus.evaluation.plots import plot_error_by_cover
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.report import write_summary
from canthus.evaluation.rows import FaceError, face_error, need_eye_corners, read_rows, write_rows
from canthus.evaluation.run import (
    Predictor,
    Progress,
    StrPath,
    load_truth,
    no_progress,
    pictures_of,
    predict,
    refuse_options,
    truth_for,
)
from canthus.evaluation.sheets import draw_dots, picture_tile, tile_rows
from canthus.evaluation.summary import known_mean, null_for_nan
from canthus.geometry import Affine, crop_square, hull_box
from canthus.images import crop_image
from canthus.lookup import lookup
from canthus.pose import head_pose
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.schemes import IBUG_68, convert
from canthus.types import Annotation, Image, Sample

CANVAS, CANVAS_MARGIN = 256, 2.0
"""Masks are drawn in a square of this many pixels and this many face boxes wide, then mapped onto the picture."""


@final
@dataclass(frozen=True)
class Condition:
    """One way of covering faces.

    Attributes:
        low: least covered share of the face.
        high: the covered share stays below this; 0 if the mask does not depend on a share.
        kinds: shapes of the masks; empty for the uncovered face.
        fill: content of the masks; if empty, drawn at random for each face.
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
    """Six classes of the covered share."""
    return tuple(Condition(f"{low}-{low + 10} %", low / 100, (low + 10) / 100, kinds, fill) for low in range(0, 60, 10))


PROTOCOLS: dict[str, tuple[Condition, ...]] = {
    "paper_c": (UNCOVERED, *_classes(IRREGULAR, "black"), _CENTRE_FACE, _CENTRE_PICTURE),
    "natural": (UNCOVERED, *_classes(NATURAL, "")),
}
"""``paper_c``: black irregular masks and centred squares, after the MobileNet-L paper; ``natural``: hands, cups, masks.

Differs: the paper counts shares of the picture; these are shares of the face and do not depend on the crop.
"""


@final
@dataclass(frozen=True)
class CoveredFace:
    """A picture with one covered face, whose covered points are not ``visible``.

    ``share`` is the covered share of the hull of the landmarks, counted in pixels.
    """

    image: Image
    truth: Annotation
    share: float


def cover_face(image: Image, truth: Annotation, condition: Condition, *, seed: int = 0) -> CoveredFace:
    """Cover one face.  The mask depends on the face's key, the condition and the seed only.

    Raises:
        DataError: fewer than three points of the face are known.
    """
    if not condition.kinds:
        return CoveredFace(image, truth, 0.0)
    to_canvas = Affine.crop(crop_square(truth.box, CANVAS_MARGIN), CANVAS)
    points = to_canvas.apply(truth.points)
    face = place_face(points, truth.scheme, CANVAS)
    if face is None:
        raise DataError(f"{truth.key}: too few points are known to cover a share of the face")
    rng = generator_for(f"{seed}/{condition.name}/{'/'.join(condition.kinds)}/{truth.key}")
    mask = _mask(rng, face, condition, points, truth)
    sample = Sample(image, truth.points, truth.scheme, visible=truth.visible)
    covered, hidden = _laid_over(image, mask, to_canvas, rng, face=face, fill=condition.fill)
    return CoveredFace(covered, replace(truth, visible=seen_points(sample, hidden)), covered_share(mask, face))


def evaluate_covered(
    protocol: str,
    dataset: str | None = None,
    root: StrPath | None = None,
    *,
    models: Sequence[StrPath] = (),
    kept: Sequence[Path] = (),
    split: str | None = None,
    scheme: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
    passes: int | None = None,
    conversion: str | None = None,
    progress: Progress = no_progress,
) -> dict[str, list[FaceError]]:
    """Evaluate models on faces that are covered on purpose, in true boxes.

    ``protocol`` is a key of ``PROTOCOLS``, ``seed`` the random seed of the masks.  ``models`` are names or files; the
    default model is evaluated if neither models nor kept rows are given.  ``kept`` are files of rows from earlier runs,
    which are compared with the models.  All other arguments are as in ``canthus.evaluate``.

    Returns:
        Name of the model or file -> one row per face and condition.

    Raises:
        CanthusError: as in ``canthus.evaluate``; also if rows are of different faces or conditions.
    """
    conditions = lookup(PROTOCOLS, protocol, kind="occlusion protocol")
    rows = {path.stem.removeprefix("rows_"): _kept_rows(path) for path in kept}
    if kept and not models:
        refuse_options(
            "with kept rows", dataset=dataset, root=root, split=split, seed=seed, threads=threads, passes=passes,
            scheme=scheme, conversion=conversion,
        )  # fmt: skip
        return _of_same_faces(rows)
    first = open_model(next(iter(models), "default"), threads=threads or 1)
    wanted, variant = truth_for(first, dataset, scheme=scheme, conversion=conversion)
    split, annotations = load_truth(dataset, root, split, scheme=wanted, conversion=variant)
    need_eye_corners(annotations[0].scheme)
    for model in models or ["default"]:
        session = open_model(model, threads=threads or 1)
        name = session.card.name
        if name in rows:
            raise ConfigError(f"Two models or files are named {name!r}; rename one")
        landmarker = Landmarker(session, passes=passes or 1)
        found = score_covered(annotations, landmarker, conditions, seed=seed or 0, dataset=dataset or "", split=split)
        rows[name] = list(progress(found, name, len(annotations) * len(conditions)))
    return _of_same_faces(rows)


def _kept_rows(path: Path) -> list[FaceError]:
    rows = read_rows(path)
    if not rows or not all(row.occlusion for row in rows):
        raise ConfigError(f"{path}: expected rows of covered faces, from 'canthus evaluate --occlusion --rows'")
    return rows


def _of_same_faces(models: dict[str, list[FaceError]]) -> dict[str, list[FaceError]]:
    """Return the models unchanged, or refuse rows of different faces or conditions."""
    kinds = {name: {(row.dataset, row.split, row.key, row.occlusion) for row in rows} for name, rows in models.items()}
    first, *others = kinds
    for other in others:
        if kinds[other] != kinds[first]:
            raise ConfigError(f"{first} and {other} cannot be compared: their faces or conditions differ")
    return models


def score_covered(
    annotations: Sequence[Annotation],
    predictor: Predictor,
    conditions: Sequence[Condition],
    *,
    seed: int,
    dataset: str,
    split: str,
) -> Iterator[FaceError]:
    """Predict every face in its true box under every condition; each picture is read once.

    Yields:
        One row per face and condition, with the name of the condition, the covered share and the yaw of the head.

    Raises:
        ConfigError: the model and the ground truth have different schemes.
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
    """Yaw of a head in radians, from its true points; NaN if they cannot be converted to ``ibug_68``."""
    try:
        points = convert(truth.points[None], truth.scheme, IBUG_68)
    except ConfigError:
        return float("nan")
    return float(head_pose(points).yaw[0])


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


PROFILE_YAW = math.radians(30)
"""Faces with a larger yaw are profile faces.  The MobileNet-L paper states no limit."""


@final
@dataclass(frozen=True)
class CoverLine:
    """Mean errors of a group of faces under one condition; fractions, NaN if there is nothing to average.

    Attributes:
        covered: mean covered share of the face.
        nme_ion: mean error over the inter-ocular distance.
        nmse_as_printed: mean error over the inter-pupil distance, the MobileNet-L paper's formula for "NMSE".
        nmse_squared: mean squared error over the squared inter-pupil distance, the meaning of the name "NMSE".
        nme_visible: ``nme_ion`` of the visible points.
        nme_hidden: ``nme_ion`` of the points that are covered, or hidden in the ground truth.
        ratio: ``nme_ion`` divided by that of the same faces uncovered.
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
"""Groups of faces with their own tables; a face of unknown yaw is in ``all`` only."""


def cover_lines(rows: Sequence[FaceError], group: str = "all") -> list[CoverLine]:
    """Summarize the rows of one model and a group of ``GROUPS``: a line per condition, by first appearance."""
    chosen = [row for row in rows if GROUPS[group](row)]
    names = list(dict.fromkeys(row.occlusion for row in chosen))
    plain = known_mean(row.nme_ion for row in chosen if row.occlusion == "none")
    return [_line(name, [row for row in chosen if row.occlusion == name], plain) for name in names]


def cover_json(models: Mapping[str, Sequence[FaceError]]) -> dict[str, Any]:
    """All numbers as plain values for ``json``: for each model and group of faces a list of lines."""
    lines = {
        name: {group: [asdict(line) for line in cover_lines(rows, group)] for group in GROUPS}
        for name, rows in models.items()
    }
    return {"profile_yaw_deg": round(math.degrees(PROFILE_YAW), 6), "models": null_for_nan(lines)}


def write_cover_report(folder: StrPath, models: Mapping[str, Sequence[FaceError]], *, title: str) -> Iterator[Path]:
    """Write ``summary.json``, ``rows_MODEL.csv`` and last ``occlusion.png`` (extra: plots).

    Yields:
        Each file once it is written.

    Raises:
        DataError: the folder cannot be created or written to.
        MissingExtraError: matplotlib is not installed; all other files are written by then.
    """
    folder = Path(folder)
    yield write_summary(folder, cover_json(models))
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
    error = known_mean(row.nme_ion for row in rows)
    return CoverLine(
        occlusion=name,
        faces=len(rows),
        covered=known_mean(row.covered for row in rows),
        nme_ion=error,
        nmse_as_printed=known_mean(row.nme_ipn for row in rows),
        nmse_squared=known_mean(row.nmse_ipn_squared for row in rows),
        nme_visible=known_mean(row.nme_visible for row in rows),
        nme_hidden=known_mean(row.nme_hidden for row in rows),
        ratio=error / plain if plain > 0 else math.nan,
    )


TILE = 144
"""Side of a face on a sheet in pixels."""
_HIDDEN_COLOR = (255, 60, 50)
_COLUMNS = 8


def drawn_faces(count: int, rng: np.random.Generator) -> Iterator[tuple[Image, Annotation]]:
    """Drawn faces, for use without a dataset."""
    for number in range(count):
        face, key = draw_face(rng, size=3 * TILE), f"drawn_{number}"
        seen = np.ones(len(face.points), np.bool_)
        truth = Annotation(key, Path(key), face.points, face.scheme, hull_box(face.points), seen, group=key)
        yield face.image, truth


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
    crops = [_face_crop(image, truth) for image, truth in faces]
    for name, conditions in PROTOCOLS.items():
        tiles = []
        for image, truth in crops:
            for condition in conditions:
                face = cover_face(image, truth, condition, seed=seed)
                label = condition.name.replace(" % of the", "%") if face.share else "none"
                tiles.append(_mask_tile(face.image, f"{label}: {100 * face.share:.1f} %", face.truth))
        yield name, tile_rows(tiles, columns=len(conditions))
    rng = np.random.default_rng(seed)
    tiles = []
    for image, truth in crops:
        for _ in range(_COLUMNS):
            sample = random_cover(Sample(image, truth.points, truth.scheme), rng, chance=1.0)
            seen = truth.visible if sample.visible is None else sample.visible
            text = f"{(~seen).sum()} of {len(seen)} points"
            tiles.append(_mask_tile(sample.image, text, replace(truth, visible=seen)))
    yield "training", tile_rows(tiles, columns=_COLUMNS)


def _face_crop(image: Image, truth: Annotation) -> tuple[UInt8[np.ndarray, "s s 3"], Annotation]:
    crop, affine = crop_image(image, crop_square(truth.box, 1.5), TILE)
    points = affine.apply(truth.points)
    return crop, replace(truth, points=points, box=hull_box(points))


def _mask_tile(picture: Image, text: str, truth: Annotation) -> UInt8[np.ndarray, "height width 3"]:
    shown = picture.copy()
    draw_dots(shown, truth.points[~truth.visible], _HIDDEN_COLOR, radius=1)
    return picture_tile(shown, [text], width=TILE, text_scale=0.34)
