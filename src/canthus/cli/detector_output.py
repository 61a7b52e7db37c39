"""What ``canthus evaluate-detector`` prints and writes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from rich.console import Console

from canthus.cli.detector_request import DetectorRequest, make_reports, official_precision
from canthus.cli.detector_tables import detector_tables, official_table
from canthus.cli.tables import write_json
from canthus.errors import ConfigError
from canthus.evaluation.detection_report import DetectorReport, detectors_json, write_detection_rows
from canthus.evaluation.detection_worst import worst_pictures_sheet
from canthus.evaluation.plots import plot_detectors
from canthus.evaluation.wider_face import WiderPrecision
from canthus.images import write_image

_WORST = 12


@final
@dataclass(frozen=True)
class DetectorOutputs:
    """Where results go beside the tables; None where they do not."""

    json: str | None = None
    rows: Path | None = None
    plot: Path | None = None
    out: Path | None = None
    worst: int | None = None


def run_detector_evaluation(request: DetectorRequest, outputs: DetectorOutputs) -> None:
    """Make the reports, print their tables, write their files.

    Raises:
        CanthusError: options contradict each other, or a file cannot be read or written.
    """
    if outputs.worst is not None and outputs.out is None:
        raise ConfigError("--worst needs --out DIR, the folder that the sheet of worst pictures goes to")
    errors = Console(stderr=True, highlight=False)
    console = errors if outputs.json == "-" else Console(highlight=False)
    reports = make_reports(request, errors)
    console.print(*detector_tables(reports))
    levels = official_precision(request.root, reports) if request.official else None
    if levels is not None:
        console.print(official_table(levels))
    if outputs.json is not None:
        write_json(outputs.json, detectors_json(reports, levels))
    if outputs.rows is not None:
        write_detection_rows(outputs.rows, reports)
    if outputs.plot is not None:
        plot_detectors(outputs.plot, reports)
    if outputs.out is not None:
        for path in _write_folder(outputs.out, reports, levels, worst=outputs.worst):
            errors.print(f"wrote {path}", soft_wrap=True, markup=False)


def _write_folder(
    folder: Path,
    reports: Sequence[DetectorReport],
    levels: Mapping[str, Mapping[str, WiderPrecision]] | None,
    *,
    worst: int | None,
) -> Iterator[Path]:
    """Write ``rows.csv``, ``summary.json``, a sheet ``worst_<detector>.png`` each, last ``curves.png`` (extra: plots).

    Yields:
        Each file once it is written.

    Raises:
        CanthusError: a file cannot be written, a picture cannot be read, or matplotlib is not installed.
    """
    write_detection_rows(folder / "rows.csv", reports)
    yield folder / "rows.csv"
    write_json(str(folder / "summary.json"), detectors_json(reports, levels))
    yield folder / "summary.json"
    count = _WORST if worst is None else worst
    for report in reports if count else ():
        path = folder / f"worst_{report.detector}.png"
        write_image(path, worst_pictures_sheet(report, count=count))
        yield path
    plot_detectors(folder / "curves.png", reports)
    yield folder / "curves.png"
