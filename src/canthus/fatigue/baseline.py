"""What is normal for one person: learned in the first seconds, adapted slowly."""

import math
from typing import final


@final
class Baseline:
    """A level of a signal that is the person's own.

    Until ``learn_s`` of the signal were seen there is none; then it is a quantile of what was seen, each value weighted
    by the time it stood for.  Afterwards it moves exponentially towards new values, with one time constant upwards and
    one downwards.  In seconds throughout: the frame rate does not matter.

    Args:
        quantile: of the first seconds; above one half for eyes, which are open most of the time.
        learn_s: time of the signal to learn from.
        rise_s: time constant upwards.
        fall_s: time constant downwards.
    """

    def __init__(self, *, quantile: float, learn_s: float, rise_s: float, fall_s: float) -> None:
        self.value = math.nan
        self._quantile, self._learn_s, self._rise_s, self._fall_s = quantile, learn_s, rise_s, fall_s
        self._seen: list[tuple[float, float]] = []
        self._seen_s = 0.0

    @property
    def known(self) -> bool:
        """Whether enough was seen."""
        return math.isfinite(self.value)

    def update(self, value: float, step_s: float) -> None:
        """Take in a value that stood for ``step_s`` seconds."""
        if self.known:
            rate_s = self._rise_s if value > self.value else self._fall_s
            self.value += (value - self.value) * -math.expm1(-step_s / rate_s)
            return
        self._seen.append((value, step_s))
        self._seen_s += step_s
        if self._seen_s >= self._learn_s - 1e-9:
            self.value = self._weighted_quantile()
            self._seen.clear()

    def _weighted_quantile(self) -> float:
        passed = 0.0
        ordered = sorted(self._seen)
        for value, step_s in ordered:
            passed += step_s
            if passed >= self._quantile * self._seen_s:
                return value
        return ordered[-1][0]
