"""A copy of positions as consumer-group offsets, for Kafka's own tools: lag exporters, kafka-consumer-groups.

Nobody reads the copy back: the position that counts is in the index log, and group offsets expire.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.kafka.config import consumer_config
from connectors.kafka.errors import error_of
from connectors.kafka.link import KafkaLink

EVERY_S: Final = 1.0
COORDINATOR_WAIT_MS: Final = 2_000
"""How long a commit waits for the group's coordinator, and with it `close`: where none answers, or the group isn't permitted."""

_log = structlog.get_logger(__name__)


class GroupCopy:
    """Commits positions under a group that nobody joins. Not thread-safe; connects on first use."""

    def __init__(self, link: KafkaLink, group: str, topic: str) -> None:
        self._link = link
        self._group = group
        self._topic = topic
        self._consumer: Consumer | None = None
        self._last: dict[int, int] = {}
        self._next = 0.0

    def update(self, positions: Mapping[int, int]) -> None:
        """Copy what has changed, at most once a second. Never blocks, never raises: a copy that fails is made again."""
        now = time.monotonic()
        changed = {partition: position for partition, position in positions.items() if self._last.get(partition) != position}
        if not changed or now < self._next:
            return
        self._next = now + EVERY_S
        if self._consumer is None:
            config = {
                **consumer_config(self._link),
                "group.id": self._group,
                "on_commit": self._on_commit,
                # The client's name for that wait; there is no session without a member.
                "session.timeout.ms": COORDINATOR_WAIT_MS,
            }
            self._consumer = Consumer(config)
        offsets = [TopicPartition(self._topic, partition, position) for partition, position in changed.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._consumer.poll(0)
        except KafkaException as exc:
            self._on_commit(error_of(exc), [])
        else:
            self._last.update(changed)

    def close(self) -> None:
        """Never raises."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            consumer.close()

    def _on_commit(self, error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
        if error is not None:
            self._last.clear()
            _log.debug("group offsets were not copied", group=self._group, error=error.str())
