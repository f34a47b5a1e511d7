"""A second look at the best passages, as long as there is time for it: late or failing, the order stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, NamedTuple

import structlog

from connectors.reranking import Reranker
from query_api.answer.port import Passage
from query_api.deadline import Deadline
from schemas.queries import Degradation

SHARE_OF_DEADLINE: Final = 0.4
"""What the second look may take of the remaining time: the answer is still to be made."""

_log = structlog.get_logger(__name__)


class Reranked(NamedTuple):
    """Passages, best first, and what went wrong, as a code for `degraded`: None where the order is the reranker's."""

    passages: list[Passage]
    problem: Degradation | None = None


class SecondLook:
    """Owns the one thread that the reranker works on; what nobody waits for any more is not begun. `close` when no query runs.

    Args:
        candidates: how many of the best are looked at.
    """

    def __init__(self, reranker: Reranker, candidates: int) -> None:
        self._reranker = reranker
        self._candidates = candidates
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rerank")

    def load(self) -> None:
        """Have the reranker ready. Blocks. Raises: Misconfigured."""
        self._reranker.load()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def reranked(self, question: str, passages: Sequence[Passage], deadline: Deadline) -> Reranked:
        """`passages` (best first) in the reranker's order, with its scores. Never raises but CancelledError."""
        chosen = passages[: self._candidates]
        if len(chosen) < 2:  # noqa: PLR2004  # nothing to order
            return Reranked(list(passages))
        texts = [f"{passage.title}\n{passage.text}" for passage in chosen]
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._reranker.scores, question, texts)
        try:
            scores = await asyncio.wait_for(work, deadline.remaining_s * SHARE_OF_DEADLINE)
        except TimeoutError:
            _log.warning("rerank_late", passages=len(chosen))
            return Reranked(list(passages), "rerank_timeout")
        except Exception as exc:
            _log.error("rerank_failed", exc_info=exc)
            return Reranked(list(passages), "rerank_failed")
        return Reranked(in_order(chosen, scores) + below(passages[self._candidates :], min(scores)))


def in_order(passages: Sequence[Passage], scores: Sequence[float]) -> list[Passage]:
    """`passages` by their new scores; ties stay in the order in which they were. Pure."""
    scored = [replace(passage, score=score) for passage, score in zip(passages, scores, strict=True)]
    return sorted(scored, key=lambda passage: -passage.score)


def below(passages: Sequence[Passage], least: float) -> list[Passage]:
    """`passages` in their order, with scores that say that they come behind those that were looked at. Pure."""
    return [replace(passage, score=min(passage.score, least)) for passage in passages]
