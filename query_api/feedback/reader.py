"""Follows `rag.feedback` in a thread: a thumbs-down of whoever asked takes the answer out of the cache and keeps it out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from connectors.kafka import Record
from query_api.feedback.asked import AskedLog, Unmatched
from schemas.errors import DataLoss, RagError, Rejected, Retryable
from schemas.feedback import Feedback
from schemas.wire import parse

POLL_S: Final = 0.25
PATIENCE_S: Final = 1.0
"""An asker is noted beside the answer, maybe by another worker: feedback that comes at once is looked at again so much later. As
well where the query is known as somebody else's: two may have chosen one id."""
MOST_HELD: Final = 1_000
MAY_COME: Final = frozenset(unmatched.value for unmatched in Unmatched)
"""What feedback is as long as its asker's note waits."""
AGAIN_AFTER_S: Final = 1.0
LATER_S: Final = 10.0

_log = structlog.get_logger(__name__)


class Follower(Protocol):
    """What is needed of `connectors.kafka.TopicFollower`."""

    def poll(self, timeout_s: float) -> list[Record]: ...

    def positions(self) -> dict[int, int]: ...

    def close(self) -> None: ...


OpenFollower = Callable[[Mapping[int, int] | None], Follower]
"""Opens a follower at these positions; None: at the topic's end of now. Raises: Retryable, while Kafka is away."""


class FeedbackMetrics:
    """One per process; names start with `rag_query_feedback`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.not_noted = Counter(
            "rag_query_feedback_not_noted", "Answers whose asker was not noted, as the store was too slow.", registry=registry
        )
        self.feedback = Counter("rag_query_feedback", "Feedback by what became of it.", ["outcome"], registry=registry)


class FeedbackReader:
    """Every worker has one, outside any group, from the topic's end on: earlier feedback is in the shared bars already."""

    def __init__(
        self, open_follower: OpenFollower, asked: AskedLog, bar: Callable[[str], None], metrics: FeedbackMetrics
    ) -> None:
        self._open = open_follower
        self._asked = asked
        self._bar = bar
        self._metrics = metrics
        self._held: deque[tuple[float, bytes]] = deque()
        self._left_at: Mapping[int, int] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends within a poll. Never raises; may be called again."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def take(self, raw: bytes | None) -> str:
        """What became of one message; counted under the same word."""
        outcome = self._judge(raw)
        self._count(outcome)
        return outcome

    def _count(self, outcome: str) -> None:
        self._metrics.feedback.labels(outcome).inc()

    def _judge(self, raw: bytes | None) -> str:
        if raw is None:
            return "undecodable"
        try:
            feedback = parse(Feedback, raw)
        except Rejected:
            return "undecodable"
        found = self._asked.find(feedback.query_id, feedback.principal)
        if isinstance(found, Unmatched):
            return found.value
        if feedback.rating == "up":
            return "up"
        if found.entry_id is None:
            return "down_not_cached"
        self._bar(found.entry_id)
        return "down"

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except DataLoss as exc:
                self._left_at = None
                _log.warning("feedback was lost; going on at the topic's end", cause=str(exc))
            except Retryable as exc:
                _log.warning("feedback is not read; trying again", cause=str(exc))
            except RagError as exc:
                _log.error("feedback can't be read; trying again later", cause=str(exc))
                self._stopped.wait(LATER_S)  # a permission or a topic that somebody has to see to
            except Exception:
                _log.exception("reading feedback failed; going on")
            self._stopped.wait(AGAIN_AFTER_S)

    def _follow(self) -> None:
        follower = self._open(self._left_at)
        try:
            while not self._stopped.is_set():
                for record in follower.poll(POLL_S):
                    self._take_or_hold(record.value)
                self._left_at = follower.positions()
                while self._held and self._held[0][0] <= time.monotonic():
                    self.take(self._held.popleft()[1])
        finally:
            follower.close()

    def _take_or_hold(self, raw: bytes | None) -> None:
        outcome = self._judge(raw)
        if outcome in MAY_COME and raw is not None and len(self._held) < MOST_HELD:
            self._held.append((time.monotonic() + PATIENCE_S, raw))
        else:
            self._count(outcome)
