"""Exceptions of the package.

A message states what was found, what was expected and what to do.
"""


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
