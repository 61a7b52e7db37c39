"""Measure one model for the tables of a paper."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from canthus.evaluation.occlusion import GROUPS, PROTOCOLS, cover_lines, score_covered
from canthus.evaluation.rows import FaceError, face_error, write_rows
from canthus.evaluation.run import predict_on_truth
from canthus.evaluation.summary import divide, summarize
from canthus.recipes.config import Progress, dataset_root
from canthus.recipes.train import Surroundings, load_faces
from canthus.reproduce.values import COVERED, PLAIN
from canthus.runtime.landmarker import Landmarker, open_model

COVER = "paper_c"
"""Occlusion protocol of ``measure_covered``."""


@final
@dataclass(frozen=True)
class TestSets:
    """The faces that a model is measured on.

    Attributes:
        names: name of a test set in tables -> ``dataset/split``.
        conversion: see ``load_faces``.
    """

    __test__ = False  # pytest takes the class for a test by its name

    names: Mapping[str, str]
    conversion: str = ""


Measure = Callable[[Path, TestSets, Surroundings, Path, Progress], dict[str, float]]


def measure_plain(model: Path, tests: TestSets, place: Surroundings, out: Path, progress: Progress) -> dict[str, float]:
    """Measure errors in ground-truth boxes, for each test set and each of its subsets.

    Args:
        place: folders of the datasets.
        out: folder for ``rows_DATASET_SPLIT.csv``.

    Returns:
        ``dataset/split:field`` and ``dataset/split:field/subset`` -> value, for the numeric fields of ``Summary``.
    """
    metrics: dict[str, float] = {}
    for name, rows in _rows(model, tests, place, out, progress=progress, covered=False):
        metrics |= {f"{name}:{field}": value for field, value in _numbers(rows).items()}
        for division, part in divide(rows).items():
            metrics |= {f"{name}:{field}/{division}": value for field, value in _numbers(part).items()}
    return metrics


def _numbers(rows: Sequence[FaceError]) -> dict[str, float]:
    fields = asdict(summarize(rows)).items()
    return {name: float(value) for name, value in fields if isinstance(value, int | float) and not math.isnan(value)}


def measure_covered(
    model: Path, tests: TestSets, place: Surroundings, out: Path, progress: Progress
) -> dict[str, float]:
    """Measure errors under each condition of ``COVER``, over all, frontal and profile faces, for each test set.

    The arguments are those of ``measure_plain``.

    Returns:
        ``dataset/split:error/group/condition`` -> value, where ``error`` is ``nme``, ``nmse`` (as printed in the
        MobileNet-L paper) or ``nmse_squared``; and ``dataset/split:faces/group`` -> number of faces.
    """
    metrics: dict[str, float] = {}
    for name, rows in _rows(model, tests, place, out, progress=progress, covered=True):
        for group in GROUPS:
            for line in cover_lines(rows, group):
                metrics[f"{name}:faces/{group}"] = float(line.faces)
                metrics[f"{name}:nme/{group}/{line.occlusion}"] = line.nme_ion
                metrics[f"{name}:nmse/{group}/{line.occlusion}"] = line.nmse_as_printed
                metrics[f"{name}:nmse_squared/{group}/{line.occlusion}"] = line.nmse_squared
    return {key: value for key, value in metrics.items() if not math.isnan(value)}


MEASURES: Mapping[str, Measure] = {PLAIN: measure_plain, COVERED: measure_covered}
"""Way to measure -> function."""


def rows_file(out: Path, tested: str) -> Path:
    """File for the rows of a test set ``dataset/split``."""
    return out / f"rows_{tested.replace('/', '_')}.csv"


def _rows(
    model: Path, tests: TestSets, place: Surroundings, out: Path, *, progress: Progress, covered: bool
) -> Iterator[tuple[str, list[FaceError]]]:
    """Score each test set, if ``covered`` under each condition of ``COVER``, and write the rows to files."""
    landmarker = Landmarker(open_model(model))
    for name, tested in tests.names.items():
        dataset, _, split = tested.partition("/")
        root, scheme = dataset_root(place.roots, dataset), landmarker.session.scheme.name
        faces = load_faces(dataset, split, root, scheme=scheme, conversion=tests.conversion)
        found: Iterable[FaceError]
        if covered:
            found = score_covered(faces, landmarker, PROTOCOLS[COVER], seed=0, dataset=dataset, split=split)
        else:
            predictions = predict_on_truth(faces, landmarker)
            found = (face_error(one, dataset=dataset, split=split, boxes="truth") for one in predictions)
        total = len(faces) * (len(PROTOCOLS[COVER]) if covered else 1)
        rows: list[FaceError] = []
        for row in found:
            rows.append(row)
            progress(f"measuring {name}", len(rows), total)
        out.mkdir(parents=True, exist_ok=True)
        write_rows(rows_file(out, name), rows)
        yield name, rows
