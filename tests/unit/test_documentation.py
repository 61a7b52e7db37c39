"""The code blocks of the documentation run and print what the pages show; blocks that need more name real things."""

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from matplotlib import get_data_path

import canthus
from canthus.cli.main import COMMANDS, load_command
from canthus.data import DATASETS
from canthus.data.formats import write_pts
from canthus.data.synthetic import draw_face, write_synthetic_300w
from canthus.errors import MissingExtraError
from canthus.images import read_image, write_image
from canthus.losses import LOSSES
from canthus.models import MODELS as NETWORKS
from canthus.schemes import IBUG_68
from canthus.zoo import FLOAT
from command import run_command
from picture_files import write_photos

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (not run|run by|ci): ([^>]+?) -->\n+)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"python", "sh", "console"}
PORTRAIT = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"


@dataclass(frozen=True)
class Block:
    """A code block: its language and text, why it is not run here, and whether only spaces part it from the last."""

    page: Path
    language: str
    text: str
    mark: str
    reason: str
    follows: bool


def blocks_of(page: Path) -> list[Block]:
    text, found, end = page.read_text(encoding="utf-8"), [], 0
    for match in BLOCK.finditer(text):
        mark, reason, language, code = match.groups()
        found.append(Block(page, language, code, mark or "", reason or "", not text[end : match.start()].strip()))
        end = match.end()
    return found


BLOCKS = {str(page.relative_to(ROOT)): blocks_of(page) for page in PAGES}
ALL = [block for blocks in BLOCKS.values() for block in blocks]


def commands_of(block: Block) -> list[list[str]]:
    """The words of each ``canthus`` command of a shell block, without what it is piped into."""
    text = block.text.replace("\\\n", " ")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")] if block.language == "console" else None
    found = []
    for line in text.splitlines() if lines is None else lines:
        for part in re.split(r"\s(?:&&|\||>)\s", line):
            words = shlex.split(part, comments=True)
            if words and words[0].removeprefix(".venv/bin/") == "canthus":
                found.append(words[1:])
    return found


def check_command(words: list[str]) -> None:
    """A command of the documentation has the name and the options that it is given."""
    if words[0].startswith("-"):
        return
    command = load_command(words[0])
    context = typer.Context(command, info_name=words[0])
    if hasattr(command, "list_commands"):
        inner = next((word for word in words[1:2] if word in command.list_commands(context)), "show")
        command, words = command.get_command(context, inner), [inner, *words[2 if words[1:2] == [inner] else 1 :]]
    command.make_parser(typer.Context(command, info_name="")).parse_args(words[1:])


def check_imports(code: str) -> None:
    """What a block of Python imports from canthus, and what it takes from ``canthus.``, exists."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "canthus":
            module = importlib.import_module(str(node.module))
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "canthus":
            assert hasattr(canthus, node.attr) or find_spec(f"canthus.{node.attr}")


@pytest.mark.parametrize("block", [b for b in ALL if b.language in RUN], ids=lambda b: f"{b.page.stem}")
def test_commands_options_and_names_exist(block: Block) -> None:
    if block.language == "python":
        check_imports(block.text)
    for words in commands_of(block) if block.language != "python" else ():
        check_command(words)


def test_blocks_have_a_language_and_those_that_do_not_run_a_reason() -> None:
    known = RUN | {"html", "json", "text", "toml", "yaml"}
    assert {f"{block.page.name}: {block.text[:40]}" for block in ALL if block.language not in known} == set()
    for block in ALL:
        assert not block.mark or len(block.reason) > 1
        if block.mark == "run by":
            assert (ROOT / block.reason).is_file()
        if block.language == "toml":
            tomllib.loads(block.text)


def test_every_command_is_shown() -> None:
    shown = {words[0] for block in ALL if block.language in {"sh", "console"} for words in commands_of(block) if words}
    assert set(COMMANDS) - shown == set()


def site_builder() -> Any:
    """The module ``docs/build_site.py``."""
    spec = spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_explains_every_setting_of_recipes() -> None:
    rows = [line.strip("| ").split(" | ") for line in "\n".join(site_builder().recipe_page()).splitlines()]
    settings = {row[0]: row[-1] for row in rows if row[0].startswith("`") and len(row) > 2}
    assert {"`model`", "`augmentation.flip`", "`pictures_per_epoch`", "`cascade.ferns`"} <= settings.keys()
    assert [name for name, meaning in settings.items() if not re.search("[a-z]{3}", meaning)] == []


def test_the_reference_lists_every_column_of_parquet() -> None:
    row_schema = pytest.importorskip("canthus.batch").row_schema
    text = (ROOT / "docs" / "reference" / "parquet.md").read_text(encoding="utf-8")
    listed = {name for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert set(row_schema(IBUG_68).names) <= listed


MODELS = ("a", "b", "mine", "my", "theirs")
"""Names of landmark models on the pages."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that pages speak of: portraits, photos, drawn faces as 300-W, a video, and models by many names."""
    make_video = pytest.importorskip("videos").make_video
    folder = tmp_path_factory.mktemp("desk")
    for name in ("portrait", "face", "crowd"):
        shutil.copy(PORTRAIT, folder / f"{name}.jpg")
    write_photos(folder / "photos")
    write_synthetic_300w(folder / "300w", 12, np.random.default_rng(0), size=96)
    shutil.copytree(folder / "300w", folder / "DIR" / "300w")
    portrait = read_image(folder / "photos" / "portrait.jpg")
    make_video(folder / "drive.mp4", [number / 25 for number in range(10)], images=[portrait] * 10)
    write_labelled(folder / "my_faces")
    shutil.copytree(folder / "my_faces", folder / "my_pictures")
    for number in range(3):
        write_image(folder / "frames" / f"{number:05d}.png", portrait)
    zoo = Path(canthus.__file__).parent / "zoo"
    for name in MODELS:
        shutil.copy(zoo / f"{FLOAT}.onnx", folder / f"{name}.onnx")
    shutil.copy(zoo / "face_detector.onnx", folder / "my_detector.onnx")
    return folder


def write_labelled(folder: Path) -> None:
    """Drawn faces with a ``.pts`` file each."""
    for number in range(10):
        face = draw_face(np.random.default_rng(number), size=96)
        write_image(folder / f"{number:02d}.png", face.image)
        write_pts(folder / f"{number:02d}.pts", face.points)


def runs_here(block: Block) -> bool:
    """Pages in ``results`` are written by long commands, which they name."""
    return block.language in RUN and not block.mark and block.page.parent.name != "results"


@pytest.fixture
def own_names() -> Iterator[None]:
    """Takes out again what a page on extending adds to datasets, networks and losses."""
    registries: tuple[dict[str, Any], ...] = (DATASETS, NETWORKS, LOSSES)
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.mark.usefixtures("own_names")
@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if any(map(runs_here, blocks))])
def test_page(
    page: str, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    names: dict[str, Any] = {"__name__": "__main__", "canthus": canthus, "np": np}
    printed = None
    for block in BLOCKS[page]:
        if runs_here(block):
            printed = run_block(block, names, monkeypatch, capfd)
        elif block.language == "text" and block.follows and printed is not None:
            expect_lines(block.text.splitlines(), printed, block)
        else:
            printed = None


def run_block(
    block: Block, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> str:
    """Run a block in the current folder; what it prints."""
    if block.language == "python":
        try:
            exec(compile(block.text, block.page.name, "exec"), names)
        except (ModuleNotFoundError, MissingExtraError) as error:
            pytest.skip(str(error))
        return capfd.readouterr().out
    printed = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        command = line.removeprefix("$ ")
        if not command.strip() or command.startswith("#") or (block.language == "console" and line == command):
            continue
        printed += run_line(command, monkeypatch, capfd)
    if block.language == "console":
        expect_lines([line for line in block.text.splitlines() if not line.startswith("$ ")], printed, block)
    return printed


def run_line(command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """Run one command line: ``canthus`` in this process, others in a shell."""
    words = shlex.split(command, comments=True)
    if words[0] != "canthus" or {"|", "&&", ">"} & set(words):
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout + done.stderr
    arguments = [str(path) for word in words[1:] for path in (sorted(Path().glob(word)) if "*" in word else [word])]
    ended = run_command(monkeypatch, capfd, *arguments)
    assert "Traceback" not in ended.err, command
    assert ended.code == 0 or re.search(r"^(error|failed): ", ended.err, re.MULTILINE), (command, ended.err)
    return ended.out + ended.err


def expect_lines(shown: list[str], printed: str, block: Block) -> None:
    """The shown lines are among the printed ones, in their order; numbers may differ, ``...`` stands for anything."""
    lines = iter([without_numbers(line) for line in printed.splitlines()])
    for line in shown:
        wanted = re.escape(without_numbers(line)).replace(r"\.\.\.", ".*")
        found = line.strip() in {"", "..."} or any(re.fullmatch(wanted, had) for had in lines)
        assert found, f"{block.page.name} shows {line!r}; printed:\n{printed}"


def without_numbers(line: str) -> str:
    return " ".join(re.sub(r"-?\d+(\.\d+)?", "#", line).split())
