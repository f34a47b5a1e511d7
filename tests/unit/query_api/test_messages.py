"""Reading what comes in on `rag.queries`."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.messages import MAX_LETTER_BYTES, Asked, QueryMessage, Refused, ReplyTopics, read
from schemas.index import SourcePosition
from schemas.queries import QueryRequest

TOPICS = ReplyTopics("answers", ("answers.team",))


def message(value: bytes | None, key: bytes | None = None) -> QueryMessage:
    return QueryMessage("queries", SourcePosition(1, 7), key, value, (("trace", b"t"),), 1_000)


def ask(**over: object) -> bytes:
    return json.dumps({"query_id": "q1", "question": "why?", **over}).encode()


def test_a_request_is_answered_on_the_default_topic() -> None:
    """Without `reply_to` answers go to the answers topic."""
    asked = read(message(ask()), TOPICS, 5)
    assert asked == Asked(QueryRequest(query_id="q1", question="why?"), "answers")


def test_an_allowed_reply_topic_is_used() -> None:
    """The operator's list decides."""
    asked = read(message(ask(reply_to="answers.team")), TOPICS, 5)
    assert asked.reply_to == "answers.team"


def test_another_reply_topic_is_rejected_with_the_remedy() -> None:
    """Answers are not written to any topic that somebody names; the asker reads why on the default one."""
    refused = read(message(ask(reply_to="rag.documents")), TOPICS, 5)
    assert isinstance(refused, Refused)
    assert refused.dead_letter is None
    assert refused.reply_to == "answers"
    assert refused.answer is not None
    assert (refused.answer.outcome, refused.answer.reason) == ("rejected", "reply_topic_not_allowed")
    assert "RAG_QUERY__REPLY_TOPICS" in (refused.answer.error or "")


@pytest.mark.parametrize(
    ("value", "key", "reason", "query_id"),
    [
        (b"not json", b"q9", "not_json", "q9"),
        (ask(acls=[]), None, "invalid", "q1"),
        (b'{"query_id": "q2"}', b"other", "invalid", "q2"),
        (ask(schema_version=2), None, "unknown_schema_version", "q1"),
        (None, b"q3", "not_json", "q3"),
        (b"\xff\xfe", b"", "not_json", None),
        (b"[1]", None, "invalid", None),
    ],
    ids=["not-json", "unknown-field", "no-question", "newer-schema", "null", "garbage", "list"],
)
def test_what_is_no_request_becomes_a_dead_letter(
    value: bytes | None, key: bytes | None, reason: str, query_id: str | None
) -> None:
    """Raw bytes, source and reason are kept; whoever can be told is told."""
    refused = read(message(value, key), TOPICS, 5)
    assert isinstance(refused, Refused)
    letter = refused.dead_letter
    assert letter is not None
    assert (letter.reason, letter.raw, letter.source, letter.failed_at_ms) == (reason, value, SourcePosition(1, 7), 5)
    assert letter.headers == (("trace", b"t"),)
    assert (refused.answer.query_id if refused.answer else None) == query_id


@given(st.one_of(st.none(), st.binary(max_size=80)), st.one_of(st.none(), st.binary(max_size=20)))
def test_any_bytes_end_somewhere(value: bytes | None, key: bytes | None) -> None:
    """Whatever comes, there is a request, a dead letter or an answer."""
    outcome = read(message(value, key), TOPICS, 5)
    assert isinstance(outcome, Asked) or outcome.dead_letter is not None or outcome.answer is not None


@pytest.mark.parametrize(
    ("size", "letter_bytes"), [(100_000_000, MAX_LETTER_BYTES), (9_900, 10_000)], ids=["the largest", "the smallest"]
)
def test_a_message_that_grew_when_it_was_unpacked_is_not_repeated(size: int, letter_bytes: int) -> None:
    """Its dead letter must fit into a message; it says where the other is."""
    refused = read(message(b" " * size, b"q1"), TOPICS, 5, letter_bytes)
    assert isinstance(refused, Refused) and refused.dead_letter is not None
    letter = refused.dead_letter
    assert (letter.raw, letter.is_complete, letter.source) == (None, False, SourcePosition(1, 7))
    assert letter.size <= letter_bytes
