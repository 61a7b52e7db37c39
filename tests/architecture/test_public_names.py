"""The names the package promises."""

import importlib
import pkgutil

import pytest

import canthus

PACKAGES = ["canthus", *(f"canthus.{found.name}" for found in pkgutil.iter_modules(canthus.__path__) if found.ispkg)]


def test_public_names_are_sorted_and_importable() -> None:
    assert list(canthus.__all__) == sorted(set(canthus.__all__))
    missing = [name for name in canthus.__all__ if not hasattr(canthus, name)]
    assert missing == []


def test_dir_shows_the_public_names() -> None:
    assert set(canthus.__all__) <= set(dir(canthus))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="load_pipelin"):
        _ = getattr(canthus, "load_pipelin")  # noqa: B009  a plain attribute would be a typing error


@pytest.mark.parametrize("name", PACKAGES)
def test_all_of_a_package_is_sorted_and_importable(name: str) -> None:
    module = importlib.import_module(name)
    names = list(getattr(module, "__all__", []))
    assert names == sorted(set(names))
    assert [found for found in names if not hasattr(module, found)] == []
