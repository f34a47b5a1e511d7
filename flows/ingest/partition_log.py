"""A partition of the index log as its one writer sees it: taking it over, reading it back, writing to it fenced.

A transactional producer that is fenced proves nothing about a rival: a transaction that timed out after a pause gives the same
error. So a writer signs, by an owner record, as soon as it has opened, and whoever is fenced looks for a signature that is newer
than its own opening before it believes in a rival. Only then does it read the log back: a predecessor that is fenced before there
is a signature takes itself for unlucky, opens again and goes on committing.
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

from connectors.kafka import KafkaLink, TransactionalWriter, read_to_end, watermarks_of
from connectors.kafka.records import OutRecord
from flows.ingest.failpoints import FailPoints
from flows.ingest.lane import Lane
from flows.ingest.ledger import Ledger
from flows.ingest.markers import last_marker
from flows.ingest.patience import Patience
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
        self._patience = Patience(give_up, settings.ingest.retry_max_s)
        self._opened_at = 0  # the log's end then: what is signed from there on is by a rival

    def open(self) -> None:
        """Fence predecessors. Blocks while Kafka is away. Sign at once."""
        self._writer.open()
        _, self._opened_at = watermarks_of(self._link, self._topic, self._partition)

    def sign(self) -> None:
        """Leave the owner record, at which a predecessor stops. Raises: Fenced, when another process has signed since `open`."""
        owner = Owner(
            partition=self._partition,
            owner=self.owner,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at_ms=self._now_ms(),
        )
        self._settle([self._record(OWNER, owner.to_bytes())])

    def commit(self, records: list[OutRecord]) -> None:
        """One transaction, exactly once. Waits while Kafka is away. Raises: Fenced, when another process has taken over."""
        self._settle(records, before_commit=lambda: self._fail_points.reach("produced"))

    def close(self) -> None:
        self._writer.close()

    def _settle(self, records: list[OutRecord], before_commit: Callable[[], None] | None = None) -> None:
        """Commit, however often one is fenced: each time the log tells whether by a rival, and whether `records` are in it."""
        is_in_doubt = False

        def attempt() -> None:
            nonlocal is_in_doubt
            if is_in_doubt and self._take_over_again() == records[-1].value:
                return
            is_in_doubt = True
            self._writer.commit(records, before_commit=before_commit)

        self._patience.insist("Kafka", attempt)

    def _take_over_again(self) -> bytes | None:
        """If nobody else did; the last marker in the log. Raises: Fenced."""
        self._refuse_rival()  # before opening: to open is to fence
        self._writer.open()
        last = self._refuse_rival()
        log.warning("transaction timed out; took the partition over again", partition=self._partition)
        return last

    def _refuse_rival(self) -> bytes | None:
        """The last marker in the log. Raises: Fenced, when another one has signed last, and since `open`."""
        last_marker: bytes | None = None
        rival: Owner | None = None
        for record in read_to_end(self._link, self._topic, self._partition):
            kind = LogKey.from_bytes(record.key or b"").kind
            if kind == PROGRESS:
                last_marker = record.value
            elif kind == OWNER and record.value is not None:
                owner = Owner.from_bytes(record.value)
                rival = owner if owner.owner != self.owner and record.offset >= self._opened_at else None
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
    """Take over the lane's partition, then read it back into the lane.

    Raises: Fenced (embedded: another process holds the lock), Misconfigured (another model, chunker or source log), Retryable.
    """
    published = last_marker(link, settings.index_topic, lane.partition)
    if published is not None:
        _refuse_other(published, fingerprints, settings)  # before opening: whoever is refused must have fenced nobody
    writer = PartitionWriter(link, settings, lane.partition, give_up, fail_points, now_ms)
    try:
        writer.open()
        writer.sign()
        garbage: list[tuple[DocKey, tuple[str, ...]]] = []
        last: Progress | None = None
        for record in read_to_end(link, settings.index_topic, lane.partition):
            kind = LogKey.from_bytes(record.key or b"").kind
            if kind == PROGRESS and record.value is not None:
                last = Progress.from_bytes(record.value)
            superseded = lane.restore(record)
            if superseded is not None:
                garbage.append(superseded)
        low, high = watermarks_of(link, settings.kafka.topics.documents, lane.partition)
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
                "Mixing them would corrupt the index: go back, or index into a new generation beside the live one, such as "
                "RAG_GENERATION=g2 (docs/operations.md, A changed model or chunker)"
            )
            raise Misconfigured(msg)
