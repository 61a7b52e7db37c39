"""Entry point of the ``canthus`` command; a command's file is imported when the command runs."""

import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any, NoReturn, TextIO, final

import typer
import typer.core
import typer.main
from rich.console import Console
from rich.markup import escape

import canthus
from canthus.errors import CanthusError, printable
from canthus.files import disk_problem, is_disk_problem
from canthus.lookup import unknown_name
from canthus.runtime.time_limit import calls_left_behind

COMMANDS = {
    "detect": "Find faces and their landmarks in pictures.",
    "track": "Follow faces and their landmarks through a video. Each face keeps its number.",
    "batch": "Find the faces of many pictures and videos, on one machine or many. The same command again resumes.",
    "fatigue": "Find blinks, long closures, yawns and nods in a video, and rate how awake the person is.",
    "models": "List the embedded models with their error, size, speed and terms of use.",
    "doctor": "Show versions, threads and speeds, what is missing, and the command that mends it.",
    "fetch": "Download a file of another project into the cache and check its SHA-256.",
    "serve": "Serve a page that marks faces in the browser, and the same over HTTP.",
    "export-web": "Write the page that marks faces in the browser as files for any web server.",
    "schemes": "List, show, draw and propose point schemes: which landmark is which.",
    "data": "Check, convert and adapt datasets, look at masks, and label pictures with a model.",
    "train": "Train a network from a recipe. Run the same command again to resume.",
    "fit": "Fit an explicit shape regression (random ferns, no network) from a recipe.",
    "prune": "Prune filters layer by layer and retrain in between. Run the same command again to resume.",
    "export": "Export a checkpoint to ONNX, or a network to another format, and compare the file with the network.",
    "reproduce": "Reproduce the tables of a paper. Run the same command again to resume.",
    "quantize": "Quantize a landmark model or a face detector to int8. The file is kept only if it is nearly as good.",
    "adapt": "Move a model's points to where your labels put them, without training.",
    "evaluate": "Evaluate a landmark model, or a file of predictions, on a dataset.",
    "evaluate-detector": "Evaluate face detectors on a dataset: precision and recall.",
    "compare": "Test whether two or more models differ by more than chance on the same faces.",
    "benchmark": "Measure latency, size, parameters and multiply-adds of models in one run.",
}
"""Name -> first line of the command's help, in the order of ``canthus --help``."""


@final
class _Commands(typer.core.TyperGroup):
    """The commands of ``COMMANDS``; ``--help`` and the completion of their names import none of their files."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            raise unknown_name(cmd_name, COMMANDS, kind="command")
        if ctx.meta.get(_Commands):
            return typer.core.TyperCommand(cmd_name, help=COMMANDS[cmd_name], rich_markup_mode=self.rich_markup_mode)
        return load_command(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.meta[_Commands] = True
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names of commands and options that begin so, for the shell."""
        ctx.meta[_Commands] = True
        return super().shell_complete(ctx, incomplete)


def load_command(name: str) -> Any:
    """Import the file of a command, and make a command of its function or its group ``app``."""
    word = name.replace("-", "_")
    module = import_module(f"canthus.cli.{word}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        group.command(name)(getattr(module, word))
    command = typer.main.get_command(group)
    command.name = name
    return command


app = typer.Typer(
    name="canthus", cls=_Commands, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False
)


def _print_version(asked: bool | None) -> None:
    if asked:
        typer.echo(f"canthus {canthus.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = None,
) -> None:
    """Facial landmarks: train, measure, export, and run fast on an ordinary CPU."""


def main() -> None:
    """Run the command; an error becomes one line on standard error and exit code 2.

    SIGTERM and SIGHUP act as Ctrl-C does, so that files which are being written are finished.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # 'nohup' ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except CanthusError as error:
        _fail(str(error))
    except MemoryError:
        _fail("out of memory; close other programs, or give smaller or fewer inputs")
    except BrokenPipeError:
        _silence(sys.stdout)
        sys.exit(1)
    except OSError as error:
        if error.filename is None and not is_disk_problem(error):
            raise
        what = "standard output" if error.filename is None else os.fspath(error.filename)
        _fail(f"{what}: {disk_problem(error)}")


def _fail(problem: str) -> NoReturn:
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escape(printable(problem))}", soft_wrap=True)
    _silence(sys.stdout)
    if calls_left_behind():
        sys.stderr.flush()
        os._exit(2)
    sys.exit(2)


def _silence(stream: TextIO) -> None:
    """Drop what could not be written, which Python would try to write once more at the end."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
