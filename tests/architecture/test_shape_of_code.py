"""Sizes, names and habits that keep the code readable."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "canthus"
MODULES = sorted(SOURCE.rglob("*.py"))
EVERY_FILE = MODULES + sorted((ROOT / "tests").rglob("*.py"))
PAPERS = SOURCE / "papers"  # data, one file a paper
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "common", "base", "core", "misc"}
NAMED_BY_A_LIBRARY = {"models", "losses", "training", "compression"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _docstring_lines(node: ast.AST) -> int:
    """Lines of the docstring of a module, class or function; 0 where it has none."""
    if not isinstance(node, ast.Module | ast.ClassDef | Function) or ast.get_docstring(node) is None:
        return 0
    return (node.body[0].end_lineno or node.body[0].lineno) - node.body[0].lineno + 1


def _function_lines(function: Function) -> int:
    """Lines of a function beside its docstring, which tells what the code does and may be long."""
    return (function.end_lineno or function.lineno) - function.lineno + 1 - _docstring_lines(function)


def _file_lines(path: Path) -> int:
    """Lines of a file beside all its docstrings."""
    docstrings = sum(_docstring_lines(node) for node in ast.walk(_tree(path)))
    return len(path.read_text(encoding="utf-8").splitlines()) - docstrings


def _called(path: Path) -> Iterator[str]:
    calls = (node.func for node in ast.walk(_tree(path)) if isinstance(node, ast.Call))
    return (function.id for function in calls if isinstance(function, ast.Name))


def _public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def _without_docstring(path: Path) -> Iterator[str]:
    """Public functions, classes and methods of a file that say nothing about themselves."""
    tree = _tree(path)
    if not ast.get_docstring(tree):
        yield "the module"
    for node in _public(tree.body):
        if not ast.get_docstring(node):
            yield node.name
        if isinstance(node, ast.ClassDef) and path.relative_to(SOURCE).parts[0] not in NAMED_BY_A_LIBRARY:
            yield from (f"{node.name}.{m.name}" for m in _public(node.body) if not ast.get_docstring(m))


def test_modules_are_found() -> None:
    assert len(MODULES) > 10


def test_docstrings_do_not_count() -> None:
    code = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    function = ast.parse(code).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert _function_lines(function) == 2


def test_files_are_at_most_400_lines() -> None:
    lines = {_name(path): _file_lines(path) for path in EVERY_FILE if path.parent != PAPERS}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_functions_are_at_most_50_lines() -> None:
    lines = {
        f"{_name(path)}:{function.name}": _function_lines(function)
        for path in EVERY_FILE
        if path.parent != PAPERS
        for function in _functions(path)
    }
    assert {name: count for name, count in lines.items() if count > 50} == {}


def test_at_most_five_arguments_are_positional() -> None:
    outside = [path for path in MODULES if "cli" not in path.parts]  # typer calls the commands, by keyword
    counts = {
        f"{_name(path)}:{function.name}": len(function.args.posonlyargs) + len(function.args.args)
        for path in outside
        for function in _functions(path)
    }
    assert {name: count for name, count in counts.items() if count > 5} == {}


def test_module_names_say_what_they_hold() -> None:
    words = {_name(path): set(path.relative_to(SOURCE).with_suffix("").parts) for path in MODULES}
    assert [name for name, parts in words.items() if parts & NAMES_THAT_SAY_NOTHING] == []


def test_only_the_command_line_prints() -> None:
    assert [_name(path) for path in MODULES if "cli" not in path.parts and "print" in set(_called(path))] == []


def test_source_uses_no_assert_and_no_future_annotations() -> None:
    def unwanted(node: ast.AST) -> bool:
        return isinstance(node, ast.Assert) or (isinstance(node, ast.ImportFrom) and node.module == "__future__")

    assert [_name(path) for path in MODULES if any(unwanted(node) for node in ast.walk(_tree(path)))] == []


def test_public_names_have_a_docstring() -> None:
    silent = {_name(path): list(_without_docstring(path)) for path in MODULES}
    assert {name: names for name, names in silent.items() if names} == {}
