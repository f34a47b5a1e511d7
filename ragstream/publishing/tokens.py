"""Read-your-writes tokens of what was published, and the sinks that HTTP publishes through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from connectors.kafka import KafkaLink, OutRecord, Producer, cluster_identity
from ragstream.publishing.sink import Place, to_record
from schemas.documents import DocumentChange
from schemas.errors import Rejected
from schemas.feedback import Feedback
from schemas.index import DocKey
from schemas.tokens import WriteToken

TIMEOUT_S = 15.0

Send = Callable[[Sequence[OutRecord]], Sequence[Place]]


def tokens_of(log_id: str, changes: Sequence[DocumentChange], places: Sequence[Place]) -> list[WriteToken]:
    """One a change, in order."""
    return [
        WriteToken(log_id, partition, offset, DocKey(change.index, change.doc_id))
        for change, (partition, offset) in zip(changes, places, strict=True)
    ]


class Documents:
    """Publishes changes for HTTP: `query_api.http.DocumentSink`. The log's identity is asked for once.

    Args:
        send: an `Intake`'s `accept` in embedded mode, else `producer_send(producer)`.
    """

    def __init__(self, link: KafkaLink, topic: str, send: Send, max_event_bytes: int) -> None:
        self._link = link
        self._topic = topic
        self._send = send
        self._max_event_bytes = max_event_bytes
        self._lock = threading.Lock()
        self._log_id = ""

    def publish(self, changes: Sequence[DocumentChange]) -> list[WriteToken]:
        """See `DocumentSink`. Raises: Rejected, Retryable."""
        records = [to_record(change, self._topic) for change in changes]
        for change, record in zip(changes, records, strict=True):
            size = len(record.key or b"") + len(record.value or b"")
            if size > self._max_event_bytes:
                reason = "message_too_large"
                raise Rejected(reason, f"{change.doc_id!r} takes {size:,} bytes; {self._max_event_bytes:,} are taken at most")
        log_id = self._identity()
        return tokens_of(log_id, changes, self._send(records))

    def _identity(self) -> str:
        with self._lock:
            self._log_id = self._log_id or cluster_identity(self._link, self._topic)
            return self._log_id


class FeedbackLog:
    """Publishes feedback for HTTP: `query_api.http.FeedbackSink`."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    def give(self, feedback: Feedback) -> None:
        """See `FeedbackSink`. Raises: Retryable, Rejected."""
        value = feedback.model_dump_json(exclude_none=True).encode()
        self._producer.send_and_wait(OutRecord(self._topic, feedback.query_id.encode(), value), TIMEOUT_S)


def producer_send(producer: Producer) -> Send:
    """Sends through Kafka; returns once all replicas have it."""
    return lambda records: producer.send_all(records, TIMEOUT_S)
