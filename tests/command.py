"""Run the installed command inside the test's own process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from canthus.cli.main import main


class Done(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


def runner(
    command: str, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs ``canthus COMMAND --model MODEL ...`` in ``folder``, as the installed command does."""
    monkeypatch.chdir(folder)

    def call(*arguments: str | Path) -> Done:
        return run_command(monkeypatch, capfd, command, "--model", model, *arguments)

    return call


def run_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> Done:
    """Run ``canthus ARGUMENTS...``."""
    monkeypatch.setattr(sys, "argv", ["canthus", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capfd.readouterr()
    code = caught.value.code
    return Done(0 if code is None else int(code), out, err)
