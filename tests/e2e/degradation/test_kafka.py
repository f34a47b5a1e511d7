"""Kafka away: HTTP answers from the view, ever older and saying so; beyond `max_access_lag` only what is everybody's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.kafka import KafkaLink, OutRecord, Producer, TopicFollower, partitions_of
from query_api.app import SESSION_TIMEOUT_S
from schemas.queries import AnswerEvent, QueryRequest
from tests.e2e.degradation.ground import (
    MAX_ACCESS_LAG_S,
    NORMAL_WITHIN_S,
    QUESTIONS,
    SECRET,
    Calls,
    Chronicle,
    Crowd,
    Heard,
    Reading,
    RealGround,
    bring_back,
    question,
    reading,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.kafka, pytest.mark.milvus, pytest.mark.redis]

FRESH_S = 1.5
LONG_S = SESSION_TIMEOUT_S + 5


class Correspondent:
    """Asks through rag.queries and reads rag.answers."""

    def __init__(self, ground: RealGround) -> None:
        topics = ground.stack.settings.kafka.topics
        self._queries = topics.queries
        self._link: KafkaLink = ground.stack.link
        self._producer = Producer(self._link)
        places = dict.fromkeys(partitions_of(self._link, topics.answers), 0)
        self._answers = TopicFollower(self._link, topics.answers, places)
        self.finals: dict[str, AnswerEvent] = {}

    def ask(self, query_id: str, asked: str) -> None:
        """Queued in this client while Kafka is away, as any producer does."""
        request = QueryRequest(query_id=query_id, question=asked, cache="off")
        self._producer.send(OutRecord(self._queries, query_id.encode(), request.model_dump_json(exclude_unset=True).encode()))

    def answered(self, *query_ids: str) -> Callable[[], bool]:
        def has() -> bool:
            for record in self._answers.poll(0.05):
                event = AnswerEvent.from_bytes(record.value or b"")
                if event.kind == "final":
                    self.finals[event.query_id] = event
            return set(query_ids) <= self.finals.keys()

        return has

    def close(self) -> None:
        self._producer.close()
        self._answers.close()


@contextmanager
def corresponding(ground: RealGround) -> Iterator[Correspondent]:
    made = Correspondent(ground)
    try:
        yield made
    finally:
        made.close()


def narrowed(heard: Heard) -> bool:
    """What may be restricted is left out, and it is said."""
    return heard.event.outcome == "answered" and heard.event.degraded == ("access_lag",) and heard.event.mode == "hybrid"


def fresh(heard: Heard) -> bool:
    return heard.is_normal and heard.lag_s < FRESH_S


@pytest.mark.parametrize("harm", ["killed", "killed for long", "paused"])
def test_away(ground: RealGround, asked: Reading, harm: str) -> None:
    """Answers go on with a lag that grows by the second; then restricted documents go; all of it is back within 10 s."""
    with ground.stack.ingesting(), Chronicle(ground.stack, asked), Crowd(asked) as crowd, corresponding(ground) as letters:
        letters.ask("before", QUESTIONS[0])
        wait_until(letters.answered("before"), within_s=60, what="an answer through Kafka")
        crowd.wait_for(fresh, 30, "a fresh answer")
        assert asked.ask(question(SECRET), as_staff=True).event.citations[0].doc_id == SECRET[0]
        began = time.monotonic()
        (ground.kafka.pause if harm == "paused" else ground.kafka.kill)()
        letters.ask("meanwhile", QUESTIONS[1])
        aging = crowd.wait_for(lambda heard: heard.lag_s > FRESH_S, 5, "an older answer")
        assert aging.is_normal
        crowd.wait_for(narrowed, MAX_ACCESS_LAG_S + 5, "answers from what is everybody's alone")
        hidden = asked.ask(question(SECRET), as_staff=True).event
        assert all(citation.doc_id != SECRET[0] for citation in hidden.citations)
        assert "access_lag" in hidden.degraded
        for heard in crowd.since(began):
            # Half a second: probes are taken five times a second, and the last one may have been on its way.
            assert heard.lag_s > heard.asked_at - began - 0.5, heard
            assert heard.is_normal or narrowed(heard), Calls([heard])
        if harm == "killed for long":
            wait_until(lambda: time.monotonic() > began + LONG_S, within_s=LONG_S + 5, what="the group to forget its member")
        bring_back(ground.kafka)
        back = time.monotonic()
        crowd.wait_for(fresh, NORMAL_WITHIN_S, "a fresh answer that lacks nothing")
        letters.ask("afterwards", QUESTIONS[2])
        left_s = max(0.5, NORMAL_WITHIN_S - (time.monotonic() - back))
        wait_until(letters.answered("meanwhile", "afterwards"), within_s=left_s, what="answers through Kafka")
        assert asked.ask(question(SECRET), as_staff=True).event.citations[0].doc_id == SECRET[0]
    for event in letters.finals.values():
        assert event.outcome in ("answered", "expired"), event
        assert event.mode is not None
        assert event.as_of is not None


def test_a_start_without_kafka(ground: RealGround, tmp_path: Path) -> None:
    """503 with what is waited for, well-formed like every answer; ready and normal by itself once Kafka is there."""
    ground.kafka.pause()
    try:
        with reading(ground.settings(tmp_path), ground.where) as starting:
            status, told = starting.readiness()
            assert (status, "Kafka" in told) == (503, True), told
            with Crowd(starting) as crowd:
                refused = crowd.wait_for(lambda heard: True, 5, "a refusal")
                assert (refused.status, refused.event.outcome, refused.event.reason) == (503, "failed", "view_not_ready")
                assert refused.event.as_of is not None
                assert refused.event.as_of.reflected_until is None
                assert "Kafka" in (refused.event.error or "")
                ground.kafka.resume()
                crowd.wait_normal()
            assert starting.readiness()[0] == 200
    finally:
        ground.heal()
