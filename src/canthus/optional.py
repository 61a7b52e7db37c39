"""Import what an extra brings, or say how to install it."""

from importlib import import_module
from typing import Any

from canthus.errors import MissingExtraError


def require(module: str, *, extra: str) -> Any:
    """Import ``module``.

    Raises:
        MissingExtraError: it is not installed; the message holds the pip command.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"This needs {error.name!r}, which is not installed. Run: pip install 'canthus[{extra}]'"
        ) from error
