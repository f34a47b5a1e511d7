"""One life of a view: store, keyword index and readers, and the turn that carries records from the log into both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from connectors.keyword.port import KeywordIndex
from query_api.view.feeding import KeywordFeed
from query_api.view.log import LogReader, ViewLog
from query_api.view.store import AWAY, MAX_AWAY_MS, ManifestStore, ViewIdentity
from schemas.acl import AllowList
from schemas.errors import DataLoss, Retryable

POLL_S: Final = 0.02
"""How long a turn waits for the index; floors wait as long at most."""

NOTE_EVERY_MS: Final = 60_000
"""How often it is written down that the view follows; that is a commit."""

OpenKeywordIndex = Callable[[Path, str], KeywordIndex]
"""Opens the index in a folder; emptied where it belongs to another stamp."""

_log = structlog.get_logger(__name__)


class Topics(NamedTuple):
    documents: str
    index_log: str
    floors: str


class Turn(NamedTuple):
    """What a turn did.

    Attributes:
        is_changed: something was applied or committed.
        is_settled: the keyword index has committed everything that was applied.
    """

    is_changed: bool
    is_settled: bool


class Follower:
    """Everything that only the view's own thread touches.

    Raises, from any method: Retryable while Kafka is away at the start; Misconfigured and Fatal for what waiting does not mend.
    """

    def __init__(  # noqa: PLR0913
        self,
        folder: Path,
        log: ViewLog,
        topics: Topics,
        generation: str,
        *,
        missing: Mapping[str, AllowList],
        open_keyword: OpenKeywordIndex,
        commit_s: float,
        now_ms: Callable[[], int],
        up_ms: Callable[[], int],
    ) -> None:
        self._log = log
        self._topics = topics
        identity = ViewIdentity(generation, log.identity(topics.index_log), log.identity(topics.floors))
        self.documents_log = log.identity(topics.documents)
        self.store = ManifestStore(
            folder / "manifests",
            identity,
            index_topic=topics.index_log,
            floors_topic=topics.floors,
            missing=missing,
            now_ms=now_ms,
        ).open()
        self.keyword = open_keyword(folder / "keyword", self.store.stamp)
        self._feed = KeywordFeed(self.store, self.keyword, commit_s)
        self._feed.begin()
        self._noted_ms = 0
        self._up_ms = up_ms
        self._told_ms: int | None = None
        self._followed_up_ms = up_ms() - self.store.age_ms()
        self._readers: dict[str, LogReader] = {}
        self._partitions: dict[str, tuple[int, ...]] = {}
        self._where: dict[str, dict[int, int]] = {}
        self._read_on()

    def turn(self, *, is_caught_up: bool, is_hurried: bool) -> Turn:
        """Read, apply, feed, and commit when that is due. Waits up to `POLL_S` when there is nothing to do.

        Raises: DataLoss, with nothing applied: the log may no longer hold what was to be read. `start_over`.
        """
        records = self._readers[self._topics.floors].poll(0)
        is_due = self._feed.is_due(is_caught_up=is_caught_up, is_hurried=is_hurried)  # of what the turns before have fed
        records += self._readers[self._topics.index_log].poll(0 if records or is_due else POLL_S)
        if self._has_moved() and self._log.forgets and self._up_ms() - self._followed_up_ms > MAX_AWAY_MS:
            # Kafka was away from here, not from others: what they cleared meanwhile may be gone, its offsets passed in silence.
            raise DataLoss(AWAY)
        self.store.apply(records)
        for topic in self._readers:
            self._log.has_read(topic, self.positions(topic))
        has_more = self._feed.feed()
        is_committing = self._feed.is_due(is_caught_up=is_caught_up and not has_more, is_hurried=is_hurried)
        if is_committing:
            self._feed.commit()
        return Turn(is_changed=bool(records) or is_committing, is_settled=self._feed.is_clean and not has_more)

    def note_followed(self, at_ms: int) -> None:
        """Everything that was in the log at this moment is in the view. Written down now and then, also by a clock set back."""
        if at_ms != self._told_ms:
            # Of a life the clock that nobody sets tells how long ago that was; the wall clock only from one life to the next.
            self._told_ms, self._followed_up_ms = at_ms, self._up_ms()
        if abs(at_ms - self._noted_ms) >= NOTE_EVERY_MS:
            self.store.followed(at_ms)
            self._noted_ms = at_ms

    def positions(self, topic: str) -> dict[int, int]:
        """Everything below has been applied."""
        return self._readers[topic].positions()

    def reads(self, topic: str, partitions: Mapping[int, int]) -> bool:
        """Whether all of these partitions are read; partitions may be added while it runs."""
        return set(partitions) <= set(self._partitions[topic])

    def read_on(self, ends: Mapping[str, Collection[int]]) -> None:
        """Go on from where each partition was left, with those by topic that have been added: of `ends` that were told."""
        self._close_readers()
        self._open_readers({topic: {*self._partitions[topic], *ends[topic]} for topic in self._partitions})

    def start_over(self, reason: str) -> None:
        """Forget everything and read it again: a compacted log that starts later, or is another one, still tells all of it.

        From here on nothing is found: whoever answers must know before.
        """
        self._close_readers()
        # First: an empty keyword index beside full manifests is noticed at the next start, the other way round is not.
        self._feed.clear()
        self.store.wipe(reason)
        self._noted_ms = 0
        self._followed_up_ms = self._up_ms()
        self._read_on()

    def close(self) -> None:
        """Release files and connections. Never raises."""
        self._close_readers()
        self.keyword.close()
        self.store.close()

    def _read_on(self) -> None:
        self._open_readers({topic: self._partitions_of(topic) for topic in (self._topics.floors, self._topics.index_log)})

    def _open_readers(self, partitions: Mapping[str, Collection[int]]) -> None:
        for topic, wanted in partitions.items():
            self._partitions[topic] = tuple(sorted(wanted))
            self._readers[topic] = self._log.read(topic, self.store.positions(topic), self._partitions[topic])
        self._where = self._all_positions()

    def _partitions_of(self, topic: str) -> tuple[int, ...]:
        """As they are now; while Kafka is away, those that are known."""
        try:
            return self._log.partitions_of(topic)
        except Retryable:
            if topic not in self._partitions:
                raise
            return self._partitions[topic]

    def _has_moved(self) -> bool:
        """Whether the readers have come further since the last time."""
        before, self._where = self._where, self._all_positions()
        return before != self._where

    def _all_positions(self) -> dict[str, dict[int, int]]:
        return {topic: reader.positions() for topic, reader in self._readers.items()}

    def _close_readers(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
