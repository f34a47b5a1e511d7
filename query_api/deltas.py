"""Deltas on their way to Kafka: one message in flight a query; what is said meanwhile is joined to the next one.

The model is never held up. A delta that can't be sent is dropped: the final event holds the whole text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from schemas.errors import RagError
from schemas.queries import AnswerEvent

_log = structlog.get_logger(__name__)


class DeltaSender:
    """One query's. `finish` before the final event is sent, so that it comes last.

    Args:
        send: puts one event into the topic; returns once the broker has it.
        attempt: the number of the first attempt; later ones count up from it.
    """

    def __init__(self, send: Callable[[AnswerEvent], Awaitable[None]], attempt: int) -> None:
        self._send = send
        self._attempt = attempt
        self._waiting: list[AnswerEvent] = []
        self._sending: asyncio.Task[None] | None = None
        self._sent: dict[int, int] = {}
        self.dropped = 0

    async def __call__(self, delta: AnswerEvent) -> None:
        self._waiting.append(delta)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._drain())

    async def finish(self, timeout_s: float) -> None:
        """Let what is being sent arrive; what waits still is dropped where the final event is about to tell it all anyway."""
        if self._sending is None:
            return
        done, late = await asyncio.wait([self._sending], timeout=timeout_s)
        for task in late:
            task.cancel()
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("delta_failed", exc_info=error)

    def numbered(self, final: AnswerEvent) -> AnswerEvent:
        """The final event, numbered after the deltas that went out."""
        attempt = self._attempt + final.attempt - 1
        return final.model_copy(update={"attempt": attempt, "seq": self._sent.get(attempt, 0)})

    @property
    def last_attempt(self) -> int:
        """The last one of which something went out, counted from 1; 0: nothing did."""
        return max(self._sent, default=self._attempt - 1) - self._attempt + 1

    async def _drain(self) -> None:
        while self._waiting:
            first = self._waiting[0].attempt
            batch = [delta for delta in self._waiting if delta.attempt == first]
            del self._waiting[: len(batch)]
            attempt = self._attempt + first - 1
            number = self._sent.get(attempt, 0)
            self._sent[attempt] = number + 1
            event = batch[0].model_copy(update={"attempt": attempt, "seq": number, "delta": "".join(d.delta for d in batch)})
            try:
                await self._send(event)
            except RagError as exc:
                self.dropped += 1
                _log.info("delta_dropped", query_id=event.query_id, error=str(exc))
