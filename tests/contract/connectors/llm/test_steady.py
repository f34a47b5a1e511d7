"""Retries, breakers and the second endpoint, against real servers that misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from connectors.llm import (
    CircuitBreaker,
    EndpointResting,
    Line,
    ModelFailed,
    ModelInterrupted,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    Patience,
    SteadyChat,
)
from tests.contract.connectors.llm.calls import PATIENT, Seen, endpoint_chat, items, request, until, whole
from tests.contract.connectors.llm.scripted import (
    Behaviour,
    ScriptedEndpoint,
    breaks_after,
    fails,
    never_answers,
    never_ends,
    says,
    scripted,
)

T = TypeVar("T")
EDGY = Patience(first_token_s=0.3, idle_s=0.3)


@dataclass
class Scene:
    """Two endpoints and the model before them."""

    chat: SteadyChat
    seen: Seen
    first: ScriptedEndpoint
    second: ScriptedEndpoint
    breaker: CircuitBreaker
    now: list[float]


@asynccontextmanager
async def scene(
    first: Sequence[Behaviour],
    second: Sequence[Behaviour] | None = None,
    *,
    attempts: int = 3,
    failures: int = 5,
    patience: Patience = PATIENT,
) -> AsyncIterator[Scene]:
    """`second` None: there is no second endpoint. The breaker's clock stands still until `now` is changed."""
    now = [0.0]
    async with scripted(*first) as one, scripted(*(second or ())) as two:
        breakers = [CircuitBreaker(failures, 10.0, lambda: now[0]) for _ in range(2)]
        lines = [Line("primary", endpoint_chat(one.url, patience), breakers[0])]
        if second is not None:
            lines.append(Line("fallback", endpoint_chat(two.url, patience), breakers[1]))
        seen = Seen()
        chat = SteadyChat(lines, attempts, seen)
        yield Scene(chat, seen, one, two, breakers[0], now)
        await chat.close()


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


def test_a_passing_failure_is_tried_again() -> None:
    """500, 500, and then it answers; the ending says how often it took."""

    async def ask() -> None:
        async with scene([fails(500), breaks_after(), says("at last")]) as s:
            text, finish = await whole(s.chat)
            assert (text, finish.retries, finish.is_fallback) == ("at last", 2, False)
            assert s.seen.tries == [("primary", "model_unavailable")] * 2 + [("primary", "ok")]
            assert s.seen.retries == [("primary", "model_unavailable")] * 2
            assert s.seen.first_tokens == ["primary"]

    run(ask)


def test_tries_are_counted() -> None:
    """No more of them than were allowed."""

    async def ask() -> None:
        async with scene([fails(500)] * 9, attempts=3) as s:
            with pytest.raises(ModelUnavailable):
                await items(s.chat)
            assert len(s.first.bodies) == 3

    run(ask)


def test_nothing_is_tried_again_once_text_was_sent() -> None:
    """It can't be unsaid; and no second endpoint goes on with another's sentence."""

    async def ask() -> None:
        async with scene([breaks_after("It costs ")], [says("nothing")]) as s:
            got = []
            with pytest.raises(ModelInterrupted):
                async with aclosing(s.chat.stream(request(), 5.0)) as stream:
                    async for piece in stream:
                        got.append(piece)
            assert got == ["It costs "]
            assert (len(s.first.bodies), len(s.second.bodies)) == (1, 0)
            assert s.seen.tries == [("primary", "model_interrupted")]

    run(ask)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_final_at_its_endpoint(status: int) -> None:
    """Asking again changes nothing; another endpoint may think otherwise."""

    async def ask() -> None:
        async with scene([fails(status)]) as s:
            with pytest.raises(ModelRefused):
                await items(s.chat)
            assert len(s.first.bodies) == 1
        async with scene([fails(status)], [says("welcome")]) as s:
            text, finish = await whole(s.chat)
            assert (text, finish.is_fallback, len(s.first.bodies)) == ("welcome", True, 1)

    run(ask)


def test_a_rate_limit_is_waited_out_where_it_fits() -> None:
    """Retry-After is honoured to the tenth of a second."""

    async def ask() -> None:
        async with scene([fails(429, retry_after="1"), says("now")]) as s:
            began = time.monotonic()
            assert (await whole(s.chat))[0] == "now"
            assert 1.0 <= time.monotonic() - began < 2.5

    run(ask)


def test_a_rate_limit_that_does_not_fit_is_told_at_once() -> None:
    """Nobody waits for what can't come in time."""

    async def ask() -> None:
        async with scene([fails(429, retry_after="30")]) as s:
            began = time.monotonic()
            with pytest.raises(ModelRateLimited) as failed:
                await items(s.chat, timeout_s=5.0)
            assert time.monotonic() - began < 1
            assert failed.value.retry_after_s == 30

    run(ask)


def test_a_second_endpoint_answers_where_the_first_does_not() -> None:
    """And the ending says so."""

    async def ask() -> None:
        async with scene([fails(500)] * 3, [says("instead")]) as s:
            text, finish = await whole(s.chat)
            assert (text, finish.is_fallback, finish.retries) == ("instead", True, 2)

    run(ask)


def test_a_slow_endpoint_leaves_the_second_one_time() -> None:
    """Its silence takes a part of the deadline, not all of it, and isn't waited for twice."""

    async def ask() -> None:
        async with scene([never_answers], [says("instead")]) as s:
            began = time.monotonic()
            assert (await whole(s.chat, timeout_s=2.0))[0] == "instead"
            assert time.monotonic() - began < 1.9
            assert len(s.first.bodies) == 1
            await until(lambda: s.first.hung_up == 1, "the slow endpoint to be let go")

    run(ask)


def test_the_last_failure_is_the_one_told() -> None:
    """When nobody answers."""

    async def ask() -> None:
        async with scene([fails(500)] * 3, [fails(401)]) as s:
            with pytest.raises(ModelRefused):
                await items(s.chat)

    run(ask)


@pytest.mark.parametrize("second", [None, [never_answers] * 9])
@pytest.mark.parametrize("first", [[never_answers] * 9, [fails(500)] * 99, [fails(429, retry_after="1")] * 99, [never_ends]])
@pytest.mark.parametrize("timeout_s", [0.05, 0.7])
def test_the_deadline_is_kept_whatever_happens(first: list[Behaviour], second: list[Behaviour] | None, timeout_s: float) -> None:
    """Tries, pauses and the second endpoint together."""

    async def ask() -> None:
        async with scene(first, second, attempts=50, failures=1000, patience=EDGY) as s:
            began = time.monotonic()
            with pytest.raises(ModelFailed):
                await items(s.chat, request(max_tokens=16_000), timeout_s=timeout_s)
            assert time.monotonic() - began < timeout_s + 0.5

    run(ask)


def test_an_endpoint_that_keeps_failing_is_left_alone_and_tried_by_one() -> None:
    """Open: not asked at all. After a while one query asks, the others don't wait for it."""

    async def ask() -> None:
        async with scene([fails(500)] * 2, [], attempts=1, failures=2) as s:
            for _ in range(4):
                assert (await whole(s.chat))[1].is_fallback
            assert len(s.first.bodies) == 2
            assert not s.breaker.allows()
            s.now[0] = 11.0
            finishes = [finish for _, finish in await asyncio.gather(*(whole(s.chat) for _ in range(5)))]
            assert len(s.first.bodies) == 3
            assert [finish.is_fallback for finish in finishes].count(False) == 1
            assert s.breaker.state == "closed"
            assert ("primary", "open") in s.seen.states
            assert s.seen.states[-1][1] == "closed"

    run(ask)


def test_with_every_breaker_open_nobody_is_asked() -> None:
    """The failure says why."""

    async def ask() -> None:
        async with scene([fails(500)], attempts=1, failures=1) as s:
            with pytest.raises(ModelUnavailable):
                await items(s.chat)
            began = time.monotonic()
            with pytest.raises(EndpointResting):
                await items(s.chat)
            assert time.monotonic() - began < 0.1
            assert len(s.first.bodies) == 1

    run(ask)


def test_a_probe_that_is_given_up_makes_room_for_the_next() -> None:
    """Its caller left: nothing was learned of the endpoint, and nobody is shut out for ever."""

    async def ask() -> None:
        async with scene([fails(500), never_ends], attempts=1, failures=1) as s:
            with pytest.raises(ModelUnavailable):
                await items(s.chat)
            s.now[0] = 11.0
            async with aclosing(s.chat.stream(request(), 5.0)) as stream:
                await anext(stream)
                with pytest.raises(EndpointResting):
                    await items(s.chat)
            assert s.seen.tries[-1] == ("primary", "cancelled")
            assert (await whole(s.chat))[0]

    run(ask)


def test_refusals_and_rate_limits_open_no_breaker() -> None:
    """Whoever says no is there."""

    async def ask() -> None:
        async with scene([fails(401), fails(429)] * 3, attempts=1, failures=2) as s:
            for _ in range(6):
                with pytest.raises((ModelRefused, ModelRateLimited)):
                    await items(s.chat)
            assert s.breaker.state == "closed"

    run(ask)


def test_a_deadline_of_the_askers_own_opens_no_breaker() -> None:
    """An endpoint is not slow because somebody had no time."""

    async def ask() -> None:
        async with scene([never_answers] * 3, attempts=1, failures=1) as s:
            with pytest.raises(ModelTimeout):
                await items(s.chat, timeout_s=0.2)
            assert s.breaker.allows()
            with pytest.raises(ModelTimeout):
                await items(s.chat, timeout_s=1.2)
            assert not s.breaker.allows()

    run(ask)


@pytest.mark.parametrize("after_text", [False, True])
def test_who_is_cancelled_stops_the_endpoint(after_text: bool) -> None:
    """Before the first token and after it; nothing else is tried."""

    async def ask() -> None:
        async with scene([never_ends if after_text else never_answers], []) as s:
            reading = asyncio.get_running_loop().create_task(items(s.chat, request(max_tokens=16_000)))
            await until(lambda: bool(s.seen.first_tokens) if after_text else bool(s.first.bodies), "the call to be made")
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await until(lambda: s.first.hung_up == 1, "the endpoint to see it")
            assert s.seen.tries == [("primary", "cancelled")]
            assert not s.second.bodies

    run(ask)
