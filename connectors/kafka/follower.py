"""Follows all partitions of a topic with one consumer, for views; and asks where the partitions end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from connectors.kafka._assigned import AssignedConsumer, Position
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata
from connectors.kafka.records import Record

MAX_MESSAGES: Final = 1_000


class TopicFollower:
    """One consumer over the partitions named in `positions`, outside any group. Not thread-safe, save for `ends`."""

    def __init__(self, link: KafkaLink, topic: str, positions: Mapping[int, int]) -> None:
        """`positions` gives the first offset to read of each partition. Connects on first use."""
        self.topic = topic
        self._start: Mapping[int, Position] = cast("Mapping[int, Position]", positions)
        self._source = AssignedConsumer(link, topic, self._start)
        self._metadata = Metadata(link)

    def poll(self, timeout_s: float, max_messages: int = MAX_MESSAGES) -> list[Record]:
        """What has arrived; waits up to `timeout_s` for the first record only.

        Raises: DataLoss, Misconfigured, Fatal; an absent broker is logged and waited for, not raised.
        """
        # consume() waits for all it is asked for, so the waiting call asks for one.
        records = self._source.poll(max_messages, 0)
        if records or timeout_s <= 0:
            return records
        records = self._source.poll(1, timeout_s)
        return records + self._source.poll(max_messages, 0) if records else records

    def positions(self) -> dict[int, int]:
        """Offset to read next by partition, past transaction markers already met."""
        return cast("dict[int, int]", self._source.positions())

    def ends(self, timeout_s: float) -> dict[int, int]:
        """End of what is committed, by partition, asked of the brokers now. Raises: Retryable after `timeout_s`."""
        return self._metadata.ends(self.topic, tuple(self._start), timeout_s)

    def partitions_of(self, topic: str) -> tuple[int, ...]:
        """Partitions of any topic. Raises: Retryable, Misconfigured."""
        return self._metadata.partitions_of(topic)

    def close(self) -> None:
        """Release the connections. Never raises."""
        self._source.close()
        self._metadata.close()
