"""Plots and pictures beside the tables of a paper (extra: plots)."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from canthus.evaluation.covered_sheets import comparison_sheet, sheet_faces
from canthus.evaluation.occlusion import cover_curve
from canthus.evaluation.plots import plot_cost, plot_error_by_cover, plot_sweep
from canthus.evaluation.rows import read_rows
from canthus.images import write_image
from canthus.recipes.config import dataset_root
from canthus.recipes.train import Surroundings, load_faces
from canthus.reproduce.measure import rows_file
from canthus.reproduce.tables import Runs, table_cells, tested_sets
from canthus.reproduce.values import COVERED, Made, Paper, Scale, single_sets
from canthus.runtime.landmarker import Landmarker, open_model


def plot_covers(paper: Paper, scale: Scale, made: Sequence[Made], out: Path) -> Iterator[Path]:
    """For a paper on covered faces, plot error against covered share, one line per model and one plot per test set.

    Only the first of several seeds is drawn.  Yields each ``occlusion_DATASET_SPLIT.png`` in ``out`` once written.
    """
    if paper.measure != COVERED or not made:
        return
    first = [one for one in made if one.job.seed == 0]
    for tested in dict.fromkeys(part for name in scale.sets for part in single_sets(name)):
        curves = {
            paper.entries[one.job.entry].label: cover_curve(read_rows(rows))
            for one in first
            if (rows := rows_file(one.folder, tested)).is_file()  # results may be kept without them
        }
        if not curves:
            continue
        path = out / f"occlusion_{tested.replace('/', '_')}.png"
        plot_error_by_cover(path, curves, title=f"{tested}, masks of {scale.covers}")
        yield path


def plot_costs(paper: Paper, name: str, scale: Scale, runs: Runs, out: Path) -> Iterator[Path]:
    """For a table with error, size and time of at least two rows, plot error against both, one plot per test set.

    Yields each ``TABLE_DATASET_SPLIT.png`` in ``out`` once it is written.
    """
    table = paper.tables[name]
    headings = {column.metric: column.label for column in table.columns}
    if not {"nme_ion", "time_s", "size_bytes"} <= set(headings):
        return
    ours = {(cell.row, cell.heading, cell.tested): cell.ours for cell in table_cells(table, scale, runs)}
    error, time, size = (headings[metric] for metric in ("nme_ion", "time_s", "size_bytes"))
    for tested in tested_sets(table, scale):
        rows = {row: (ours[row, error, tested], ours[row, time, ""], ours[row, size, ""]) for row in table.rows}
        models = {paper.entries[row].label: v for row, v in rows.items() if not any(map(math.isnan, v))}
        if len(models) > 1:
            path = out / f"{name}_{tested.replace('/', '_')}.png"
            plot_cost(path, models, error=f"{error} on {tested}", title=table.title)
            yield path


def draw_faces(paper: Paper, name: str, scale: Scale, made: Sequence[Made], place: Surroundings) -> Iterator[Path]:
    """For a table with pictures, draw some faces of the first test set with the points of each row that was run.

    Yields ``TABLE.png`` in ``place.out`` once it is written.
    """
    table = paper.tables[name]
    models = {paper.entries[one.job.entry].label: one.model for one in reversed(made) if one.job.entry in table.rows}
    if not table.pictures or not models:
        return
    dataset, _, split = scale.sets[0].partition("/")
    landmarkers = {label: Landmarker(open_model(model)) for label, model in reversed(models.items())}
    scheme, root = next(iter(landmarkers.values())).session.scheme, dataset_root(place.roots, dataset)
    faces = load_faces(dataset, split, root, scheme=scheme, conversion=scale.conversion)
    path = place.out / f"{name}.png"
    write_image(path, comparison_sheet(sheet_faces(faces), landmarkers))
    yield path


def plot_swept(paper: Paper, name: str, scale: Scale, runs: Runs, out: Path) -> Iterator[Path]:
    """For a table whose rows are values of one setting, plot the first error against them.

    Yields ``TABLE.png`` in ``out`` once it is written, unless fewer than two rows were run.
    """
    table = paper.tables[name]
    column = next((column for column in table.columns if column.per_set and column.metric), None)
    if not table.sweep or column is None:
        return
    lines: dict[str, dict[float, float]] = {}
    for cell in table_cells(table, scale, runs):
        if cell.heading == column.label and not math.isnan(cell.ours):
            value = float(paper.entries[cell.row].label.removesuffix("%"))
            lines.setdefault(cell.tested, {})[value] = cell.ours
    if any(len(line) > 1 for line in lines.values()):
        path = out / f"{name}.png"
        plot_sweep(path, lines, setting=table.title, error=column.label)
        yield path
