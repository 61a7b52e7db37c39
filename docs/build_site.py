"""Build the site of the documentation: the pages of ``docs``, and the reference that the code itself gives.

Run: python docs/build_site.py             (needs the extras dev and docs; writes build/site)
     python docs/build_site.py --serve     (shows the site at an address of this machine)

The pages of commands, recipes, schemes, models and JSON are written anew from the code each time, so that they cannot
go stale.  The build fails on a broken link, a missing anchor, or a public name without documentation.
"""

import dataclasses
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import typer

import canthus
from canthus.cli.main import COMMANDS, load_command
from canthus.data import DATASETS
from canthus.data.mean_faces import mean_face
from canthus.data.scene_transforms import SceneAugmentation
from canthus.data.transforms import Augmentation
from canthus.errors import ConfigError
from canthus.images import write_image
from canthus.losses import HEATMAP_LOSSES, LOSSES
from canthus.models import MODELS
from canthus.recipes.config import PRECISIONS, DetectorConfig, FitConfig, TrainConfig, recipe_names
from canthus.runtime.draw import draw_scheme
from canthus.schemes import SCHEMES, Scheme
from canthus.training.optimizers import OPTIMIZERS, SCHEDULES

ROOT = Path(__file__).parents[1]
PAGES, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"
PROJECT = ("CHANGELOG.md", "CONTRIBUTING.md", "CONVENTIONS.md", "SECURITY.md")
"""Pages of the repository's top folder that the site shows as well."""
DOCUMENT = re.compile(r"""[`']?docs/([\w/\\]+)\.md[`']?""")
"""A page that a help text, docstring or model card names."""
UPWARD = re.compile(rf"(\]\((?:\.\./)*)\.\./({'|'.join(re.escape(name) for name in PROJECT)})")
LIKE: dict[type, type] = {DetectorConfig: TrainConfig, FitConfig: TrainConfig, SceneAugmentation: Augmentation}
"""Settings -> settings that explain the fields which both have."""
VALUES = {
    "bool": "",
    "int": "N",
    "int range": "N",
    "float": "X",
    "float range": "X",
    "str": "TEXT",
    "path": "PATH",
    "list[str]": "",
    "list[path]": "",
}
"""Type of an option without a name of its own for its value -> how the value is written."""


def main() -> None:
    """Assemble the pages and build the site."""
    assemble()
    serve = "--serve" in sys.argv
    command = [sys.executable, "-m", "zensical", *(["serve"] if serve else ["build", "--clean", "--strict"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=not serve, text=True, check=False)
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", f"{done.stdout}\n{done.stderr}")
        found = re.findall(r"Warning: (.+)\n.*?\[ (\S+:\d+:\d+) \]", said)
        sys.exit("\n".join(f"{place}: {problem}" for problem, place in found) or said)
    problems = missing_names() + outside_requests()
    if problems:
        sys.exit("\n".join(problems))
    print(f"built {SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages")


def assemble() -> None:
    """Copy the written pages to ``build/docs`` and write the generated ones beside them."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for page in PAGES.rglob("*.md"):
        page.write_text(UPWARD.sub(r"\1\2", page.read_text(encoding="utf-8")), encoding="utf-8")
    for name in PROJECT:
        text = (ROOT / name).read_text(encoding="utf-8")
        (PAGES / name).write_text(text.replace("](docs/", "]("), encoding="utf-8")
    for name, text in generated():
        path = PAGES / "reference" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DOCUMENT.sub(rf"[\1]({'../' * (name.count('/') + 1)}\1.md)", text), encoding="utf-8")


def generated() -> Iterator[tuple[str, str]]:
    """Name below ``reference`` and text of each page that follows from the code."""
    listed = [f"* [canthus {name}]({name}.md)" for name in COMMANDS]
    yield "commands/SUMMARY.md", "\n".join(["* [All commands](index.md)", *listed]) + "\n"
    rows = [(f"[`canthus {name}`]({name}.md)", summary) for name, summary in COMMANDS.items()]
    yield "commands/index.md", "# Commands\n\n" + table(("command", "what it does"), rows)
    for name in COMMANDS:
        yield f"commands/{name}.md", "\n".join(command_page(load_command(name), f"canthus {name}", 1))
    yield "recipes.md", "\n".join(recipe_page())
    yield "scheme_points.md", "\n".join(scheme_page())
    yield "json.md", "\n".join(json_page())
    yield "models.md", model_page()


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def escaped(cell: str) -> str:
    """A cell of a table, whose pipes outside of code do not end it."""
    return "`".join(part if n % 2 else part.replace("|", "&#124;") for n, part in enumerate(cell.split("`")))


def plain(text: str) -> str:
    """Text of help or a docstring on one line, in Markdown: what is no code keeps its asterisks and underscores."""
    parts = " ".join(text.split()).replace("``", "`").split("`")
    return "`".join(part if n % 2 else re.sub(r"([*_<])", r"\\\1", part) for n, part in enumerate(parts))


def command_page(command: Any, name: str, level: int) -> Iterator[str]:
    """A command's help: usage, arguments and options by their panels, then its own commands."""
    context = typer.Context(command, info_name=name)
    yield f"{'#' * level} {name}\n"
    yield "\n\n".join(plain(part) for part in inspect.cleandoc(command.help or "").split("\n\n")) + "\n"
    yield f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```\n"
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            panel = parameter.rich_help_panel or ("Options" if parameter.opts[0].startswith("-") else "Arguments")
            panels.setdefault(panel, []).append(described(parameter, context))
    for panel, rows in panels.items():
        yield "" if panel in {"Options", "Arguments"} else f"**{panel}**\n"
        yield table((panel.lower() if panel in {"Options", "Arguments"} else "option", "meaning"), rows)
    for word in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from command_page(command.get_command(context, word), f"{name} {word}", level + 1)


def described(parameter: Any, context: Any) -> tuple[str, str]:
    """An option or argument with its value, and what it means with its default."""
    names, text = parameter.get_help_record(context) or (parameter.metavar, parameter.help or "")
    for kind, value in VALUES.items():
        names = names.replace(f"<{kind}>", value)
    return f"`{' '.join(names.split())}`", plain(text)


def attributes(kind: type) -> dict[str, str]:
    """What the docstring of a dataclass says of its fields."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return {name.strip(): plain(text) for names, text in found for name in names.split(",")}


def recipe_page() -> Iterator[str]:
    """Every setting of every kind of recipe, from the dataclasses that check them."""
    yield "# Recipes\n\nA recipe is a TOML file. [Training](../training.md) shows how to write, change and run one.\n"
    yield table(("recipe", "what it trains"), ((f"`{name}`", about_recipe(name)) for name in recipe_names()))
    for title, kind in ("a landmark network", TrainConfig), ("a face detector", DetectorConfig), ("ferns", FitConfig):
        yield f"## Recipes of {title}\n\n{plain((inspect.getdoc(kind) or '').partition(chr(10))[0])}\n"
        yield from settings_of(kind, "")
    yield "## Names\n"
    families: dict[str, Iterable[str]] = {
        "`model`": MODELS, "`loss`": {**LOSSES, **HEATMAP_LOSSES, "joint": None}, "`optimizer.name`": OPTIMIZERS,
        "`schedule.name`": SCHEDULES, "`precision`": PRECISIONS, "`dataset`": DATASETS, "`scheme`": SCHEMES,
    }  # fmt: skip
    yield table(("setting", "values"), ((k, ", ".join(f"`{name}`" for name in names)) for k, names in families.items()))
    yield "## Settings of networks\n\nThe keys of `model_settings` are the arguments of the network.\n"
    yield table(("model", "settings and their defaults"), ((f"`{k}`", signature(make)) for k, make in MODELS.items()))
    yield "## Settings of losses\n\nThe keys of `loss_settings` are the arguments of the loss.\n"
    losses = {**LOSSES, **HEATMAP_LOSSES}
    yield table(("loss", "settings and their defaults"), ((f"`{k}`", signature(make)) for k, make in losses.items()))


def about_recipe(name: str) -> str:
    """The comment at the head of a recipe of the package."""
    lines = (ROOT / "src" / "canthus" / "recipes" / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    head = lines[: next(n for n, line in enumerate(lines) if line[:2] != "# ")]
    return plain(" ".join(line.removeprefix("#") for line in head))


def signature(make: Any) -> str:
    """The keyword arguments that a recipe may set."""
    given = {"self", "points", "size", "predicted", "truth"}
    found = [p for p in inspect.signature(make).parameters.values() if p.name not in given]
    return ", ".join(f"`{p.name} = {json.dumps(p.default, default=repr)}`" for p in found if p.default is not p.empty)


def settings_of(kind: type, prefix: str) -> Iterator[str]:
    """Tables of a dataclass's fields, and of the dataclasses among them."""
    meanings, nested, rows = attributes(LIKE.get(kind, kind)) | attributes(kind), [], []
    for field in dataclasses.fields(kind):
        if field.name == "own_scheme":
            continue
        parts = [part for part in classes_in(field.type) if dataclasses.is_dataclass(part)]
        nested += [(f"{prefix}{field.name}", part) for part in parts]
        default = "required" if is_required(field) else "" if parts else f"`{default_of(field)}`"
        meaning = meanings.get(field.name, "see below" if parts else "")
        rows.append((f"`{prefix}{field.name}`", type_name(field.type), default, meaning))
    yield table(("setting", "type", "default", "meaning"), rows)
    for name, part in nested:
        yield f"### `[{name}]`\n\n{plain((inspect.getdoc(part) or '').partition(chr(10))[0])}\n"
        yield from settings_of(part, f"{name}.")


def classes_in(kind: Any) -> list[type]:
    """A type and the types that it holds, such as ``TrainSource`` of ``tuple[TrainSource, ...]``."""
    return [kind, *(part for part in getattr(kind, "__args__", ()) if isinstance(part, type))]


def is_required(field: "dataclasses.Field[Any]") -> bool:
    """Whether a setting has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def default_of(field: "dataclasses.Field[Any]") -> str:
    """A default as it is written in TOML."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return json.dumps(value)


def type_name(kind: Any) -> str:
    """The name of a type as users of TOML know it."""
    text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    listed = re.fullmatch(r"tuple\[([\w.]+), \.\.\.\]", text)
    if listed:
        return f"list of {names.get(listed[1], 'tables')}"
    return names.get(text, "table")


def scheme_page() -> Iterator[str]:
    """Each point of each scheme: its part, its place in it, and its mirror image."""
    yield "# Every point of every scheme\n"
    yield "Indices count from zero; left and right are the subject's own. More on [schemes](../schemes.md).\n"
    for name in sorted(SCHEMES, key=lambda name: name != "ibug_68"):
        scheme = SCHEMES[name]
        yield f"## {name}\n\n{scheme.count} points.\n"
        yield f"![The {scheme.count} points of {name}](../images/points_{name}.png)\n"
        draw_points(scheme, PAGES / "images" / f"points_{name}.png")
        rows = ((str(n), *about_point(scheme, n), str(mirror)) for n, mirror in enumerate(scheme.mirror))
        yield table(("point", "part", "place", "mirror image"), rows)


def about_point(scheme: Scheme, index: int) -> tuple[str, str]:
    """The part of the face that a point is in, and where."""
    group, members = next((group, members) for group, members in scheme.groups.items() if index in members)
    place = [f"{members.index(index) + 1} of {len(members)}"]
    if index in scheme.eye_corners:
        place.append("outer corner of the " + ("right eye" if index == scheme.eye_corners[0] else "left eye"))
    for side, lids in zip(("right", "left"), scheme.lids, strict=False):
        place += [f"{lid} lid" for lid, points in zip(("upper", "lower"), lids, strict=True) if index in points[1:-1]]
        corners = {lids[0][0], lids[0][-1]} - set(scheme.eye_corners)
        place += [f"inner corner of the {side} eye"] if index in corners else []
    return group.replace("_", " "), ", ".join(place)


def draw_points(scheme: Scheme, target: Path) -> None:
    """Draw the numbered points of a scheme on a mean face, as ``canthus schemes draw`` does."""
    mean = mean_face(scheme.name)
    if mean is None:
        raise ConfigError(f"{scheme.name} has no mean face; run benchmarks/fit_mean_faces.py")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_image(target, draw_scheme(scheme, mean))


def json_page() -> Iterator[str]:
    """The keys of each JSON output, from its published schema."""
    yield "# JSON outputs\n"
    yield "Each output has a [JSON Schema](https://json-schema.org) (draft 2020-12). Tests check outputs with it.\n"
    yield "`schema_version` rises when a key goes or changes its meaning. New keys may come at any time.\n"
    for path in sorted((ROOT / "docs" / "schema").glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        yield f"## {path.stem}\n\n{plain(schema['title'])}: [{path.name}](../schema/{path.name})\n"
        yield table(("key", "type", "meaning"), keys_of(schema, schema, ""))


def keys_of(part: dict[str, Any], whole: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Path, type and meaning of each key, also of the objects within."""
    if "$ref" in part:
        part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    for choice in part.get("oneOf", ()):
        yield from keys_of(choice, whole, prefix)
    if "items" in part:
        yield from keys_of(part["items"], whole, f"{prefix}[]")
    for name, value in part.get("properties", {}).items():
        path = f"{prefix}.{name}".lstrip(".")
        found = whole["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else value
        kinds = found.get("type", "")
        yield (
            f"`{path}`",
            " or ".join([kinds] if isinstance(kinds, str) else kinds),
            plain(found.get("description", "")),
        )
        yield from keys_of(value, whole, path)


def model_page() -> str:
    """The cards of the embedded models."""
    cards = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "src" / "canthus" / "zoo").glob("*.md")))
    return "# Embedded models\n\n" + "\n".join(re.sub(r"^# ", "## ", card) for card in cards)


def missing_names() -> list[str]:
    """Public names that the page of the Python interface does not explain."""
    page = (SITE / "reference" / "python" / "index.html").read_text(encoding="utf-8")
    homes = cast("dict[str, str]", vars(canthus)["_HOMES"])
    anchors = {name: (f'id="canthus.{name}"', f'id="canthus.{home}.{name}"') for name, home in homes.items()}
    missing = [name for name, ids in anchors.items() if not any(one in page for one in ids)]
    return [f"docs/reference/python.md: explain the public name canthus.{name}" for name in missing]


def outside_requests() -> list[str]:
    """Pages that load a script, style, font or picture from elsewhere."""
    loads = re.compile(r"""<(?:script|img|iframe|link[^>]*stylesheet)[^>]*(?:src|href)="(?:https?:)?//[^"]*""")
    pages = ((page, loads.search(page.read_text(encoding="utf-8"))) for page in sorted(SITE.rglob("*.html")))
    return [f"{page.relative_to(SITE)}: asks another server: {found[0]}" for page, found in pages if found]


if __name__ == "__main__":
    main()
