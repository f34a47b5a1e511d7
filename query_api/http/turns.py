"""Answers being made for HTTP clients: bounded in number, ended with their client, their deadline or the server."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from starlette.types import Receive

from query_api.deadline import Deadline
from query_api.http.problems import ProblemError
from schemas.queries import AnswerEvent

GRACE_S: Final = 0.25
"""A pipeline keeps its deadline by itself; one that doesn't is cut off so long after it."""

Listen = Callable[[AnswerEvent], Awaitable[None]]
Work = Callable[[Listen], Coroutine[Any, Any, AnswerEvent]]
Caller = tuple[str, ...]
"""Whose answer it is, by principals; empty: anonymous."""


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Turns:
    """All answers being made. One event loop.

    Args:
        limit: how many at a time.
        share: of them for one caller: those with the same principals, and all who are anonymous, are one.
    """

    def __init__(self, limit: int, share: float = 1.0) -> None:
        self._limit = limit
        self._limit_each = math.ceil(limit * share)
        self._open: set[Turn] = set()
        self._by_caller: Counter[Caller] = Counter()
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, turn: Turn) -> None:
        """Raises: ProblemError, when there is no place, or the server stops."""
        if self._is_stopping:
            code = "stopping"
            raise ProblemError(code, "no new work is taken")
        if len(self._open) >= self._limit:
            code = "overloaded"
            raise ProblemError(code, f"{self._limit} queries are being worked on (RAG_HTTP__CONCURRENCY)")
        if self._by_caller[turn.caller] >= self._limit_each:
            code, whose = "too_many_of_caller", "yours" if turn.caller else "of callers without credentials"
            raise ProblemError(code, f"{self._limit_each} queries {whose} are being worked on (RAG_HTTP__CALLER_SHARE)")
        self._open.add(turn)
        self._by_caller[turn.caller] += 1

    def leave(self, turn: Turn) -> None:
        self._open.discard(turn)
        self._by_caller[turn.caller] -= 1
        if not self._by_caller[turn.caller]:
            del self._by_caller[turn.caller]

    def refuse(self) -> None:
        """Take no more; those in work go on."""
        self._is_stopping = True

    def stop(self) -> None:
        """End those in work, each with a final event that says so."""
        self._is_stopping = True
        for turn in self._open:
            turn.stop()


class Turn:
    """One answer for one client. A context: leaving it cancels whatever still runs, and waits until it has ended."""

    def __init__(self, turns: Turns, caller: Caller, query_id: str, work: Work, deadline: Deadline, receive: Receive) -> None:
        self._turns = turns
        self.caller = caller
        self._query_id = query_id
        self._work_of = work
        self._deadline = deadline
        self._receive = receive
        self._said: AnswerEvent | None = None
        self._news = asyncio.Event()
        self._sent = asyncio.Event()
        self._is_stopped = False
        self._work: asyncio.Task[AnswerEvent]
        self._gone: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._turns.enter(self)
        loop = asyncio.get_running_loop()
        self._work = loop.create_task(self._work_of(self._heard))
        self._gone = loop.create_task(_disconnect(self._receive))
        for task in (self._work, self._gone):
            task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._turns.leave(self)
        for task in (self._work, self._gone):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([self._work, self._gone])

    async def next(self, silence_s: float | None = None) -> AnswerEvent | None:
        """The next event, the final one last; None after `silence_s` without any. Call it once the one before is sent.

        Raises: ClientGone; what the work raises.
        """
        if self._said is None:
            self._sent.set()
        while True:
            if self._work.done():
                return self._last(self._work.result())
            if self._said is not None:
                return self._take()
            if self._gone.done():
                raise ClientGone
            if self._is_stopped:
                return self._without_answer("failed", "stopping", "this server is being stopped; ask again")
            left = self._deadline.remaining_s + GRACE_S if not self._is_late else 0.0
            if left <= 0:
                return self._without_answer(
                    "expired", "deadline_passed", self._deadline.missed("the deadline passed while answering")
                )
            self._news.clear()
            try:
                async with asyncio.timeout(left if silence_s is None else min(left, silence_s)):
                    await self._news.wait()
            except TimeoutError:
                if silence_s is not None and silence_s <= left:
                    return None

    async def final(self) -> AnswerEvent:
        """The final event; deltas are passed over. Raises as `next`."""
        while True:
            event = await self.next()
            if event is not None and event.kind == "final":
                return event

    def stop(self) -> None:
        self._is_stopped = True
        self._news.set()

    @property
    def _is_late(self) -> bool:
        return self._deadline.clock() >= self._deadline.at + GRACE_S

    async def _heard(self, event: AnswerEvent) -> None:
        """Returns once the piece is sent. So a client that doesn't read holds up its own answer, and whether that may be shown
        is looked at right before each piece and the final event, however late they can be sent."""
        self._said = event  # in place of one of an attempt that is void
        self._sent.clear()
        self._news.set()
        await self._sent.wait()

    def _take(self) -> AnswerEvent | None:
        said, self._said = self._said, None
        return said

    def _last(self, final: AnswerEvent) -> AnswerEvent:
        """The final event. A piece before it that is not sent yet comes first, unless the final event made it void."""
        said = self._take()
        return said if said is not None and said.attempt == final.attempt else final

    def _without_answer(self, outcome: Any, reason: str, error: str) -> AnswerEvent:
        return AnswerEvent(query_id=self._query_id, outcome=outcome, reason=reason, error=error, mode="static")


async def _disconnect(receive: Receive) -> None:
    """Returns when the client has gone. The body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
