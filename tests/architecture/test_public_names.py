"""The names the package promises."""

import importlib
import pkgutil
import sys

import pytest

import canthus
from canthus.moved import MERGED

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


MOVED = [(f"canthus.{old}", f"canthus.{new}") for new, merged in MERGED.items() for old in merged.split()]


@pytest.mark.parametrize(("old", "new"), MOVED)
def test_moved_module_works_and_warns(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        module = importlib.reload(importlib.import_module(old)) if old in sys.modules else importlib.import_module(old)
    home = importlib.import_module(new)
    public = [name for name in vars(home) if not name.startswith("_")]
    assert public
    assert all(getattr(module, name) is getattr(home, name) for name in public)


def test_a_name_imported_by_its_old_path_is_the_one_of_today() -> None:
    sys.modules.pop("canthus.runtime.session", None)
    names: dict[str, object] = {}
    with pytest.warns(DeprecationWarning, match=r"canthus\.runtime\.session is now canthus\.runtime\.sessions"):
        exec("from canthus.runtime.session import LandmarkSession", names)
    assert names["LandmarkSession"] is canthus.LandmarkSession
