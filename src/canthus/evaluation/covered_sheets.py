"""Sheets of covered and spoiled faces: the masks alone, and what models predict under them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.data.occlusion import MaskFolder, random_cover
from canthus.data.synthetic import draw_face
from canthus.evaluation.conditions import (
    CORRUPTED,
    KINDS,
    PROTOCOLS,
    STRENGTHS,
    Condition,
    conditions_of,
    cover_face,
)
from canthus.evaluation.errors import inter_ocular, normalized_error
from canthus.evaluation.occlusion import PROFILE_YAW, head_yaw, load_sets, masks_for
from canthus.evaluation.run import Predictor, Progress, no_progress, predict
from canthus.evaluation.sheets import PREDICTED_COLOR, TRUTH_COLOR, color_legend, draw_dots, picture_tile, tile_rows
from canthus.evaluation.truth import StrPath
from canthus.geometry import crop_square, hull_box
from canthus.images import crop_image, read_image
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.types import Annotation, Image, Sample

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
    """One sheet for each protocol, and one sheet of faces covered as in training with ``cover``.

    A sheet has one row for each face, that of corruptions only the first face.  Covered points are red.

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
        tiles = [_condition_tile(face, condition, seed) for face in crops for condition in conditions]
        yield name, tile_rows(tiles, columns=len(conditions))
    for name, conditions in CORRUPTED.items():
        tiles = [_condition_tile(crops[0], condition, seed) for condition in conditions[1:]]
        yield name, tile_rows(tiles, columns=2 * STRENGTHS)
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


def _condition_tile(
    face: tuple[Image, Annotation], condition: Condition, seed: int
) -> UInt8[np.ndarray, "height width 3"]:
    covered = cover_face(*face, condition, seed=seed)
    text = condition.name.replace(" % of the", "%") if covered.share or condition.corruption else "none"
    return _mask_tile(
        covered.image, text if condition.corruption else f"{text}: {100 * covered.share:.1f} %", covered.truth
    )


def _mask_tile(picture: Image, text: str, truth: Annotation) -> UInt8[np.ndarray, "height width 3"]:
    shown = picture.copy()
    draw_dots(shown, truth.points[~truth.visible], _HIDDEN_COLOR, radius=1)
    return picture_tile(shown, [text], width=TILE, text_scale=0.34)


SHEET_FACES = 6
"""Faces on a sheet of predictions."""
_WIDE = 192
"""Side of a face on such a sheet in pixels."""


def model_sheets(
    protocol: str,
    dataset: str | Sequence[str] | None = None,
    root: StrPath | Sequence[StrPath] | None = None,
    *,
    models: Sequence[StrPath] = (),
    split: str | Sequence[str] | None = None,
    scheme: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
    passes: int | None = None,
    conversion: str | None = None,
    masks: StrPath | None = None,
    masks_white: bool = False,
    progress: Progress = no_progress,
) -> Iterator[tuple[str, Image]]:
    """Sheets of ``predicted_sheets`` for each model, of the same faces; arguments as in ``evaluate_covered``.

    Yields:
        ``MODEL_SHEET`` and picture of each sheet.

    Raises:
        CanthusError: as in ``evaluate_covered``.
    """
    conditions, folder = conditions_of(protocol), masks_for(protocol, masks, white=masks_white)
    first = open_model(next(iter(models), "default"), threads=threads or 1)
    sets = load_sets(first, dataset, root, split, scheme=scheme, conversion=conversion)
    faces = sheet_faces([face for found in sets.values() for face in found])
    for model in models or ["default"]:
        session = open_model(model, threads=threads or 1)
        landmarker = Landmarker(session, passes=passes or 1)
        sheets = predicted_sheets(faces, landmarker, conditions, seed=seed or 0, masks=folder)
        for name, picture in progress(sheets, f"sheets of {session.card.name}", len(sheet_names(conditions))):
            yield f"{session.card.name}_{name}", picture


def sheet_faces(annotations: Sequence[Annotation], count: int = SHEET_FACES) -> list[Annotation]:
    """Faces for a sheet: evenly spread over those given, half of them profiles if there are as many."""
    profiles = [face for face in annotations if abs(head_yaw(face)) > PROFILE_YAW]
    others = [face for face in annotations if not abs(head_yaw(face)) > PROFILE_YAW]
    turned = min(len(profiles), count // 2)
    chosen = []
    for faces, wanted in ((others, count - turned), (profiles, turned)):
        places = np.linspace(0, len(faces) - 1, min(wanted, len(faces)))
        chosen += [faces[round(place)] for place in places.tolist()]
    return chosen


def sheet_names(conditions: Sequence[Condition]) -> dict[str, list[Condition]]:
    """Name of each sheet -> its conditions: one for each cover, or all strengths of a corruption."""
    if any(condition.strength for condition in conditions):
        return {kind: [c for c in conditions if c.name.rpartition(" ")[0] == kind] for kind in KINDS}
    return {c.name.replace(" %", "").replace(" ", "_"): [c] for c in conditions if c.kinds}


def predicted_sheets(
    faces: Sequence[Annotation],
    predictor: Predictor,
    conditions: Sequence[Condition],
    *,
    seed: int,
    masks: MaskFolder | None = None,
) -> Iterator[tuple[str, Image]]:
    """Sheets of what a model predicts, one row per face; see ``sheet_names``.

    A sheet of a cover has the columns original, covered, truth and predicted (Figures 7 and 8 of the MobileNet-L
    paper); a sheet of a corruption has the face unspoiled and at each strength, truth green and prediction red.

    Yields:
        Name and picture of each sheet.

    Raises:
        DataError: a face cannot be covered, or has no eye corners.
        ImageError: a picture cannot be read.
    """
    pictures = [(read_image(face.path), face) for face in faces]
    for name, shown in sheet_names(conditions).items():
        if shown[0].strength:
            steps = (conditions[0], *shown)
            tiles = [_spoiled_tile(face, step, predictor, seed) for face in pictures for step in steps]
            page = tile_rows(tiles, columns=len(steps))
        else:
            rows = (_covered_row(face, shown[0], predictor, seed=seed, masks=masks) for face in pictures)
            page = tile_rows([tile for row in rows for tile in row], columns=4)
        yield name, np.vstack([color_legend({"truth": TRUTH_COLOR, "predicted": PREDICTED_COLOR}, page.shape[1]), page])


def comparison_sheet(faces: Sequence[Annotation], predictors: Mapping[str, Predictor]) -> Image:
    """Faces as they are, one row each: the face, its truth, and what each model predicts.

    Args:
        faces: at least one.
        predictors: name of a column -> model.

    Raises:
        ImageError: a picture cannot be read.
    """
    tiles = []
    for truth in faces:
        image = read_image(truth.path)
        tiles += [_dotted(image, truth, "original"), _dotted(image, truth, "truth", (truth.points, TRUTH_COLOR))]
        for name, predictor in predictors.items():
            points, error = _predicted(predictor, image, truth)
            tiles.append(_dotted(image, truth, f"{name}: {error}", (points, PREDICTED_COLOR)))
    page = tile_rows(tiles, columns=2 + len(predictors))
    return np.vstack([color_legend({"truth": TRUTH_COLOR, "predicted": PREDICTED_COLOR}, page.shape[1]), page])


def _spoiled_tile(
    face: tuple[Image, Annotation], condition: Condition, predictor: Predictor, seed: int
) -> UInt8[np.ndarray, "height width 3"]:
    spoiled, truth = cover_face(*face, condition, seed=seed), face[1]
    points, error = _predicted(predictor, spoiled.image, truth)
    text = f"{condition.name.replace('_', ' ')}: {error}"
    return _dotted(spoiled.image, truth, text, (truth.points, TRUTH_COLOR), (points, PREDICTED_COLOR))


def _covered_row(
    face: tuple[Image, Annotation],
    condition: Condition,
    predictor: Predictor,
    *,
    seed: int,
    masks: MaskFolder | None,
) -> list[UInt8[np.ndarray, "height width 3"]]:
    image, truth = face
    covered = cover_face(image, truth, condition, seed=seed, masks=masks)
    points, error = _predicted(predictor, covered.image, truth)
    yaw = np.degrees(head_yaw(truth))
    return [
        _dotted(image, truth, "original" + ("" if np.isnan(yaw) else f", yaw {yaw:.0f} degrees")),
        _dotted(covered.image, truth, f"covered: {100 * covered.share:.0f} % of the face"),
        _dotted(covered.image, truth, "truth", (truth.points, TRUTH_COLOR)),
        _dotted(covered.image, truth, f"predicted: {error}", (points, PREDICTED_COLOR)),
    ]


def _predicted(predictor: Predictor, image: Image, truth: Annotation) -> tuple[Float32[np.ndarray, "k 2"], str]:
    """Predicted points, and their error in words."""
    points, _ = predict(predictor, image, truth.box[None], truth)[0]
    error = normalized_error(points[None], truth.points[None], inter_ocular(truth.points[None], truth.scheme))
    return points, f"{100 * float(error[0]):.1f} %"


def _dotted(
    image: Image, truth: Annotation, text: str, *dots: tuple[Float32[np.ndarray, "k 2"], tuple[int, int, int]]
) -> UInt8[np.ndarray, "height width 3"]:
    crop, affine = crop_image(image, crop_square(hull_box(truth.points), 1.5), _WIDE)
    for points, color in dots:
        draw_dots(crop, affine.apply(points), color, radius=1)
    return picture_tile(crop, [text], width=_WIDE)
