"""Remembered answers on the path of a query: given only while everything behind them stands for this caller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.redis import MemoryStore
from query_api.answer import Asking, Draft, Emit, ExtractiveAnswerer
from query_api.deadline import Deadline
from query_api.repeats import Repeats
from schemas.queries import UNKNOWN_ANSWER, AnswerEvent, QueryRequest
from schemas.wire import to_ms
from tests.unit.query_api.world import World, until

PIN = "You can change your card PIN at any cash machine."
QUESTION = "How do I change my card PIN?"


class Counting(ExtractiveAnswerer):
    """Counts how often an answer was made; waits at the gate where there is one."""

    def __init__(self) -> None:
        self.made = 0
        self.cancelled = 0
        self.gate: asyncio.Event | None = None

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        self.made += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().answer(asking, deadline, emit)


@pytest.fixture
def answerer() -> Counting:
    return Counting()


@pytest.fixture
def world(tmp_path: Path, answerer: Counting) -> Iterator[World]:
    made = World(tmp_path, answerer, remembers=True)
    yield made
    made.close()


def verdict(event: AnswerEvent) -> str:
    assert event.explanation is not None
    assert event.explanation.cache is not None
    return event.explanation.cache.verdict


def test_the_same_question_is_answered_from_memory(world: World, answerer: Counting) -> None:
    """The second answer says `cached`, the same text and citations, streams, and costs no model."""
    world.upsert("pin", 1, PIN)
    first, second = world.ask(QUESTION), world.ask(QUESTION)
    assert (second.mode, second.text, second.citations) == ("cached", first.text, first.citations)
    assert (first.mode, answerer.made) == ("hybrid", 1)
    assert [delta.delta for delta in world.deltas] == [first.text]
    assert verdict(second) == "hit"
    assert second.as_of is not None


def test_an_answer_is_not_given_to_who_may_not_read_its_evidence(world: World, answerer: Counting) -> None:
    """Both ask the same; the public document alone answers the one who is not in the group."""
    world.upsert("secret", 1, "Staff change a card PIN at the desk with form nine.", ("group:hr",))
    world.upsert("pin", 1, PIN)
    privileged = world.ask(QUESTION, "group:hr")
    event = world.ask(QUESTION)
    assert event.mode == "hybrid"
    assert "form nine" not in event.text
    assert {citation.doc_id for citation in event.citations} == {"pin"}
    assert world.ask(QUESTION, "group:hr").text == privileged.text
    assert answerer.made == 2


@pytest.mark.parametrize("what", ["edit", "delete", "revoke", "expire"])
def test_what_withdraws_its_evidence_ends_it(world: World, what: str) -> None:
    """Every change that touches a passage of the prompt is a miss at once."""
    world.upsert("pin", 1, PIN)
    world.upsert("other", 1, "A card PIN has four digits; change it when somebody saw it.")
    assert world.ask(QUESTION).outcome == "answered"
    match what:
        case "edit":
            world.upsert("pin", 2, "You can change your card PIN only in a branch.")
        case "delete":
            world.delete("pin", 2)
        case "revoke":
            world.access("pin", 2, ("group:hr",))
        case _:
            world.expires("pin", 2, world.wall_ms)
    event = world.ask(QUESTION)
    assert event.mode == "hybrid"
    assert "cash machine" not in event.text


def test_a_carried_passage_is_cited_in_todays_version(world: World) -> None:
    """A newer version leaves the passage, its row and its place as they were: a hit that cites the version of now."""
    world.upsert("pin", 1, PIN)
    assert world.ask(QUESTION).mode == "hybrid"
    world.upsert("pin", 2, PIN)
    event = world.ask(QUESTION)
    assert (event.mode, event.citations[0].version) == ("cached", 2)


def test_cache_off_neither_uses_nor_keeps(world: World, answerer: Counting) -> None:
    """`cache: off` answers afresh and leaves nothing behind."""
    world.upsert("pin", 1, PIN)
    assert verdict(world.ask(QUESTION, cache="off")) == "not_asked_for"
    assert world.ask(QUESTION).mode == "hybrid"
    assert world.ask(QUESTION, cache="off").mode == "hybrid"
    assert answerer.made == 3


def test_degraded_answers_are_not_kept(world: World) -> None:
    """What was answered without vectors must not serve when they are back."""
    world.upsert("pin", 1, PIN)
    world.vectors.failure = TimeoutError("slow")
    assert world.ask(QUESTION).mode == "keyword"
    world.vectors.failure = None
    assert world.ask(QUESTION).mode == "hybrid"


def test_who_asks_the_same_at_once_shares_one_generation(world: World, answerer: Counting) -> None:
    """Eight callers, one model call; one who leaves does not end it for the others, all who leave do."""
    world.upsert("pin", 1, PIN)

    async def steps() -> None:
        answerer.gate = asyncio.Event()
        request = QueryRequest(query_id="q", question=QUESTION)
        tasks = [asyncio.ensure_future(world.pipeline.answer(request, Deadline.after(10))) for _ in range(8)]  # noqa: TID251
        await until(lambda: sum(flight.aboard for flight in world.pipeline._recollection._flights._flights.values()) == 8)
        tasks[0].cancel()
        await asyncio.sleep(0)
        answerer.gate.set()
        events = await asyncio.gather(*tasks[1:])
        assert {event.text for event in events} == {f"{PIN} [1]"}
        assert (answerer.made, answerer.cancelled) == (1, 0)

    asyncio.run(steps())


def test_who_joins_a_generation_cites_what_is_current_for_them(world: World, answerer: Counting) -> None:
    """A newer version kept the passage: whoever asked after it is told that version, with their own scores."""
    world.upsert("pin", 1, PIN)

    async def steps() -> None:
        answerer.gate = asyncio.Event()
        request = QueryRequest(query_id="q", question=QUESTION)
        first = asyncio.ensure_future(world.pipeline.answer(request, Deadline.after(10)))  # noqa: TID251
        await until(lambda: answerer.made == 1)
        world.upsert("pin", 2, PIN)
        second = asyncio.ensure_future(world.pipeline.answer(request, Deadline.after(10)))  # noqa: TID251
        await until(lambda: sum(flight.aboard for flight in world.pipeline._recollection._flights._flights.values()) == 2)
        answerer.gate.set()
        events = await asyncio.gather(first, second)
        assert [event.citations[0].version for event in events] == [1, 2]
        assert answerer.made == 1

    asyncio.run(steps())


def test_nobody_waiting_stops_the_generation(world: World, answerer: Counting) -> None:
    """The one caller is gone: the model is told to stop."""
    world.upsert("pin", 1, PIN)

    async def steps() -> None:
        answerer.gate = asyncio.Event()
        work = world.pipeline.answer(QueryRequest(query_id="q", question=QUESTION), Deadline.after(10))
        task = asyncio.ensure_future(work)  # noqa: TID251
        await until(lambda: answerer.made > 0)
        task.cancel()
        await until(lambda: answerer.cancelled > 0)

    asyncio.run(steps())


# -- the same request again


def test_the_same_request_gets_the_same_answer_again(repeating: World, answerer: Counting) -> None:
    """Kafka redelivers, a client retries: one answer is made; another caller's equal request is another request."""
    repeating.upsert("pin", 1, PIN)
    first = repeating.ask(QUESTION, cache="off")
    second = repeating.ask(QUESTION, cache="off")
    assert (second.text, second.citations, second.mode) == (first.text, first.citations, "hybrid")
    assert answerer.made == 1
    repeating.ask(QUESTION, "user:else", cache="off")
    assert answerer.made == 2


def test_a_repeated_answer_is_not_given_once_its_evidence_went(repeating: World) -> None:
    """Access is looked at again: the document was revoked in between."""
    repeating.upsert("pin", 1, PIN)
    assert repeating.ask(QUESTION).outcome == "answered"
    repeating.access("pin", 2, ("group:hr",))
    assert repeating.ask(QUESTION).outcome == "unknown"


def test_a_repeated_answer_states_its_age(repeating: World) -> None:
    """It reflects what the first one reflected, and says how long ago that was."""
    repeating.upsert("pin", 1, PIN)
    first = repeating.ask(QUESTION)
    repeating.wall_ms += 60_000
    second = repeating.ask(QUESTION)
    assert first.as_of is not None
    assert second.as_of is not None
    assert second.as_of.reflected_until == first.as_of.reflected_until
    assert second.as_of.reflected_until is not None
    assert second.as_of.lag_ms is not None
    assert 0 <= second.as_of.lag_ms - (repeating.wall_ms - to_ms(second.as_of.reflected_until)) < 1_000


def test_the_age_of_a_repeated_answer_is_told_by_one_clock(tmp_path: Path) -> None:
    """The worker that made it has a clock that is ahead of the one that repeats it: the store's own tells how old it is."""
    passed_s = [0.0]
    world = World(tmp_path, repeats=Repeats(MemoryStore(clock=lambda: passed_s[0]), 600))
    world.upsert("pin", 1, PIN)
    first = world.ask(QUESTION)
    passed_s[0], world.wall_ms = 200.0, 0
    second = world.ask(QUESTION)
    world.close()
    assert first.as_of is not None
    assert second.as_of is not None
    assert second.as_of.reflected_until == first.as_of.reflected_until
    assert (second.as_of.lag_ms or 0) >= 200_000


def test_what_is_revoked_while_a_repeat_is_said_is_told_no_further(repeating: World) -> None:
    """A reader that takes the piece late: what follows it is looked at again, and what was said is void."""
    repeating.upsert("pin", 1, PIN)
    first = repeating.ask(QUESTION)
    assert first.citations
    repeating.on_delta = lambda delta: repeating.access("pin", 2, ("group:hr",)) if delta.attempt == 1 else None
    second = repeating.ask(QUESTION)
    assert "".join(delta.delta for delta in repeating.deltas if delta.attempt == 1) == first.text
    assert (second.outcome, second.text, second.citations, second.attempt) == ("unknown", UNKNOWN_ANSWER, (), 2)
    repeating.on_delta = lambda _: None
    assert repeating.ask(QUESTION, "group:hr").text == first.text


class Noted:
    """Remembers what is noted of askers; takes its time."""

    def __init__(self) -> None:
        self.entries: list[str | None] = []
        self.clock_is_ahead_s = 0.0

    def note(self, query_id: str, principals: tuple[str, ...], entry_id: str | None) -> None:
        self.entries.append(entry_id)
        self.clock_is_ahead_s += 60

    def clock(self) -> float:
        return time.monotonic() + self.clock_is_ahead_s


def test_feedback_on_a_repeated_answer_is_about_the_answer(tmp_path: Path) -> None:
    """A retry doesn't make the remembered answer unknown: a thumbs-down takes it out still."""
    noted = Noted()
    world = World(tmp_path, remembers=True, repeats=Repeats(MemoryStore(), 600), asked=noted)
    world.upsert("pin", 1, PIN)
    world.ask(QUESTION)
    world.ask(QUESTION)
    world.close()
    first, second = noted.entries
    assert first is not None
    assert second == first


@pytest.mark.parametrize("is_repeated", [False, True])
def test_the_lag_includes_what_was_done_with_the_answer_before_it_went_out(tmp_path: Path, *, is_repeated: bool) -> None:
    """What takes its time at the end (here, noting who asked) makes the answer older, and it says so."""
    noted = Noted()
    world = World(tmp_path, repeats=Repeats(MemoryStore(), 600), asked=noted)
    world.upsert("pin", 1, PIN)
    if is_repeated:
        world.ask(QUESTION)
        world.wall_ms = 0  # the wall clock says nothing here
    request = QueryRequest(query_id="q", question=QUESTION, explain=True)
    event = asyncio.run(world.pipeline.answer(request, Deadline.after(5, noted.clock)))
    world.close()
    assert event.as_of is not None
    assert event.as_of.lag_ms is not None
    assert event.as_of.lag_ms >= 60_000


def test_a_repeated_explanation_tells_of_nothing_that_was_revoked(repeating: World) -> None:
    """A candidate that went into no prompt was for everyone, and is not any more."""
    repeating.upsert("pin", 1, PIN)
    repeating.upsert("merger", 1, "The merger changes every card.")
    first = repeating.ask(QUESTION, passages=1)
    assert "merger" in explained(first)
    assert {citation.doc_id for citation in first.citations} == {"pin"}
    repeating.access("merger", 2, ("group:board",))
    second = repeating.ask(QUESTION, passages=1)
    assert second.outcome == "answered"
    assert "merger" not in explained(second)


def explained(event: AnswerEvent) -> set[str]:
    assert event.explanation is not None
    return {candidate.doc_id for candidate in event.explanation.candidates}


@pytest.fixture
def repeating(tmp_path: Path, answerer: Counting) -> Iterator[World]:
    made = World(tmp_path, answerer, repeats=Repeats(MemoryStore(), 600))
    yield made
    made.close()
