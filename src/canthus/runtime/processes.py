"""Processes that work beside the command: they leave Ctrl-C to it, and end with it, also where it is killed."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any, TypeVar, final

T = TypeVar("T")
R = TypeVar("R")


@final
class Processes:
    """Several processes, each of which makes one object and calls functions with it.

    Args:
        count: number of processes; each starts when there is a call for it.
        make: makes the object of a process, before its first call.
        arguments: of ``make``.
    """

    def __init__(self, count: int, make: Callable[..., Any], *arguments: Any) -> None:
        self._others = set(active_children())
        with _signals_kept_from_new_processes():  # the pool itself starts one that keeps track of its semaphores
            self._pool = ProcessPoolExecutor(
                count, mp_context=get_context("spawn"), initializer=_begin, initargs=(make, arguments)
            )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """The result of ``function(object, *arguments)``, or a ``BrokenProcessPool`` where a process was killed."""
        try:
            with _signals_kept_from_new_processes():
                return self._pool.submit(_call, function, arguments)
        except BrokenProcessPool as error:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    def kill(self) -> None:
        """Give up the calls that are at work."""
        for process in set(active_children()) - self._others:
            process.kill()

    def close(self) -> None:
        """End the processes after the calls that are at work; the calls that wait are dropped."""
        self._pool.shutdown(cancel_futures=True)


def in_order(submit: Callable[[T], Future[R]], items: Iterable[T], *, ahead: int) -> Iterator[R]:
    """Results of calls that are at work side by side, in the order of the items.

    Args:
        submit: begins a call, such as ``Processes.submit`` or that of a pool of threads.
        items: taken one by one, so that there may be no end to them.
        ahead: largest number of calls that wait or are at work, and of results that wait.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@contextmanager
def _signals_kept_from_new_processes() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; those that start here leave it to this one, which ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_HERE: dict[str, Any] = {}
"""In one of the processes: how its object is made, and the object once it is."""


def _begin(make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be kept from it
    _HERE["make"] = make, arguments
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if "object" not in _HERE:
        make, given = _HERE["make"]
        _HERE["object"] = make(*given)
    return function(_HERE["object"], *arguments)
