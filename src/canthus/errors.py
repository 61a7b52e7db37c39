"""Exceptions of the package.

Every message says what was found, what was expected and what to do.
"""


class CanthusError(Exception):
    """Base of all errors raised on purpose by canthus."""


class DataError(CanthusError):
    """A dataset, annotation or table does not hold what its format promises."""


class ImageError(DataError):
    """A picture cannot be read."""


class VideoError(DataError):
    """A video or camera cannot be opened or read, or a video cannot be written."""


class ModelFileError(CanthusError):
    """A model file is missing, damaged, or lacks the model card that the runtime reads."""


class ConfigError(CanthusError):
    """A name or setting is unknown or out of range."""


class MissingExtraError(CanthusError, ImportError):
    """An optional dependency is not installed."""
