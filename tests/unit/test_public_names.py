"""The lazy package: typed names and loaded names are the same."""

import ast
import importlib.metadata
from pathlib import Path

import canthus


def test_names_for_the_type_checker_are_the_names_that_load() -> None:
    tree = ast.parse(Path(canthus.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name: str(node.module).removeprefix("canthus.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("canthus.")
        for alias in node.names
        if alias.asname
    }
    assert typed == canthus._HOMES
    assert set(canthus.__all__) == set(typed)


def test_a_name_is_the_same_object_at_home_and_on_top() -> None:
    from canthus.runtime.pipeline import load_pipeline

    assert canthus.load_pipeline is load_pipeline
    assert vars(canthus)["load_pipeline"] is load_pipeline


def test_the_version_is_that_of_the_installation() -> None:
    assert canthus.__version__ == importlib.metadata.version("canthus")
    assert "__version__" in dir(canthus)
