"""Deltas to Kafka: in order, joined while one is under way, dropped rather than in the way."""

from __future__ import annotations

import asyncio

from query_api.deltas import DeltaSender
from schemas.errors import Retryable
from schemas.queries import AnswerEvent


def delta(text: str, attempt: int = 1) -> AnswerEvent:
    return AnswerEvent(query_id="q", kind="delta", attempt=attempt, delta=text)


class Topic:
    """Takes events as the gate lets them."""

    def __init__(self) -> None:
        self.sent: list[AnswerEvent] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def send(self, event: AnswerEvent) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.sent.append(event)

    def said(self) -> list[tuple[int, int, str]]:
        return [(event.attempt, event.seq, event.delta) for event in self.sent]


def test_what_is_said_meanwhile_is_joined() -> None:
    """The first piece leaves at once; what comes while it is under way follows in one message, an attempt apart."""

    async def steps() -> None:
        topic = Topic()
        sender = DeltaSender(topic.send, attempt=7)
        await sender(delta("a"))
        await asyncio.sleep(0)
        for piece in (delta("b"), delta("c"), delta("x", 2), delta("y", 2)):
            await sender(piece)
        topic.gate.set()
        await sender.finish(5)
        assert topic.said() == [(7, 0, "a"), (7, 1, "bc"), (8, 0, "xy")]
        final = sender.numbered(AnswerEvent(query_id="q", outcome="answered", attempt=2, text="xy"))
        assert (final.attempt, final.seq) == (8, 1)

    asyncio.run(steps())


def test_a_delta_that_can_not_be_sent_is_dropped() -> None:
    """The final event holds everything; nobody waits for a delta."""

    async def steps() -> None:
        topic = Topic()
        topic.gate.set()
        topic.failure = Retryable("away")
        sender = DeltaSender(topic.send, attempt=1)
        await sender(delta("a"))
        await sender.finish(5)
        assert (topic.sent, sender.dropped) == ([], 1)

    asyncio.run(steps())


def test_the_final_event_waits_for_a_delta_only_so_long() -> None:
    """A broker that hangs on a delta: it is cancelled, so that nothing of it comes after the final event."""

    async def steps() -> None:
        topic = Topic()
        sender = DeltaSender(topic.send, attempt=1)
        await sender(delta("a"))
        await sender.finish(0.01)
        topic.gate.set()
        await asyncio.sleep(0)
        assert topic.sent == []

    asyncio.run(steps())
