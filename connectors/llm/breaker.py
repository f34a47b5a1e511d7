"""A circuit breaker: an endpoint that keeps failing is left alone for a while, then tried once. Pure but for the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class CircuitBreaker:
    """Closed → (failures in a row) → open → (a while) → half-open: one probe → closed, or open again. Thread-safe.

    Every `allows()` that said yes is followed by exactly one of `succeeded`, `failed` and `abandoned`.

    Args:
        failures: how many in a row open it.
        open_s: how long it stays open before a probe.
    """

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._is_probing = False

    @property
    def state(self) -> State:
        with self._lock:
            return self._state()

    def allows(self) -> bool:
        """Whether a try may be made now. In the half-open state: to one caller at a time."""
        with self._lock:
            state = self._state()
            if state == "half_open" and not self._is_probing:
                self._is_probing = True
                return True
            return state == "closed"

    def succeeded(self) -> None:
        """The endpoint answered."""
        with self._lock:
            self._in_a_row = 0
            self._opened_at = None
            self._is_probing = False

    def failed(self) -> None:
        """The endpoint did not answer."""
        with self._lock:
            self._in_a_row += 1
            if self._is_probing or self._in_a_row >= self._limit:
                self._opened_at = self._clock()
            self._is_probing = False

    def abandoned(self) -> None:
        """The caller gave up before anything could be told of the endpoint."""
        with self._lock:
            self._is_probing = False

    def _state(self) -> State:
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._clock() - self._opened_at >= self._open_s else "open"
