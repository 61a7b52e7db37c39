"""Pictures beside a paper's tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from canthus.evaluation.occlusion_report import cover_curve
from canthus.evaluation.plots import plot_error_by_cover
from canthus.evaluation.rows import read_rows
from canthus.recipes.experiments import COVERED, Paper, Scale
from canthus.recipes.measure import rows_file
from canthus.recipes.reproduce import Made


def plot_paper(paper: Paper, scale: Scale, made: Sequence[Made], out: Path) -> Iterator[Path]:
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
