"""Text that a command writes: a file, or standard output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from canthus.errors import ConfigError


@contextmanager
def opened_text(name: str) -> Iterator[TextIO]:
    """A text file for writing, its folder made; ``-`` is standard output.

    Raises:
        ConfigError: it cannot be written.
    """
    if name == "-":
        yield sys.stdout
        return
    try:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be written ({error.strerror})") from error
    with file:
        yield file
