"""Publishing a stream: batches, account, and what is refused on the way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from connectors.kafka import OutRecord
from ragstream.publishing import Problem
from ragstream.publishing.run import BATCH_RECORDS, MAX_PROBLEMS_KEPT, Publisher
from ragstream.publishing.sink import Place, Sink, to_record
from schemas.documents import DocumentChange, InlineText
from schemas.errors import Rejected


class ListSink(Sink):
    """Keeps what it takes; refuses documents of one name, whole requests at a time, as the door does."""

    def __init__(self, max_event_bytes: int = 10_000, refused: bytes = b"") -> None:
        self.max_event_bytes = max_event_bytes
        self.sent: list[OutRecord] = []
        self.requests: list[int] = []
        self._refused = refused

    def send(self, records: Sequence[OutRecord]) -> list[Place]:
        if any(record.key == self._refused for record in records):
            raise Rejected("refused", "not this one")
        self.requests.append(len(records))
        first = len(self.sent)
        self.sent += records
        return [(offset % 2, offset) for offset in range(first, len(self.sent))]

    def close(self) -> None:
        """Nothing to release."""


def upsert(doc_id: str, text: str = "text", **over: object) -> DocumentChange:
    """A change with content."""
    return DocumentChange.model_validate({"op": "upsert", "doc_id": doc_id, "content": InlineText(text=text), **over})


def test_keys_are_the_documents_names() -> None:
    """In UTF-8, as ingest demands."""
    assert to_record(upsert("ä/b"), "t").key == "ä/b".encode()


def test_changes_go_out_in_order_in_batches() -> None:
    """A few hundred at once."""
    sink = ListSink()
    summary = Publisher(sink, "t").publish(upsert(str(n)) for n in range(BATCH_RECORDS + 1))
    assert sink.requests == [BATCH_RECORDS, 1]
    assert [record.key for record in sink.sent] == [b"%d" % n for n in range(BATCH_RECORDS + 1)]
    assert (summary.published, summary.ops, summary.without_acl) == (BATCH_RECORDS + 1, {"upsert": BATCH_RECORDS + 1}, 301)


def test_what_is_too_large_is_reported_and_the_rest_sent() -> None:
    """Before anybody has to refuse it."""
    sink = ListSink(max_event_bytes=1_000)
    summary = Publisher(sink, "t").publish([upsert("a"), upsert("big", "x" * 1_000), upsert("b")])
    assert [record.key for record in sink.sent] == [b"a", b"b"]
    assert [(p.where, p.reason) for p in summary.problems] == [("big", "message_too_large")]


def test_one_that_is_refused_costs_no_other() -> None:
    """The batch is sent again, one by one."""
    sink = ListSink(refused=b"b")
    summary = Publisher(sink, "t").publish([upsert("a"), upsert("b"), upsert("c")])
    assert [record.key for record in sink.sent] == [b"a", b"c"]
    assert (summary.published, summary.problem_count, summary.problems[0].reason) == (2, 1, "refused")


def test_strict_stops_at_the_first_problem_after_sending_what_came_before() -> None:
    """And passes over what is to be passed over."""
    sink = ListSink()
    skip, bad = Problem("x.png", "unknown_format", "", is_skip=True), Problem("x:3", "not_json", "broken")
    with pytest.raises(Rejected, match="x:3"):
        Publisher(sink, "t").publish([upsert("a"), skip, bad, upsert("b")], strict=True)
    assert [record.key for record in sink.sent] == [b"a"]


def test_the_account_of_problems_is_bounded() -> None:
    """All are counted, the first kept; skips are counted by suffix."""
    problems = [Problem(f"x:{n}", "not_json", "broken") for n in range(MAX_PROBLEMS_KEPT + 5)]
    skips = [Problem("a.PNG", "unknown_format", "", is_skip=True), Problem("b.png", "unknown_format", "", is_skip=True)]
    summary = Publisher(ListSink(), "t").publish([*problems, *skips])
    assert (summary.problem_count, len(summary.problems)) == (MAX_PROBLEMS_KEPT + 5, MAX_PROBLEMS_KEPT)
    assert summary.skipped == {".png": 2}


def test_the_last_token_of_each_partition_is_kept() -> None:
    """A lane publishes in order, so whoever waits for these has everything."""
    summary = Publisher(ListSink(), "t", log_id="log").publish(upsert(str(n)) for n in range(5))
    assert [(token.partition, token.offset, token.key.doc_id) for token in summary.tokens.values()] == [(0, 4, "4"), (1, 3, "3")]
    assert not Publisher(ListSink(), "t").publish([upsert("a")]).tokens
