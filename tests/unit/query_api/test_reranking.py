"""The second look: its order where it is in time, the old one where it isn't, and what the answer says of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.reranking import SharedWordsReranker
from query_api.answer import Passage
from query_api.deadline import Deadline
from query_api.reranking import Reranked, SecondLook, below, in_order
from schemas.index import DocKey
from tests.unit.query_api.world import World

PATIENCE_S = 10.0


def passage(number: int, text: str = "", score: float = 0.5) -> Passage:
    return Passage(DocKey("docs", f"d{number}"), f"r{number}", "", None, 1, 0, 0, len(text), text, score)


def looked_at(reranker: SharedWordsReranker, passages: Sequence[Passage], candidates: int = 10, seconds: float = 5.0) -> Reranked:
    look = SecondLook(reranker, candidates)
    try:
        return asyncio.run(look.reranked("change my pin", passages, Deadline.after(seconds)))
    finally:
        look.close()


def names(passages: Sequence[Passage]) -> list[str]:
    return [passage.row_id for passage in passages]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(0, 5))
def test_every_passage_once_in_order_of_scores(scores: list[float], more: int) -> None:
    """A permutation of what was looked at, the rest behind it in its own order, scores never rising."""
    chosen = [passage(n) for n in range(len(scores))]
    rest = [passage(100 + n, score=1.0 - n / 10) for n in range(more)]
    found = in_order(chosen, scores) + below(rest, min(scores))
    assert sorted(names(found[: len(scores)])) == sorted(names(chosen))
    assert names(found[len(scores) :]) == names(rest)
    assert all(first.score >= second.score for first, second in pairwise(found))


def test_the_better_passage_comes_first() -> None:
    """By the reranker's scores; what lies behind its candidates stays behind."""
    passages = [passage(0, "rain"), passage(1, "change my pin"), passage(2, "my pin"), passage(3, "change my pin")]
    found = looked_at(SharedWordsReranker(), passages, candidates=3)
    assert (names(found.passages), found.problem) == (["r1", "r2", "r0", "r3"], None)
    assert found.passages[0].score == 1.0


def test_late_or_failing_the_order_stays() -> None:
    """And says which; nobody waits longer than their share of the deadline."""
    gate = threading.Event()

    class Slow(SharedWordsReranker):
        def scores(self, question: str, texts: Sequence[str]) -> list[float]:
            gate.wait(PATIENCE_S)
            return super().scores(question, texts)

    class Broken(SharedWordsReranker):
        def scores(self, question: str, texts: Sequence[str]) -> list[float]:
            raise RuntimeError(question)

    passages = [passage(0, "rain"), passage(1, "change my pin")]
    late = looked_at(Slow(), passages, seconds=0.1)
    gate.set()
    assert late == Reranked(passages, "rerank_timeout")
    assert looked_at(Broken(), passages) == Reranked(passages, "rerank_failed")


def test_answers_say_that_the_second_look_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered all the same, degraded; and with one that works, in its order."""

    class Broken(SharedWordsReranker):
        is_broken = True

        def scores(self, question: str, texts: Sequence[str]) -> list[float]:
            if self.is_broken:
                raise RuntimeError(question)
            return [float("branch" in text) for text in texts]

    reranker = Broken()
    monkeypatch.setattr("query_api.retrieval.create_reranker", lambda _: reranker)
    world = World(tmp_path)
    world.upsert("machine", 1, "You can change your card PIN at any cash machine.")
    world.upsert("branch", 1, "The card PIN is changed in a branch.")
    failing = world.ask("How do I change my card PIN?")
    assert (failing.outcome, failing.degraded) == ("answered", ("rerank_failed",))
    reranker.is_broken = False
    working = world.ask("How do I change my card PIN?", passages=1)
    assert (working.degraded, [citation.doc_id for citation in working.citations]) == ((), ["branch"])
    world.close()
