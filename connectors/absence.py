"""A server that is away is not asked by those who need it, but by a thread, until it answers again. Knows no server.

For any connector: it stands beside them, and imports none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PROBE_EVERY_S: Final = 0.5


class Absence:
    """Of one server. Thread-safe.

    Args:
        thread: what the thread is called.
        answers: asks the server, in its own time limit; whether it is back. Must not raise.
        came_back: is told how long it was away, in seconds, before anybody asks the server again. Must not raise.
    """

    def __init__(
        self,
        thread: str,
        answers: Callable[[], bool],
        came_back: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = thread
        self._answers = answers
        self._came_back = came_back
        self._clock = clock
        self._lock = threading.Lock()
        self._is_on = False
        self._closed = threading.Event()
        self._prober: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Whether the server is away."""
        return self._is_on

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def begin(self) -> bool:
        """The server does not answer. False: that is known already, or nobody is interested any more."""
        with self._lock:
            if self._is_on or self._closed.is_set():
                return False
            self._is_on = True
            self._prober = threading.Thread(target=self._ask_again, name=self._name, daemon=True)
            self._prober.start()
            return True

    def close(self) -> None:
        """End the thread. Never raises; may be called again."""
        with self._lock:
            self._closed.set()
            prober = self._prober
        if prober is not None:
            prober.join()

    def _ask_again(self) -> None:
        since = self._clock()
        while not self._closed.wait(PROBE_EVERY_S):
            if self._answers():
                self._came_back(self._clock() - since)
                with self._lock:
                    self._is_on = False
                return
