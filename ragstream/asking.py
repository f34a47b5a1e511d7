"""Asks one question through the log, as any service would: a request on `rag.queries`, its final event on `rag.answers`."""

from __future__ import annotations

import time
import uuid
from typing import Final

from connectors.kafka import KafkaLink, OutRecord, Producer, TopicFollower, partitions_of
from schemas.errors import Rejected, Retryable
from schemas.queries import AnswerEvent, QueryRequest
from schemas.settings import Settings
from schemas.wire import from_ms

POLL_S: Final = 0.25
GRACE_S: Final = 2.0
"""An answer that says it came too late is still an answer: how long beyond the deadline it is waited for."""


def ask(settings: Settings, link: KafkaLink, request: QueryRequest, timeout_s: float) -> AnswerEvent:
    """Send `request` and wait for its final event.

    A deadline of `timeout_s` is put in where the request has none. It covers the wait for the question's turn, too; the work on
    it takes what query workers allow at most. Raises: Retryable, when no answer has come by then.
    """
    give_up = time.monotonic() + timeout_s + GRACE_S
    if request.deadline is None:
        request = request.model_copy(update={"deadline": from_ms(time.time_ns() // 1_000_000 + round(timeout_s * 1000))})
    answers = request.reply_to or settings.kafka.topics.answers
    follower = _at_the_ends(link, answers, link.kafka.request_timeout_s)
    producer = Producer(link)
    try:
        value = request.model_dump_json(exclude_unset=True).encode()
        query_id = request.query_id.encode()
        producer.send_and_wait(OutRecord(settings.kafka.topics.queries, query_id, value), timeout_s)
        answer = _final(follower, query_id, give_up)
    finally:
        follower.close()
        producer.close()
    if answer is None:
        msg = (
            f"no answer to {request.query_id} on {answers} in {timeout_s:g} s: is a query worker running (`ragstream status`)? "
            "If one is, others are before this question: try again, or wait longer with --timeout"
        )
        raise Retryable(msg)
    return answer


def new_query_id() -> str:
    """A name for a question that nobody else uses."""
    return uuid.uuid4().hex


def _at_the_ends(link: KafkaLink, topic: str, timeout_s: float) -> TopicFollower:
    """A reader of what is written from now on. The request goes out after this, so its answer can't be missed."""
    partitions = partitions_of(link, topic, timeout_s)
    asker = TopicFollower(link, topic, dict.fromkeys(partitions, 0))
    try:
        return TopicFollower(link, topic, asker.ends(timeout_s))
    finally:
        asker.close()


def _final(follower: TopicFollower, query_id: bytes, give_up: float) -> AnswerEvent | None:
    while (left := give_up - time.monotonic()) > 0:
        for record in follower.poll(min(POLL_S, left)):
            if record.key != query_id or record.value is None:
                continue
            try:
                event = AnswerEvent.from_bytes(record.value)
            except Rejected:
                # Others may write to this topic; only what names this question and is an answer counts.
                continue
            if event.query_id.encode() == query_id and event.kind == "final":
                return event
    return None
