"""Build checked dataclasses from plain data, such as parsed TOML or JSON: recipes and model cards."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import PurePosixPath, PureWindowsPath
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from canthus.errors import CanthusError, ConfigError
from canthus.lookup import unknown_name

T = TypeVar("T")

LONGEST_NAME = 200
"""Bytes of the longest name; file systems allow 255, and endings such as ``.unchecked.onnx`` are added."""


def checked_name(name: str, *, what: str, error: type[CanthusError] = ConfigError) -> str:
    """The name itself, if it can be the name of one file or folder: files are written under names from other files.

    Args:
        what: the thing that has the name, for the message, such as ``recipe``.
        error: class of the error that is raised.

    Raises:
        CanthusError: the name is empty, ``.`` or ``..``, holds a separator of folders, a drive or a character that is
            not printed, or is longer than ``LONGEST_NAME`` bytes; of the class ``error``.
    """
    one_part = PurePosixPath(name).name == name == PureWindowsPath(name).name and name not in ("", ".", "..")
    if not one_part or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        shown = name if len(name) <= LONGEST_NAME else f"{name[:40]}..."
        raise error(
            f"The name of a {what} is {shown!r}; expected the name of one file, without '/', '\\', '..' or control "
            f"characters, of at most {LONGEST_NAME} bytes"
        )
    return name


def from_values(
    cls: type[T],
    values: Mapping[str, Any],
    where: str = "",
    *,
    source: str = "",
    error: type[CanthusError] = ConfigError,
) -> T:
    """Build a frozen dataclass from plain data and check names and types.

    Nested tables become nested dataclasses, lists become tuples, and whole numbers become
    floats where a float is expected.

    Args:
        where: prefix of the names in error messages, such as ``optimizer.``.
        source: file that the values come from, for error messages.
        error: class of the errors that are raised.

    Raises:
        CanthusError: an unknown field (the message suggests the nearest known one), missing fields, a wrong type, or a
            value that the dataclass refuses; of the class ``error``.
    """
    try:
        return _built(cls, values, where)
    except CanthusError as refused:
        raise error(f"{source}: {refused}" if source else str(refused)) from refused


def to_values(config: Any) -> dict[str, Any]:
    """A dataclass as plain data, ready for JSON; ``from_values`` reads it back."""
    return asdict(config)


def _built(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    kinds = get_type_hints(cls)
    known = fields(cast(Any, cls))
    names = {field.name for field in known}
    for name in values:
        if name not in names:
            raise unknown_name(f"{where}{name}", [where + n for n in names], kind="field")
    required = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    missing = [f"{where}{name} ({_kind_name(kinds[name])})" for name in required if name not in values]
    if missing:
        raise ConfigError(f"Missing: {', '.join(missing)}")
    return cls(**{name: _converted(kinds[name], value, where + name) for name, value in values.items()})


def _converted(kind: Any, value: Any, name: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else _converted(next(k for k in inner if k is not NoneType), value, name)
    if is_dataclass(kind) and isinstance(value, Mapping):
        return _built(cast(Any, kind), value, f"{name}.")
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_converted(inner[0], item, f"{name}.{index}") for index, item in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: _converted(inner[1], item, f"{name}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Any or (isinstance(kind, type) and type(value) is kind):
        return value
    raise ConfigError(f"The field {name!r} must be {_kind_name(kind)}, not {value!r}")


def _kind_name(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is UnionType:
        return " or ".join(_kind_name(part) for part in get_args(kind) if part is not NoneType)
    if is_dataclass(kind) or origin in (dict, Mapping):
        return "a table"
    names = {tuple: "a list", int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(origin or kind, str(kind))
