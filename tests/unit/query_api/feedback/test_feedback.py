"""A thumbs-down counts only from whoever asked; everything else is counted and changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import pytest
from prometheus_client import CollectorRegistry

from connectors.kafka import Record
from connectors.redis import MemoryStore
from query_api.feedback import Asked, AskedLog, FeedbackMetrics, FeedbackReader, Noting
from query_api.feedback.asked import Unmatched
from query_api.feedback.noting import MOST_WAITING
from schemas.errors import DataLoss, Misconfigured, Retryable
from schemas.feedback import Feedback
from tests.waiting import wait_until


class Topic:
    """A follower over what a test appends; away at first if told so."""

    def __init__(self, *, away: int = 0) -> None:
        self.records: list[Record] = []
        self.away = away
        self.closed = 0
        self.read = 0
        self.opened_at: list[Mapping[int, int] | None] = []
        self.failures: list[Exception] = []

    def open(self, positions: Mapping[int, int] | None) -> Topic:
        self.opened_at.append(positions)
        if self.away:
            self.away -= 1
            raise Retryable("Kafka is away")
        return self

    def poll(self, timeout_s: float) -> list[Record]:
        if self.failures:
            raise self.failures.pop(0)
        taken, self.records = self.records, []
        self.read += len(taken)
        return taken

    def positions(self) -> dict[int, int]:
        return {0: self.read}

    def close(self) -> None:
        self.closed += 1


def message(query_id: str = "q1", principal: str | None = "user:maya", rating: str = "down") -> bytes:
    return Feedback.model_validate({"query_id": query_id, "principal": principal, "rating": rating}).model_dump_json().encode()


def make(topic: Topic | None = None) -> tuple[AskedLog, FeedbackReader, list[str]]:
    asked, barred = AskedLog(MemoryStore(), 60), list[str]()
    return asked, FeedbackReader((topic or Topic()).open, asked, barred.append, FeedbackMetrics(CollectorRegistry())), barred


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (message(), "down"),
        (message(rating="up"), "up"),
        (message(principal="user:tom"), "foreign"),
        (message(principal=None), "foreign"),
        (message(principal="group:hr"), "foreign"),
        (message("q9"), "unknown"),
        (b"{", "undecodable"),
        (None, "undecodable"),
    ],
)
def test_what_becomes_of_it(raw: bytes | None, outcome: str) -> None:
    """Only a thumbs-down of the asker takes the answer out; a member of one of its groups is not the asker."""
    asked, reader, barred = make()
    asked.note("q1", ("user:maya", "group:hr"), "entry-1")
    assert reader.take(raw) == outcome
    assert barred == (["entry-1"] if outcome == "down" else [])


def test_an_anonymous_question_takes_anonymous_feedback() -> None:
    """And nobody else's."""
    asked, reader, barred = make()
    asked.note("q1", (), "entry-1")
    assert [reader.take(message()), reader.take(message(principal=None))] == ["foreign", "down"]
    assert barred == ["entry-1"]


def test_an_answer_that_was_not_remembered_is_counted_only() -> None:
    """There is nothing to take out."""
    asked, reader, barred = make()
    asked.note("q1", ("user:maya",), None)
    assert reader.take(message()) == "down_not_cached"
    assert barred == []


def test_two_askers_may_choose_the_same_query_id() -> None:
    """Neither takes the other's place."""
    asked, reader, barred = make()
    asked.note("q1", ("user:maya",), "hers")
    asked.note("q1", ("user:tom",), "his")
    assert reader.take(message()) == "down"
    assert barred == ["hers"]


def test_the_reader_waits_for_kafka_and_ends_when_told() -> None:
    """An outage at the start is no end."""
    topic = Topic(away=1)
    asked, reader, barred = make(topic)
    asked.note("q1", ("user:maya",), "entry-1")
    topic.records.append(Record("rag.feedback", 0, 0, 0, b"q1", message()))
    reader.start()
    wait_until(lambda: barred == ["entry-1"], within_s=10, what="the feedback to be applied")
    reader.stop()
    assert topic.closed == 1


def test_feedback_is_read_on_where_it_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said while Kafka was away, or the reader had failed, counts; only what is lost is passed over."""
    monkeypatch.setattr("query_api.feedback.reader.LATER_S", 0.1)
    topic = Topic()
    asked, reader, barred = make(topic)
    asked.note("q1", ("user:maya",), "entry-1")
    reader.start()
    for number, failure in enumerate(
        (Retryable("away"), RuntimeError("a defect"), Misconfigured("forbidden"), DataLoss("dropped")), start=1
    ):
        topic.records.append(Record("rag.feedback", 0, 0, 0, b"q1", message()))
        wait_until(lambda number=number: len(barred) == number, within_s=10, what="the feedback to be applied")  # type: ignore[misc]
        topic.failures.append(failure)
        wait_until(lambda number=number: len(topic.opened_at) == number + 1, within_s=10, what="another try")  # type: ignore[misc]
    reader.stop()
    assert topic.opened_at == [None, {0: 1}, {0: 2}, {0: 3}, None]


@pytest.mark.parametrize(
    ("before", "given_up_as"), [((), "unknown"), (("late", "never"), "foreign")], ids=["an id of its own", "somebody else's id"]
)
def test_feedback_may_come_before_its_asker_is_noted(before: tuple[str, ...], given_up_as: str) -> None:
    """Answers don't wait for the note: what doesn't count yet is looked at once more, then counted as what it is."""
    topic, registry = Topic(), CollectorRegistry()
    asked, barred = AskedLog(MemoryStore(), 60), list[str]()
    reader = FeedbackReader(topic.open, asked, barred.append, FeedbackMetrics(registry))
    for query_id in before:
        asked.note(query_id, ("user:tom",), "his")
    topic.records += [Record("rag.feedback", 0, n, 0, b"q", message(name)) for n, name in enumerate(("late", "never"))]
    reader.start()
    wait_until(lambda: not topic.records, within_s=10, what="the feedback to be read")
    asked.note("late", ("user:maya",), "entry-1")
    wait_until(lambda: barred == ["entry-1"], within_s=10, what="the feedback to be applied")

    def counted(outcome: str) -> float | None:
        return registry.get_sample_value("rag_query_feedback_total", {"outcome": outcome})

    wait_until(lambda: counted(given_up_as) == 1, within_s=10, what="the other one to be given up")
    reader.stop()
    assert counted("down") == 1


def test_no_half_of_a_note_makes_its_asker_somebody_else() -> None:
    """Whatever of a note is written so far: its asker's feedback counts, or may be waited for as nobody's."""
    found: list[Asked | Unmatched] = []

    class Watched(MemoryStore):
        """Asks after each write."""

        def put(self, key: str, value: bytes, ttl_s: float) -> bool:
            super().put(key, value, ttl_s)
            found.append(asked.find("q1", "user:maya"))
            return True

    asked = AskedLog(Watched(), 60)
    asked.note("q1", ("user:anna", "user:maya"), "entry-1")
    assert found[-1] == Asked("entry-1")
    assert Unmatched.FOREIGN not in found


def test_askers_are_noted_without_waiting_for_the_store() -> None:
    """A store that hangs holds up nobody; beyond what may wait, notes are dropped and counted; what waits is written."""
    going_on, noted, dropped = threading.Event(), list[str](), list[None]()

    class Hanging(AskedLog):
        def note(self, query_id: str, principals: Iterable[str], entry_id: str | None) -> None:
            going_on.wait(30)
            noted.append(query_id)

    noting = Noting(Hanging(MemoryStore(), 60), lambda: dropped.append(None))
    names = [f"q{n}" for n in range(MOST_WAITING)]
    for name in names:
        noting.note(name, ("user:maya",), None)
    noting.note("one too many", ("user:maya",), None)
    assert (noted, len(dropped)) == ([], 1)
    going_on.set()
    noting.close()
    noting.close()
    assert noted == names
