"""Redis away, silent, slow, full: answers are the same; what workers share of earlier ones is missing, and that is said."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from tests.e2e.degradation.ground import QUESTIONS, Calls, Crowd, Ground, Heard, Reading, reading
from tests.waiting import wait_until

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


def test_a_user_of_redis_needs_no_more_than_the_page_says(small_ground: Ground, tmp_path: Path) -> None:
    """docs/answer-cache.md's keys and commands are enough, and there are no other keys."""
    page = (Path(__file__).parents[3] / "docs" / "answer-cache.md").read_text()
    (rights,) = re.findall(r"^ACL SETUSER ragstream (.+)$", page, re.MULTILINE)
    keys = re.findall(r"^\| `(rag:[^`]+)` \|", page, re.MULTILINE)
    settings = small_ground.settings(tmp_path)
    url = settings.redis.url.get_secret_value().replace("//", "//ragstream:secret@") if settings.redis.url else ""
    restricted = settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": SecretStr(url)})})
    with redis.Redis.from_url(small_ground.redis.url) as client:
        client.execute_command("ACL", "SETUSER", "ragstream", *rights.split())
        try:
            client.flushall()
            with reading(restricted, small_ground.where) as asked:
                asked.wait_normal()
                asked.ask(QUESTIONS[3], cache="use", query_id="twice")
                asked.ask(QUESTIONS[3], cache="use", query_id="twice")
                wait_until(lambda: client.exists("rag:answers:g1"), within_s=5, what="the answer to be shared")
                asked.service.path._bar("an-entry")
                wait_until(lambda: client.exists("rag:bars"), within_s=5, what="the bar to be shared")
                wait_until(lambda: any(client.scan_iter("rag:asked:*")), within_s=5, what="the asker to be noted")
                found = {key.decode() for key in client.scan_iter()}
                assert asked.metric("rag_query_redis_failures_total", what="refused") == 0
                assert asked.metric("rag_query_redis_failures_total", what="away") == 0
        finally:
            client.execute_command("ACL", "DELUSER", "ragstream")
    patterns = [re.compile(re.sub(r"<\w+>", r"[0-9a-z-]+", key)) for key in keys]
    assert all(any(pattern.fullmatch(key) for pattern in patterns) for key in found), found
    assert all(any(pattern.fullmatch(key) for key in found) for pattern in patterns), found
