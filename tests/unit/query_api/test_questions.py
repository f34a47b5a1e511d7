"""Vectors of questions: shared batches, equal questions once, and nobody's end is anybody else's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from connectors.embedding import HashingEmbedder
from connectors.embedding.port import Matrix, Vector
from query_api.questions import MAX_BATCH, QuestionVectors
from tests.waiting import wait_until

PATIENCE_S = 10.0


class Slow(HashingEmbedder):
    """An encoder that waits to be let go on, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.bad: frozenset[str] = frozenset()

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        self.batches.append(list(texts))
        self.begun.set()
        assert self.gate.wait(PATIENCE_S)
        if self.bad & set(texts):
            raise ValueError(f"no vector of {sorted(self.bad & set(texts))}")
        return super().encode_queries(texts)

    def encode_query(self, text: str) -> Vector:
        vector: Vector = self.encode_queries([text])[0]
        return vector


@pytest.fixture
def encoder() -> Slow:
    """Nothing comes out of it before its gate is opened."""
    return Slow()


@pytest.fixture
def questions(encoder: Slow) -> Iterator[QuestionVectors]:
    """Room for three remembered questions."""
    made = QuestionVectors(encoder, size=3)
    yield made
    encoder.gate.set()
    made.close()


async def asked(questions: QuestionVectors, *texts: str) -> list[asyncio.Task[Vector]]:
    """Tasks that wait for a vector each; all are in line when this returns."""
    tasks = [asyncio.get_running_loop().create_task(questions.vector_of(text, PATIENCE_S)) for text in texts]
    await asyncio.sleep(0)
    return tasks


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def has_begun(encoder: Slow) -> None:
    assert await asyncio.to_thread(encoder.begun.wait, PATIENCE_S)


def test_what_arrives_meanwhile_is_the_next_batch(questions: QuestionVectors, encoder: Slow) -> None:
    """The first question is encoded at once, those that come while it is go together, equal ones once."""

    async def scenario() -> None:
        first = await asked(questions, "a")
        await has_begun(encoder)
        rest = await asked(questions, "b", "c", "b", "a")
        encoder.gate.set()
        vectors = await asyncio.gather(*first, *rest)
        expected = HashingEmbedder().encode(["a", "b", "c", "b", "a"])
        assert np.allclose(np.stack(vectors), expected)

    run(scenario())
    assert encoder.batches == [["a"], ["b", "c"]]


def test_a_batch_has_a_bound(questions: QuestionVectors, encoder: Slow) -> None:
    """However many arrive, the encoder takes so many at a time, first come first served, and all are answered."""
    texts = [f"q{number}" for number in range(MAX_BATCH + 5)]

    async def scenario() -> None:
        first = await asked(questions, "first")
        await has_begun(encoder)
        rest = await asked(questions, *texts)
        encoder.gate.set()
        await asyncio.gather(*first, *rest)

    run(scenario())
    assert encoder.batches == [["first"], texts[:MAX_BATCH], texts[MAX_BATCH:]]


def test_one_who_gives_up_takes_nothing_from_the_others(questions: QuestionVectors, encoder: Slow) -> None:
    """Of two who wait for one question one is cancelled, another's time is up: the third gets its vector."""

    async def scenario() -> None:
        cancelled, stays = await asked(questions, "a", "a")
        await has_begun(encoder)
        with pytest.raises(TimeoutError):
            await questions.vector_of("a", 0.0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        encoder.gate.set()
        assert np.allclose(await stays, HashingEmbedder().encode_query("a"))

    run(scenario())
    assert encoder.batches == [["a"]]


def test_what_nobody_waits_for_any_more_is_not_encoded(questions: QuestionVectors, encoder: Slow) -> None:
    """A question whose only asker left before its turn costs nothing."""

    async def scenario() -> None:
        (first,) = await asked(questions, "a")
        await has_begun(encoder)
        left, stays = await asked(questions, "left", "stays")
        left.cancel()
        await asyncio.sleep(0)
        encoder.gate.set()
        await asyncio.gather(first, stays)

    run(scenario())
    assert encoder.batches == [["a"], ["stays"]]


def test_an_error_reaches_only_whoever_asked_for_it(questions: QuestionVectors, encoder: Slow) -> None:
    """One question of a batch can't be encoded: the others get their vectors, and it may be tried again."""
    encoder.bad = frozenset({"bad"})

    async def scenario() -> None:
        first = await asked(questions, "a")
        await has_begun(encoder)
        good, bad, again = await asked(questions, "good", "bad", "bad")
        encoder.gate.set()
        found = await asyncio.gather(*first, good, bad, again, return_exceptions=True)
        assert [isinstance(one, ValueError) for one in found] == [False, False, True, True]
        encoder.bad = frozenset()
        assert np.allclose(await questions.vector_of("bad", PATIENCE_S), HashingEmbedder().encode_query("bad"))

    run(scenario())


def test_recent_ones_are_remembered_and_the_oldest_forgotten(questions: QuestionVectors, encoder: Slow) -> None:
    """Asked again, nothing is encoded; room is bounded, and use keeps a question in."""
    encoder.gate.set()

    async def scenario() -> None:
        for text in ("a", "b", "c", "a", "d"):
            await questions.vector_of(text, PATIENCE_S)

    run(scenario())
    assert [text for batch in encoder.batches for text in batch] == ["a", "b", "c", "d"]
    assert questions.known("a") is not None
    assert questions.known("b") is None


def test_loops_of_several_threads_share_it(questions: QuestionVectors, encoder: Slow) -> None:
    """HTTP and Kafka may run loops of their own: one batch answers both."""
    results: list[Vector] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(questions.vector_of("a", PATIENCE_S)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    wait_until(encoder.begun.is_set, within_s=PATIENCE_S, what="the batch to begin")
    encoder.gate.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(results) == 4
    assert encoder.batches == [["a"]]
