"""Where changes go: the door of an `up` that runs, or Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from connectors.batches import packed
from connectors.kafka import OutRecord, Producer
from ragstream.embedded.door import deliver
from ragstream.embedded.intake import MAX_EVENT_BYTES as MAX_EMBEDDED_EVENT_BYTES
from ragstream.reach import Reach
from schemas.documents import DocumentChange
from schemas.settings import MIB

FLUSH_TIMEOUT_S: Final = 60.0
DOOR_BYTES: Final = 16 * MIB
"""Values in one request: base64 twice over stays below what the door takes."""


Place = tuple[int, int]
"""Partition and offset."""


class Sink(Protocol):
    """Takes records, in order. Not thread-safe. The caller closes it."""

    max_event_bytes: int
    """Key and value of one record, at most."""

    def send(self, records: Sequence[OutRecord]) -> list[Place]:
        """Return where each lies, once all survive this process. Blocks while the log is behind.

        Raises:
            Rejected: a record can't be taken. Retryable: nobody answers; records sent again do no harm.
        """
        ...

    def close(self) -> None:
        """Release connections. Never raises."""
        ...


def open_sink(reach: Reach) -> Sink:
    """The way to publish to what a command has found. Connects on first use."""
    running = reach.running
    if running is not None and running.is_embedded_kafka:
        return DoorSink(running.door, running.token)
    return KafkaSink(reach)


def to_record(change: DocumentChange, topic: str) -> OutRecord:
    """The change as Kafka carries it: the key is the doc_id."""
    return OutRecord(topic, change.doc_id.encode(), change.to_bytes())


class DoorSink:
    """Publishes through a running `up`, which journals before it answers."""

    max_event_bytes = MAX_EMBEDDED_EVENT_BYTES

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def send(self, records: Sequence[OutRecord]) -> list[Place]:
        return [place for part in packed(records, _size, DOOR_BYTES) for place in deliver(self._url, self._token, part)]

    def close(self) -> None:
        """Each request has a connection of its own."""


class KafkaSink:
    """Publishes to Kafka, idempotent and in order; what `send` has returned for is acknowledged by all replicas."""

    def __init__(self, reach: Reach) -> None:
        self.max_event_bytes = reach.settings.kafka.max_message_bytes
        self._producer = Producer(reach.link)

    def send(self, records: Sequence[OutRecord]) -> list[Place]:
        return self._producer.send_all(records, FLUSH_TIMEOUT_S)

    def close(self) -> None:
        self._producer.close()


def _size(record: OutRecord) -> int:
    return len(record.value or b"")
