"""Measure one model for the tables of a paper."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from canthus.evaluation.conditions import PROTOCOLS
from canthus.evaluation.occlusion import GROUPS, cover_lines, score_covered
from canthus.evaluation.rows import FaceError, face_error, write_rows
from canthus.evaluation.run import predict_on_truth
from canthus.evaluation.summary import divide, summarize
from canthus.recipes.config import Progress, dataset_root
from canthus.recipes.train import Surroundings, load_faces
from canthus.reproduce.values import COVERED, PLAIN, Job, Scale
from canthus.runtime.landmarker import Landmarker, open_model

COVER = "paper_c"
"""Occlusion protocol of ``COVERED``."""


def plain_metrics(rows: Sequence[FaceError]) -> dict[str, float]:
    """``field`` and ``field/subset`` -> value, for the numeric fields of ``Summary`` and all subsets of the faces."""
    metrics = _numbers(rows)
    for division, part in divide(rows).items():
        metrics |= {f"{field}/{division}": value for field, value in _numbers(part).items()}
    return metrics


def _numbers(rows: Sequence[FaceError]) -> dict[str, float]:
    fields = asdict(summarize(rows)).items()
    return {name: float(value) for name, value in fields if isinstance(value, int | float) and not math.isnan(value)}


def covered_metrics(rows: Sequence[FaceError]) -> dict[str, float]:
    """Errors under each condition of ``COVER``, over all, frontal and profile faces.

    Returns:
        ``error/group/condition`` -> value, where ``error`` is ``nme``, ``nmse`` (as printed in the MobileNet-L paper)
        or ``nmse_squared``; and ``faces/group`` -> number of faces.
    """
    metrics: dict[str, float] = {}
    for group in GROUPS:
        for line in cover_lines(rows, group):
            metrics[f"faces/{group}"] = float(line.faces)
            metrics[f"nme/{group}/{line.occlusion}"] = line.nme_ion
            metrics[f"nmse/{group}/{line.occlusion}"] = line.nmse_as_printed
            metrics[f"nmse_squared/{group}/{line.occlusion}"] = line.nmse_squared
    return {key: value for key, value in metrics.items() if not math.isnan(value)}


MEASURES: Mapping[str, Callable[[Sequence[FaceError]], dict[str, float]]] = {
    PLAIN: plain_metrics,
    COVERED: covered_metrics,
}
"""Way to measure -> metrics of the rows of one test set."""


def face_errors(rows: Sequence[FaceError], metric: str, *, measure: str) -> dict[str, float]:
    """Face -> the number whose mean over the faces is a metric of ``MEASURES``; empty for a metric that is no mean."""
    field, _, rest = metric.partition("/")
    if measure == COVERED:
        field = {"nme": "nme_ion", "nmse": "nme_ipn", "nmse_squared": "nmse_ipn_squared"}.get(field, "")
        group, _, condition = rest.partition("/")
        rows = [row for row in rows if row.occlusion == condition and GROUPS[group](row)] if field else []
    elif rest:
        rows = divide(rows).get(rest, [])
    known = [row for row in rows if row.found and isinstance(getattr(row, field, None), float)]
    return {row.key: value for row in known if not math.isnan(value := getattr(row, field))}


def rows_file(out: Path, tested: str) -> Path:
    """File for the rows of a test set ``dataset/split``."""
    return out / f"rows_{tested.replace('/', '_')}.csv"


def measure_model(
    model: Path, job: Job, place: Surroundings, *, measure: str, scale: Scale, progress: Progress
) -> dict[str, float]:
    """Measure the model of a job in ground-truth boxes on each test set, and write the rows to ``place.out``.

    Args:
        measure: key of ``MEASURES``.

    Returns:
        ``dataset/split:metric`` -> value.
    """
    landmarker = Landmarker(open_model(model))
    metrics: dict[str, float] = {}
    for name, tested in job.sets(scale).items():
        dataset, _, split = tested.partition("/")
        root, scheme = dataset_root(place.roots, dataset), landmarker.session.scheme
        faces = load_faces(dataset, split, root, scheme=scheme, conversion=scale.conversion)
        found: Iterable[FaceError]
        if measure == COVERED:
            found = score_covered(faces, landmarker, PROTOCOLS[COVER], seed=0, dataset=dataset, split=split)
            total = len(faces) * len(PROTOCOLS[COVER])
        else:
            predictions = predict_on_truth(faces, landmarker)
            found = (face_error(one, dataset=dataset, split=split, boxes="truth") for one in predictions)
            total = len(faces)
        rows: list[FaceError] = []
        for row in found:
            rows.append(row)
            progress(f"measuring {name}", len(rows), total)
        place.out.mkdir(parents=True, exist_ok=True)
        write_rows(rows_file(place.out, name), rows)
        metrics |= {f"{name}:{key}": value for key, value in MEASURES[measure](rows).items()}
    return metrics
