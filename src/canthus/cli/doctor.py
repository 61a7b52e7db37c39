"""``canthus doctor``: what is installed, what works and how fast, and how to mend the rest."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from typing import Any

import onnxruntime
import typer
from rich.console import Console
from rich.table import Table

from canthus.cli import options
from canthus.cli.output import markup, write_json
from canthus.errors import CanthusError
from canthus.evaluation.benchmark import describe_machine, model_entries
from canthus.evaluation.timing import DETECTOR_PICTURE
from canthus.files import check_targets
from canthus.runtime.backends import CARDS

EXTRAS = {
    "batch": "canthus batch and --parquet", "batch-tests": "tests of canthus batch", "coreml": "export to Core ML",
    "datasets": "data sets with MATLAB files",
    "dev": "work on canthus itself", "heic": "HEIC pictures", "openvino": "--backend openvino, and export to OpenVINO",
    "pandas": "Frame.to_pandas", "plots": "plots", "ray": "canthus batch --engine ray", "stats": "canthus compare",
    "tflite": "export to TensorFlow Lite", "train": "training, export, pruning, quantizing",
    "video": "canthus track and canthus fatigue", "web": "canthus serve and canthus export-web",
    "web-tests": "tests of the page in a browser",
}  # fmt: skip
"""What the extras are for; one that is not named here is shown without."""
_REQUIREMENT = re.compile(
    r"""(?P<name>[\w.-]+)(\[(?P<extras>.*)\])?[^;]*(;.*extra\s*==\s*["'](?P<extra>[\w.-]+)["'])?"""
)
_NAMED = 3
"""Missing packages of an extra that are named in the table; the JSON names all."""
_USED = "CPUExecutionProvider"


def doctor(json_file: options.JsonOption = None) -> None:
    """Show versions, threads and speeds, what is missing, and the command that mends it.

    Exit code 2: the basic installation does not work; missing extras are no failure.
    """
    check_targets([], text={"--json": json_file})
    found = examine()
    if json_file is None:
        _print(found)
    else:
        write_json(json_file, found)
    if found["problems"]:
        raise typer.Exit(2)


def examine() -> dict[str, Any]:
    """What is installed and how it works, as plain values."""
    needed = {extra: {name: _installed(name) for name in names} for extra, names in _requirements().items()}
    base = needed.pop(None, {})
    problems = list(_problems(base))
    try:
        models = [{key: entry[key] for key in ("name", "kind", "median_ms")} for entry in model_entries()]
    except CanthusError as error:
        models = []
        problems.append(
            {"problem": str(error), "command": "pip install --force-reinstall FILE.whl (the wheel of canthus)"}
        )
    return {
        "canthus": version("canthus"),
        **asdict(describe_machine()),
        "packages": base,
        "providers": {"used": _USED, "available": onnxruntime.get_available_providers()},
        "models": models,
        "extras": {str(extra): _extra(str(extra), packages) for extra, packages in sorted(needed.items(), key=str)},
        "problems": problems,
    }


def _requirements() -> dict[str | None, list[str]]:
    """Extra -> packages that it asks for, itself or by other extras; None for those of the basic installation."""
    own, others = defaultdict[str | None, list[str]](list), defaultdict[str | None, list[str]](list)
    for line in requires("canthus") or ():
        found = _REQUIREMENT.match(line)
        if found and found["name"] == "canthus":
            others[found["extra"]] += re.findall(r"[\w.-]+", found["extras"])
        elif found:
            own[found["extra"]].append(found["name"])

    def packages(extra: str | None) -> list[str]:
        return [*own[extra], *(name for other in others[extra] for name in packages(other))]

    return {extra: packages(extra) for extra in {*own, *others}}


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _extra(name: str, packages: Mapping[str, str | None]) -> dict[str, Any]:
    missing = [package for package, found in packages.items() if found is None]
    command = f"pip install 'canthus[{name}]'" if missing else None
    return {"packages": packages, "missing": missing, "command": command}


def _problems(base: Mapping[str, str | None]) -> Iterator[dict[str, str]]:
    """What is wrong with the basic installation."""
    opencv = sorted({str(found.name) for found in distributions() if str(found.name).startswith("opencv-")})
    for name, found in base.items():
        if found is None and not (name.startswith("opencv-") and opencv):  # another OpenCV serves as well
            yield {"problem": f"{name} is not installed", "command": f"pip install {name}"}
    if len(opencv) > 1:
        command = f"pip uninstall -y {' '.join(opencv)} && pip install opencv-python-headless"
        yield {"problem": f"{', '.join(opencv)} overwrite each other's files; one may be installed", "command": command}


def _print(found: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    packages = ", ".join(f"{name} {number or 'MISSING'}" for name, number in found["packages"].items())
    devices = ["cpu", *(name for name, card in CARDS.items() if card.provider in found["providers"]["available"])]
    height, width = DETECTOR_PICTURE[:2]
    of_what = {"landmarks": "a face", "detector": f"a picture of {width} x {height}"}
    speeds = [f"{m['name']} {m['median_ms']:.2f} ms for {of_what[m['kind']]}" for m in found["models"]]
    rows = {
        "canthus": f"{found['canthus']}, Python {found['python']}, {found['system']}",
        "packages": packages,
        "processor": f"{found['cpu']}, {found['cores']} logical cores for this process (--threads, --jobs)",
        "provider": f"{_USED}; values of --device: {', '.join(devices)}",
        "speed, one thread": "\n".join(speeds) or "not measured",
    }
    for name, extra in found["extras"].items():
        missing, use = extra["missing"], f"{EXTRAS[name]}: " if name in EXTRAS else ""
        named = ", ".join(missing[:_NAMED]) + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else "")
        rows[f"extra {name}"] = use + (f"missing {named}; run: {extra['command']}" if missing else "installed")
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in rows.items():
        table.add_row(f"[bold]{key}[/]", markup_lines(value))
    console.print(table)
    for problem in found["problems"]:
        console.print(f"[bold red]problem:[/] {markup(problem['problem'])}; run: {markup(problem['command'])}")
    if not found["problems"]:
        console.print("[green]canthus works here.[/]")


def markup_lines(text: str) -> str:
    """Lines of text for Rich, each as ``markup`` gives it."""
    return "\n".join(markup(line) for line in text.splitlines())
