"""One generation for all who ask the same question of the same evidence at the same time. One event loop only.

Callers join after retrieval, on the very same prompt; whoever may not read its passages has another prompt. Access is
still each caller's own to look at again, before the first piece and before the final event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, NamedTuple

from query_api.answer.port import Draft, Emit
from query_api.cache.entry import Lookup, normalised
from query_api.deadline import Deadline

JOIN_SHARE: Final = 0.5
"""A flight is joined if it has at least this share of one's own time left: nobody fails by another's short deadline."""

Work = Callable[[Emit], Awaitable[Draft]]
"""Makes the draft; emits its text in pieces. Cancelled when nobody waits for it any more."""


class Flown(NamedTuple):
    """A draft, and whether another caller's generation made it."""

    draft: Draft
    is_shared: bool


class _Flight:
    """A running generation and the pieces it has emitted."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.aboard = 0
        self.pieces: list[str] = []
        self.task: asyncio.Task[Draft] | None = None
        self._grown = asyncio.Event()

    async def emit(self, piece: str) -> None:
        self.pieces.append(piece)
        self._grown.set()

    async def follow(self, emit: Emit) -> Draft:
        """Pass on every piece from the first one, then the draft. Raises what the generation raises."""
        task = self.task
        if task is None:
            msg = "a flight is followed once it has begun"
            raise AssertionError(msg)
        told = 0
        while True:
            while told < len(self.pieces):
                told += 1
                await emit(self.pieces[told - 1])
            if task.done():
                return task.result()
            self._grown.clear()
            waiting = asyncio.get_running_loop().create_task(self._grown.wait())
            try:
                await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()


class Flights:
    """The generations that are under way."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._cancelled: set[asyncio.Task[Draft]] = set()

    def __len__(self) -> int:
        return len(self._flights)

    async def fly(self, lookup: Lookup, deadline: Deadline, work: Work, emit: Emit) -> Flown:
        """The draft of `work`, or of the same work of another caller that is under way.

        What `emit` raises ends this caller's part only. Raises: what the work raises, to everyone aboard.
        """
        key = (lookup.scope, normalised(lookup.question), lookup.evidence)
        flight = self._flights.get(key)
        is_shared = flight is not None and flight.deadline.remaining_s >= JOIN_SHARE * deadline.remaining_s
        if flight is None or not is_shared:
            flight = self._begin(key, deadline, work)
        return Flown(await self._follow(key, flight, emit), is_shared)

    async def alone(self, deadline: Deadline, work: Work, emit: Emit) -> Draft:
        """The draft of `work`, which nobody can join. Otherwise as `fly`: a client that reads slowly holds up its own answer
        only. The model's stream is read on: its endpoint would seem to be silent, and be left alone."""
        key = object()
        return await self._follow(key, self._begin(key, deadline, work), emit)

    async def _follow(self, key: Hashable, flight: _Flight, emit: Emit) -> Draft:
        flight.aboard += 1
        try:
            return await flight.follow(emit)
        finally:
            flight.aboard -= 1
            if not flight.aboard:
                self._abandon(key, flight)

    def _begin(self, key: Hashable, deadline: Deadline, work: Work) -> _Flight:
        flight = _Flight(deadline)
        self._flights[key] = flight
        flight.task = asyncio.get_running_loop().create_task(_run(work, flight.emit))
        flight.task.add_done_callback(lambda _: self._landed(key, flight))
        return flight

    def _abandon(self, key: Hashable, flight: _Flight) -> None:
        """Nobody waits: stop what still runs, and let nobody board it."""
        self._landed(key, flight)
        if flight.task is not None and not flight.task.done():
            self._cancelled.add(flight.task)
            flight.task.add_done_callback(self._cancelled.discard)
            flight.task.cancel()

    def _landed(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.task is not None and flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # taken by whoever was aboard; nobody aboard is no error


async def _run(work: Work, emit: Emit) -> Draft:
    return await work(emit)
