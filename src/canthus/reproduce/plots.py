"""Pictures beside a paper's tables (extra: plots)."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from canthus.evaluation.occlusion import cover_curve
from canthus.evaluation.plots import plot_cost, plot_error_by_cover
from canthus.evaluation.rows import read_rows
from canthus.reproduce.measure import rows_file
from canthus.reproduce.tables import Runs, table_cells, tested_sets
from canthus.reproduce.values import COVERED, Made, Paper, PaperTable, Scale


def plot_covers(paper: Paper, scale: Scale, made: Sequence[Made], out: Path) -> Iterator[Path]:
    """For papers on covered faces, error against covered share with a line for each model, one plot a test set.

    Args:
        paper: that the models are for.
        scale: names the test sets.
        made: models; of several seeds the first is drawn.
        out: folder for ``occlusion_DATASET_SPLIT.png``.

    Yields:
        Each file once it is written.
    """
    if paper.measure != COVERED or not made:
        return
    first = [one for one in made if one.job.seed == 0]
    for tested in scale.sets:
        curves = {
            paper.entries[one.job.entry].label: cover_curve(read_rows(rows_file(one.folder, tested))) for one in first
        }
        path = out / f"occlusion_{tested.replace('/', '_')}.png"
        plot_error_by_cover(path, curves, title=f"{tested}, masks of paper_c")
        yield path


def plot_costs(paper: Paper, name: str, scale: Scale, runs: Runs, out: Path) -> Iterator[Path]:
    """For a table that tells error, size and time of at least two rows: error against both, one plot a test set.

    Args:
        paper: that the table is of.
        name: of the table.
        scale: names the test sets.
        runs: our numbers.
        out: folder for ``TABLE_DATASET_SPLIT.png``.

    Yields:
        Each file once it is written.
    """
    table = paper.tables[name]
    headings = {column.metric: column.label for column in table.columns}
    if not {"nme_ion", "time_s", "size_bytes"} <= set(headings):
        return
    for tested in tested_sets(table, scale):
        models = _costs(paper, table, scale, runs, tested)
        if len(models) > 1:
            path = out / f"{name}_{tested.replace('/', '_')}.png"
            plot_cost(path, models, error=f"{headings['nme_ion']} on {tested}", title=table.title)
            yield path


def _costs(
    paper: Paper, table: PaperTable, scale: Scale, runs: Runs, tested: str
) -> dict[str, tuple[float, float, float]]:
    """Label of a row -> error, milliseconds, megabytes; rows that lack one are left out."""
    ours = {(cell.row, cell.heading, cell.tested): cell.ours for cell in table_cells(table, scale, runs)}
    headings = {column.metric: column.label for column in table.columns}
    found = {}
    for row in table.rows:
        values = (
            ours[row, headings["nme_ion"], tested],
            ours[row, headings["time_s"], ""],
            ours[row, headings["size_bytes"], ""],
        )
        if not any(map(math.isnan, values)):
            found[paper.entries[row].label] = values
    return found
