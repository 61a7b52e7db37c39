"""``canthus compare``: are two models, or the folds of one, different by more than chance?"""

from pathlib import Path
from typing import Annotated

import typer

from canthus.errors import ConfigError


def compare(
    files: Annotated[
        list[Path], typer.Argument(metavar="ROWS_A ROWS_B", help="Rows that 'canthus evaluate --rows' wrote.")
    ],
    folds: Annotated[
        bool, typer.Option("--folds", help="The files, two or more, are the folds of one cross-validation.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Number of the rows to compare: nme_ion, nme_ipn, nme_box, mse_unit ...; what is usual for the set "
            "if absent."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    json: Annotated[str | None, typer.Option(metavar="FILE|-", help="Write the numbers as JSON, fractions.")] = None,
) -> None:
    """Compare two models on the same faces: mean difference with its 95 % interval, paired t-test, Levene's test.

    With --folds: Student's, Welch's and Levene's test of every pair of folds.
    """
    from rich.console import Console

    from canthus.cli.comparison import compare_many, compare_two, read_errors
    from canthus.cli.results import write_json

    if len(files) < 2 or (len(files) > 2 and not folds):
        raise ConfigError(f"Expected two files of rows, or with --folds two or more; found {len(files)}")
    sets = read_errors(files, metric)
    table, numbers = compare_many(sets) if folds else compare_two(sets, seed=seed)
    console = Console(stderr=json == "-", highlight=False)
    console.print(table)
    if json is not None:
        write_json(json, numbers)
