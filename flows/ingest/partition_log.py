"""A partition of the index log as its one writer sees it: taking it over, reading it back, writing to it fenced.

A transactional producer that is fenced proves nothing about a rival: a transaction that timed out after a pause gives the same
error. So a writer leaves an owner record when it takes over, and reads it again before it believes in a rival.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import structlog

from connectors.kafka import KafkaLink, PartitionReader, ProducerFenced, TransactionalWriter, read_to_end
from connectors.kafka.records import OutRecord
from flows.ingest.failpoints import FailPoints
from flows.ingest.lane import Lane
from flows.ingest.ledger import Ledger
from schemas.errors import Fenced, Misconfigured
from schemas.index import OWNER, PROGRESS, DocKey, LogKey, Owner, Progress
from schemas.settings import Settings

log = structlog.get_logger(__name__)


class Fingerprints(NamedTuple):
    """What a generation's rows were made with; another one can't be mixed in."""

    model: str
    chunker: str
    log_id: str


class OpenedPartition(NamedTuple):
    """A partition taken over. `low` and `high` bound what rag.documents held at that time."""

    ledger: Ledger
    writer: PartitionWriter
    garbage: list[tuple[DocKey, tuple[str, ...]]]
    low: int
    high: int


class PartitionWriter:
    """Commits batches to one partition of the index log, as its only writer."""

    def __init__(
        self,
        link: KafkaLink,
        settings: Settings,
        partition: int,
        give_up: threading.Event,
        fail_points: FailPoints,
        now_ms: Callable[[], int],
    ) -> None:
        self.owner = uuid.uuid4().hex
        self._link = link
        self._topic = settings.index_topic
        self._partition = partition
        self._fail_points = fail_points
        self._now_ms = now_ms
        self._writer = TransactionalWriter(link, f"{settings.index_topic}.{partition}", give_up)

    def open(self) -> None:
        """Fence predecessors. Blocks while Kafka is away."""
        self._writer.open()

    def sign(self, before: str | None) -> None:
        """Leave the owner record. Raises: Fenced, when another process has signed meanwhile.

        Args:
            before: the last owner that the log names, read after `open`. Who takes a partition over signs it first: as long
                as nobody did, a fencing is only a transaction that timed out while Kafka was away.
        """
        owner = Owner(
            partition=self._partition,
            owner=self.owner,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at_ms=self._now_ms(),
        )
        record = self._record(OWNER, owner.to_bytes())
        try:
            self._writer.commit([record])
        except ProducerFenced:
            self._take_over_again(before)
            self._writer.commit([record])

    def commit(self, records: list[OutRecord]) -> None:
        """One transaction, exactly once. Raises: Fenced, when another process has taken over."""
        try:
            self._writer.commit(records, before_commit=lambda: self._fail_points.reach("produced"))
        except ProducerFenced:
            if not self._was_committed(records[-1]):
                self._writer.commit(records)

    def close(self) -> None:
        self._writer.close()

    def _was_committed(self, marker: OutRecord) -> bool:
        """After a fencing: whether the log already holds `marker`."""
        return self._take_over_again(self.owner) == marker.value

    def _take_over_again(self, before: str | None) -> bytes | None:
        """If nobody else did; the last marker in the log. Raises: Fenced."""
        self._refuse_rival(before)  # before opening: to open is to fence
        self._writer.open()
        last = self._refuse_rival(before)
        log.warning("transaction timed out; took the partition over again", partition=self._partition)
        return last

    def _refuse_rival(self, before: str | None) -> bytes | None:
        """The last marker in the log. Raises: Fenced, when the last owner record is neither `before`'s nor one's own."""
        last_marker: bytes | None = None
        rival: Owner | None = None
        for record in read_to_end(self._link, self._topic, self._partition):
            kind = LogKey.from_bytes(record.key or b"").kind
            if kind == PROGRESS:
                last_marker = record.value
            elif kind == OWNER and record.value is not None:
                owner = Owner.from_bytes(record.value)
                rival = owner if owner.owner not in (self.owner, before) else None
        if rival is not None:
            msg = (
                f"partition {self._partition} of {self._topic} is written by another ingest process now: pid {rival.pid} on "
                f"{rival.host}. This one stops. Run one ingest (with --workers N) per generation"
            )
            raise Fenced(msg)
        return last_marker

    def _record(self, kind: str, value: bytes) -> OutRecord:
        return OutRecord(self._topic, LogKey(kind, str(self._partition)).to_bytes(), value, partition=self._partition)


def open_partition(
    link: KafkaLink,
    settings: Settings,
    lane: Lane,
    fingerprints: Fingerprints,
    give_up: threading.Event,
    fail_points: FailPoints,
    now_ms: Callable[[], int],
) -> OpenedPartition:
    """Take over the lane's partition and read it back into the lane.

    Raises: Fenced (embedded: another process holds the lock), Misconfigured (another model, chunker or source log), Retryable.
    """
    writer = PartitionWriter(link, settings, lane.partition, give_up, fail_points, now_ms)
    try:
        writer.open()
        garbage: list[tuple[DocKey, tuple[str, ...]]] = []
        last: Progress | None = None
        owner: str | None = None
        for record in read_to_end(link, settings.index_topic, lane.partition):
            kind = LogKey.from_bytes(record.key or b"").kind
            if kind == PROGRESS and record.value is not None:
                last = Progress.from_bytes(record.value)
            elif kind == OWNER and record.value is not None:
                owner = Owner.from_bytes(record.value).owner
            superseded = lane.restore(record)
            if superseded is not None:
                garbage.append(superseded)
        writer.sign(owner)
        reader = PartitionReader(link, settings.kafka.topics.documents, lane.partition, "start")
        try:
            low, high = reader.watermarks()
        finally:
            reader.close()
        if last is not None:
            _refuse_other(last, fingerprints, settings)
        ledger = Ledger(
            lane.partition,
            origin=last.origin if last else low,
            next=last.next if last else low,
            model=fingerprints.model,
            chunker=fingerprints.chunker,
            log_id=fingerprints.log_id,
            totals=Counter(last.totals if last else {}),
        )
    except BaseException:
        writer.close()
        raise
    return OpenedPartition(ledger, writer, garbage, low, high)


def _refuse_other(last: Progress, now: Fingerprints, settings: Settings) -> None:
    for what, before, after in (
        ("encoder", last.model, now.model),
        ("chunker", last.chunker, now.chunker),
        ("source log", last.log_id, now.log_id),
    ):
        if before != after:
            msg = (
                f"generation {settings.generation!r} was made with {what} {before!r}; this process has {after!r}. "
                "Mixing them would corrupt the index: go back, or rebuild into a new generation (RAG_GENERATION) "
                "beside the live one"
            )
            raise Misconfigured(msg)
