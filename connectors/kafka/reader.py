"""Reads one partition: continuously (`PartitionReader`), or once to its end (`read_to_end`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from connectors.kafka._assigned import AssignedConsumer, Position
from connectors.kafka.link import KafkaLink
from connectors.kafka.records import Record
from schemas.errors import RagError, Retryable

BATCH: Final = 1_000
POLL_S: Final = 0.05
# How long a read to the end may stand still before it gives up: longer than a broker takes to restart.
STALL_TIMEOUT_S: Final = 120.0


class PartitionReader:
    """One consumer on one partition. Survives restarts of the broker by itself; not thread-safe.

    Sees committed records only. The embedded broker shows open transactions too: its writers take locks instead.
    """

    def __init__(self, link: KafkaLink, topic: str, partition: int, position: Position) -> None:
        """`position` is the offset to read first, or "start" for wherever the log begins. Connects on first use."""
        self.topic = topic
        self.partition = partition
        self._timeout_s = link.kafka.request_timeout_s
        self._source = AssignedConsumer(link, topic, {partition: position})

    def poll(self, max_messages: int) -> list[Record]:
        """What has arrived, at most `max_messages`, without waiting; [] when nothing has.

        Raises: DataLoss, Misconfigured, Fatal; an absent broker is logged and waited for, not raised.
        """
        return self._source.poll(max_messages, 0)

    def poll_blocking(self, timeout_s: float, max_messages: int = 1) -> list[Record]:
        """Like `poll`, but waits until `max_messages` have arrived or `timeout_s` is over."""
        return self._source.poll(max_messages, timeout_s)

    def position(self) -> Position:
        """Offset of what is read next, past transaction markers already met."""
        return self._source.position(self.partition)

    def watermarks(self) -> tuple[int, int]:
        """(log start, end of what is committed), asked of the broker. Raises: Retryable within the request timeout."""
        return self._source.watermarks(self.partition, self._timeout_s)

    def cached_end(self) -> int | None:
        """The end as the last fetch saw it, without asking the broker; None before the first."""
        return self._source.cached_end(self.partition)

    def close(self) -> None:
        """Release the connections. Never raises."""
        self._source.close()


def watermarks_of(link: KafkaLink, topic: str, partition: int) -> tuple[int, int]:
    """As `PartitionReader.watermarks`, for who reads nothing there yet."""
    reader = PartitionReader(link, topic, partition, "start")
    try:
        return reader.watermarks()
    finally:
        reader.close()


def read_to_end(link: KafkaLink, topic: str, partition: int) -> Iterator[Record]:
    """Every committed record from the log's start to its end at the time of the call.

    The end is the last stable offset: call `TransactionalWriter.open` first, which ends a killed predecessor's
    transaction, so that nothing committed lies behind it.

    Raises:
        Retryable: the broker was away for too long.
    """
    source = AssignedConsumer(link, topic, {partition: "start"})
    try:
        _, end = source.watermarks(partition, link.kafka.request_timeout_s)
    except RagError:
        source.close()
        raise
    return _closing(source, _until(source, partition, end))


def _closing(source: AssignedConsumer, records: Iterator[Record]) -> Iterator[Record]:
    try:
        yield from records
    finally:
        source.close()


def _until(source: AssignedConsumer, partition: int, end: int) -> Iterator[Record]:
    """Positions, not records, tell the end: the last offsets may be markers, aborted, or compacted away."""
    last_seen: Position = "start"
    last_moved = time.monotonic()
    while not _has_reached(position := source.position(partition), end):
        if position != last_seen:
            last_seen, last_moved = position, time.monotonic()
        elif time.monotonic() - last_moved > STALL_TIMEOUT_S:
            message = f"reading partition {partition} stands at {position}, short of {end}, for {STALL_TIMEOUT_S:g} s"
            raise Retryable(message)
        for record in source.poll(BATCH, 0) or source.poll(1, POLL_S):
            if record.offset >= end:
                return
            yield record


def _has_reached(position: Position, end: int) -> bool:
    return end == 0 or (position != "start" and position >= end)
