"""The table of commands, and ``canthus`` itself from the outside."""

import subprocess
import sys

import pytest

import canthus
from canthus.cli.main import COMMANDS, load_command
from command import run_command


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_is_the_first_line_of_the_command_help(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.help.split("\n\n")[0] == COMMANDS[name]


def test_version(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, capfd, "--version") == (0, f"canthus {canthus.__version__}\n", "")


def test_an_unknown_command_suggests_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run_command(monkeypatch, capfd, "detct", "photo.jpg")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "error: Unknown command 'detct'. Did you mean 'detect'? Known: batch, benchmark, compare"
    )


def test_python_m_canthus() -> None:
    done = subprocess.run([sys.executable, "-m", "canthus", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"canthus {canthus.__version__}\n"
