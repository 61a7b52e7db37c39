"""Processes that work beside the command: they leave Ctrl-C to it, and end with it, also where it is killed."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Thread
from traceback import format_exc
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


@final
class Process:
    """One process that makes one object and calls functions with it, one call at a time.

    A thread hands a call over and waits for its result, which takes less time than a pool, whose calls pass three
    threads.  The process starts with the first call.  Where it has ended, the next call starts another.

    Args:
        make: makes the object of the process.
        arguments: of ``make``.

    Attributes:
        restarts: processes that ended and were replaced.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._given = make, arguments
        self._thread = ThreadPoolExecutor(1)
        self._running: tuple[BaseProcess, Connection] | None = None
        self.restarts = 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """The result of ``function(object, *arguments)``, or a ``BrokenProcessPool`` where the process was killed."""
        return self._thread.submit(self._answer, function, arguments)

    def _answer(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        process, connection = self._running or self._started()
        if not process.is_alive():
            connection.close()
            self.restarts += 1
            _, connection = self._started()
        try:
            connection.send((function, arguments))
            done, result = connection.recv()
        except (EOFError, OSError) as error:
            raise BrokenProcessPool("the process ended") from error
        if not done:
            raise result
        return result

    def _started(self) -> tuple[BaseProcess, Connection]:
        context = get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_answer_calls, args=(there, *self._given), daemon=True)
        with _signals_kept_from_new_processes():
            process.start()
        there.close()
        self._running = process, here
        return self._running

    def close(self) -> None:
        """End the process after the call that is at work; the calls that wait are dropped."""
        self._thread.shutdown(cancel_futures=True)
        if self._running:
            process, connection = self._running
            connection.close()
            process.join()


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


def _answer_calls(calls: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What a process does: answer each call with whether it was done, and its result or error."""
    _begin(make, arguments)
    while True:
        try:
            function, given = calls.recv()
        except EOFError:
            return
        try:
            answer = True, _call(function, given)
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            error.add_note(format_exc())
            answer = False, error
        calls.send(answer)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if "object" not in _HERE:
        make, given = _HERE["make"]
        _HERE["object"] = make(*given)
    return function(_HERE["object"], *arguments)
