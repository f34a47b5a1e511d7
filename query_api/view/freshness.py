"""How fresh the view is, measured by the reader itself: ends of the log taken at a moment, and when the view covers them. Pure.

Asking the writer when it was caught up would trust a clock of someone who may have been stopped for a minute in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.queries import AsOf, PartitionLag
from schemas.wire import from_ms

MAX_PROBES: Final = 32
"""Probes waiting to be covered. Beyond them the newest is replaced: a view far behind gets its moments in coarser steps."""


class Probe(NamedTuple):
    """Ends taken after the moment `at_s` (own monotonic clock; `wall_ms` is the same moment for people).

    Floors' ends are taken before the index's: a floor is cleared only after what replaces it is in the index.
    """

    at_s: float
    wall_ms: int
    document_ends: Mapping[int, int]
    floor_ends: Mapping[int, int]
    index_ends: Mapping[int, int]


class Freshness:
    """Turns probes and the view's advances into `as_of`. Not thread-safe."""

    def __init__(self) -> None:
        self._reflecting: deque[Probe] = deque()
        self._following: deque[Probe] = deque()
        self._reflected: Probe | None = None
        self._followed: Probe | None = None
        self._ends: Mapping[int, int] = {}
        self._progress: Mapping[int, int] = {}

    def probed(self, probe: Probe) -> None:
        """A new measurement begins."""
        self._ends = probe.document_ends
        for waiting in (self._reflecting, self._following):
            if len(waiting) == MAX_PROBES:
                waiting.pop()
            waiting.append(probe)

    def followed(self, floors: Mapping[int, int], index: Mapping[int, int]) -> None:
        """The view holds everything below these positions of the floors and the index."""
        while self._following and covers(floors, self._following[0].floor_ends) and covers(index, self._following[0].index_ends):
            self._followed = self._following.popleft()

    def reflected(self, progress: Mapping[int, int]) -> None:
        """Searches, keyword ones too, reflect everything below these positions of the source."""
        self._progress = progress
        while self._reflecting and covers(progress, self._reflecting[0].document_ends):
            self._reflected = self._reflecting.popleft()

    @property
    def has_followed(self) -> bool:
        """Whether the ends of floors and index were reached that were taken after the start."""
        return self._followed is not None

    @property
    def followed_ms(self) -> int | None:
        """The latest moment, by the wall clock, of which everything in floors and index is in the view; None before the first."""
        return self._followed.wall_ms if self._followed is not None else None

    @property
    def has_reflected(self) -> bool:
        """Whether everything is reflected that had been published by some moment after the start."""
        return self._reflected is not None

    def pending(self) -> Probe | None:
        """The measurement that has waited longest for floors and index."""
        return self._following[0] if self._following else None

    def access_lag_s(self, now_s: float) -> float | None:
        """Age of the moment up to which floors and index are known; None before the first."""
        return now_s - self._followed.at_s if self._followed else None

    def as_of(self, now_s: float) -> AsOf:
        """What an answer made now may say of itself."""
        partitions = tuple(
            PartitionLag(partition=partition, position=self._progress.get(partition, 0), end=self._ends.get(partition))
            for partition in sorted({*self._progress, *self._ends})
        )
        if self._reflected is None:
            return AsOf(partitions=partitions)
        lag_ms = max(0, round((now_s - self._reflected.at_s) * 1000))
        return AsOf(reflected_until=from_ms(self._reflected.wall_ms), lag_ms=lag_ms, partitions=partitions)


def covers(positions: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    """Whether everything below `ends` lies below `positions` too."""
    return all(positions.get(partition, 0) >= end for partition, end in ends.items())
