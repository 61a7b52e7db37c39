"""Measure one model for the tables of a paper."""

import csv
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from canthus.errors import DataError
from canthus.evaluation.conditions import conditions_of
from canthus.evaluation.occlusion import GROUPS, cover_lines, score_covered
from canthus.evaluation.rows import FaceError, face_error, read_rows, write_rows
from canthus.evaluation.run import predict_on_truth
from canthus.evaluation.summary import divide, summarize
from canthus.files import written
from canthus.recipes.config import Progress, dataset_root
from canthus.recipes.train import Surroundings, load_faces
from canthus.reproduce.values import COVERED, PLAIN, Job, Made, Scale, single_sets
from canthus.runtime.landmarker import Landmarker, open_model


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
    """Errors under each condition of an occlusion protocol, over all, frontal and profile faces.

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


def errors_of(one: Made, tested: str, metric: str, *, measure: str) -> dict[str, float]:
    """``face_errors`` of one training on a test set, from its rows, or else from what ``write_errors`` kept.

    Returns:
        Face -> error; empty where neither is there.
    """
    parts = single_sets(tested)
    if len(parts) > 1:
        found = {part: errors_of(one, part, metric, measure=measure) for part in parts}
        return {f"{part} {face}": error for part, errors in found.items() for face, error in errors.items()}
    rows = rows_file(one.folder, tested)
    if rows.is_file():
        return face_errors(read_rows(rows), metric, measure=measure)
    above = one.folder.parents[len(Path(one.job.folder).parts) - 1]
    return _kept(errors_file(above, tested)).get((metric, one.job.folder), {})


def errors_file(out: Path, tested: str) -> Path:
    """File for the errors of the faces of a test set in all trainings."""
    return out / f"errors_{tested.replace('/', '_')}.csv"


def write_errors(
    out: Path, made: Sequence[Made], tested: str, metrics: Sequence[str], *, measure: str
) -> Iterator[Path]:
    """Keep what the tests of claims compare: a line for each face and metric, and a column for each training.

    What the file holds of other metrics and trainings stays.  Yields the file once it is written, unless no training
    was measured on this set.
    """
    found = _kept(errors_file(out, tested))  # of other tables, perhaps
    for metric in metrics:
        own = {one.job.folder: errors_of(one, tested, metric, measure=measure) for one in made}
        found |= {(metric, training): errors for training, errors in own.items() if errors}
    if not found:
        return
    trainings = sorted({training for _, training in found})
    path = errors_file(out, tested)
    with written(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["metric", "face", *trainings])
        for metric in sorted({metric for metric, _ in found}):
            columns = [found.get((metric, training), {}) for training in trainings]
            for face in dict.fromkeys(face for column in columns for face in column):
                cells = (column.get(face) for column in columns)
                writer.writerow([metric, face, *("" if error is None else f"{error:.6g}" for error in cells)])
    yield path


def _kept(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """(metric, training) -> face -> error, as kept in a file; empty without it."""
    return dict(_kept_errors(path, path.stat().st_mtime_ns)) if path.is_file() else {}


@functools.lru_cache(maxsize=8)
def _kept_errors(path: Path, changed_ns: int) -> dict[tuple[str, str], dict[str, float]]:
    """(metric, training) -> face -> error, as ``write_errors`` wrote them; read once for each time of change."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                metric, face = line.pop("metric"), line.pop("face")
                for training, error in line.items():
                    if error:
                        found.setdefault((metric, training), {})[face] = float(error)
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: holds no errors of faces ({error}); delete it to go without them") from error
    return found


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
    measured: dict[str, list[FaceError]] = {}
    for name, tested in job.sets(scale).items():
        parts = single_sets(tested)
        if len(parts) > 1:
            together = [row for part in parts for row in measured[part]]
            metrics |= {f"{name}:{key}": value for key, value in MEASURES[measure](together).items()}
            continue
        dataset, _, split = tested.partition("/")
        root, scheme = dataset_root(place.roots, dataset), landmarker.session.scheme
        faces = load_faces(dataset, split, root, scheme=scheme, conversion=scale.conversion)
        found: Iterable[FaceError]
        if measure == COVERED:
            conditions = conditions_of(scale.covers)
            found = score_covered(faces, landmarker, conditions, seed=0, dataset=dataset, split=split)
            total = len(faces) * len(conditions)
        else:
            predictions = predict_on_truth(faces, landmarker)
            found = (face_error(one, dataset=dataset, split=split, boxes="truth") for one in predictions)
            total = len(faces)
        rows = measured[tested] = []
        for row in found:
            rows.append(row)
            progress(f"measuring {name}", len(rows), total)
        place.out.mkdir(parents=True, exist_ok=True)
        write_rows(rows_file(place.out, name), rows)
        metrics |= {f"{name}:{key}": value for key, value in MEASURES[measure](rows).items()}
    return metrics
