"""A message of `rag.queries` as a request, or as what must be said of one that is none. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.dead_letters import DeadLetter
from schemas.errors import Rejected
from schemas.index import SourcePosition
from schemas.queries import AnswerEvent, QueryId, QueryRequest
from schemas.wire import parse

_QUERY_ID: Final[TypeAdapter[str]] = TypeAdapter(QueryId)

MAX_LETTER_BYTES: Final = 512 * 1024
"""Beyond that a dead letter only says where the message is. A request is far smaller; but what a producer's compression let
through may be larger than any message once unpacked, and a dead letter that can't be sent would hold up the questions behind it.
"""


class QueryMessage(NamedTuple):
    """A Kafka message as it came."""

    topic: str
    source: SourcePosition
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class Asked(NamedTuple):
    """A request, and the topic its answer goes to."""

    request: QueryRequest
    reply_to: str


class Refused(NamedTuple):
    """No request: at least one of a dead letter and an answer that says why."""

    dead_letter: DeadLetter | None
    answer: AnswerEvent | None
    reply_to: str


class ReplyTopics(NamedTuple):
    """Where answers may go: the default, and what an operator allows besides."""

    default: str
    allowed: Collection[str] = ()

    def permits(self, topic: object) -> bool:
        return topic == self.default or topic in self.allowed


def read(message: QueryMessage, topics: ReplyTopics, now_ms: int, letter_bytes: int = MAX_LETTER_BYTES) -> Asked | Refused:
    """What `message` asks. Never raises, whatever the bytes are. A dead letter has at most `letter_bytes`."""
    try:
        request = parse(QueryRequest, message.value or b"")
    except Rejected as problem:
        letter = dead_letter(message, problem, now_ms).fitting(letter_bytes)
        query_id, reply_to = _salvaged(message, topics)
        return Refused(letter, _rejection(query_id, problem) if query_id else None, reply_to)
    if request.reply_to is None or topics.permits(request.reply_to):
        return Asked(request, request.reply_to or topics.default)
    refusal = Rejected(
        "reply_topic_not_allowed",
        f"reply_to {request.reply_to!r} is not allowed; an operator allows it with RAG_QUERY__REPLY_TOPICS",
    )
    return Refused(None, _rejection(request.query_id, refusal), topics.default)


def _rejection(query_id: str, problem: Rejected) -> AnswerEvent:
    return AnswerEvent(query_id=query_id, outcome="rejected", error=problem.detail, reason=problem.reason)


def dead_letter(message: QueryMessage, problem: Rejected, now_ms: int) -> DeadLetter:
    """All of `message`, and what is wrong with it."""
    return DeadLetter(
        reason=problem.reason,
        detail=problem.detail,
        topic=message.topic,
        source=message.source,
        raw=message.value,
        key=message.key,
        timestamp_ms=message.timestamp_ms,
        failed_at_ms=now_ms,
        headers=message.headers,
    )


def _salvaged(message: QueryMessage, topics: ReplyTopics) -> tuple[str | None, str]:
    """The query's id and reply topic, if what came holds them; the key is the id by contract."""
    fields = _json_object(message.value)
    reply_to = fields.get("reply_to")
    topic = str(reply_to) if isinstance(reply_to, str) and topics.permits(reply_to) else topics.default
    for candidate in (fields.get("query_id"), (message.key or b"").decode(errors="replace")):
        try:
            return _QUERY_ID.validate_python(candidate, strict=True), topic
        except ValidationError:
            continue
    return None, topic


def _json_object(raw: bytes | None) -> dict[str, Any]:
    try:
        value = orjson.loads(raw or b"null")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
