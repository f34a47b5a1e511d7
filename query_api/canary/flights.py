"""Which canaries are on their way, and which of the documents they use is free for the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from schemas.index import DocKey, SourcePosition


class Flight(NamedTuple):
    """One change of one of the canary's documents, from its sending until the view shows it.

    Attributes:
        word: its text, found nowhere else.
        sent_s: own monotonic clock, before the change was handed over for sending.
        acknowledged_s: the same clock, after its acknowledgement had come; None while it hasn't.
        source: where it lies in the log; known with the acknowledgement.
    """

    key: DocKey
    version: int
    word: str
    sent_s: float
    acknowledged_s: float | None = None
    source: SourcePosition | None = None


class Flights:
    """One flight a document at most, so that no later one hides whether it has become visible. Thread-safe.

    Args:
        keys: in the order in which they are used.
    """

    def __init__(self, keys: Iterable[DocKey]) -> None:
        self._lock = threading.Lock()
        self._free = deque(keys)
        self._flying: dict[DocKey, Flight] = {}

    def next_key(self) -> DocKey | None:
        """The free document that has rested longest; None while all are on their way: more would only add to what waits."""
        with self._lock:
            return self._free[0] if self._free else None

    def sending(self, flight: Flight) -> None:
        """It is about to be sent. Raises: ValueError, while its document has another one on its way."""
        with self._lock:
            self._free.remove(flight.key)
            self._flying[flight.key] = flight

    def acknowledged(self, key: DocKey, source: SourcePosition, at_s: float) -> None:
        """It is in the log: from now on it counts."""
        with self._lock:
            self._flying[key] = self._flying[key]._replace(source=source, acknowledged_s=at_s)

    def ended(self, key: DocKey) -> None:
        """It is visible, or will never be: its document is free again."""
        with self._lock:
            del self._flying[key]
            self._free.append(key)

    def flying(self) -> tuple[Flight, ...]:
        """What is on its way now."""
        with self._lock:
            return tuple(self._flying.values())
