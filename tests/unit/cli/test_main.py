"""The table of commands, and ``canthus`` itself from the outside."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import canthus
from canthus.cli.main import COMMANDS, app, load_command
from canthus.errors import MissingExtraError
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
    assert done.err.startswith("error: Unknown command 'detct'. Did you mean 'detect'? Known: adapt, batch, benchmark")


def test_python_m_canthus() -> None:
    done = subprocess.run([sys.executable, "-m", "canthus", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"canthus {canthus.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [("train", "pfld_68"), ("prune", "last.ckpt"), ("export", "last.ckpt"), ("quantize", "pfld_68_128"), ("adapt",)],
    ids=lambda words: words[0],
)
def test_without_the_extra_a_command_names_it(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    ended = CliRunner().invoke(app, list(words))
    assert isinstance(ended.exception, MissingExtraError)
    assert "pip install 'canthus[train]'" in str(ended.exception)
