"""Exceptions of the package.

A message states what was found, what was expected and what to do.
"""

import unicodedata


class CanthusError(Exception):
    """Base class of all errors that canthus raises for data, files and settings."""


class DataError(CanthusError):
    """A dataset, annotation or table does not match its format."""


class ImageError(DataError):
    """A picture cannot be read."""


class VideoError(DataError):
    """A video or camera cannot be opened or read, or a video cannot be written."""


class OutputError(CanthusError):
    """A file cannot be written, for example because the disk is full."""


class ModelFileError(CanthusError):
    """A model file is missing or damaged, or lacks its model card."""


class ConfigError(CanthusError):
    """A name or setting is unknown or out of range."""


class MissingExtraError(CanthusError, ImportError):
    """An optional dependency is not installed."""


def printable(text: str) -> str:
    r"""Text that any terminal shows as it is: control and formatting characters become escapes such as ``\x1b``.

    Names of files and texts of model cards come from strangers.  Line breaks and tabs in them become escapes as well.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = (c.encode("unicode_escape").decode() if unicodedata.category(c) in _HIDDEN else c for c in text)
    return "".join(shown).encode("utf-8", "backslashreplace").decode("utf-8")


_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: control, format (such as marks of direction), surrogate, line and paragraph separator."""
