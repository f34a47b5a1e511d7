"""The publishing stage: rows first, then, once readers can see them, manifests and marker in one transaction a partition.

1. Upsert the batch's rows, a collection at a time.
2. Wait until a plain search would see them: acknowledged is not visible (design.md, "Why so strict", 5).
3. Commit, partition by partition: manifests, register records, dead letters and the progress marker together.
4. Only now schedule what the manifests superseded for deletion, after the grace period.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import structlog

from connectors.kafka.records import OutRecord
from connectors.milvus import Row, VectorStore
from flows.ingest import metrics
from flows.ingest.failpoints import FailPoints
from flows.ingest.lane import Lane, Work
from flows.ingest.ledger import Ledger
from flows.ingest.patience import Patience
from schemas.index import PROGRESS, DocKey, LogKey, Progress

IDLE_S = 1.0
GARBAGE_BATCH = 2_000

log = structlog.get_logger(__name__)


class Receipt(NamedTuple):
    """A committed batch of one partition."""

    marker: Progress
    works: list[Work]
    committed_ms: int


class PartitionLog(NamedTuple):
    """What the stage needs of a partition. `commit` publishes records in one transaction, or raises Fatal."""

    lane: Lane
    ledger: Ledger
    commit: Callable[[list[OutRecord]], None]


class Garbage:
    """Superseded rows, by when they may go. Thread-safe: lanes that open add what their predecessors left."""

    def __init__(self, grace_s: float) -> None:
        self._grace_ms = int(grace_s * 1000)
        self._due: list[tuple[int, int, DocKey, tuple[str, ...], int]] = []
        self._order = itertools.count()
        self._rows = 0
        self._lock = threading.Lock()

    def add(self, partition: int, key: DocKey, row_ids: tuple[str, ...], now_ms: int) -> None:
        if row_ids:
            with self._lock:
                heapq.heappush(self._due, (now_ms + self._grace_ms, next(self._order), key, row_ids, partition))
                self._rows += len(row_ids)

    def take_due(self, now_ms: int) -> list[tuple[int, DocKey, tuple[str, ...]]]:
        """What may be deleted now, a bounded amount. It counts as waiting until `deleted` is told."""
        taken: list[tuple[int, DocKey, tuple[str, ...]]] = []
        rows = 0
        with self._lock:
            while self._due and self._due[0][0] <= now_ms and rows < GARBAGE_BATCH:
                _, _, key, row_ids, partition = heapq.heappop(self._due)
                taken.append((partition, key, row_ids))
                rows += len(row_ids)
        return taken

    def deleted(self, rows: int) -> None:
        with self._lock:
            self._rows -= rows

    def seconds_to_next(self, now_ms: int) -> float:
        with self._lock:
            return max(0.0, (self._due[0][0] - now_ms) / 1000) if self._due else IDLE_S

    def __len__(self) -> int:
        with self._lock:
            return self._rows


class PublishStage:
    """Second stage of the pipeline. Receipts of what is committed pile up in `receipts` for the flow to take."""

    def __init__(  # noqa: PLR0913
        self,
        store: VectorStore,
        partitions: Mapping[int, PartitionLog],
        *,
        index_topic: str,
        collection_of: Callable[[str], str],
        visibility_timeout_s: float,
        garbage: Garbage,
        patience: Patience,
        fail_points: FailPoints,
        now_ms: Callable[[], int],
    ) -> None:
        self.receipts: deque[Receipt] = deque()
        self._store = store
        self._partitions = partitions
        self._index_topic = index_topic
        self._collection_of = collection_of
        self._visibility_timeout_s = visibility_timeout_s
        self._garbage = garbage
        self._patience = patience
        self._fail_points = fail_points
        self._now_ms = now_ms

    def process(self, works: list[Work]) -> None:
        self._upsert(works)
        self._fail_points.reach("upserted")
        by_partition: dict[int, list[Work]] = {}
        for work in works:
            by_partition.setdefault(work.partition, []).append(work)
        with metrics.PUBLISH_SECONDS.labels("commit").time():
            for partition, members in by_partition.items():
                self._commit(self._partitions[partition], members)
        self._collect_garbage()

    def idle(self) -> float:
        self._collect_garbage()
        return min(IDLE_S, self._garbage.seconds_to_next(self._now_ms()))

    def _upsert(self, works: list[Work]) -> None:
        """Steps 1 and 2. A row written twice in the batch keeps its last scalars."""
        batches: dict[str, dict[str, Row]] = {}
        for work in works:
            for row in work.rows:
                if row.vector is None:
                    continue
                batches.setdefault(self._collection_of(row.key.index), {})[row.row_id] = Row(
                    row_id=row.row_id,
                    vector=row.vector,
                    doc_key=str(row.key),
                    allow=row.scalars.allow,
                    expires_at_ms=row.scalars.expires_at_ms or 0,
                )
        marks = []
        with metrics.PUBLISH_SECONDS.labels("upsert").time():
            for name, rows in batches.items():
                marks.append((name, self._patience.insist("Milvus", partial(self._store.upsert, name, list(rows.values())))))
        with metrics.PUBLISH_SECONDS.labels("visible").time():
            for name, mark in marks:
                wait = partial(self._store.wait_visible, name, mark, self._visibility_timeout_s)
                self._patience.insist("Milvus", wait)

    def _commit(self, log_of: PartitionLog, works: list[Work]) -> None:
        """Steps 3 and 4."""
        if log_of.ledger.covers(works):
            return
        now_ms = self._now_ms()
        marker = log_of.ledger.enter(works, now_ms)
        key = LogKey(PROGRESS, str(marker.partition)).to_bytes()
        records = [record for work in works for record in work.records]
        records.append(OutRecord(self._index_topic, key, marker.to_bytes(), partition=marker.partition))
        log_of.commit(records)
        log_of.ledger.turn(marker)
        self._fail_points.reach("committed")
        for work in works:
            for doc, row_ids in work.garbage:
                self._garbage.add(marker.partition, doc, row_ids, now_ms)
        self.receipts.append(Receipt(marker, works, now_ms))

    def _collect_garbage(self) -> None:
        while due := self._garbage.take_due(self._now_ms()):
            by_collection: dict[str, list[str]] = {}
            for _, key, row_ids in due:
                by_collection.setdefault(self._collection_of(key.index), []).extend(row_ids)
            for name, row_ids_of in by_collection.items():
                self._patience.insist("Milvus", partial(self._store.delete, name, row_ids_of))
                metrics.ROWS_DELETED.inc(len(row_ids_of))
                self._garbage.deleted(len(row_ids_of))
            for partition, key, row_ids in due:
                if partition in self._partitions:
                    self._partitions[partition].lane.collected(key, row_ids)
        metrics.GARBAGE.set(len(self._garbage))
