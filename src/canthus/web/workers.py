"""A pool of processes that an event loop waits for, and in which a stream keeps its process."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from typing import Any, final

from canthus.runtime.pipeline import Pipeline
from canthus.runtime.processes import Process
from canthus.web import work
from canthus.web.limits import Limits, RefusedError


@final
class Workers:
    """Several processes with a pipeline each; a call waits until one is free.

    Args:
        count: number of processes; each starts with its first call.
        pipeline: made by ``load_pipeline``.
        limits: bounds of pictures, and of the time of a call.
    """

    def __init__(self, count: int, pipeline: Pipeline, limits: Limits) -> None:
        self._limits = limits
        self._processes = [self._process(pipeline) for _ in range(count)]
        self._free = set(range(count))
        self._queue: deque[tuple[int | None, asyncio.Future[int]]] = deque()
        self._streams: Counter[int] = Counter()
        self._keys = 0

    def _process(self, pipeline: Pipeline) -> Process:
        return Process(work.Marker, pipeline, self._limits)

    @property
    def count(self) -> int:
        """Number of processes."""
        return len(self._processes)

    @property
    def busy(self) -> int:
        """Processes at work."""
        return self.count - len(self._free)

    @property
    def waiting(self) -> int:
        """Calls that wait for a process."""
        return len(self._queue)

    @property
    def restarts(self) -> int:
        """Processes that ended and were replaced."""
        return sum(process.restarts for process in self._processes)

    async def call(self, function: Callable[..., Any], *arguments: Any, at: int | None = None) -> Any:
        """The result of ``function(marker, *arguments)`` in a free process.

        Args:
            at: the process that must do it; None for any.

        Raises:
            RefusedError: it took too long (504), the process ended (503), or what the function refused.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                index = await self._acquired(at)
                done = asyncio.wrap_future(self._processes[index].submit(function, *arguments))
                # The process stays taken until it is done, also where nobody waits for the result any more.
                done.add_done_callback(lambda _: self._release(index))
                return await asyncio.shield(done)
        except TimeoutError as error:
            raise RefusedError(
                504, f"No answer within {self._limits.seconds:g} s; the server is busy, try again", 5
            ) from error
        except BrokenProcessPool as error:
            raise RefusedError(503, "The process at work ended, perhaps for lack of memory; try again", 1) from error

    async def _acquired(self, at: int | None) -> int:
        if at is None and self._free:
            return self._free.pop()
        if at in self._free:
            self._free.remove(at)
            return at
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        place = at, turn
        self._queue.append(place)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(turn.result())
            elif place in self._queue:
                self._queue.remove(place)
            raise

    def _release(self, index: int) -> None:
        """Give the process to the first who waits for it, or for any."""
        for place in self._queue:
            at, turn = place
            if at in (None, index) and not turn.done():
                self._queue.remove(place)
                turn.set_result(index)
                return
        self._free.add(index)

    @asynccontextmanager
    async def stream(self, begin: Callable[..., None], *arguments: Any) -> "AsyncIterator[Stream]":
        """A video or stream that begins with ``begin(marker, key, *arguments)`` and keeps one process to the end."""
        index = min(range(self.count), key=self._streams.__getitem__)
        self._keys += 1
        stream = Stream(self, index, self._keys)
        self._streams[index] += 1
        try:
            await stream.call(begin, *arguments)
            yield stream
        finally:
            self._streams[index] -= 1
            await asyncio.shield(self.call(work.end, stream.key, at=index))

    def close(self) -> None:
        """End the processes."""
        for processes in self._processes:
            processes.close()


@final
class Stream:
    """A video or stream at work."""

    def __init__(self, workers: Workers, index: int, key: int) -> None:
        self._workers, self._index, self.key = workers, index, key

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of ``function(marker, key, *arguments)``; errors as for ``Workers.call``."""
        return await self._workers.call(function, self.key, *arguments, at=self._index)
