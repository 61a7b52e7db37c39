"""A bound on the time of a call that cannot be interrupted."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def result_within(seconds: float, call: Callable[[], T], *, stop: Callable[[], object] = lambda: None) -> T:
    """Result of a call that runs in a thread of its own.

    Where it takes too long, the thread is asked to end and left behind; it does not keep the program from ending.

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
        raise TimeoutError(f"took more than {seconds:g} s")
    return results[0]
