"""Which attempt an answer is: 1, or more where an earlier worker may have begun to answer the same message. Pure.

Kafka doesn't say that a message is delivered again. What lay in a partition before this worker was assigned it may have been
begun by another, so its attempt is numbered by the clock: higher than any that went before. What came later is nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

FIRST = 1


class Attempts:
    """Not thread-safe."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._ends: dict[tuple[str, int], int] = {}

    def assigned(self, ends: Mapping[tuple[str, int], int]) -> None:
        """These partitions are this worker's from now on; everything below their ends may have been begun elsewhere."""
        self._ends.update(ends)

    def forget(self, places: Iterable[tuple[str, int]]) -> None:
        """These partitions come anew: ends of an earlier assignment say nothing, another worker may have had them in between."""
        for place in places:
            self._ends.pop(place, None)

    def of(self, topic: str, partition: int, offset: int) -> int:
        """The number of the first attempt at a message. Where the end at assignment is not known: by the clock."""
        end = self._ends.get((topic, partition))
        return FIRST if end is not None and offset >= end else self._now_ms()
