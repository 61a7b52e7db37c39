"""Entry point of the ``canthus`` command."""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from canthus.cli.benchmark import benchmark
from canthus.cli.compare import compare
from canthus.cli.data import data_app
from canthus.cli.detect import detect
from canthus.cli.evaluate import evaluate
from canthus.cli.evaluate_detector import evaluate_detector
from canthus.cli.export import export
from canthus.cli.fatigue import fatigue
from canthus.cli.fetch import fetch
from canthus.cli.fit import fit
from canthus.cli.models import models
from canthus.cli.prune import prune
from canthus.cli.quantize import quantize
from canthus.cli.reproduce import reproduce
from canthus.cli.track import track
from canthus.cli.train import train
from canthus.errors import CanthusError

app = typer.Typer(
    name="canthus",
    help="Facial landmarks: train, measure, export, and run fast on an ordinary CPU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")

app.command()(detect)
app.command()(track)
app.command()(fatigue)
app.command()(models)
app.command()(fetch)
app.command()(train)
app.command()(fit)
app.command()(prune)
app.command()(export)
app.command()(reproduce)
app.command()(quantize)
app.command()(evaluate)
app.command()(evaluate_detector)
app.command()(compare)
app.command()(benchmark)


def main() -> None:
    """Run the command; our own errors become one line on stderr and exit code 2."""
    try:
        app()
    except CanthusError as error:
        # Escaped, or rich would take the brackets of 'canthus[train]' for markup.
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
