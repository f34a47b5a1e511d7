"""Wait on a condition with a deadline: what tests do instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_INTERVAL_S = 0.02

T = TypeVar("T")


class DeadlineExceededError(AssertionError):
    """The condition did not come true in time."""


def wait_until(condition: Callable[[], T], *, within_s: float, what: str) -> T:
    """Call `condition` until it returns something truthy and return that.

    Exceptions of `condition` are not caught: a condition that may fail while the world is not ready says so itself.

    Raises:
        DeadlineExceededError: naming `what` and the last value seen.
    """
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            message = f"waited {within_s:g} s for {what}; last seen: {value!r}"
            raise DeadlineExceededError(message)
        time.sleep(POLL_INTERVAL_S)
