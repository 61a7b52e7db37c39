"""Texts and settings that must not drift apart."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = {".cfg", ".css", ".csv", ".html", ".ini", ".js", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
MACHINE_PATH = re.compile(r"(^|[^\w.-])/(work|root|farm|home)/")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
REGISTRY = re.compile(r"index[-_]url|find[-_]links|trusted[-_]host|pypi[.]", re.IGNORECASE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _kept_files() -> list[Path]:
    """Files git keeps or would keep; every text below the usual folders where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        paths = [ROOT / name for name in listed if name]
    except (FileNotFoundError, subprocess.CalledProcessError):
        paths = [path for folder in ("src", "tests", "docs") for path in (ROOT / folder).rglob("*")]
    return sorted(path for path in paths if path.is_file() and (path.suffix in TEXT or path.parent.name == ".ci"))


def _readme_command(name: str) -> str:
    """The one command of the README's block that follows ``<!-- ci: name -->``."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"<!-- ci: {name} -->\n+```sh\n(.+?)\n```", text, re.DOTALL)
    assert len(found) == 1, f"README.md needs one block marked {name!r}, found {len(found)}"
    return str(found[0])


def test_no_path_of_a_machine_and_no_registry() -> None:
    lines = [(path, line) for path in _kept_files() for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) > 1000
    assert [(_name(path), line) for path, line in lines if MACHINE_PATH.search(line) or REGISTRY.search(line)] == []


@pytest.mark.parametrize("name", ["main job", "tests"])
def test_ci_runs_the_readme_commands(name: str) -> None:
    command = _readme_command(name)
    assert "\n" not in command
    assert "-c constraints.txt" in command
    assert f'readme "{name}"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_constraints_pin_what_must_be_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    assert int(pins["opencv-python-headless"].split(".")[0]) < 5


def test_torch_is_no_base_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.split(r"[<>=\[]", requirement)[0] for requirement in project["dependencies"]}
    assert base == {"jaxtyping", "numpy", "onnxruntime", "opencv-python-headless", "rich", "typer"}
    assert {"train", "video", "datasets", "stats", "plots", "dev"} <= set(project["optional-dependencies"])


def test_changelog_names_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{version}]" in text
    assert "### Numbers" in text


def test_links_of_the_documentation_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    links = [(page, target) for page in pages for target in LINK.findall(page.read_text(encoding="utf-8"))]
    own = [(page, target) for page, target in links if "://" not in target]
    assert own
    made = {"commands", "json.md", "models.md", "recipes.md", "scheme_points.md"}  # by docs/build_site.py, which checks
    written = [(p, t) for p, t in own if not made & set(t.split("/")) and not t.startswith("../images/points_")]
    assert [f"{page.name} -> {target}" for page, target in written if not (page.parent / target).exists()] == []


def test_conventions_list_every_room() -> None:
    table = re.findall(r"^\| (`.+?) \|", (ROOT / "CONVENTIONS.md").read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    package = ROOT / "src" / "canthus"
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__", "__main__"} <= listed
    folders = {"unit", "reference", "properties", "contracts", "golden", "recipes", "architecture"}
    assert listed - folders <= rooms
