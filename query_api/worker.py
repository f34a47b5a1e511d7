"""Queries from Kafka: taken in order, worked on side by side, answered, and only then acknowledged, in order.

Every message ends in an answer or a dead letter, confirmed by the broker, before its acknowledgement; a killed worker's
unacknowledged queries are answered by the next one (again, with the same query_id). Knows no Faust: app.py wires it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog

from query_api.attempts import Attempts
from query_api.deadline import Deadline
from query_api.deltas import DeltaSender
from query_api.messages import MAX_LETTER_BYTES, Asked, QueryMessage, ReplyTopics, dead_letter, read
from query_api.metrics import QueryMetrics
from query_api.offsets import InOrder, Ticket
from query_api.query import Listen
from query_api.tasks import TaskPool
from schemas.dead_letters import DeadLetter
from schemas.errors import Rejected, Retryable
from schemas.queries import AnswerEvent, AsOf, Outcome, QueryRequest
from schemas.settings import Settings
from schemas.wire import from_ms, to_ms

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
DELTA_GRACE_S: Final = 1.0
"""What the last delta may take to arrive before the final event follows."""
REPLY_TRIES: Final = 3
"""Tries to reach a reply topic that the request named; then the answer goes to the default one, which must exist."""
_TOKEN_PROBLEMS: Final = {
    "token_missing": "this system takes who asks from a signed token: send one in `token`",
    "tokens_not_configured": "tokens can't be checked here: an operator names their issuer in RAG_AUTH__JWT_ISSUER",
}
_UNEXPECTED: Final = "an unexpected error; the log of the query process has it"

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
    """Answers a request with one final event, and deltas before it. Never raises; keeps `deadline`."""

    def as_of(self) -> AsOf:
        """How fresh an answer made now would be: refusals say it, too."""
        ...

    async def answer(self, request: QueryRequest, deadline: Deadline, listen: Listen | None = None) -> AnswerEvent: ...


class Signatures(Protocol):
    """Says who asks, of a signed token."""

    async def principals(self, token: str) -> tuple[str, ...]:
        """Raises: Rejected, for a token that isn't to be believed; Retryable, while that can't be told."""
        ...


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
        signatures: Signatures | None = None,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._send = send
        self._metrics = metrics
        self._now_ms = now_ms
        self._signatures = signatures
        self.attempts = Attempts(now_ms)
        self._topics = ReplyTopics(settings.kafka.topics.answers, frozenset(settings.query.reply_topics))
        self._letter_bytes = min(MAX_LETTER_BYTES, settings.kafka.max_message_bytes)
        self._pool = TaskPool(settings.query.concurrency)
        self._in_order: InOrder[tuple[str, int], Callable[[], object]] = InOrder()
        self._is_stopping = False

    async def take(self, taken: Taken) -> None:
        """Begin to work on a message; waits while the pool is full, which holds back the consumer."""
        topic, source = taken.message.topic, taken.message.source
        attempt = self.attempts.of(topic, source.partition, source.offset)
        ticket = self._in_order.begin((topic, source.partition), taken.acknowledge)
        self._metrics.unacknowledged.set(self._in_order.pending)
        await self._pool.start(self._work(taken.message, attempt, ticket))

    def stop_retrying(self) -> None:
        """The process is to end: what can't be sent now is left unacknowledged, for the next worker."""
        self._is_stopping = True

    def cancel(self) -> int:
        """End whatever runs, unanswered and unacknowledged; returns how many."""
        return self._pool.cancel()

    async def _work(self, message: QueryMessage, attempt: int, ticket: Ticket[tuple[str, int], Callable[[], object]]) -> None:
        with self._metrics.in_flight.track_inprogress():
            is_done = await self._conclude(message, attempt)
        if not is_done:
            return
        for acknowledge in self._in_order.finish(ticket):
            acknowledge()
        self._metrics.unacknowledged.set(self._in_order.pending)

    async def _conclude(self, message: QueryMessage, attempt: int) -> bool:
        """Everything that `message` asks for is said, and the broker has it. False: the process ends before that."""
        try:
            return await self._say(message, attempt)
        except Exception as exc:
            # Unsaid, it would never be acknowledged, nor would any query behind it.
            _log.error("message_crashed", source=str(message.source), exc_info=exc)
        problem = Rejected("internal_error", _UNEXPECTED)
        return await self._bury(dead_letter(message, problem, self._now_ms()).fitting(self._letter_bytes))

    async def _say(self, message: QueryMessage, attempt: int) -> bool:
        outcome = read(message, self._topics, self._now_ms(), self._letter_bytes)
        if isinstance(outcome, Asked):
            return await self._answer(outcome, attempt)
        letter, answer = outcome.dead_letter, outcome.answer
        if letter is not None and not await self._bury(letter):
            return False
        if answer is None:
            return True
        self._metrics.answered(answer, 0.0, {})
        place = {"attempt": attempt, "answered_at": from_ms(self._now_ms())}
        return await self._reply(self._stated(answer).model_copy(update=place), outcome.reply_to)

    async def _bury(self, letter: DeadLetter) -> bool:
        """The broker has the dead letter, or as much of it as it takes. False: the process ends before that."""
        self._metrics.dead_letters.labels(letter.reason).inc()
        _log.warning("dead_letter", reason=letter.reason, detail=letter.detail, source=str(letter.source))
        topic = self._settings.kafka.topics.dead_letters
        for one in (letter, letter.fitting(0)):
            try:
                # A null would be a tombstone in a compacted topic; the headers say that the value was one.
                return await self._deliver(Outgoing(topic, one.wire_key(), one.raw or b"", one.wire_headers()))
            except Rejected as exc:
                _log.error("dead_letter_refused", topic=topic, source=str(letter.source), reason=exc.reason, detail=exc.detail)
        return True  # not even where it lies is taken: the log has that

    async def _answer(self, asked: Asked, attempt: int) -> bool:
        """Deltas while the answer is made, then the final event."""
        deadline = self._deadline(asked.request)
        deltas = DeltaSender(partial(self._send_delta, asked.reply_to), attempt)
        try:
            final = await self._final(asked.request, deadline, deltas)
            await deltas.finish(DELTA_GRACE_S)
            return await self._reply(deltas.numbered(final), asked.reply_to)
        except Exception as exc:
            # Without an answer it would never be acknowledged, nor would any query behind it.
            _log.error("query_crashed", query_id=asked.request.query_id, exc_info=exc)
        await deltas.finish(DELTA_GRACE_S)
        return await self._reply(deltas.numbered(self._crashed(asked.request, deltas.last_attempt + 1)), asked.reply_to)

    def _crashed(self, request: QueryRequest, attempt: int) -> AnswerEvent:
        final = self._refused(request, "failed", "internal_error", _UNEXPECTED)
        return final.model_copy(update={"attempt": attempt, "answered_at": from_ms(self._now_ms())})

    async def _final(self, asked: QueryRequest, deadline: Deadline, deltas: DeltaSender) -> AnswerEvent:
        try:
            request = await self._signed(asked)
        except Rejected as exc:
            return self._refused(asked, "rejected", exc.reason, exc.detail)
        except Retryable as exc:
            return self._refused(asked, "failed", "unavailable", str(exc))
        return await self._pipeline.answer(request, deadline, deltas)

    def _refused(self, request: QueryRequest, outcome: Outcome, reason: str, error: str) -> AnswerEvent:
        """A final event for a request that the pipeline gave none, counted."""
        final = self._stated(AnswerEvent(query_id=request.query_id, outcome=outcome, error=error, reason=reason))
        self._metrics.answered(final, 0.0, {})
        return final

    def _stated(self, refusal: AnswerEvent) -> AnswerEvent:
        """A final event that the pipeline had no part in, with what every answer states."""
        return refusal.model_copy(update={"mode": "static", "as_of": self._pipeline.as_of()})

    async def _send_delta(self, topic: str, delta: AnswerEvent) -> None:
        await self._send(Outgoing(topic, delta.query_id.encode(), delta.to_bytes()))

    async def _signed(self, request: QueryRequest) -> QueryRequest:
        """The request with whom its token names, where it carries one or must. Raises: Rejected, Retryable."""
        is_demanded = self._settings.auth.require_signed_queries
        if request.token is None and not is_demanded:
            return request
        if request.token is None or self._signatures is None:
            reason = "token_missing" if request.token is None else "tokens_not_configured"
            raise Rejected(reason, _TOKEN_PROBLEMS[reason])
        return request.model_copy(update={"principals": await self._signatures.principals(request.token), "token": None})

    def _deadline(self, request: QueryRequest) -> Deadline:
        own_s = (to_ms(request.deadline) - self._now_ms()) / 1000 if request.deadline is not None else None
        return Deadline.of_request(time.monotonic(), self._settings.query.deadline_s, own_s)

    async def _reply(self, answer: AnswerEvent, topic: str) -> bool:
        key = answer.query_id.encode()
        tries = None if topic == self._topics.default else REPLY_TRIES
        try:
            if await self._deliver(Outgoing(topic, key, answer.to_bytes()), tries):
                return True
        except Rejected as exc:
            _log.error("answer_refused", topic=topic, query_id=answer.query_id, reason=exc.reason, detail=exc.detail)
            problem = {
                "outcome": "failed",
                "error": exc.detail,
                "reason": exc.reason,
                "text": "",
                "citations": (),
                "explanation": None,
            }
            answer = answer.model_copy(update=problem)
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
