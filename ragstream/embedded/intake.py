"""The one way into the embedded log: journal first, then the broker. Accepted means it survives the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from connectors.batches import packed
from connectors.kafka import Backpressure, KafkaLink, OutRecord, Producer, footprint, partition_for_key
from ragstream.embedded.journal import Journal
from schemas.errors import Rejected
from schemas.settings import MIB

MAX_EVENT_BYTES: Final = 2 * MIB
"""The in-process broker holds 5 MiB a partition; larger events need Kafka."""
BATCH: Final = 500
GROUP_BYTES: Final = 512 * 1024
"""Events that wait for room, are journaled and sent together: far below what the broker keeps of a partition."""
ROOM_TIMEOUT_S: Final = 60.0
"""For a group: in that time consumers of ordinary speed have read several."""
FLUSH_TIMEOUT_S: Final = 60.0
REPLAY_TURN_S: Final = 0.5

log = structlog.get_logger(__name__)


class Intake:
    """Accepts change events for `rag.documents`. Thread-safe; callers wait for each other, so order is the journal's order.

    Args:
        max_ahead_ms: how far ahead of the clock an event's timestamp may be, which from then on decides how new it is: what Kafka
            sees to by `message.timestamp.after.max.ms`.
    """

    def __init__(self, link: KafkaLink, topic: str, partitions: int, journal: Journal, *, max_ahead_ms: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._journal = journal
        self._max_ahead_ms = max_ahead_ms
        self._producer = Producer(link)
        self._lock = threading.Lock()
        self._is_closing = threading.Event()
        self.replayed = 0

    def replay(self) -> None:
        """Send the journal to the broker. Blocks for as long as consumers need; `accept` waits for its end, `close` ends it."""
        with self._lock:
            started = time.monotonic()
            for record in self._journal.replay():
                if not self._sent_in_time(record):
                    return
                self.replayed += 1
            self._producer.flush(FLUSH_TIMEOUT_S)
            if self.replayed:
                log.info("journal replayed", events=self.replayed, took_s=round(time.monotonic() - started, 2))

    def accept(self, records: Sequence[OutRecord]) -> list[tuple[int, int]]:
        """Journal and publish; returns (partition, offset) of each. Blocks while consumers are behind.

        Raises:
            Rejected: nothing is accepted.
            Backpressure: consumers read nothing for a minute. Retryable: disk or broker. The first ones may be accepted: sent
                again they do no harm.
        """
        now_ms = time.time_ns() // 1_000_000
        placed = [self._placed(record, now_ms) for record in records]
        places: list[tuple[int, int]] = []
        with self._lock:
            for group in packed(placed, footprint, GROUP_BYTES, BATCH):
                # What is in the journal must get into the log: so there is room for it before it is written.
                self._producer.await_room(group, ROOM_TIMEOUT_S)
                self._journal.append(group)
                places += self._producer.send_all(group, FLUSH_TIMEOUT_S)
        return places

    def close(self) -> None:
        self._is_closing.set()
        self._producer.close()

    def _sent_in_time(self, record: OutRecord) -> bool:
        """Whether it was sent before the end: that consumers are slow with what was accepted long ago is no error."""
        while not self._is_closing.is_set():
            with suppress(Backpressure):
                self._producer.send(record, REPLAY_TURN_S)
                return True
        return False

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
        timestamp_ms = record.timestamp_ms if record.timestamp_ms is not None else now_ms
        if timestamp_ms > now_ms + self._max_ahead_ms:
            msg = "time_in_future"
            ahead, allowed = (timestamp_ms - now_ms) / 1000, self._max_ahead_ms / 1000
            raise Rejected(
                msg,
                f"the timestamp of the event for {key[:80].decode(errors='replace')!r} is {ahead:.0f} s ahead of the clock; "
                f"allowed are {allowed:.0f} s (RAG_INDEXES__<name>__MAX_FUTURE_SKEW_S)",
            )
        return record._replace(topic=self._topic, partition=partition_for_key(key, self._partitions), timestamp_ms=timestamp_ms)
