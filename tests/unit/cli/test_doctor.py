"""``canthus doctor``, shell completion, and the published schemas themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from canthus.cli import doctor
from canthus.cli.main import COMMANDS
from canthus.errors import ConfigError
from command import run_command
from json_schemas import FOLDER, check_schema, schema

SLOW = {"torch", "onnxruntime", "cv2", "numpy"}


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is measured, and two requirements are known."""
    entry = {"name": "tiny", "kind": "landmarks", "median_ms": 0.5}
    monkeypatch.setattr(doctor, "model_entries", lambda: [entry, {**entry, "name": "finder", "kind": "detector"}])
    lines = [
        "numpy>=2.0",
        "canthus[video]; extra == 'dev'",
        'no-such-thing>=1; extra == "video"',
        "rich>=1; extra == 'dev'",
        "rich>=1; extra == 'stats'",
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: lines)


@pytest.mark.usefixtures("healthy")
def test_what_is_there_and_what_is_missing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run_command(monkeypatch, capfd, "doctor")
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.split())
    for expected in (
        "tiny 0.50 ms for a face",
        "finder 0.50 ms for a picture of 640 x 480",
        "CPUExecutionProvider",
        "missing no-such-thing; run: pip install 'canthus[video]'",
        "extra dev work on canthus itself: missing no-such-thing",
        "extra stats canthus compare: installed",
        "canthus works here.",
    ):
        assert expected in text
    assert max(map(len, done.out.splitlines())) <= 80
    values = json.loads(run_command(monkeypatch, capfd, "doctor", "--json", "-").out)
    check_schema("doctor", values)
    assert values["extras"]["video"]["missing"] == ["no-such-thing"]
    assert values["extras"]["dev"] == {
        "packages": {"rich": values["extras"]["stats"]["packages"]["rich"], "no-such-thing": None},
        "missing": ["no-such-thing"],
        "command": "pip install 'canthus[dev]'",
    }


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("cause", ["model", "package", "opencv"])
def test_what_is_broken_and_how_it_is_mended(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], cause: str
) -> None:
    class Found:
        def __init__(self, name: str) -> None:
            self.name = name

    def gone() -> None:
        raise ConfigError("No model is embedded in this installation")

    if cause == "model":
        monkeypatch.setattr(doctor, "model_entries", gone)
    elif cause == "package":
        monkeypatch.setattr(doctor, "requires", lambda _: ["no-such-thing>=1"])
    else:
        monkeypatch.setattr(doctor, "distributions", lambda: map(Found, ("opencv-python", "opencv-python-headless")))
    done = run_command(monkeypatch, capfd, "doctor")
    assert done.code == 2
    command = {
        "model": "pip install --force-reinstall",
        "package": "pip install no-such-thing",
        "opencv": "pip uninstall -y opencv-python",
    }
    assert command[cause] in " ".join(done.out.split())
    assert "canthus works here" not in done.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("canthus de", ["detect"]),
        ("canthus detect --crop-", ["--crop-size", "--crop-format"]),
        ("canthus evaluate", ["evaluate", "evaluate-detector"]),
    ],
)
def test_bash_completes_commands_and_options(words: str, expected: list[str]) -> None:
    asked = {"_CANTHUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv = ['canthus']; from canthus.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert (done.stdout.split(), done.stderr) == (expected, "")


def test_completion_is_installed_for_bash(tmp_path: Path) -> None:
    asked = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code = "import sys; sys.argv = ['canthus', *sys.argv[1:]]; from canthus.cli.main import main; main()"
    for option in ("--show-completion", "--install-completion"):
        command = [sys.executable, "-c", code, option, "bash"]
        done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
        assert ("complete -o default -F _canthus_completion canthus" in done.stdout) == (option == "--show-completion")
    installed = (tmp_path / ".bash_completions/canthus.sh").read_text(encoding="utf-8")
    assert "complete -o default -F _canthus_completion canthus" in installed
    assert ".bash_completions/canthus.sh" in (tmp_path / ".bashrc").read_text(encoding="utf-8")


def test_completing_a_command_imports_no_command() -> None:
    code = (
        "import sys; sys.argv = ['canthus']; import canthus.cli.main as m\ntry: m.main()\nfinally: print(*sys.modules)"
    )
    asked = {"_CANTHUS_COMPLETE": "complete_bash", "COMP_WORDS": "canthus tr", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    first, second, *loaded = done.stdout.split()
    assert [first, second] == [name for name in COMMANDS if name.startswith("tr")]
    assert not SLOW & set(loaded)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_published_schemas_are_schemas(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = schema(path.stem)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["title"].startswith(("canthus ", "One line of canthus "))
    with pytest.raises(jsonschema.ValidationError):
        check_schema(path.stem, {"no": "such"})


def test_faces_of_pictures_and_videos_have_one_schema() -> None:
    detect, track = (schema(name)["$defs"] for name in ("detect", "track"))
    assert detect["point"] == track["point"]
    numbered = track["face"]["properties"].pop("id")
    assert numbered["type"] == "integer"
    assert detect["face"]["properties"] == track["face"]["properties"]
