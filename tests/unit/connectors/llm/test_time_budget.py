"""How a deadline is shared between two endpoints, on a clock that is not ours: the second one always gets its part of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.llm import (
    ChatRequest,
    CircuitBreaker,
    Finish,
    Line,
    ModelFailed,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    SteadyChat,
    Turn,
)
from connectors.llm.steady import SHARE, WORTH_TRYING_S
from tests.contract.connectors.llm.calls import Seen
from tests.unit.connectors.llm.virtual_time import run

REQUEST: Final = ChatRequest((Turn("user", "How long?"),), max_tokens=10)
FIRST_TOKEN_S: Final = 5.0
"""As the settings come."""
ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Act:
    """One call's fate: after `after_s`, `error` or (None) an answer; patience and the caller's time limit the wait."""

    after_s: float
    error: ModelFailed | None = None


HANGS: Final = Act(1e6)


@dataclass
class Acting:
    """An endpoint that does what it is told, and notes when it was asked. The last act is repeated."""

    acts: Sequence[Act]
    patience_s: float = FIRST_TOKEN_S
    asked_at: list[float] = field(default_factory=list)

    async def stream(self, request: ChatRequest, timeout_s: float) -> AsyncGenerator[str | Finish, None]:
        loop = asyncio.get_running_loop()
        act = self.acts[min(len(self.asked_at), len(self.acts) - 1)]
        self.asked_at.append(loop.time())
        limit_s = min(timeout_s, self.patience_s)
        await asyncio.sleep(min(act.after_s, limit_s))
        if act.after_s > limit_s:
            detail = "silent"
            raise ModelTimeout(detail, waited_s=limit_s)
        if act.error is not None:
            raise act.error
        yield "It is so"
        yield Finish("stop", "m", 1, 1)

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Told:
    """What a caller got, and when."""

    first: Acting
    second: Acting
    took_s: float
    finish: Finish | None
    error: ModelFailed | None


def ask(deadline_s: float, first: Sequence[Act], second: Sequence[Act]) -> Told:
    """One question to both."""
    one, two = Acting(first), Acting(second)

    async def work() -> Told:
        clock = asyncio.get_running_loop().time
        lines = [Line(name, chat, CircuitBreaker(5, 5.0, clock)) for name, chat in (("primary", one), ("fallback", two))]
        chat = SteadyChat(lines, ATTEMPTS, Seen(), clock)
        finish = error = None
        try:
            async with aclosing(chat.stream(REQUEST, deadline_s)) as pieces:
                async for piece in pieces:
                    finish = piece if isinstance(piece, Finish) else finish
        except ModelFailed as exc:
            error = exc
        return Told(one, two, clock(), finish, error)

    return run(work)


@pytest.mark.parametrize(("deadline_s", "asked_at_s"), [(30.0, 5.0), (10.0, 5.0), (3.0, 1.8)])
def test_an_endpoint_that_hangs_is_asked_once_and_leaves_the_rest(deadline_s: float, asked_at_s: float) -> None:
    """Until its first token's time is over, or 60 % of what is left: then the second one has all that remains."""
    slow_s = min(FIRST_TOKEN_S, deadline_s - asked_at_s) - 0.01
    told = ask(deadline_s, [HANGS], [Act(slow_s)])
    assert told.first.asked_at == [0.0]
    assert told.second.asked_at == [pytest.approx(asked_at_s)]
    assert told.finish is not None and told.finish.is_fallback
    assert told.took_s < deadline_s


def failures() -> st.SearchStrategy[Act]:
    """Whatever an endpoint can do in place of an answer, and however late."""
    errors = st.one_of(
        st.just(ModelUnavailable("500")),
        st.just(ModelRefused("401")),
        st.builds(ModelRateLimited, st.just("429"), retry_after_s=st.none() | st.floats(0.0, 60.0)),
        st.builds(ModelUnavailable, st.just("503"), retry_after_s=st.none() | st.floats(0.0, 60.0)),
    )
    return st.one_of(st.just(HANGS), st.builds(Act, st.floats(0.0, 12.0), errors))


@settings(max_examples=300)
@given(
    deadline_s=st.sampled_from([30.0, 10.0, 3.0]),
    first=st.lists(failures(), min_size=1, max_size=4),
    part=st.floats(0.0, 0.95),
)
def test_whatever_the_first_one_does_a_healthy_second_one_answers(deadline_s: float, first: list[Act], part: float) -> None:
    """It is asked before its part of the deadline begins, and an answer that fits into that part is given."""
    fair_s = deadline_s * (1 - SHARE)
    told = ask(deadline_s, first, [Act(part * min(fair_s, FIRST_TOKEN_S))])
    assert told.finish is not None and told.finish.is_fallback, told.error
    assert told.second.asked_at[0] <= deadline_s * SHARE + 1e-6
    assert told.took_s <= deadline_s


@given(first=st.lists(failures(), min_size=1, max_size=4), second=st.lists(failures(), min_size=1, max_size=4))
def test_the_deadline_is_kept_where_both_fail(first: list[Act], second: list[Act]) -> None:
    """No wait outlasts it, and nobody is asked for a moment too short for an answer."""
    told = ask(10.0, first, second)
    assert told.error is not None
    assert told.took_s <= 10.0 + 1e-6
    assert all(at <= 10.0 - WORTH_TRYING_S + 1e-6 for at in told.second.asked_at)


@pytest.mark.parametrize("wait_s", [2.5, 15.0])
def test_a_long_rest_is_spent_at_the_second_endpoint(wait_s: float) -> None:
    """Who asks to be left alone for long is not waited for while another one could answer."""
    told = ask(30.0, [Act(0.1, ModelRateLimited("429", retry_after_s=wait_s))], [Act(0.5)])
    assert told.finish is not None and told.finish.is_fallback
    assert told.took_s == pytest.approx(0.6)
