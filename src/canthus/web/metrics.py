"""Numbers of the service in the text format of Prometheus."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import final

BOUNDS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the classes of the times of answers."""


@final
class Metrics:
    """Counts since the start of the service."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._times: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer and its time."""
        self._answers[path, status] += 1
        classes = self._times.setdefault(path, [0] * (len(BOUNDS_S) + 1))
        classes[sum(seconds > bound for bound in BOUNDS_S)] += 1
        self._seconds[path] = self._seconds.get(path, 0.0) + seconds

    def add(self, name: str, count: int = 1) -> None:
        """Count pictures, frames or faces."""
        self._sums[name] += count

    def text(self, gauges: Mapping[str, float]) -> str:
        """All numbers.

        Args:
            gauges: name -> value now.
        """
        return "\n".join([*self._lines(gauges), ""])

    def _lines(self, gauges: Mapping[str, float]) -> Iterator[str]:
        yield "# TYPE canthus_requests_total counter"
        for (path, status), count in sorted(self._answers.items()):
            yield f'canthus_requests_total{{path="{path}",status="{status}"}} {count}'
        yield "# TYPE canthus_request_seconds histogram"
        for path, classes in sorted(self._times.items()):
            below = 0
            for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], classes, strict=True):
                below += count
                yield f'canthus_request_seconds_bucket{{path="{path}",le="{bound}"}} {below}'
            yield f'canthus_request_seconds_sum{{path="{path}"}} {self._seconds[path]:.6f}'
            yield f'canthus_request_seconds_count{{path="{path}"}} {below}'
        for name in ("pictures", "faces", "frames"):
            yield f"# TYPE canthus_{name}_total counter"
            yield f"canthus_{name}_total {self._sums[name]}"
        for name, value in gauges.items():
            yield f"# TYPE canthus_{name} gauge"
            yield f"canthus_{name} {value:g}"
