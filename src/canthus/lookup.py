"""Find a name in a table, or suggest the nearest."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from canthus.errors import ConfigError

T = TypeVar("T")


def unknown_name(name: str, known: Iterable[str], *, kind: str) -> ConfigError:
    """The error for a name that is not known, with the nearest known one."""
    names = sorted(known)
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
