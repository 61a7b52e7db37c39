"""Which of several faces is watched."""

from typing import final

import numpy as np

from canthus.geometry import box_size
from canthus.types import TrackedFrame


@final
class MainFace:
    """The largest face when the video begins, for as long as it is followed; then the largest again.

    Args:
        patience_s: a face that is lost is waited for so long, before another one takes its place.

    Attributes:
        number: of the face that is watched, or None.
        changes: how often another face took its place.
    """

    def __init__(self, *, patience_s: float = 3.0) -> None:
        self.number: int | None = None
        self.changes = 0
        self._patience_s = patience_s
        self._seen_s = 0.0

    def find(self, tracked: TrackedFrame) -> int | None:
        """Index of the watched face in this frame, or None while it is not there."""
        places = np.flatnonzero(tracked.ids == self.number) if self.number is not None else np.zeros(0, np.int64)
        if len(places):
            self._seen_s = tracked.time_s
            return int(places[0])
        waiting = self.number is not None and tracked.time_s - self._seen_s < self._patience_s
        if waiting or not len(tracked):
            return None
        index = int(box_size(tracked.frame.faces.boxes).prod(axis=1).argmax())
        self.changes += self.number is not None
        self.number, self._seen_s = int(tracked.ids[index]), tracked.time_s
        return index
