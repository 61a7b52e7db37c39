"""Look up names in tables and import optional libraries, with errors that suggest what to do."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

from canthus.errors import ConfigError, MissingExtraError

T = TypeVar("T")

LONGEST_SHOWN = 100
"""Characters of an unknown name that are compared and shown; a file may hold a million."""


def unknown_name(name: str, known: Iterable[str], *, kind: str) -> ConfigError:
    """Error for an unknown name; it suggests the nearest known one."""
    names = sorted(known)
    name = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}..."
    nearest = get_close_matches(name, names, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return ConfigError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


def lookup(table: Mapping[str, T], name: str, *, kind: str) -> T:
    """``table[name]``.

    Raises:
        ConfigError: the name is unknown; the message suggests the nearest.
    """
    if name not in table:
        raise unknown_name(name, table, kind=kind)
    return table[name]


def require(module: str, *, extra: str) -> Any:
    """Import ``module``.

    Raises:
        MissingExtraError: it is not installed; the message contains the pip command.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"This needs {error.name!r}, which is not installed. Run: pip install 'canthus[{extra}]'"
        ) from error
