"""Waiting for a server that is away: says so, tries again with growing pauses, and gives up only when told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from schemas.errors import Retryable

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
SAY_EVERY_S = 5.0

log = structlog.get_logger(__name__)


class Patience:
    """Repeats what is Retryable.

    Args:
        give_up: set when the process must end now; the last error is raised then.
        max_pause_s: longest pause between two tries.
    """

    def __init__(self, give_up: threading.Event, max_pause_s: float) -> None:
        self._give_up = give_up
        self._max_pause_s = max_pause_s
        self.waiting_for: str | None = None

    def insist(self, server: str, call: Callable[[], T]) -> T:
        """`call()` until it stops raising Retryable. Blocks; every other error passes through."""
        pause, since, said = FIRST_PAUSE_S, time.monotonic(), 0.0
        while True:
            try:
                result = call()
            except Retryable as exc:
                now = time.monotonic()
                if self._give_up.is_set():
                    raise
                if now - said >= SAY_EVERY_S:
                    said = now
                    self.waiting_for = server
                    log.warning("waiting", server=server, waited_s=round(now - since, 1), error=str(exc))
                self._give_up.wait(pause)
                pause = min(pause * 2, self._max_pause_s)
            else:
                if self.waiting_for == server:
                    self.waiting_for = None
                    log.info("server is back", server=server, waited_s=round(time.monotonic() - since, 1))
                return result
