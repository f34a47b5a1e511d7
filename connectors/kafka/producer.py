"""Sends records without transactions: idempotent, in order, and no failed delivery goes unnoticed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from connectors.kafka._sending import OnDelivery, Sending
from connectors.kafka.config import producer_config
from connectors.kafka.errors import error_of, is_passing, is_refusal, translate
from connectors.kafka.link import KafkaLink
from connectors.kafka.outage import OutageLog
from connectors.kafka.partitioner import partition_for_key
from connectors.kafka.records import OutRecord
from schemas.errors import Retryable

__all__ = ["Producer", "partition_for_key"]

SEND_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.05


class Producer:
    """An idempotent producer. Thread-safe. Connects on first use.

    A delivery that fails is kept and raised by the next `send` or `flush`; what was sent before it may be lost then, so the
    caller sends that again.
    """

    def __init__(self, link: KafkaLink) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._sending = Sending(link)
        self._outage = OutageLog(bootstrap=link.bootstrap)
        self._refused: KafkaError | None = None

    def send(self, record: OutRecord, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Queue `record`; its delivery is known after `flush`.

        Raises:
            Backpressure: the queue, or a consumer of the embedded broker, stayed behind for `timeout_s`.
            Rejected: too large. Retryable, Misconfigured, Fatal: the first failed delivery of earlier records.
        """
        client = self._opened()
        self._poll(client, 0)
        self._raise_latched()
        self._enqueue(client, record, timeout_s, None)

    def await_room(self, records: Sequence[OutRecord], timeout_s: float) -> None:
        """Return once `records` can be sent without waiting for the embedded broker's consumers, by a topic's only sender.

        Raises: Backpressure after `timeout_s`. On Kafka there is always room.
        """
        with self._translated("waiting for room"):
            self._sending.await_room(self._opened(), records, timeout_s)

    def flush(self, timeout_s: float) -> None:
        """Return when everything sent is acknowledged. Raises: Retryable after `timeout_s`, and what `send` raises."""
        client = self._opened()
        with self._translated("flushing"):
            remaining = client.flush(timeout_s)
        self._raise_latched()
        if remaining:
            message = f"{remaining} records are not acknowledged by Kafka at {self._link.bootstrap} after {timeout_s:g} s"
            raise self._login_refused() or Retryable(message)
        self._outage.recovered()

    def send_and_wait(self, record: OutRecord, timeout_s: float) -> tuple[int, int]:
        """Send one record and return (partition, offset) once it is acknowledged. Raises: as `send_all`."""
        (place,) = self.send_all([record], timeout_s)
        return place

    def send_all(self, records: Sequence[OutRecord], timeout_s: float) -> list[tuple[int, int]]:
        """Send `records` in order and return each one's (partition, offset) once all are acknowledged.

        Raises:
            Retryable: not acknowledged within `timeout_s`; they may still arrive, so records sent again must be harmless.
            Rejected: one is too large; those before it were sent. Misconfigured, Fatal: the first failed delivery.
        """
        client = self._opened()
        deadline = time.monotonic() + timeout_s
        outcomes = []
        for record in records:
            outcome = _Outcome()
            self._enqueue(client, record, max(0.0, deadline - time.monotonic()), outcome.settle)
            outcomes.append(outcome)
        # The last to be sent is not the last to be acknowledged: partitions are acknowledged apart.
        for record, outcome in zip(records, outcomes, strict=True):
            while not outcome.is_settled and time.monotonic() < deadline:
                self._poll(client, max(0.0, min(POLL_S, deadline - time.monotonic())))
            if not outcome.is_settled:
                message = f"{record.topic}: no acknowledgement from Kafka in {timeout_s:g} s; records may still arrive"
                raise self._login_refused() or Retryable(message)
            if outcome.error is not None:
                raise translate(outcome.error, f"sending to {record.topic}")
        self._outage.recovered()
        return [(outcome.partition, outcome.offset) for outcome in outcomes]

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Wait `timeout_s` for what is queued, give up the rest, release the connections. Never raises."""
        with self._lock:
            client, self._client = self._client, None
        with suppress(KafkaException):
            if client is not None and client.flush(timeout_s):
                client.purge()
                client.flush(CLOSE_TIMEOUT_S)
        self._sending.close()

    def _opened(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client({**producer_config(self._link), "error_cb": self._on_error})
            return self._client

    def _enqueue(self, client: Client, record: OutRecord, timeout_s: float, then: OnDelivery | None) -> None:
        with self._translated(f"sending to {record.topic}"):
            self._sending.enqueue(client, record, timeout_s, then)

    def _poll(self, client: Client, timeout_s: float) -> None:
        with self._translated("serving delivery reports"):
            client.poll(timeout_s)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as exc:
            raise translate(error_of(exc), doing) from exc

    def _raise_latched(self) -> None:
        failure = self._sending.take_failure()
        if failure is not None:
            raise translate(failure, "delivering an earlier record")

    def _on_error(self, error: KafkaError) -> None:
        if is_refusal(error):
            self._refused = error
        if is_passing(error) or is_refusal(error):
            self._outage.waiting(error.str())
        elif self._sending.failure is None:
            self._sending.failure = error

    def _login_refused(self) -> Exception | None:
        return translate(self._refused, f"sending to {self._link.bootstrap}") if self._refused else None


class _Outcome:
    """Of one delivery. Settled by whichever thread serves the client."""

    def __init__(self) -> None:
        self.is_settled = False
        self.error: KafkaError | None = None
        self.partition = -1
        self.offset = -1

    def settle(self, error: KafkaError | None, message: Message[Any, Any]) -> None:
        self.error = error
        if error is None:
            self.partition, self.offset = message.partition() or 0, message.offset() or 0
        self.is_settled = True
