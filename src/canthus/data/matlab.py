"""MATLAB 5 files (extra: datasets)."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from canthus.errors import DataError
from canthus.lookup import require


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Some variables of a MATLAB 5 file, as scipy gives them: arrays, cells as arrays of objects.

    Args:
        path: the file.
        names: of the variables.

    Raises:
        DataError: it is no such file, is damaged, or lacks a variable.
        MissingExtraError: scipy is not installed.
    """
    matlab = require("scipy.io.matlab", extra="datasets")
    try:
        content = matlab.loadmat(path)
    # What scipy raises on files that are cut, damaged, of another version, or no MATLAB files at all.
    except (OSError, ValueError, TypeError, NotImplementedError, zlib.error, matlab.MatReadError) as error:
        raise DataError(f"{path}: not a MATLAB file that can be read; expected a MATLAB 5 file ({error})") from error
    missing = [name for name in names if name not in content]
    if missing:
        wanted = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        raise DataError(f"{path}: expected {wanted}; found no {', '.join(missing)}")
    return {name: content[name] for name in names}
