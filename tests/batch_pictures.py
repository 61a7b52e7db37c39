"""What tests of ``canthus batch`` share: faces at random places, pictures that kill their process, what is stored."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from canthus.schemes import find_scheme
from canthus.types import Faces, Frame, Landmarks


def frame(faces: int, *, seed: int = 0, scheme: str = "ibug_68", extras: bool = True) -> Frame:
    """Faces at random places; with everything that a model may give, or with as little as possible."""
    rng, kind = np.random.default_rng(seed), find_scheme(scheme)

    def some(*shape: int) -> np.ndarray:
        return rng.random((faces, *shape), np.float32)

    found = Faces(100 * some(4), some(), 100 * some(5, 2) if extras else None)
    scores, whole = (some(kind.count), some()) if extras else (None, None)
    return Frame(found, Landmarks(100 * some(kind.count, 2), kind, scores, whole))


def deadly_mark(marker: Any, batch: list[tuple[str, bytes | None]]) -> Any:
    """Rows of a batch, in a process of its own; SIGKILL at ``deadly.png``, and the first time at ``once.png``."""
    for name, _ in batch:
        path = Path(name)
        if path.name == "deadly.png" or (path.name == "once.png" and not path.with_suffix(".killed").exists()):
            path.with_suffix(".killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return marker.mark(batch)


def endless_mark(marker: Any, batch: list[tuple[str, bytes | None]]) -> Any:
    """Rows of no pictures; with pictures it never ends."""
    while batch:
        signal.pause()
    return marker.mark(batch)


def stored(folder: Path) -> tuple[list[str], list[str]]:
    """Pictures of all faces, and all pictures, as they stand in the files."""
    import pyarrow.parquet as pq

    return tuple(sorted(pq.read_table(folder / kind)["picture"].to_pylist()) for kind in ("faces", "pictures"))  # type: ignore[return-value]
