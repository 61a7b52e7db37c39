"""Imports go one way, and what runs on a small machine never loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "canthus"
MODULES = sorted(SOURCE.rglob("*.py"))
TRAINING_LIBRARIES = {"torch", "lightning", "onnx", "onnxscript"}
MAY_REQUIRE = {"evaluation/onnx_counts.py": {"onnx"}}
"""Reads the graph of models whose card has no counts; all that inference and evaluation need runs without it."""
MAY_TRAIN = {"models", "losses", "training", "export", "compression", "recipes"}


def _name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def _layer(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def _imported(path: Path) -> set[str]:
    """Top-level packages a file imports, inside functions and through ``require`` as well.

    The command line may ask for an extra up front, so that its absence is told before the work begins.
    """
    by_call = {"import_module", "__import__"} | (set() if _layer(path) == "cli" else {"require"})
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in by_call and node.args:
                first = node.args[0]
                found |= {str(first.value)} if isinstance(first, ast.Constant) else set()
    return {name.split(".")[0] for name in found}


def _loaded(statement: str) -> set[str]:
    """Top-level packages in memory after a statement, in a fresh interpreter."""
    code = f"import sys\n{statement}\nsys.stdout.write(' '.join({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_training_libraries_stay_in_their_layers() -> None:
    used = {_name(path): _imported(path) & TRAINING_LIBRARIES for path in MODULES if _layer(path) not in MAY_TRAIN}
    assert len(used) > 10
    assert {name: libraries for name, libraries in used.items() if libraries} == MAY_REQUIRE


def test_layers_as_import_linter_sees_them() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=SOURCE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_canthus_is_light() -> None:
    loaded = _loaded("import canthus")
    assert "canthus" in loaded
    assert not loaded & {"torch", "lightning", "onnx", "onnxruntime", "cv2", "numpy", "matplotlib", "typer"}


def test_command_line_is_light() -> None:
    loaded = _loaded("import canthus.cli.main")
    assert "typer" in loaded
    assert not loaded & {"torch", "lightning", "onnx", "onnxruntime", "cv2", "numpy", "matplotlib", "pyarrow"}


@pytest.mark.parametrize("module", ["canthus.runtime.pipeline", "canthus.evaluation.run", "canthus.evaluation.timing"])
def test_inference_and_evaluation_load_no_torch(module: str) -> None:
    assert not _loaded(f"import {module}") & {"torch", "lightning", "onnx"}
