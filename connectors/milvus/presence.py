"""Whether Milvus answers searches of a collection: where it keeps failing, nobody waits for it, and a thread asks until it does.

Without it every query would pay the whole timeout of a server that is silent, and the threads that wait would run out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from connectors.absence import Absence
from connectors.milvus.errors import TooLate
from schemas.errors import RagError, Retryable

FAILURES: Final = 3
"""In a row. One may be a segment that moves; of a server that is gone, three come at once."""
FAIR_WAIT_S: Final = 0.25
"""Silence for less than this, because its asker had no more time, says nothing of the server."""

_log = structlog.get_logger(__name__)


class Presence:
    """Of one collection. Thread-safe.

    Args:
        probe: asks for a row, in its own time limit. Raises as searches do.
    """

    def __init__(self, collection: str, probe: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._collection = collection
        self._probe = probe
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._absence = Absence("milvus-probe", self._answers, self._came_back, clock)

    @property
    def is_away(self) -> bool:
        """Whether it failed too often just now."""
        return self._absence.is_on

    @contextmanager
    def search(self) -> Iterator[None]:
        """Around one search. Raises: Retryable at once, while the server is away; what the search raises."""
        if self._absence.is_on:
            msg = f"Milvus does not answer searches of {self._collection}; it is asked again twice a second"
            raise Retryable(msg)
        began = self._clock()
        try:
            yield
        except Retryable as exc:
            self._failed(exc, self._clock() - began)
            raise
        else:
            self._in_a_row = 0

    def close(self) -> None:
        """End the thread. Never raises; may be called again."""
        self._absence.close()

    def _failed(self, cause: Retryable, waited_s: float) -> None:
        if isinstance(cause, TooLate) and waited_s < FAIR_WAIT_S:
            return
        with self._lock:
            self._in_a_row += 1
            is_gone = self._in_a_row >= FAILURES
        if is_gone and self._absence.begin():
            _log.warning("Milvus is away; searching without vectors", collection=self._collection, cause=str(cause))

    def _answers(self) -> bool:
        try:
            self._probe()
        except Retryable:
            return False
        except RagError as exc:
            # It answers; what it says is for the next search to tell.
            _log.warning("Milvus answers again, but refuses", collection=self._collection, error=str(exc))
        return True

    def _came_back(self, waited_s: float) -> None:
        with self._lock:
            self._in_a_row = 0
        _log.info("Milvus answers again", collection=self._collection, waited_s=round(waited_s, 1))
