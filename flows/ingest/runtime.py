"""One ingest process: its parts, its lanes, and the functions that the dataflow's steps call.

A lane opens in this order: fence whoever wrote the partition before, leave an owner record, read the partition of the index log
to its end, continue after the last marker. Losing a process or changing the number of workers costs this re-read, nothing more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from connectors.blobs import open_blob_store
from connectors.embedding import Embedder, EmbeddingCache
from connectors.kafka import GroupCopy, KafkaLink, PartitionReader, cluster_identity, partitions_of
from connectors.kafka.records import Record
from connectors.milvus import VectorStore
from connectors.parsing import Parser
from flows.chunking import Chunker, ChunkLimits
from flows.ingest import metrics
from flows.ingest.embedding import EmbedStage
from flows.ingest.events import Event, Rejection, Tick, decode
from flows.ingest.failpoints import FailPoints
from flows.ingest.lane import Lane, Work
from flows.ingest.log_bounds import LogBounds
from flows.ingest.partition_log import Fingerprints, OpenedPartition, PartitionWriter, open_partition
from flows.ingest.patience import Patience
from flows.ingest.pipeline import WritePipeline
from flows.ingest.publishing import Garbage, PartitionLog, PublishStage, Receipt
from flows.ingest.resolve import ContentResolver
from schemas.errors import DataLoss, Misconfigured
from schemas.index import DocKey
from schemas.join import DocumentState
from schemas.settings import MIB, Settings

STOP_GRACE_S: Final = 25.0
"""How long a stop waits for what is in flight; below the 30 s that orchestrators usually give."""
EMBEDDED_MAX_RECORD_BYTES: Final = 2 * MIB
"""The in-process broker holds 5 MiB a partition in all."""
RECORD_MARGIN_BYTES: Final = 1024
MIN_FETCH: Final = 8
CONSUMER: Final = "ingest"
ROWS_PER_FETCH: Final = 96
"""Rows that a batch is meant to write: few enough to keep every stage busy."""
ROUNDS_PER_WINDOW: Final = 2
"""Rounds of the encoder whose chunks are sorted by length together: less padding, for a later publication under load."""
WINDOWS_IN_FLIGHT: Final = 3
"""One is embedded, one waits for its rows to be visible, one is planned: neither encoder nor Milvus waits for the other."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The outside world of an ingest process. Who builds them closes them."""

    link: KafkaLink
    store: VectorStore
    embedder: Embedder
    cache: EmbeddingCache
    parser: Parser


@dataclass(slots=True)
class OpenLane:
    """A partition that this process works on."""

    partition: int
    reader: PartitionReader
    lane: Lane
    writer: PartitionWriter
    stop_at: int | None = None
    fetch: int = 64

    def appetite(self, most: int) -> int:
        """How many messages to take next: few where each brings rows to write, many where nothing changes."""
        return min(self.fetch, most)

    def adapt(self, events: int, rows: int) -> None:
        per_event = rows / max(1, events)
        wanted = ROWS_PER_FETCH / per_event if per_event > 0.01 else self.fetch * 2  # noqa: PLR2004
        self.fetch = max(MIN_FETCH, min(4096, int(wanted)))


def _pipeline_limits(settings: Settings) -> dict[str, int]:
    """Chunks under way, so that a kill has no more than `in_flight_chunks` embedded again.

    With a cache on disk that is one round of the encoder: what it has finished is not lost, though not yet published.
    Without it all that is not published is lost: thirds of it are embedded, published and waiting.
    """
    limit = settings.ingest.in_flight_chunks
    if settings.embedding.cache == "lmdb":
        window = ROUNDS_PER_WINDOW * limit
        return {"in_flight_chunks": WINDOWS_IN_FLIGHT * window, "window": window}
    return {"in_flight_chunks": limit, "window": max(1, limit // 3)}


class _EncoderTokens:
    """The encoder's own token counts, as the chunker asks for them."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def count(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)


class IngestRuntime:
    """What the steps of the dataflow share in one process (all its worker threads).

    Args:
        settings: the tree.
        parts: Kafka, the vector store, the encoder, its cache and the parser.
        until_caught_up: end once everything is processed that was in the log when the lane opened.
    """

    def __init__(self, settings: Settings, parts: Parts, *, until_caught_up: bool = False) -> None:
        self.settings = settings
        self.parts = parts
        self.lanes: dict[int, OpenLane] = {}
        self.stopping = threading.Event()
        self._until_caught_up = until_caught_up
        self._give_up = threading.Event()
        self._group = GroupCopy(parts.link, settings.kafka.ingest_group, settings.kafka.topics.documents)
        self._bounds = LogBounds(parts.link, settings.kafka.topics.documents, self.positions)
        self._lock = threading.Lock()
        self._documents = settings.kafka.topics.documents
        self._patience = Patience(self._give_up, settings.ingest.retry_max_s)
        self._fail_points = FailPoints(settings.ingest.kill_at)
        self._garbage = Garbage(settings.ingest.garbage_grace_s)
        self._logs: dict[int, PartitionLog] = {}
        limits = ChunkLimits.of(settings.chunking, model_tokens=parts.embedder.max_tokens)
        # What the chunker tokenises to measure it, the encoder needn't tokenise again.
        ids = parts.embedder.token_ids if parts.embedder.has_joinable_ids else None
        self._chunker = Chunker(_EncoderTokens(parts.embedder), limits, ids=ids)
        embed = EmbedStage(
            parts.embedder,
            parts.cache,
            parts.store,
            collection_of=settings.collection,
            round_chunks=settings.ingest.in_flight_chunks,
            patience=self._patience,
            fail_points=self._fail_points,
        )
        self._publish = PublishStage(
            parts.store,
            self._logs,
            index_topic=settings.index_topic,
            collection_of=settings.collection,
            visibility_timeout_s=settings.milvus.visibility_timeout_s,
            garbage=self._garbage,
            patience=self._patience,
            fail_points=self._fail_points,
            now_ms=self.now_ms,
        )
        self.pipeline = WritePipeline(embed, self._publish, **_pipeline_limits(settings))
        self._resolver = ContentResolver(
            parts.link,
            self._documents,
            indexes=settings.indexes,
            blobs=open_blob_store(settings.blobs),
            blob_settings=settings.blobs,
            parser=parts.parser,
            parsing=settings.parsing,
            chunker=self._chunker,
            patience=self._patience,
        )

    # -- life

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def start(self) -> None:
        """Make the collections and start the pipeline. Waits for Milvus."""
        for index in self.settings.indexes:
            collection = self.settings.collection(index)
            self._patience.insist("Milvus", partial(self.parts.store.ensure, collection, self.parts.embedder.dimension))
        self.pipeline.start()
        self._bounds.start()

    def stop(self) -> None:
        """Ask for a clean stop: read nothing more, publish what is in flight, then end. Safe to call from a signal handler."""
        if not self.stopping.is_set():
            self.stopping.set()
            timer = threading.Timer(STOP_GRACE_S, self._give_up.set)
            timer.daemon = True
            timer.start()

    def close(self) -> None:
        """Release everything; never raises."""
        self._give_up.set()
        self._bounds.stop()
        self.pipeline.close()
        for receipt in self._receipts():  # what was committed after the flow's last batch
            self.account(receipt)
        for partition in list(self.lanes):
            self.close_lane(partition)
        self._group.close()

    # -- what the source asks

    def partitions(self) -> list[int]:
        """Partitions of rag.documents. Raises: Misconfigured where the index log doesn't have as many."""
        sources = partitions_of(self.parts.link, self._documents)
        targets = partitions_of(self.parts.link, self.settings.index_topic)
        if len(sources) != len(targets):
            msg = (
                f"{self._documents} has {len(sources)} partitions and {self.settings.index_topic} {len(targets)}: they must "
                "agree. "
                "Add partitions to the smaller one (kafka-topics --alter), then restart"
            )
            raise Misconfigured(msg)
        return list(sources)

    def open_lane(self, partition: int) -> OpenLane:
        """Take over a partition. Blocks while it is read back. Raises: Fenced, DataLoss, Misconfigured."""
        log = structlog.get_logger(__name__).bind(partition=partition)
        started = time.monotonic()
        # From the start again: a lane that was read back in part is none.
        lane, opened = self._patience.insist("Kafka", partial(self._take_over, partition))
        low, high = opened.low, opened.high
        if opened.ledger.next < low:
            msg = (
                f"{self._documents}/{partition} starts at {low}, but {opened.ledger.next} is the next to read: messages "
                "are gone. "
                "Publish the lost documents again, and index into a new generation, such as RAG_GENERATION=g2, which reads "
                "the log from its start (docs/operations.md, When messages are gone)"
            )
            raise DataLoss(msg)
        for key, row_ids in opened.garbage:
            self._garbage.add(partition, key, row_ids, self.now_ms())
        reader = PartitionReader(self.parts.link, self._documents, partition, opened.ledger.next)
        self._logs[partition] = PartitionLog(lane, opened.ledger, opened.writer.commit)
        opened_lane = OpenLane(partition, reader, lane, opened.writer, high if self._until_caught_up else None)
        self.lanes[partition] = opened_lane
        log.info(
            "lane opened",
            position=opened.ledger.next,
            end=high,
            documents=lane.documents,
            chunks=lane.chunks,
            took_s=round(time.monotonic() - started, 2),
        )
        return opened_lane

    def _take_over(self, partition: int) -> tuple[Lane, OpenedPartition]:
        """One try. Raises: as `open_lane`; Retryable, when Kafka goes away meanwhile."""
        settings = self.settings
        lane = Lane(
            partition,
            index_topic=settings.index_topic,
            dead_letter_topic=settings.kafka.topics.dead_letters,
            missing_allow=settings.missing_allow_lists,
            max_record_bytes=self._max_record_bytes(),
        )
        fingerprints = Fingerprints(
            self.parts.embedder.fingerprint, self._chunker.fingerprint, cluster_identity(self.parts.link, self._documents)
        )
        return lane, open_partition(self.parts.link, settings, lane, fingerprints, self._give_up, self._fail_points, self.now_ms)

    def _max_record_bytes(self) -> int:
        limit = self.settings.kafka.max_message_bytes
        if self.parts.link.embedded:
            limit = min(limit, EMBEDDED_MAX_RECORD_BYTES)
        return limit - RECORD_MARGIN_BYTES

    def close_lane(self, partition: int) -> None:
        lane = self.lanes.pop(partition, None)
        if lane is not None:
            lane.reader.close()
            lane.writer.close()

    def should_stop(self, lane: OpenLane) -> bool:
        if lane.stop_at is not None and self._logs[lane.partition].ledger.next >= lane.stop_at:
            return True
        return self.stopping.is_set()

    def has_read(self, partition: int, position: int) -> None:
        """The source has read everything below `position`: the embedded broker may take more."""
        if self.parts.link.backlog is not None:
            self.parts.link.backlog.progressed(self._documents, CONSUMER, partition, position)

    def is_idle(self, partition: int) -> bool:
        return self.pipeline.is_idle(partition)

    def positions(self) -> dict[int, int]:
        """By partition of the open lanes: the first offset that is not published yet."""
        return {partition: self._logs[partition].ledger.next for partition in list(self.lanes)}

    def state_of(self, partition: int, key: DocKey) -> DocumentState | None:
        """What the partition's lane knows of a document; ahead of what is published by what is in flight."""
        lane = self.lanes.get(partition)
        known = lane.lane.known.get(str(key)) if lane is not None else None
        return known.state if known is not None else None

    @property
    def garbage_rows(self) -> int:
        """Superseded rows that are not deleted yet."""
        return len(self._garbage)

    @property
    def waiting_for(self) -> str | None:
        """The server that publication waits for, None while all answer."""
        return self._patience.waiting_for

    # -- the steps

    def decode(self, items: list[Record | Tick]) -> list[Event | Rejection | Tick]:
        """Bytes to events. Ticks pass through."""
        indexes = self.settings.indexes
        return [item if isinstance(item, Tick) else decode(item, indexes) for item in items]

    def plan(self, items: list[Event | Rejection | Tick]) -> list[Work]:
        """Fence and dedupe; fetch, parse and chunk what advances."""
        works: list[Work] = []
        rows: dict[int, list[int]] = {}
        for item in items:
            partition = item.partition if isinstance(item, Tick) else item.record.partition
            planned = self.lanes[partition].lane.plan(item, self._resolver, self.now_ms())
            works += planned
            if not isinstance(item, Tick):
                rows.setdefault(partition, []).append(sum(len(work.rows) for work in planned))
        for partition, counts in rows.items():
            self.lanes[partition].adapt(len(counts), sum(counts))
        return works

    def write(self, works: list[Work]) -> list[Receipt]:
        """Embed, upsert, publish: hands over and takes back receipts of what has been committed meanwhile."""
        self.pipeline.submit(works)
        return self._receipts()

    def _receipts(self) -> list[Receipt]:
        receipts: list[Receipt] = []
        while self._publish.receipts:
            receipts.append(self._publish.receipts.popleft())
        return receipts

    def account(self, receipt: Receipt) -> None:
        """Metrics of a committed batch, and the copy of its position for Kafka's own tools."""
        partition = receipt.marker.partition
        for run in receipt.marker.runs:
            metrics.EVENTS.labels(run.outcome).inc(run.count)
        for work in receipt.works:
            if work.dead_letter is not None:
                metrics.DEAD_LETTERS.labels(work.dead_letter.reason).inc()
            if work.published_ms:
                metrics.LATENCY.observe(max(0, receipt.committed_ms - work.published_ms) / 1000)
        with self._lock:
            self._group.update(self.positions())
        metrics.POSITION.labels(str(partition)).set(receipt.marker.next)
        lane = self.lanes.get(partition)
        if lane is not None:
            metrics.DOCUMENTS.labels(str(partition)).set(lane.lane.documents)
            end = lane.reader.cached_end()
            if end is not None:
                metrics.LAG.labels(str(partition)).set(max(0, end - receipt.marker.next))
