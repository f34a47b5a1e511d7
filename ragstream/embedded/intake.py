"""The one way into the embedded log: journal first, then the broker. Accepted means it survives the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog

from connectors.kafka import KafkaLink, OutRecord, Producer, partition_for_key
from ragstream.embedded.journal import Journal
from schemas.errors import Rejected
from schemas.settings import MIB

MAX_EVENT_BYTES: Final = 2 * MIB
"""The in-process broker holds 5 MiB a partition; larger events need Kafka."""
BATCH: Final = 500
FLUSH_TIMEOUT_S: Final = 60.0

log = structlog.get_logger(__name__)


class Intake:
    """Accepts change events for `rag.documents`. Thread-safe; callers wait for each other, so order is the journal's order."""

    def __init__(self, link: KafkaLink, topic: str, partitions: int, journal: Journal) -> None:
        self._topic = topic
        self._partitions = partitions
        self._journal = journal
        self._producer = Producer(link)
        self._lock = threading.Lock()
        self.replayed = 0

    def replay(self) -> None:
        """Send the journal to the broker. Blocks as consumers need; `accept` waits until it is through."""
        with self._lock:
            started = time.monotonic()
            for record in self._journal.replay():
                self._producer.send(record)
                self.replayed += 1
            self._producer.flush(FLUSH_TIMEOUT_S)
            if self.replayed:
                log.info("journal replayed", events=self.replayed, took_s=round(time.monotonic() - started, 2))

    def accept(self, records: Sequence[OutRecord]) -> list[tuple[int, int]]:
        """Journal and publish; returns (partition, offset) of each. Blocks while consumers are behind. Raises: Rejected
        (nothing is accepted), Retryable.
        """
        now_ms = time.time_ns() // 1_000_000
        placed = [self._placed(record, now_ms) for record in records]
        with self._lock:
            self._journal.append(placed)
            return self._producer.send_all(placed, FLUSH_TIMEOUT_S)

    def close(self) -> None:
        self._producer.close()

    def _placed(self, record: OutRecord, now_ms: int) -> OutRecord:
        key = record.key or b""
        size = len(key) + len(record.value or b"")
        if size > MAX_EVENT_BYTES:
            msg = "message_too_large"
            raise Rejected(
                msg,
                f"the event for {key[:80].decode(errors='replace')!r} takes {size:,} bytes; embedded mode takes "
                f"{MAX_EVENT_BYTES:,}. "
                "Use a `uri` for its content, or Kafka (RAG_KAFKA__BOOTSTRAP_SERVERS)",
            )
        return record._replace(
            topic=self._topic,
            partition=partition_for_key(key, self._partitions),
            timestamp_ms=record.timestamp_ms if record.timestamp_ms is not None else now_ms,
        )
