"""Queries from Kafka: taken in order, worked on side by side, answered, and only then acknowledged, in order.

Every message ends in an answer or a dead letter, confirmed by the broker, before its acknowledgement; a killed worker's
unacknowledged queries are answered by the next one (again, with the same query_id). Knows no Faust: app.py wires it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from query_api.deadline import Deadline
from query_api.messages import Asked, QueryMessage, ReplyTopics, read
from query_api.metrics import QueryMetrics
from query_api.offsets import InOrder, Ticket
from query_api.tasks import TaskPool
from schemas.errors import Rejected, Retryable
from schemas.queries import AnswerEvent, QueryRequest
from schemas.settings import Settings
from schemas.wire import from_ms, to_ms

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
REPLY_TRIES: Final = 3
"""Tries to reach a reply topic that the request named; then the answer goes to the default one, which must exist."""

_log = structlog.get_logger(__name__)


class Outgoing(NamedTuple):
    """A message to send."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class Send(Protocol):
    """Sends one message and returns once the broker has it. Raises: Retryable; Rejected, when it never will."""

    async def __call__(self, message: Outgoing) -> None: ...


class Pipeline(Protocol):
    """Answers a request with one final event. Never raises; keeps `deadline`."""

    async def answer(self, request: QueryRequest, deadline: Deadline) -> AnswerEvent: ...


class Taken(NamedTuple):
    """A message from Kafka, and what to call when it may count as done."""

    message: QueryMessage
    acknowledge: Callable[[], object]


class QueryWorker:
    """One per process and event loop."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        send: Send,
        metrics: QueryMetrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._send = send
        self._metrics = metrics
        self._now_ms = now_ms
        self._topics = ReplyTopics(settings.kafka.topics.answers, frozenset(settings.query.reply_topics))
        self._pool = TaskPool(settings.query.concurrency)
        self._in_order: InOrder[tuple[str, int], Callable[[], object]] = InOrder()
        self._is_stopping = False

    async def take(self, taken: Taken) -> None:
        """Begin to work on a message; waits while the pool is full, which holds back the consumer."""
        source = taken.message.source
        ticket = self._in_order.begin((taken.message.topic, source.partition), taken.acknowledge)
        self._metrics.unacknowledged.set(self._in_order.pending)
        await self._pool.start(self._work(taken.message, ticket))

    def stop_retrying(self) -> None:
        """The process is to end: what can't be sent now is left unacknowledged, for the next worker."""
        self._is_stopping = True

    def cancel(self) -> int:
        """End whatever runs, unanswered and unacknowledged; returns how many."""
        return self._pool.cancel()

    async def _work(self, message: QueryMessage, ticket: Ticket[tuple[str, int], Callable[[], object]]) -> None:
        with self._metrics.in_flight.track_inprogress():
            is_done = await self._conclude(message)
        if not is_done:
            return
        for acknowledge in self._in_order.finish(ticket):
            acknowledge()
        self._metrics.unacknowledged.set(self._in_order.pending)

    async def _conclude(self, message: QueryMessage) -> bool:
        """Everything that `message` asks for is said, and the broker has it. False: the process ends before that."""
        outcome = read(message, self._topics, self._now_ms())
        if isinstance(outcome, Asked):
            final = await self._pipeline.answer(outcome.request, self._deadline(outcome.request))
            return await self._reply(final, outcome.reply_to)
        letter, answer = outcome.dead_letter, outcome.answer
        if letter is not None:
            self._metrics.dead_letters.labels(letter.reason).inc()
            _log.warning("dead_letter", reason=letter.reason, detail=letter.detail, source=str(letter.source))
            # A null would be a tombstone in a compacted topic; the headers say that the value was one.
            topic = self._settings.kafka.topics.dead_letters
            if not await self._deliver(Outgoing(topic, letter.wire_key(), letter.raw or b"", letter.wire_headers())):
                return False
        if answer is None:
            return True
        self._metrics.answered(answer, 0.0, {})
        return await self._reply(answer.model_copy(update={"answered_at": from_ms(self._now_ms())}), outcome.reply_to)

    def _deadline(self, request: QueryRequest) -> Deadline:
        seconds = self._settings.query.deadline_s
        if request.deadline is not None:
            seconds = min(seconds, (to_ms(request.deadline) - self._now_ms()) / 1000)
        return Deadline.after(seconds)

    async def _reply(self, answer: AnswerEvent, topic: str) -> bool:
        key = answer.query_id.encode()
        tries = None if topic == self._topics.default else REPLY_TRIES
        try:
            if await self._deliver(Outgoing(topic, key, answer.to_bytes()), tries):
                return True
        except Rejected as exc:
            _log.error("answer_refused", topic=topic, query_id=answer.query_id, reason=exc.reason, detail=exc.detail)
            answer = AnswerEvent(query_id=answer.query_id, outcome="failed", error=exc.detail, reason=exc.reason)
        if self._is_stopping:
            return False
        return await self._deliver(Outgoing(self._topics.default, key, answer.to_bytes()))

    async def _deliver(self, message: Outgoing, tries: int | None = None) -> bool:
        """Send until the broker has it. False: the process is to end, or `tries` are used up. Raises: Rejected."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._send(message)
            except Retryable as exc:
                _log.warning("send_failed", topic=message.topic, error=str(exc), retry_in_s=pause)
            else:
                return True
            tries = tries - 1 if tries is not None else None
            if self._is_stopping or tries == 0:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
