"""One librdkafka consumer on partitions of one topic by assign(): no group, no commits, never a silent jump.

What `PartitionReader` and `TopicFollower` share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka.config import consumer_config
from connectors.kafka.errors import (
    LOST_POSITION_CODES,
    error_of,
    is_passing,
    is_refusal,
    translate,
)
from connectors.kafka.link import KafkaLink
from connectors.kafka.outage import OutageLog
from connectors.kafka.records import Record, from_message
from schemas.errors import DataLoss, RagError

Position = int | Literal["start"]

# How long a check of the log's bounds may hold up one poll.
BOUNDS_TIMEOUT_S: Final = 1.0


class AssignedConsumer:
    """Reads partitions from given positions and keeps them through outages of the broker. Not thread-safe.

    Makes no connection before the first call.
    """

    def __init__(self, link: KafkaLink, topic: str, positions: Mapping[int, Position]) -> None:
        self._link = link
        self._topic = topic
        self._positions: dict[int, Position] = dict(positions)
        self._consumer: Consumer | None = None
        self._outage = OutageLog(topic=topic, bootstrap=link.bootstrap)
        # Not before the first poll: asked for bounds first, the client knows the leaders and starts half a second sooner.
        self._is_assigned = False
        self._has_answered = False
        self._out_of_range: set[int] = set()
        self._failure: RagError | None = None

    def poll(self, max_messages: int, timeout_s: float) -> list[Record]:
        """Records that have arrived, in order by partition; [] when none have within `timeout_s`.

        Raises:
            DataLoss: the log no longer holds what was to be read next.
            Misconfigured: no such topic, no permission, or Kafka refused the very first login.
            Fatal: anything else that waiting does not mend.
        """
        if self._failure is not None:
            raise self._failure
        consumer = self._opened()
        if not self._is_assigned:
            consumer.assign([self._at(partition) for partition in self._positions])
            self._is_assigned = True
        for partition in sorted(self._out_of_range):
            self._recheck(consumer, partition)
        records = [record for message in consumer.consume(max_messages, timeout_s) if (record := self._take(message))]
        if records:
            self._has_answered = True
            self._outage.recovered()
        elif self._failure is not None:
            # What arrived before the failure is handed out first; the caller sees it on the next poll.
            raise self._failure
        return records

    def position(self, partition: int) -> Position:
        """Offset of what is read next. Passes over transaction markers and aborted transactions as they are met."""
        known = self._positions[partition]
        if self._consumer is None or not self._is_assigned:
            return known
        [found] = self._consumer.position([TopicPartition(self._topic, partition)])
        # Negative until something was consumed.
        return found.offset if found.offset >= 0 and (known == "start" or found.offset > known) else known

    def positions(self) -> dict[int, Position]:
        """`position` of every partition."""
        return {partition: self.position(partition) for partition in self._positions}

    def watermarks(self, partition: int, timeout_s: float) -> tuple[int, int]:
        """(log start, end of what is committed), asked of the broker. Raises: Retryable and others within `timeout_s`."""
        try:
            return self._bounds(self._opened(), partition, timeout_s)
        except KafkaException as exc:
            raise translate(error_of(exc), f"asking for the bounds of {self._topic}[{partition}]") from exc

    def cached_end(self, partition: int) -> int | None:
        """The end as the last fetch saw it, without asking; None before the first."""
        if self._consumer is None:
            return None
        _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return end if end >= 0 else None

    def close(self) -> None:
        """Release the connections. Never raises, and may be called again."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            # A consumer outside any group has nothing to hand back.
            consumer.close()

    def _opened(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer({**consumer_config(self._link), "error_cb": self._on_client_error})
        return self._consumer

    def _at(self, partition: int) -> TopicPartition:
        position = self._positions[partition]
        return TopicPartition(self._topic, partition, OFFSET_BEGINNING if position == "start" else position)

    def _take(self, message: Message[Any, Any]) -> Record | None:
        error = message.error()
        if error is None:
            record = from_message(message)
            self._positions[record.partition] = record.offset + 1
            return record
        self._on_partition_error(error, message.partition(), message.offset())
        return None

    def _on_partition_error(self, error: KafkaError, partition: int | None, offset: int | None) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
            self._has_answered = True
            self._outage.recovered()
            # The end may lie behind markers and aborted records, which are never handed out.
            known = self._positions[partition]
            self._positions[partition] = offset if known == "start" else max(known, offset)
        elif code in LOST_POSITION_CODES and partition is not None:
            self._out_of_range.add(partition)
        else:
            self._on_client_error(error)

    def _on_client_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            # The client looks for the coordinator of the group that it had to be given a name for. Nothing here asks it.
            return
        # A login that worked before and is refused now is a broker that is starting, as far as anyone can tell.
        is_refused_again = is_refusal(error) and self._has_answered
        if is_passing(error) or is_refused_again:
            self._outage.waiting(error.str())
        elif self._failure is None:
            self._failure = translate(error, f"reading {self._topic}")

    def _recheck(self, consumer: Consumer, partition: int) -> None:
        """The client stopped at this position: see whether the log still holds it, and go on if it does."""
        try:
            low, high = self._bounds(consumer, partition, BOUNDS_TIMEOUT_S)
        except KafkaException as exc:
            self._on_client_error(error_of(exc))
            return
        position = self._positions[partition]
        if position != "start":
            _require_held(self._topic, partition, position, low, high)
        self._out_of_range.discard(partition)
        consumer.incremental_unassign([TopicPartition(self._topic, partition)])
        consumer.incremental_assign([self._at(partition)])

    def _bounds(self, consumer: Consumer, partition: int, timeout_s: float) -> tuple[int, int]:
        return consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=timeout_s)


def _require_held(topic: str, partition: int, position: int, low: int, high: int) -> None:
    place = f"{topic}[{partition}]"
    if low > position:
        msg = (
            f"{place}: offset {position} is to be read next, but the log starts at {low}: up to {low - position} messages are "
            f"gone. `ragstream doctor` names the retention setting to mend. Restore the topic, or index what remains into a new "
            f"generation, such as RAG_GENERATION=g2 (docs/operations.md, When messages are gone)"
        )
        raise DataLoss(msg)
    if position > high:
        msg = (
            f"{place}: offset {position} is to be read next, but the log ends at {high}: the topic was truncated or made "
            f"anew. Restore it, or start a new generation"
        )
        raise DataLoss(msg)
