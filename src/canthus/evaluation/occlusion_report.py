"""Tables, JSON and files of an evaluation with covered faces."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from canthus.errors import DataError
from canthus.evaluation.plots import plot_error_by_cover
from canthus.evaluation.rows import FaceError, write_rows

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
