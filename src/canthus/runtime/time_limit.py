"""A bound on the time of a call that cannot be interrupted."""

import atexit
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_AT_EXIT = 5.0
"""Longest time that a program waits at its end for a call that it has left behind, in seconds."""

_left_behind: list[threading.Thread] = []


def calls_left_behind() -> bool:
    """Whether a call that took too long is still at work.

    Native code that ends while Python shuts down aborts the whole program; a command that has nothing left to write
    then ends by ``os._exit``.
    """
    return any(thread.is_alive() for thread in _left_behind)


def result_within(seconds: float, call: Callable[[], T], *, stop: Callable[[], object] = lambda: None) -> T:
    """Result of a call that runs in a thread of its own.

    Where it takes too long, the thread is asked to end and left behind; at its end the program waits for it, for at
    most ``WAIT_AT_EXIT``.

    Args:
        stop: called where the time is over; asks the call to end soon.

    Raises:
        TimeoutError: the call took more than ``seconds``.
        Exception: whatever the call raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, name="canthus-limited", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        stop()
        _left_behind.append(thread)
        atexit.register(thread.join, WAIT_AT_EXIT)
        raise TimeoutError(f"took more than {seconds:g} s")
    return results[0]
