"""What a view asks of the log, and Kafka as that log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, cast

from connectors.kafka import KafkaLink, Record, TopicFollower
from connectors.kafka.metadata import Metadata

CONSUMER: Final = "view"


class LogReader(Protocol):
    """Reads all partitions of one topic. Used by one thread."""

    def poll(self, timeout_s: float) -> list[Record]:
        """What has arrived; waits up to `timeout_s` for the first record. Raises: DataLoss, Misconfigured, Fatal."""
        ...

    def positions(self) -> dict[int, int]:
        """Offset to read next by partition; a partition of which nothing is known yet is left out."""
        ...

    def close(self) -> None:
        """Never raises."""
        ...


class ViewLog(Protocol):
    """The log that a view follows. Thread-safe."""

    @property
    def forgets(self) -> bool:
        """Whether it drops what was replaced or cleared, after a while."""
        ...

    def identity(self, topic: str) -> str:
        """Names this very log; made anew, it has another name. Raises: Retryable, Misconfigured."""
        ...

    def partitions_of(self, topic: str) -> tuple[int, ...]:
        """Raises: Retryable, Misconfigured."""
        ...

    def ends(self, topic: str, timeout_s: float) -> dict[int, int]:
        """End of what is committed, by partition, asked now. Raises: Retryable after `timeout_s`.

        Partitions are looked up with each call: what was published into one that was added is published.
        """
        ...

    def read(self, topic: str, positions: Mapping[int, int], partitions: tuple[int, ...]) -> LogReader:
        """Read `partitions` from `positions` on, those without a position from wherever the log begins."""
        ...

    def reserve(self, topic: str) -> None:
        """Keep what is written to `topic` until it was read. Call before anybody writes."""
        ...

    def has_read(self, topic: str, positions: Mapping[int, int]) -> None:
        """Everything below these positions has been taken in."""
        ...

    def close(self) -> None:
        """Never raises."""
        ...


class KafkaViewLog:
    """Implements `ViewLog`. Connects on first use."""

    def __init__(self, link: KafkaLink) -> None:
        self._link = link
        self._metadata = Metadata(link)
        self._reserved: set[str] = set()

    @property
    def forgets(self) -> bool:
        return not self._link.embedded  # that one compacts nothing, and what it drops can't be read anew

    def identity(self, topic: str) -> str:
        return self._metadata.identity(topic)

    def partitions_of(self, topic: str) -> tuple[int, ...]:
        return self._metadata.partitions_of(topic)

    def ends(self, topic: str, timeout_s: float) -> dict[int, int]:
        return self._metadata.ends(topic, self._metadata.partitions_now(topic, timeout_s), timeout_s)

    def read(self, topic: str, positions: Mapping[int, int], partitions: tuple[int, ...]) -> LogReader:
        return _KafkaReader(self._link, topic, {p: positions.get(p, "start") for p in partitions})

    def reserve(self, topic: str) -> None:
        if self._link.backlog is not None:
            self._link.backlog.register(topic, CONSUMER)
            self._reserved.add(topic)

    def has_read(self, topic: str, positions: Mapping[int, int]) -> None:
        if self._link.backlog is not None:
            for partition, position in positions.items():
                self._link.backlog.progressed(topic, CONSUMER, partition, position)

    def close(self) -> None:
        if self._link.backlog is not None:
            for topic in self._reserved:
                self._link.backlog.unregister(topic, CONSUMER)
        self._metadata.close()


class _KafkaReader:
    """A `TopicFollower` that may begin at the log's start."""

    def __init__(self, link: KafkaLink, topic: str, positions: Mapping[int, int | str]) -> None:
        # The follower takes "start" too, as every reader of that package does.
        self._follower = TopicFollower(link, topic, cast("Mapping[int, int]", positions))

    def poll(self, timeout_s: float) -> list[Record]:
        return self._follower.poll(timeout_s)

    def positions(self) -> dict[int, int]:
        known = cast("dict[int, int | str]", self._follower.positions())
        return {partition: position for partition, position in known.items() if isinstance(position, int)}

    def close(self) -> None:
        self._follower.close()
