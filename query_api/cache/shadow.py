"""Shadow checks: a share of hits is answered afresh in the background and compared, so that the cache's error is known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Literal

import numpy as np
import structlog

from connectors.embedding.port import Vector
from query_api.answer.port import EXTRACTIVE, Draft, GenerationFailed
from query_api.cache.answers import Verdict
from query_api.cache.entry import Entry
from query_api.cache.metrics import CacheMetrics
from query_api.cache.threshold import ThresholdGuard
from query_api.cache.wording import facts_differ

AT_ONCE: Final = 1
"""Shadow checks under way: they must not compete with callers for the model."""
SAME_MEANING: Final = 0.8
"""Cosine from which two texts of a model say the same, unless their numbers or negations differ."""

_MARKER = re.compile(r"\s*\[\d+\]")
_log = structlog.get_logger(__name__)

Encode = Callable[[str], Vector]
Result = Literal["agrees", "differs", "failed", "skipped"]


def agrees(entry: Entry, fresh: Draft, similarity: float) -> bool:
    """Whether an answer made afresh says what the remembered one says.

    Quoted answers must quote the same; a model's may be worded differently.

    Args:
        similarity: cosine of the two texts; only looked at for a model's.
    """
    remembered, new = _plain(entry.text), _plain(fresh.text)
    if remembered == new:
        return True
    if not new:
        return False
    if EXTRACTIVE in (entry.usage.model, fresh.usage.model):
        return _cited(entry) == {(c.index, c.doc_id, c.start, c.end) for c in fresh.citations} and _overlap(remembered, new)
    return similarity >= SAME_MEANING and not facts_differ(remembered, new)


class Shadows:
    """Runs the checks on the event loops it is used from.

    Args:
        share: of the hits. draw: uniform in [0, 1).
        encode: of a text; called in a thread.
    """

    def __init__(
        self, share: float, guard: ThresholdGuard, metrics: CacheMetrics, encode: Encode, draw: Callable[[], float]
    ) -> None:
        self._share = share
        self._guard = guard
        self._metrics = metrics
        self._encode = encode
        self._draw = draw
        self._running: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def consider(self, verdict: Verdict, answer_afresh: Callable[[], Awaitable[Draft]]) -> bool:
        """Check a hit, now and then; whether it is. `answer_afresh` must bring its own deadline."""
        entry, likeness = verdict.entry, verdict.similarity
        if self._is_closed or entry is None or likeness is None or self._draw() >= self._share:
            return False
        # A loop may end before its check has: it would be under way for ever.
        self._running = {task for task in self._running if not task.get_loop().is_closed()}
        if len(self._running) >= AT_ONCE:
            self._metrics.shadows.labels("skipped").inc()
            return False
        task = asyncio.get_running_loop().create_task(self._check(entry, likeness, answer_afresh))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return True

    def close(self) -> None:
        """Give up what runs, and begin nothing more. From any thread, loops running or not; never raises."""
        self._is_closed = True
        for task in list(self._running):
            with suppress(RuntimeError):  # its loop has ended
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def finished(self) -> None:
        """Once what runs now has ended."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _check(self, entry: Entry, likeness: float, answer_afresh: Callable[[], Awaitable[Draft]]) -> None:
        try:
            fresh = await answer_afresh()
        except (GenerationFailed, TimeoutError):
            self._metrics.shadows.labels("failed").inc()
            return
        if fresh.degraded or fresh.is_cut:
            self._metrics.shadows.labels("failed").inc()
            return
        is_right = agrees(entry, fresh, await asyncio.to_thread(self._similarity, entry.text, fresh.text))
        self._metrics.shadows.labels("agrees" if is_right else "differs").inc()
        self._metrics.threshold.set(self._guard.compared(likeness, is_right=is_right))
        error = self._guard.error()
        self._metrics.error.set(error.share)
        self._metrics.error_low.set(error.low)
        self._metrics.error_high.set(error.high)

    def _similarity(self, remembered: str, new: str) -> float:
        a, b = self._encode(_plain(remembered)), self._encode(_plain(new))
        return float(np.dot(a, b))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("shadow_check_failed", exc_info=error)


def _plain(text: str) -> str:
    return " ".join(_MARKER.sub("", text).split())


def _cited(entry: Entry) -> set[tuple[str, str, int, int]]:
    used = (entry.evidence[cited.evidence] for cited in entry.citations)
    return {(one.key.index, one.key.doc_id, one.start, one.end) for one in used}


def _overlap(a: str, b: str) -> bool:
    """Whether at least one is told whole by the other: one quote more or less is no other answer."""
    return a in b or b in a
