"""What ``canthus evaluate`` prints and writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from rich.console import Console

from canthus.cli.evaluation_occlusion import cover_notes, cover_rows, cover_tables
from canthus.cli.evaluation_request import Request, make_report, report_notes
from canthus.cli.jitter_request import check_jitter_request, jitter_table, make_jitter_report, write_jitter_plot
from canthus.cli.tables import report_tables, write_json
from canthus.errors import ConfigError
from canthus.evaluation.occlusion import cover_json
from canthus.evaluation.report import report_json
from canthus.evaluation.rows import check_rows_path, write_rows


@final
@dataclass(frozen=True)
class Outputs:
    """Where results go beside the tables; None where they do not."""

    json: str | None = None
    rows: Path | None = None
    out: Path | None = None
    worst: int | None = None
    jitter_report: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be written, before anything is run.

        Raises:
            ConfigError: options contradict each other, or a suffix is unknown.
        """
        if self.worst is not None and self.out is None:
            raise ConfigError("--worst needs --out DIR, the folder that the sheet of worst faces goes to")
        if self.rows is not None:
            check_rows_path(self.rows)


def run_evaluation(request: Request, outputs: Outputs) -> None:
    """Make the report, print its tables, write its files.

    Raises:
        CanthusError: options contradict each other, or a file cannot be read or written.
    """
    outputs.check()
    check_jitter_request(request, outputs.jitter_report)
    errors = Console(stderr=True, highlight=False)
    report = make_report(request, errors)
    console = errors if outputs.json == "-" else Console(highlight=False)
    console.print(*report_tables(report))
    if outputs.jitter_report is not None:
        jitter = make_jitter_report(request, report, errors)
        console.print(jitter_table(jitter))
        write_jitter_plot(outputs.jitter_report, jitter)
    if outputs.json is not None:
        write_json(outputs.json, report_json(report))
    if outputs.rows is not None:
        write_rows(outputs.rows, report.rows)
    if outputs.out is not None:
        for note in report_notes(outputs.out, report, outputs.worst):
            errors.print(note, soft_wrap=True, markup=False)


def run_covered(request: Request, outputs: Outputs, occlusion: str, models: list[str], files: list[Path]) -> None:
    """Evaluate on faces covered on purpose, print the tables of all models, write their files.

    Args:
        request: what is evaluated, but for the models.
        outputs: where results go.
        occlusion: name of the protocol.
        models: names or files of models.
        files: rows kept of other models.

    Raises:
        CanthusError: options contradict each other, or a file cannot be read or written.
    """
    outputs.check()
    for name, value in (("--worst", outputs.worst), ("--jitter-report", outputs.jitter_report)):
        if value is not None:
            raise ConfigError(f"{name} has no effect with --occlusion; leave it out")
    if outputs.rows is not None and len(models) + len(files) > 1:
        raise ConfigError("--rows holds one model; with several, --out DIR writes one file a model")
    errors = Console(stderr=True, highlight=False)
    found = cover_rows(request, occlusion, models, files, errors)
    console = errors if outputs.json == "-" else Console(highlight=False)
    console.print(*cover_tables(found, protocol=occlusion))
    if outputs.json is not None:
        write_json(outputs.json, cover_json(found))
    if outputs.rows is not None:
        write_rows(outputs.rows, next(iter(found.values())))
    if outputs.out is not None:
        for note in cover_notes(outputs.out, found, protocol=occlusion):
            errors.print(note, soft_wrap=True, markup=False)
