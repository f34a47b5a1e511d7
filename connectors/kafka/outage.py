"""Says that Kafka is away: once every few seconds while it lasts, once when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

REPEAT_AFTER_S: Final = 5.0

_log = structlog.get_logger(__name__)


class OutageLog:
    """One voice for one client. Cheap to call for every error and every success."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, **context: object) -> None:
        self._clock = clock
        self._log = _log.bind(**context)
        self._since: float | None = None
        self._last_said = 0.0

    def waiting(self, cause: object) -> None:
        """Kafka did not answer, or not usefully."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now - self._last_said < REPEAT_AFTER_S:
            return
        self._last_said = now
        self._log.warning("waiting for Kafka", cause=str(cause), waited_s=round(now - self._since, 1))

    def recovered(self) -> None:
        """Kafka answered."""
        if self._since is not None:
            self._log.info("Kafka answers again", waited_s=round(self._clock() - self._since, 1))
            self._since = None
