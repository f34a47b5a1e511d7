"""What becomes of every message: an answer or a dead letter, confirmed, then acknowledged in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from query_api.deadline import Deadline
from query_api.messages import QueryMessage
from query_api.metrics import QueryMetrics
from query_api.query import Listen
from query_api.worker import Outgoing, QueryWorker, Taken
from schemas.dead_letters import DeadLetter
from schemas.errors import Rejected, Retryable
from schemas.index import SourcePosition
from schemas.queries import AnswerEvent, AsOf, PartitionLag, QueryRequest
from schemas.settings import KafkaSettings, QuerySettings, Settings
from schemas.wire import from_ms
from tests.unit.query_api.world import until

AS_OF = AsOf(partitions=(PartitionLag(partition=0, position=7),))


class Bench:
    """A worker with a broker in memory and a pipeline that waits for gates."""

    def __init__(self, **query: Any) -> None:
        self.settings = Settings(query=QuerySettings(**query), kafka=KafkaSettings(max_message_bytes=256 * 1024))
        self.sent: list[Outgoing] = []
        self.acknowledged: list[int] = []
        self.working: list[str] = []
        self.deadlines: dict[str, float] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.fail: Callable[[Outgoing], Exception | None] = lambda _: None
        self.registry = CollectorRegistry()
        self.worker = QueryWorker(self.settings, self, self.send, QueryMetrics(self.registry), lambda: 1_000_000)

    def as_of(self) -> AsOf:
        return AS_OF

    async def answer(self, request: QueryRequest, deadline: Deadline, listen: Listen | None = None) -> AnswerEvent:
        self.working.append(request.query_id)
        self.deadlines[request.query_id] = deadline.remaining_s
        if request.query_id in self.gates:
            await self.gates[request.query_id].wait()
        return AnswerEvent(query_id=request.query_id, outcome="answered", text="yes")

    async def send(self, message: Outgoing) -> None:
        if (problem := self.fail(message)) is not None:
            raise problem
        self.sent.append(message)

    async def take(self, offset: int, value: bytes | None, partition: int = 0) -> None:
        message = QueryMessage("rag.queries", SourcePosition(partition, offset), b"key", value, (), 5)
        await self.worker.take(Taken(message, lambda: self.acknowledged.append(offset)))

    async def ask(self, offset: int, **over: Any) -> None:
        await self.take(offset, json.dumps({"query_id": f"q{offset}", "question": "?", **over}).encode())

    def in_flight(self) -> float | None:
        return self.registry.get_sample_value("rag_query_in_flight")

    def answered(self) -> list[tuple[str, str]]:
        return [(sent.topic, AnswerEvent.from_bytes(sent.value).query_id) for sent in self.sent]


def scenario(steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(steps())


def test_acknowledged_after_the_answer_and_in_order() -> None:
    """A slow query holds back acknowledgements behind it, and no answers."""

    async def steps() -> None:
        bench = Bench()
        bench.gates["q0"] = asyncio.Event()
        for offset in range(4):
            await bench.ask(offset)
        await until(lambda: len(bench.sent) == 3)
        assert bench.acknowledged == []
        bench.gates["q0"].set()
        await until(lambda: bench.acknowledged == [0, 1, 2, 3])
        assert bench.sent[-1].key == b"q0"

    scenario(steps)


def test_a_full_pool_pushes_back() -> None:
    """With every place taken the next message is not even begun; a free place takes it."""

    async def steps() -> None:
        bench = Bench(concurrency=2)
        for name in ("q0", "q1"):
            bench.gates[name] = asyncio.Event()
        await bench.ask(0)
        await bench.ask(1)
        waiting = asyncio.get_running_loop().create_task(bench.ask(2))
        await until(lambda: len(bench.working) == 2)
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        bench.gates["q1"].set()
        await until(lambda: "q2" in bench.working)
        await waiting
        bench.gates["q0"].set()
        await until(lambda: bench.acknowledged == [0, 1, 2])

    scenario(steps)


def test_no_query_is_a_dead_letter_and_a_rejection() -> None:
    """Raw bytes and source travel on, the key's owner is told, then it is acknowledged."""

    async def steps() -> None:
        bench = Bench()
        await bench.take(7, b"\xffgarbage")
        await until(lambda: bench.acknowledged == [7])
        letter, answer = bench.sent
        assert letter.topic == "rag.dead-letters"
        found = DeadLetter.from_wire(letter.value, list(letter.headers))
        assert (found.raw, found.source, found.reason) == (b"\xffgarbage", SourcePosition(0, 7), "not_json")
        refusal = AnswerEvent.from_bytes(answer.value)
        assert (refusal.outcome, refusal.mode, refusal.as_of) == ("rejected", "static", AS_OF)
        assert answer.key == b"key"

    scenario(steps)


def test_a_null_value_is_no_tombstone_for_dead_letters() -> None:
    """The dead letters' topic is compacted: a null would delete what it says."""

    async def steps() -> None:
        bench = Bench()
        await bench.take(7, None)
        await until(lambda: bench.acknowledged == [7])
        assert bench.sent[0].value == b""
        assert DeadLetter.from_wire(b"", list(bench.sent[0].headers)).raw is None

    scenario(steps)


def test_a_dead_letter_fits_into_a_message() -> None:
    """What was compressed on its way here may be larger than any message: the letter says where it lies."""

    async def steps() -> None:
        bench = Bench()
        bench.fail = lambda message: Rejected("answer_too_large", "too large") if len(message.value) > 256 * 1024 else None
        await bench.take(7, b" " * 500_000)
        await until(lambda: bench.acknowledged == [7])
        found = DeadLetter.from_wire(bench.sent[0].value, list(bench.sent[0].headers))
        assert (found.raw, found.is_complete, found.source) == (None, False, SourcePosition(0, 7))

    scenario(steps)


@pytest.mark.parametrize("takes_little", [True, False])
def test_a_dead_letter_that_is_refused_holds_up_nothing(*, takes_little: bool) -> None:
    """A topic may take less than the settings say, or nothing at all: what lies behind is answered and acknowledged."""

    async def steps() -> None:
        bench = Bench()

        def fail(message: Outgoing) -> Exception | None:
            is_too_much = bool(message.value) or not takes_little
            is_letter = message.topic == "rag.dead-letters"
            return Rejected("answer_too_large", "too large") if is_letter and is_too_much else None

        bench.fail = fail
        await bench.take(0, b"garbage")
        await bench.ask(1)
        await until(lambda: bench.acknowledged == [0, 1])
        letters = [sent for sent in bench.sent if sent.topic == "rag.dead-letters"]
        found = [DeadLetter.from_wire(sent.value, list(sent.headers)) for sent in letters]
        assert [(one.source, one.is_complete) for one in found] == ([(SourcePosition(0, 0), False)] if takes_little else [])
        assert {sent.key for sent in bench.sent if sent.topic == "rag.answers"} == {b"key", b"q1"}

    scenario(steps)


def test_a_query_whose_answers_are_all_refused_is_a_dead_letter() -> None:
    """Not even the answer that says why is taken: what lies behind is acknowledged all the same."""

    async def steps() -> None:
        bench = Bench()

        def fail(message: Outgoing) -> Exception | None:
            is_refused = message.topic == "rag.answers" and message.key == b"q0"
            return Rejected("answer_too_large", "too large") if is_refused else None

        bench.fail = fail
        await bench.ask(0)
        await bench.ask(1)
        await until(lambda: bench.acknowledged == [0, 1])
        (letter,) = (sent for sent in bench.sent if sent.topic == "rag.dead-letters")
        found = DeadLetter.from_wire(letter.value, list(letter.headers))
        assert (found.reason, found.source, found.topic) == ("internal_error", SourcePosition(0, 0), "rag.queries")

    scenario(steps)


def test_sent_again_until_the_broker_has_it() -> None:
    """A broker that is away delays the acknowledgement; nothing is lost."""

    async def steps() -> None:
        bench = Bench()
        problems = [Retryable("away"), Retryable("away")]
        bench.fail = lambda _: problems.pop() if problems else None
        await bench.ask(0)
        await until(lambda: bench.acknowledged == [0])
        assert bench.answered() == [("rag.answers", "q0")]

    scenario(steps)


def test_left_unacknowledged_when_the_process_ends_first() -> None:
    """What can't be sent before the end is the next worker's: it is not acknowledged."""

    async def steps() -> None:
        bench = Bench()
        tries: list[Outgoing] = []

        def fail(message: Outgoing) -> Exception:
            tries.append(message)
            return Retryable("away")

        bench.fail = fail
        bench.worker.stop_retrying()
        await bench.ask(0)
        await until(lambda: bench.in_flight() == 0 and bool(tries))
        assert len(tries) == 1
        assert bench.acknowledged == []

    scenario(steps)


def test_an_unreachable_reply_topic_falls_back_to_the_default() -> None:
    """An allowed topic that does not exist must not hold up the partition for ever."""

    async def steps() -> None:
        bench = Bench(reply_topics=("team",))
        bench.fail = lambda message: Retryable("no such topic") if message.topic == "team" else None
        await bench.ask(0, reply_to="team")
        await until(lambda: bench.acknowledged == [0])
        assert bench.answered() == [("rag.answers", "q0")]

    scenario(steps)


def test_an_answer_too_large_is_a_failed_one() -> None:
    """What the broker will never take is answered with why."""

    async def steps() -> None:
        bench = Bench()
        bench.fail = lambda message: Rejected("answer_too_large", "too large") if b"yes" in message.value else None
        await bench.ask(0)
        await until(lambda: bench.acknowledged == [0])
        answer = AnswerEvent.from_bytes(bench.sent[0].value)
        assert (answer.outcome, answer.reason) == ("failed", "answer_too_large")

    scenario(steps)


@pytest.mark.parametrize(("given_s", "expected_s"), [(None, 10.0), (1003, 3.0), (5000, 10.0), (999, 0.0)])
def test_the_deadline_is_the_requests_or_the_settings(given_s: int | None, expected_s: float) -> None:
    """The earlier of the request's moment and the time that settings allow; now is 1000 s."""

    async def steps() -> None:
        bench = Bench(deadline_s=10)
        await bench.ask(0, **({"deadline": from_ms(given_s * 1000).isoformat()} if given_s else {}))
        await until(lambda: bench.acknowledged == [0])
        assert bench.deadlines["q0"] == pytest.approx(expected_s, abs=0.2)

    scenario(steps)


def test_a_deadline_that_passed_says_whose_it_was() -> None:
    """More time helps where the request was in a hurry; where settings allow no more, it wouldn't: they are named."""

    class Late(Bench):
        """Ends as the pipeline does when its deadline passes."""

        async def answer(self, request: QueryRequest, deadline: Deadline, listen: Listen | None = None) -> AnswerEvent:
            error = deadline.missed("too late")
            return AnswerEvent(query_id=request.query_id, outcome="expired", error=error, reason="deadline_passed")

    async def steps() -> None:
        bench = Late(deadline_s=10)
        await bench.ask(0, deadline=from_ms(1_060_000).isoformat())
        await bench.ask(1)
        await bench.ask(2, deadline=from_ms(1_003_000).isoformat())
        await until(lambda: bench.acknowledged == [0, 1, 2])
        said = {event.query_id: event.error for event in (AnswerEvent.from_bytes(sent.value) for sent in bench.sent)}
        capped = "too late; a question is worked on for 10 s at most, however long its asker waits (RAG_QUERY__DEADLINE_S)"
        assert said == {"q0": capped, "q1": capped, "q2": "too late; the request said until when: give it more time"}

    scenario(steps)


def test_what_can_not_be_told_is_answered_as_a_failure() -> None:
    """An event that can't be written down holds up nothing behind it."""

    class Odd(Bench):
        """Says half a character first."""

        async def answer(self, request: QueryRequest, deadline: Deadline, listen: Listen | None = None) -> AnswerEvent:
            event = await super().answer(request, deadline, listen)
            if request.query_id != "q0" or listen is None:
                return event
            await listen(AnswerEvent(query_id="q0", kind="delta", attempt=2, delta="fine"))
            await listen(AnswerEvent(query_id="q0", kind="delta", attempt=2, seq=1, delta="\ud83d"))
            return event.model_copy(update={"text": "\ud83d", "attempt": 2})

    async def steps() -> None:
        bench = Odd()
        bench.worker.attempts.assigned({("rag.queries", 0): 0})
        await bench.ask(0)
        await bench.ask(1)
        await until(lambda: bench.acknowledged == [0, 1])
        said = [event for sent in bench.sent if (event := AnswerEvent.from_bytes(sent.value)).query_id == "q0"]
        assert [event.kind for event in said].count("final") == 1
        assert (said[-1].outcome, said[-1].reason, said[-1].text) == ("failed", "internal_error", "")
        assert all((event.attempt, event.seq) < (said[-1].attempt, said[-1].seq) for event in said[:-1])

    scenario(steps)
