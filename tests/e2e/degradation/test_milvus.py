"""Milvus away, silent, slow, refusing: answers from words, at the price of one timeout, and vectors again once it is back."""

from __future__ import annotations

import time

import pytest

from tests.e2e.degradation.ground import (
    NORMAL_WITHIN_S,
    QUESTIONS,
    SEARCH_TIMEOUT_S,
    SECRET,
    Calls,
    Chronicle,
    Crowd,
    Heard,
    Reading,
    RealGround,
    question,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.kafka, pytest.mark.milvus, pytest.mark.redis]

NOTICED_WITHIN_S = 5.0
LOOKED_AT_S = 3.0
"""How long the trouble is watched once it has been noticed."""


def by_words(heard: Heard) -> bool:
    """Answered from the keyword index alone, and said so."""
    event = heard.event
    return event.outcome == "answered" and event.mode == "keyword" and bool(event.citations)


def watched(crowd: Crowd, seconds: float = LOOKED_AT_S) -> list[Heard]:
    """What is answered for a while, from now on."""
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + seconds, within_s=seconds + 5, what="time to pass")
    heard = crowd.since(began)
    assert heard, "nobody was answered"
    return heard


def test_all_is_well(asked: Reading) -> None:
    """What the rows are measured against: both arms, nothing lacking, restricted documents for those who may."""
    assert all(asked.ask(one).is_normal for one in QUESTIONS)
    assert asked.ask(question(SECRET), as_staff=True).event.citations[0].doc_id == SECRET[0]
    assert all(citation.doc_id != SECRET[0] for citation in asked.ask(question(SECRET)).event.citations)


def test_killed(ground: RealGround, asked: Reading) -> None:
    """kill -9: every answer comes from words; nobody waits for vectors; back within 10 s of the server's return."""
    with ground.stack.ingesting(), Chronicle(ground.stack, asked) as chronicle, Crowd(asked) as crowd:
        wait_until(chronicle.shown, within_s=30, what="the count to be shown")
        ground.milvus.kill()
        crowd.wait_for(by_words, NOTICED_WITHIN_S, "an answer from words")
        away = watched(crowd)
        assert all(map(by_words, away)), Calls(away)
        assert {heard.event.degraded for heard in away} == {("vector_unavailable",)}, Calls(away)
        ground.milvus.start()
        ground.milvus.wait_loaded(ground.stack.settings.collection("docs"))
        crowd.wait_normal()
        missed = chronicle.last
        wait_until(lambda: chronicle.shown() >= missed, within_s=30, what="what was written meanwhile to be shown")


def test_paused(ground: RealGround, asked: Reading) -> None:
    """SIGSTOP: connections stay and nothing answers. Soon nobody pays the timeout for it any more."""
    with Crowd(asked) as crowd:
        ground.milvus.pause()
        crowd.wait_for(by_words, NOTICED_WITHIN_S, "an answer from words")
        away = watched(crowd, 2.0)
        assert all(map(by_words, away)), Calls(away)
        ground.milvus.resume()
        crowd.wait_normal()
    assert sum(heard.took_s < SEARCH_TIMEOUT_S for heard in away) > len(away) / 2, [heard.took_s for heard in away]


def test_silent_for_long_with_many_asking(ground: RealGround, asked: Reading) -> None:
    """The network swallows everything for longer than any timeout while 40 people ask: threads are not used up."""
    with ground.stack.ingesting(), Chronicle(ground.stack, asked), Crowd(asked, callers=40) as crowd:
        ground.to_milvus.swallow()
        crowd.wait_for(by_words, NOTICED_WITHIN_S, "an answer from words")
        away = watched(crowd, 8.0)
        assert all(map(by_words, away)), Calls(away)
        assert sorted(heard.took_s for heard in away)[len(away) // 2] < SEARCH_TIMEOUT_S
        ground.to_milvus.heal()
        crowd.wait_normal()


def test_slow_beyond_patience(ground: RealGround, asked: Reading) -> None:
    """Answers that would come too late are not waited for; a latency that fits the timeout costs time and nothing else."""
    with Crowd(asked) as crowd:
        ground.to_milvus.slow(SEARCH_TIMEOUT_S / 8)
        assert all(heard.is_normal for heard in watched(crowd)[1:])
        ground.to_milvus.slow(SEARCH_TIMEOUT_S)
        crowd.wait_for(by_words, NOTICED_WITHIN_S, "an answer from words")
        away = watched(crowd)
        assert all(map(by_words, away)), Calls(away)
        ground.to_milvus.heal()
        crowd.wait_normal()


def test_slow_to_connect_is_no_outage(ground: RealGround, asked: Reading) -> None:
    """Connections cut while the line is slow, but not too slow, are made again over the slow line."""
    with Crowd(asked) as crowd:
        ground.to_milvus.slow(SEARCH_TIMEOUT_S / 4)
        ground.to_milvus.cut()
        crowd.wait_normal()


def test_refusing(ground: RealGround, asked: Reading) -> None:
    """Connections reset, none taken: words, at once; back when the port is."""
    with Crowd(asked) as crowd:
        ground.to_milvus.refuse()
        crowd.wait_for(by_words, NOTICED_WITHIN_S, "an answer from words")
        away = watched(crowd)
        assert all(map(by_words, away)), Calls(away)
        assert sorted(heard.took_s for heard in away)[len(away) // 2] < SEARCH_TIMEOUT_S / 2
        ground.to_milvus.heal()
        crowd.wait_normal()


def test_cut_in_the_middle_of_answers(ground: RealGround, asked: Reading) -> None:
    """Connections that break off again and again; then they hold."""
    with Crowd(asked) as crowd:
        ground.to_milvus.cut_after(100)
        crowd.wait_for(by_words, NOTICED_WITHIN_S, "an answer from words")
        watched(crowd)
        ground.to_milvus.heal()
        crowd.wait_normal()


def test_a_connection_that_nobody_knows_any_more(ground: RealGround, asked: Reading) -> None:
    """After a failover the old connection is silent and no reset ever comes: it is given up and a new one made."""
    with Crowd(asked) as crowd:
        ground.to_milvus.forget()
        crowd.wait_for(by_words, NOTICED_WITHIN_S, "an answer from words")
        crowd.wait_normal(NORMAL_WITHIN_S)


def test_a_collection_that_was_released(ground: RealGround, asked: Reading) -> None:
    """Milvus answers, but refuses to search: the collection is loaded again by whoever finds that out."""
    from pymilvus import MilvusClient  # noqa: PLC0415  two seconds to import

    client = MilvusClient(ground.milvus.uri)
    with Crowd(asked) as crowd:
        client.release_collection(ground.stack.settings.collection("docs"))
        crowd.wait_normal()
    client.close()
