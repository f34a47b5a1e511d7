"""Which finished messages may be acknowledged: the contiguous prefix of those that were begun. Pure.

Faust's own bookkeeping commits past a message that is still being worked on when several are in flight (faust#606), so
it only ever sees acknowledgements in the order of delivery.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
P = TypeVar("P", bound=Hashable)


class Ticket(Generic[P, T]):
    """One message in flight."""

    __slots__ = ("finished", "item", "lane")

    def __init__(self, lane: P, item: T) -> None:
        self.lane = lane
        self.item = item
        self.finished = False


class InOrder(Generic[P, T]):
    """Per lane (a partition): items are begun in order, finished in any order, and released in order.

    An item is released once it and everything begun before it in its lane is finished. The same offset delivered
    twice (after a rebalance) is two items. Not safe for use from several threads.
    """

    def __init__(self) -> None:
        self._lanes: dict[P, deque[Ticket[P, T]]] = {}

    def begin(self, lane: P, item: T) -> Ticket[P, T]:
        ticket = Ticket(lane, item)
        self._lanes.setdefault(lane, deque()).append(ticket)
        return ticket

    def finish(self, ticket: Ticket[P, T]) -> list[T]:
        """Mark as finished; returns the items that may be acknowledged now, oldest first."""
        ticket.finished = True
        pending = self._lanes.get(ticket.lane)
        released: list[T] = []
        while pending and pending[0].finished:
            released.append(pending.popleft().item)
        if not pending:
            self._lanes.pop(ticket.lane, None)
        return released

    @property
    def pending(self) -> int:
        """Items begun and not yet released."""
        return sum(map(len, self._lanes.values()))
