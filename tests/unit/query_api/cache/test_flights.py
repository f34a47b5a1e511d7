"""One generation for equal prompts: pieces reach everyone, and it lives as long as anyone waits."""

from __future__ import annotations

import asyncio

import pytest

from query_api.answer import Draft, Emit, GenerationFailed
from query_api.cache import Flights, Lookup
from query_api.deadline import Deadline
from tests.unit.query_api.cache.making import draft, lookup


class Model:
    """Emits two pieces, the second one when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, emit: Emit) -> Draft:
        self.calls += 1
        try:
            await emit("Tap ")
            self.begun.set()
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        await emit("Freeze. [1]")
        return draft(lookup())


class Caller:
    """Asks, and keeps what it hears."""

    def __init__(self, flights: Flights, model: Model, asked: Lookup | None = None, seconds: float = 10.0) -> None:
        self.heard: list[str] = []
        flying = flights.fly(asked or lookup(), Deadline.after(seconds), model, self._hear)
        self.task = asyncio.get_running_loop().create_task(flying)

    async def _hear(self, piece: str) -> None:
        self.heard.append(piece)


def test_equal_prompts_share_one_generation() -> None:
    """A follower hears what was said before it came, too."""

    async def scene() -> None:
        flights, model = Flights(), Model()
        leader = Caller(flights, model)
        await model.begun.wait()
        follower = Caller(flights, model)
        model.go.set()
        one, other = await asyncio.gather(leader.task, follower.task)
        assert (model.calls, one.is_shared, other.is_shared) == (1, False, True)
        assert leader.heard == follower.heard == ["Tap ", "Freeze. [1]"]
        assert one.draft == other.draft and len(flights) == 0

    asyncio.run(scene())


@pytest.mark.parametrize(
    "other",
    [lookup("How do I thaw my card?"), lookup("How do I freeze my card?", "a"), lookup(scope="t" * 32)],
    ids=["question", "evidence", "scope"],
)
def test_other_prompts_fly_alone(other: Lookup) -> None:
    """Interleaving 6: nobody gets an answer that rests on passages of another caller."""

    async def scene() -> None:
        flights, model = Flights(), Model()
        callers = [Caller(flights, model), Caller(flights, model, other)]
        model.go.set()
        await asyncio.gather(*(caller.task for caller in callers))
        assert model.calls == 2

    asyncio.run(scene())


def test_the_leader_may_leave() -> None:
    """The work goes on for the follower."""

    async def scene() -> None:
        flights, model = Flights(), Model()
        leader = Caller(flights, model)
        await model.begun.wait()
        follower = Caller(flights, model)
        await asyncio.sleep(0)
        leader.task.cancel()
        await asyncio.gather(leader.task, return_exceptions=True)
        model.go.set()
        assert (await follower.task).draft.text
        assert (model.calls, model.cancelled) == (1, 0)

    asyncio.run(scene())


def test_it_stops_when_nobody_waits() -> None:
    """And the next caller starts anew."""

    async def scene() -> None:
        flights, model = Flights(), Model()
        callers = [Caller(flights, model), Caller(flights, model)]
        await model.begun.wait()
        for caller in callers:
            caller.task.cancel()
        await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True)
        model.go.set()
        await Caller(flights, model).task
        assert (model.calls, model.cancelled) == (2, 1)

    asyncio.run(scene())


def test_a_failure_reaches_everyone() -> None:
    """The same one."""

    async def scene() -> None:
        flights, model = Flights(), Model()
        model.failure = GenerationFailed("model_unavailable", "gone")
        callers = [Caller(flights, model), Caller(flights, model)]
        model.go.set()
        for found in await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True):
            assert isinstance(found, GenerationFailed)
        assert model.calls == 1 and len(flights) == 0

    asyncio.run(scene())


def test_nobody_fails_by_anothers_short_deadline() -> None:
    """A caller with much more time flies alone."""

    async def scene() -> None:
        flights, model = Flights(), Model()
        callers = [Caller(flights, model, seconds=1.0), Caller(flights, model, seconds=30.0)]
        model.go.set()
        await asyncio.gather(*(caller.task for caller in callers))
        assert model.calls == 2

    asyncio.run(scene())


@pytest.mark.parametrize(("one", "other"), [("How long is 10² m?", "How long is 102 m?"), ("Is it ½?", "Is it 1⁄2?")])
def test_signs_that_only_look_alike_are_other_questions(one: str, other: str) -> None:
    """Compatibility folding makes another number of an exponent: neither a generation nor a remembered answer is shared by it."""
    assert lookup(one).entry_id != lookup(other).entry_id
    assert lookup("Caf\u00e9  now?").entry_id == lookup("Cafe\u0301 now?").entry_id
