"""Errors on faces that are covered or spoiled on purpose: runs and the report."""

import logging
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from canthus.data.occluders import (
    IRREGULAR,
)
from canthus.data.occlusion import MaskFolder, open_masks
from canthus.errors import ConfigError
from canthus.evaluation.conditions import (
    KINDS,
    PROTOCOLS,
    UNCOVERED,
    Condition,
    conditions_of,
    cover_face,
    strengths_of,
)
from canthus.evaluation.plots import plot_error_by_cover, plot_error_by_strength
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.report import write_summary
from canthus.evaluation.rows import FaceError, face_error, need_eye_corners, read_rows, write_rows
from canthus.evaluation.run import (
    Predictor,
    Progress,
    no_progress,
    pictures_of,
    predict,
    refuse_options,
    truth_for,
)
from canthus.evaluation.summary import failure_rate, known_mean, null_for_nan
from canthus.evaluation.truth import StrPath, learned_faces, load_truth
from canthus.pose import head_pose
from canthus.runtime.landmarker import CropModel, Landmarker, open_model
from canthus.schemes import IBUG_68, convert
from canthus.types import Annotation

_log = logging.getLogger(__name__)


def is_corrupted(rows: Sequence[FaceError]) -> bool:
    """Whether rows are of one of ``CORRUPTED`` rather than of ``PROTOCOLS``."""
    names = {condition.name for conditions in PROTOCOLS.values() for condition in conditions}
    return any(row.occlusion not in names for row in rows)


def evaluate_covered(
    protocol: str,
    dataset: str | Sequence[str] | None = None,
    root: StrPath | Sequence[StrPath] | None = None,
    *,
    models: Sequence[StrPath] = (),
    kept: Sequence[Path] = (),
    split: str | Sequence[str] | None = None,
    scheme: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
    passes: int | None = None,
    conversion: str | None = None,
    masks: StrPath | None = None,
    masks_white: bool = False,
    progress: Progress = no_progress,
) -> dict[str, list[FaceError]]:
    """Evaluate models on faces that are covered or spoiled on purpose, in true boxes.

    ``protocol`` is a key of ``PROTOCOLS`` or ``CORRUPTED``, ``seed`` the random seed of what is drawn.  ``models`` are
    names or files; the default model is evaluated if neither models nor kept rows are given.  ``kept`` are files of
    rows from earlier runs, which are compared with the models.  Several datasets, each with its root and perhaps its
    split, are pooled.  ``masks`` is a folder of masks for the irregular masks of the protocol, black where they hide,
    or with ``masks_white`` white.  All other arguments are as in ``canthus.evaluate``.

    Returns:
        Name of the model or file -> one row per face and condition.

    Raises:
        CanthusError: as in ``canthus.evaluate``; also if rows are of different faces or conditions.
    """
    conditions = conditions_of(protocol)
    folder = masks_for(protocol, masks, white=masks_white)
    rows = {path.stem.removeprefix("rows_"): _kept_rows(path, conditions) for path in kept}
    if kept and not models:
        refuse_options(
            "with kept rows", dataset=dataset, root=root, split=split, seed=seed, threads=threads, passes=passes,
            scheme=scheme, conversion=conversion, masks=masks,
        )  # fmt: skip
        return _of_same_faces(rows)
    sessions = _named_models(models or ["default"], threads=threads or 1, taken=rows)
    sets = load_sets(next(iter(sessions.values())), dataset, root, split, scheme=scheme, conversion=conversion)
    total = len(conditions) * sum(map(len, sets.values()))
    names, folders = _listed_sets(dataset, root)
    roots = {name or "": folder for name, folder in zip(names, folders, strict=True)}
    for name, session in sessions.items():
        for (own, _), faces in sets.items():
            if learned := learned_faces(session.card, own, roots[own], faces):
                _log.warning("%s", learned)
        landmarker = Landmarker(session, passes=passes or 1)
        found = (
            row
            for (own, part), faces in sets.items()
            for row in score_covered(
                faces, landmarker, conditions, seed=seed or 0, dataset=own, split=part, masks=folder
            )
        )
        rows[name] = list(progress(found, name, total))
    return _of_same_faces(rows)


def _named_models(models: Sequence[StrPath], *, threads: int, taken: Collection[str]) -> dict[str, CropModel]:
    """Name -> model: that of the card, or of the file where several cards have the same.

    Raises:
        ConfigError: two files have the same name as well, or a name is one of ``taken``.
    """
    opened = [open_model(model, threads=threads) for model in models]
    cards = [session.card.name for session in opened]
    sessions: dict[str, CropModel] = {}
    for model, card, session in zip(models, cards, opened, strict=True):
        name = card if cards.count(card) == 1 and card not in taken else Path(model).stem
        if name in sessions or name in taken:
            raise ConfigError(f"Two models or files are named {name!r}; rename one")
        sessions[name] = session
    return sessions


def masks_for(protocol: str, masks: StrPath | None, *, white: bool) -> MaskFolder | None:
    """The masks of a folder, for a protocol with irregular masks; None if there is no folder.

    Raises:
        ConfigError: the protocol has no use for them.
        DataError: the folder holds none.
    """
    if masks is None:
        refuse_options("without a folder of masks", masks_white=white or None)
        return None
    if not any(condition.kinds == IRREGULAR for condition in conditions_of(protocol)):
        raise ConfigError(f"{protocol} has no irregular masks, so a folder of masks has no effect; leave it out")
    return open_masks(str(masks), white=white)


def load_sets(
    model: CropModel,
    dataset: str | Sequence[str] | None,
    root: StrPath | Sequence[StrPath] | None,
    split: str | Sequence[str] | None,
    *,
    scheme: str | None = None,
    conversion: str | None = None,
) -> dict[tuple[str, str], list[Annotation]]:
    """Faces of one or several datasets: (dataset, split) -> faces in the scheme of the model.

    Raises:
        ConfigError: the numbers of datasets, roots and splits do not fit, or a scheme without eye corners.
        DataError: a folder does not hold its dataset, or a file is damaged.
    """
    names, roots = _listed_sets(dataset, root)
    splits = [split] if split is None or isinstance(split, str) else list(split)
    if len(names) != len(roots) or len(splits) not in (1, len(names)):
        raise ConfigError(
            f"Found {len(names)} datasets, {len(roots)} roots and {len(splits)} splits; expected a root for each "
            "dataset, and one split for all or one for each"
        )
    sets = {}
    for name, folder, part in zip(names, roots, splits if len(splits) > 1 else splits * len(names), strict=True):
        wanted, variant = truth_for(model, name, scheme=scheme, conversion=conversion)
        found, faces = load_truth(name, folder, part, scheme=wanted, conversion=variant)
        need_eye_corners(faces[0].scheme)
        sets[name or "", found] = faces
    return sets


def _listed_sets(
    dataset: str | Sequence[str] | None, root: StrPath | Sequence[StrPath] | None
) -> tuple[list[str | None], list[StrPath | None]]:
    """Names and roots of one or several datasets."""
    names = [dataset] if dataset is None or isinstance(dataset, str) else list(dataset)
    roots = [root] if root is None or isinstance(root, str | os.PathLike) else list(root)
    return list(names), list(roots)


def _kept_rows(path: Path, conditions: Sequence[Condition]) -> list[FaceError]:
    rows = read_rows(path)
    if not rows or not all(row.occlusion for row in rows):
        raise ConfigError(f"{path}: expected rows of covered faces, from 'canthus evaluate --occlusion --rows'")
    if other := {row.occlusion for row in rows} - {condition.name for condition in conditions}:
        raise ConfigError(f"{path}: holds rows of {min(other)!r}, which is no condition of the protocol asked for")
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
    masks: MaskFolder | None = None,
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
                face = cover_face(image, truth, condition, seed=seed, masks=masks)
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
        fr_8, fr_10: share of the faces whose inter-ocular error is above 8 % and 10 %.
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
    fr_8: float
    fr_10: float


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
    """Write ``summary.json``, ``rows_MODEL.csv`` and last ``occlusion.png`` or ``corruption.png`` (extra: plots).

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
    if is_corrupted(next(iter(models.values()))):
        errors = {
            name: {kind: [line.nme_ion for line in lines] for kind, lines in strength_lines(rows).items()}
            for name, rows in models.items()
        }
        plot_error_by_strength(folder / "corruption.png", errors, title=title)
        yield folder / "corruption.png"
        return
    plot_error_by_cover(
        folder / "occlusion.png", {name: cover_curve(rows) for name, rows in models.items()}, title=title
    )
    yield folder / "occlusion.png"


def strength_lines(rows: Sequence[FaceError]) -> dict[str, list[CoverLine]]:
    """Kind of corruption -> lines of the unspoiled faces, and of each strength that the rows have."""
    lines = {line.occlusion: line for line in cover_lines(rows)}
    plain = [lines[UNCOVERED.name]] if UNCOVERED.name in lines else []
    return {
        kind: plain + found
        for kind in KINDS
        if (found := [lines[c.name] for c in strengths_of(kind) if c.name in lines])
    }


def cover_curve(rows: Sequence[FaceError]) -> dict[str, tuple[float, float]]:
    """Condition -> mean covered share and mean error over the inter-ocular distance."""
    return {line.occlusion: (line.covered, line.nme_ion) for line in cover_lines(rows)}


def _line(name: str, rows: Sequence[FaceError], plain: float) -> CoverLine:
    error = known_mean(row.nme_ion for row in rows)
    errors = np.array([row.nme_ion for row in rows if not math.isnan(row.nme_ion)])
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
        fr_8=failure_rate(errors, 0.08),
        fr_10=failure_rate(errors, 0.10),
    )
