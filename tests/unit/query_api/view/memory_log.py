"""A log in memory that behaves like Kafka where views can tell: partitions, compaction, gaps, lost starts, outages."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from connectors.kafka import Record
from query_api.view.log import LogReader
from schemas.errors import DataLoss, Retryable


class MemoryLog:
    """Implements `ViewLog`."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.lock = threading.Condition()
        self.records: dict[str, list[list[Record]]] = {name: [[] for _ in range(count)] for name, count in topics.items()}
        self.next: dict[tuple[str, int], int] = {}
        self.low: dict[tuple[str, int], int] = {}
        self.reserved: set[str] = set()
        self.read_up_to: dict[str, dict[int, int]] = {}
        self.is_away = False
        self.forgets = True
        self.is_silent = False  # it says what it is, and no more
        self.lives = "1"
        self.failure: BaseException | None = None

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> int:
        """Add a record; returns its offset."""
        with self.lock:
            offset = self.next.get((topic, partition), 0)
            self.records[topic][partition].append(Record(topic, partition, offset, 0, key, value))
            self.next[topic, partition] = offset + 1
            self.lock.notify_all()
            return offset

    def skip(self, topic: str, partition: int) -> None:
        """An offset that is never delivered: a transaction marker."""
        with self.lock:
            self.next[topic, partition] = self.next.get((topic, partition), 0) + 1
            self.lock.notify_all()

    def compact(self, topic: str, partition: int) -> None:
        """Keep the last record of each key."""
        with self.lock:
            last = {record.key: record.offset for record in self.records[topic][partition]}
            kept = [record for record in self.records[topic][partition] if last[record.key] == record.offset]
            self.records[topic][partition] = kept

    def drop_before(self, topic: str, partition: int, low: int) -> None:
        """The log starts at `low` from now on."""
        with self.lock:
            self.low[topic, partition] = low
            self.records[topic][partition] = [r for r in self.records[topic][partition] if r.offset >= low]

    def identity(self, topic: str) -> str:
        self._require()
        return f"{topic}@{self.lives}"

    def partitions_of(self, topic: str) -> tuple[int, ...]:
        self._require()
        return tuple(range(len(self.records[topic])))

    def forget(self, topic: str, partition: int, key: bytes) -> None:
        """A key was cleared, and so, after a while, were the news of it: its offsets are gaps."""
        with self.lock:
            self.records[topic][partition] = [r for r in self.records[topic][partition] if r.key != key]

    def ends(self, topic: str, timeout_s: float) -> dict[int, int]:
        self._require()
        if self.is_silent:
            raise Retryable("the log is silent")
        with self.lock:
            return {partition: self.next.get((topic, partition), 0) for partition in range(len(self.records[topic]))}

    def read(self, topic: str, positions: Mapping[int, int], partitions: tuple[int, ...]) -> LogReader:
        return _MemoryReader(self, topic, {p: positions.get(p, self.low.get((topic, p), 0)) for p in partitions})

    def reserve(self, topic: str) -> None:
        self.reserved.add(topic)

    def has_read(self, topic: str, positions: Mapping[int, int]) -> None:
        self.read_up_to[topic] = dict(positions)

    def close(self) -> None:
        self.reserved.clear()

    def _require(self) -> None:
        if self.is_away:
            raise Retryable("the log is away")


class _MemoryReader:
    def __init__(self, log: MemoryLog, topic: str, positions: dict[int, int]) -> None:
        self._log = log
        self._topic = topic
        self._positions = positions

    def poll(self, timeout_s: float) -> list[Record]:
        with self._log.lock:
            found = self._arrived()
            if not found and timeout_s > 0:
                self._log.lock.wait(timeout_s)
                found = self._arrived()
        return found

    def _arrived(self) -> list[Record]:
        if self._log.failure is not None:
            raise self._log.failure
        if self._log.is_away or self._log.is_silent:
            return []
        found: list[Record] = []
        for partition, position in self._positions.items():
            low = self._log.low.get((self._topic, partition), 0)
            if low > position:
                raise DataLoss(f"{self._topic}[{partition}] starts at {low}, after {position}")
            found += [r for r in self._log.records[self._topic][partition] if r.offset >= position]
            self._positions[partition] = self._log.next.get((self._topic, partition), position)
        return found

    def positions(self) -> dict[int, int]:
        return dict(self._positions)

    def close(self) -> None:
        pass
