"""Taking a partition over while Kafka is unwell: only who has signed it is a rival."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka import KafkaLink
from connectors.kafka.reader import read_to_end
from connectors.kafka.topics import create_topics, topic_specs
from connectors.kafka.writer import TransactionalWriter
from flows.ingest.failpoints import FailPoints
from flows.ingest.partition_log import PartitionWriter
from schemas.errors import Fenced, Retryable
from schemas.settings import Settings
from tests.servers.kafka import KafkaAddress
from tests.stacks import stack_settings
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)


class Ground:
    """A partition of a test's own index log."""

    def __init__(self, settings: Settings, link: KafkaLink) -> None:
        self.settings = settings
        self.link = link

    def writer(self) -> PartitionWriter:
        return PartitionWriter(self.link, self.settings, 0, threading.Event(), FailPoints(None), lambda: 1)

    def unsigned_rival(self) -> TransactionalWriter:
        """What a transaction that timed out looks like: the epoch has moved on, and nobody has signed."""
        return TransactionalWriter(self.link, f"{self.settings.index_topic}.0")


@pytest.fixture
def ground(kafka_server: KafkaAddress, topic_prefix: str, tmp_path: Path) -> Iterator[Ground]:
    settings = stack_settings(tmp_path, f"{topic_prefix}.")
    link = KafkaLink(settings.kafka, kafka_server.bootstrap_servers)
    create_topics(link, topic_specs(settings))

    def has_leader() -> bool:
        try:
            return not list(read_to_end(link, settings.index_topic, 0))
        except Retryable:
            return False

    wait_until(has_leader, within_s=20, what="the new topic to have a leader")
    yield Ground(settings, link)


def test_a_fencing_that_nobody_signed_is_no_rival(ground: Ground) -> None:
    """The partition is taken over again, and signed."""
    writer, rival = ground.writer(), ground.unsigned_rival()
    writer.open()
    rival.open()
    writer.sign(None)
    rival.close()
    writer.close()
    later = ground.writer()
    later.open()
    later.sign(writer.owner)
    later.close()


def test_whoever_signed_meanwhile_is_a_rival(ground: Ground) -> None:
    """The one that comes to sign later ends as fenced, and the other one goes on."""
    late, rival = ground.writer(), ground.writer()
    late.open()
    rival.open()
    rival.sign(None)
    with pytest.raises(Fenced, match="another ingest process"):
        late.sign(None)
    rival.commit([rival._record("progress", b"{}")])
    late.close()
    rival.close()
