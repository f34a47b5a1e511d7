"""Redis away, silent, slow, full: answers are the same; what workers share of earlier ones is missing, and that is said."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
import redis

from tests.e2e.degradation.ground import QUESTIONS, Calls, Crowd, Ground, Heard, Reading

pytestmark = [pytest.mark.timeout(60), pytest.mark.redis]

AWAY = ("memory_away",)
NOTICED_WITHIN_S = 5.0


def forgetful(heard: Heard) -> bool:
    """A whole answer that says what is missing."""
    event = heard.event
    return event.outcome == "answered" and event.mode in ("hybrid", "cached") and event.degraded == AWAY


def kill(ground: Ground) -> None:
    ground.redis.kill()


def pause(ground: Ground) -> None:
    ground.redis.pause()


def refuse(ground: Ground) -> None:
    ground.to_redis.refuse()


def slow(ground: Ground) -> None:
    ground.to_redis.slow(ground.stack.settings.redis.timeout_s)


@pytest.mark.parametrize("harm", [kill, pause, refuse, slow])
def test_away(small_ground: Ground, small_asked: Reading, harm: Callable[[Ground], None]) -> None:
    """Same answers, hardly slower, and said; afterwards nothing is missing."""
    before = small_asked.metric("rag_query_redis_failures_total", what="away")
    with Crowd(small_asked) as crowd:
        crowd.wait_normal()
        usual_s = statistics.median(heard.took_s for heard in crowd.heard)
        harm(small_ground)
        first = crowd.wait_for(forgetful, NOTICED_WITHIN_S, "an answer that says that memory is away")
        crowd.wait_for(lambda heard: heard.asked_at > first.asked_at + 0.5, 5, "some answers more")
        away = crowd.since(first.asked_at)
        assert all(map(forgetful, away)), Calls(away)
        small_ground.heal()
        crowd.wait_normal()
    assert statistics.median(heard.took_s for heard in away) < usual_s + small_asked.settings.redis.timeout_s
    assert small_asked.metric("rag_query_redis_failures_total", what="away") > before


def test_answers_that_this_process_remembers_are_used_still(small_ground: Ground, small_asked: Reading) -> None:
    """The cache is in the process too: Redis only carries it to others."""
    small_ground.redis.kill()
    small_asked.ask(QUESTIONS[1], cache="use")
    found = small_asked.ask(QUESTIONS[1], cache="use")
    assert (found.event.mode, found.event.degraded) == ("cached", AWAY)


def test_repeats_are_known_again_afterwards(small_ground: Ground, small_asked: Reading) -> None:
    """What was answered while Redis was away is answered anew; after its return a query sent twice gets one answer."""
    small_ground.redis.pause()
    first = small_asked.ask(QUESTIONS[2], query_id="while-away")
    small_ground.redis.resume()
    small_asked.wait_normal(10)
    again = small_asked.ask(QUESTIONS[2], query_id="while-away")
    assert again.event.answered_at != first.event.answered_at
    once = small_asked.ask(QUESTIONS[2], query_id="afterwards")
    searched = small_asked.metric("rag_query_step_seconds_count", step="retrieve")
    twice = small_asked.ask(QUESTIONS[2], query_id="afterwards")
    assert searched
    assert small_asked.metric("rag_query_step_seconds_count", step="retrieve") == searched, "it was not the same answer"
    assert twice.event.text == once.event.text


def test_full(small_ground: Ground, small_asked: Reading) -> None:
    """A Redis that takes nothing more answers, so it is not away: answers lack nothing, and the refusals are counted."""
    before = small_asked.metric("rag_query_redis_failures_total", what="refused")
    with redis.Redis.from_url(small_ground.redis.url) as client:
        client.config_set("maxmemory", "1")
        with Crowd(small_asked) as crowd:
            crowd.wait_for(lambda _: small_asked.metric("rag_query_redis_failures_total", what="refused") > before, 5, "refusals")
        client.config_set("maxmemory", "0")
    assert all(heard.is_normal for heard in crowd.heard), Calls(crowd.heard)
