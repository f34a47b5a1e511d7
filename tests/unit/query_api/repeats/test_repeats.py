"""The same request of the same caller gets the same final event; anything else is another request."""

from __future__ import annotations

import asyncio

import pytest

from connectors.redis import Held, MemoryStore
from query_api.repeats import Repeated, Repeats
from query_api.repeats.repeats import from_bytes, key_of
from schemas.queries import AnswerEvent, QueryRequest
from tests.unit.query_api.cache.making import evidence

REQUEST = QueryRequest(query_id="q1", question="How?", principals=("user:maya",))
EVENT = AnswerEvent(query_id="q1", outcome="answered", text="So. [1]")


def changed(**over: object) -> QueryRequest:
    return QueryRequest.model_validate(REQUEST.model_dump(mode="json") | over)


def test_a_repeated_request_is_known_with_its_evidence() -> None:
    """Access is looked at again by whoever asks for it: the evidence comes along."""

    async def scene() -> None:
        repeats = Repeats(MemoryStore(), 60)
        await repeats.remember(REQUEST, EVENT, (evidence("a"),))
        known = await repeats.recall(REQUEST)
        assert known is not None
        assert known == Repeated(EVENT, (evidence("a"),), age_s=known.age_s)

    asyncio.run(scene())


def test_its_age_is_the_stores_and_what_passed_before_that_kept_it() -> None:
    """By one clock for all workers, whatever they are told to keep it for."""

    async def scene() -> None:
        passed_s, own_s = [0.0], iter([10.0, 12.5])  # made; written
        store = MemoryStore(clock=lambda: passed_s[0])
        await Repeats(store, 60, clock=lambda: next(own_s)).remember(REQUEST, EVENT, ())
        passed_s[0] = 30.0
        known = await Repeats(store, 20).recall(REQUEST)
        assert known is not None
        assert known.age_s == pytest.approx(32.5)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "over",
    [
        {"principals": ["user:tom"]},
        {"principals": []},
        {"query_id": "q2"},
        {"question": "Why?"},
        {"indexes": ["hr"]},
        {"filters": {"a": 1}},
    ],
    ids=str,
)
def test_another_request_is_another(over: dict[str, object]) -> None:
    """Above all another caller's, with the same query_id."""
    assert key_of(changed(**over)) != key_of(REQUEST)


@pytest.mark.parametrize("over", [{"stream": False}, {"deadline": "2030-01-01T00:00:00Z"}], ids=str)
def test_how_it_is_delivered_is_not_what_is_asked(over: dict[str, object]) -> None:
    """A caller that retries with a new deadline retries the same request."""
    assert key_of(changed(**over)) == key_of(REQUEST)


@pytest.mark.parametrize("outcome", ["failed", "expired", "rejected"])
def test_what_may_pass_is_not_kept(outcome: str) -> None:
    """A retry is tried."""

    async def scene() -> None:
        repeats = Repeats(MemoryStore(), 60)
        await repeats.remember(REQUEST, EVENT.model_copy(update={"outcome": outcome}), ())
        assert await repeats.recall(REQUEST) is None

    asyncio.run(scene())


def test_the_second_waits_for_the_first() -> None:
    """And then finds its answer; nothing is left behind."""

    async def scene() -> None:
        repeats, made = Repeats(MemoryStore(), 60), 0

        async def ask() -> AnswerEvent:
            nonlocal made
            async with repeats.turn(REQUEST):
                known = await repeats.recall(REQUEST)
                if known is not None:
                    return known.event
                made += 1
                await asyncio.sleep(0)
                await repeats.remember(REQUEST, EVENT, ())
                return EVENT

        assert list(await asyncio.gather(ask(), ask(), ask())) == [EVENT] * 3
        assert made == 1 and not repeats._turns

    asyncio.run(scene())


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"format": 9}', b'{"format": 2, "event": "x", "evidence": [], "ttl_s": 60}'])
def test_other_bytes_are_refused(raw: bytes) -> None:
    """And so counted, not raised at a caller."""
    with pytest.raises(ValueError, match=r"."):
        from_bytes(Held(raw, 60))
    told: list[str] = []
    store = MemoryStore()
    store.put(key_of(REQUEST), raw, 60)
    assert asyncio.run(Repeats(store, 60, told.append).recall(REQUEST)) is None
    assert told == ["undecodable"]
