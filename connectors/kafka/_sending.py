"""What both producers share: putting one record into the client's queue, with the embedded broker's flow control.

Delivery reports settle the flow control's accounts and keep the first failure.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka.errors import Backpressure
from connectors.kafka.flow_control import Backlog
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata
from connectors.kafka.partitioner import partition_for_key
from connectors.kafka.records import OutRecord, footprint

# How long one wait for room lasts before delivery reports are served again.
ROOM_WAIT_S: Final = 0.02
UNKNOWN_PARTITION: Final = -1

# Quoted: the client's type takes parameters in its stubs only.
OnDelivery = Callable[[KafkaError | None, "Message[Any, Any]"], None]


class Sending:
    """Puts records into a producer's queue; one for each producer."""

    def __init__(self, link: KafkaLink) -> None:
        self._backlog = link.backlog
        self._metadata = Metadata(link)
        self._counts: dict[str, int] = {}
        self.failure: KafkaError | None = None

    def enqueue(self, producer: Producer, record: OutRecord, timeout_s: float, then: OnDelivery | None = None) -> None:
        """Queue `record`; `then` is called with the outcome, in place of latching its failure.

        Raises:
            Backpressure: the queue, or a consumer's backlog, stayed full for `timeout_s`.
            Rejected: the record is too large.
            KafkaException: what the client says of anything else.
        """
        deadline = time.monotonic() + timeout_s
        partition, report = self._placed(producer, record, deadline, then or self._latch)
        while True:
            try:
                producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    partition,
                    on_delivery=report,
                    timestamp=record.timestamp_ms or 0,
                    headers=list(record.headers) if record.headers else None,
                )
            except BufferError as exc:
                if time.monotonic() >= deadline:
                    self._give_back(record, partition)
                    message = f"{record.topic}: the local queue stayed full for {timeout_s:g} s, Kafka is away or slow"
                    raise Backpressure(message, ROOM_WAIT_S) from exc
                producer.poll(ROOM_WAIT_S)
            except KafkaException:
                self._give_back(record, partition)
                raise
            else:
                return

    def take_failure(self) -> KafkaError | None:
        """The first failed delivery since the last call."""
        failure, self.failure = self.failure, None
        return failure

    def close(self) -> None:
        """Release the connection used for questions. Never raises."""
        self._metadata.close()

    def _latch(self, error: KafkaError | None, _message: Message[Any, Any]) -> None:
        if error is not None and self.failure is None:
            self.failure = error

    def _placed(self, producer: Producer, record: OutRecord, deadline: float, report: OnDelivery) -> tuple[int, OnDelivery]:
        if self._backlog is None:
            return UNKNOWN_PARTITION if record.partition is None else record.partition, report
        partition = self._partition(record)
        nbytes = footprint(record)
        _patiently(producer, partial(self._backlog.admit, record.topic, partition, nbytes), deadline)
        return partition, _settling(self._backlog, nbytes, report)

    def await_room(self, producer: Producer, records: Sequence[OutRecord], timeout_s: float) -> None:
        """Wait until the embedded broker's consumers leave room for `records`, taken together. Raises: Backpressure."""
        backlog = self._backlog
        if backlog is None:
            return
        loads: Counter[tuple[str, int]] = Counter()
        for record in records:
            loads[record.topic, self._partition(record)] += footprint(record)
        deadline = time.monotonic() + timeout_s
        for (topic, partition), nbytes in loads.items():
            _patiently(producer, partial(backlog.await_room, topic, partition, nbytes), deadline)

    def _partition(self, record: OutRecord) -> int:
        if record.partition is not None:
            return record.partition
        if record.topic not in self._counts:
            self._counts[record.topic] = len(self._metadata.partitions_of(record.topic))
        # Records without a key have no place of their own; in one process spreading them gains nothing.
        return 0 if record.key is None else partition_for_key(record.key, self._counts[record.topic])

    def _give_back(self, record: OutRecord, partition: int) -> None:
        if self._backlog is not None:
            self._backlog.failed(record.topic, partition, footprint(record))


def _patiently(producer: Producer, wait: Callable[[float], None], deadline: float) -> None:
    """`wait` for room in short turns. Raises: Backpressure, when there was none until `deadline`."""
    while True:
        # Reports of what was sent before settle what these consumers have already read.
        producer.poll(0)
        left = deadline - time.monotonic()
        try:
            return wait(max(0.0, min(left, ROOM_WAIT_S)))
        except Backpressure:
            if left <= ROOM_WAIT_S:
                raise


def _settling(backlog: Backlog, nbytes: int, report: OnDelivery) -> OnDelivery:
    def settle(error: KafkaError | None, message: Message[Any, Any]) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is not None and partition is not None:
            if error is None and offset is not None:
                backlog.delivered(topic, partition, nbytes, offset)
            else:
                backlog.failed(topic, partition, nbytes)
        report(error, message)

    return settle
