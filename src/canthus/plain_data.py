"""Build checked dataclasses from plain data, such as parsed TOML or JSON: recipes and model cards."""

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import PurePosixPath, PureWindowsPath
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, final, get_args, get_origin, get_type_hints

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


def json_table(text: str, *, source: str, error: type[CanthusError] = ConfigError) -> dict[str, Any]:
    """Read a JSON object whose numbers are all finite.

    Args:
        source: what is read, for error messages, such as ``m.onnx: the model card``.
        error: class of the errors that are raised.

    Raises:
        CanthusError: not JSON, nested too deep, NaN or Infinity, or not an object; of the class ``error``.
    """
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as too_deep:
        raise error(f"{source} is nested too deep to be read") from too_deep
    except ValueError as wrong:  # a JSONDecodeError is one
        raise error(f"{source} is not JSON ({wrong})") from wrong
    if not isinstance(values, dict):
        raise error(f"{source} is not a JSON object")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


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
    converted = {name: _converted(kinds[name], value, where + name) for name, value in values.items()}
    try:
        return cls(**converted)
    except ConfigError as refused:
        raise ConfigError(f"{where.rstrip('.')}: {refused}" if where else str(refused)) from refused


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
        return _as_float(value, name)
    if kind is Any or (isinstance(kind, type) and type(value) is kind):
        return value
    raise ConfigError(f"The field {name!r} must be {_kind_name(kind)}, not {reprlib.repr(value)}")


def _as_float(value: float, name: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ConfigError(f"The field {name!r} must be a number below 1e308, not {reprlib.repr(value)}") from error


def _kind_name(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is UnionType:
        return " or ".join(_kind_name(part) for part in get_args(kind) if part is not NoneType)
    if is_dataclass(kind) or origin in (dict, Mapping):
        return "a table"
    names = {tuple: "a list", int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(origin or kind, str(kind))


LARGEST = 1e300
"""Largest number that a setting may be; a whole number of a file may have thousands of digits."""


@final
@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have: ``least`` to ``most``, without ``least`` itself where it is ``open``."""

    least: float = -math.inf
    most: float = math.inf
    open: bool = False

    def __contains__(self, number: float) -> bool:
        return (self.least < number if self.open else self.least <= number) and number <= self.most

    def __str__(self) -> str:
        if self.open:
            return f"above {self.least:g}" + (f" and at most {self.most:g}" if self.most < math.inf else "")
        return f"at least {self.least:g}" if self.most == math.inf else f"{self.least:g} to {self.most:g}"


POSITIVE, NOT_NEGATIVE, CHANCE, COUNT = Range(0, open=True), Range(0), Range(0, 1), Range(1)
"""Sizes and factors; amounts that may be nothing; chances and shares; numbers of things."""


def check_ranges(values: Any, **ranges: Range) -> None:
    """Refuse settings out of range, and infinite numbers and NaN in any field, also in tables and lists.

    Called by ``__post_init__`` of dataclasses that are read from files.

    Args:
        values: a dataclass.
        ranges: field -> the numbers that it may have; of a list, each of its numbers.

    Raises:
        ConfigError: the first such setting, with what it may be.
    """
    for field in fields(values):
        for name, number in _numbers(field.name, getattr(values, field.name)):
            shown = reprlib.repr(number) if abs(number) > LARGEST else f"{number:g}"  # of long whole numbers, the ends
            if not abs(number) <= LARGEST:
                raise ConfigError(f"The setting {name} is {shown}; expected a finite number")
            if number not in (allowed := ranges.get(field.name, Range())):
                raise ConfigError(f"The setting {name} is {shown}; expected {allowed}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """All numbers in a value, each with its name such as ``sizes.0``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _numbers(f"{name}.{index}", item)
