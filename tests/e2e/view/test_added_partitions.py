"""Partitions that are added while a view follows: what is published into them counts from the first event on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # reason: documented there

from connectors.kafka import KafkaLink, OutRecord, Producer
from connectors.kafka.metadata import Metadata
from connectors.kafka.topics import create_topics, topic_specs
from query_api.view import IndexView, KafkaViewLog
from schemas.errors import Misconfigured, Retryable
from schemas.queries import PartitionLag
from schemas.settings import KafkaSettings, Settings, TopicSettings
from schemas.wire import to_ms
from tests.servers.kafka import KafkaAddress
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

WITHIN_S = 20.0


@pytest.fixture
def settings(tmp_path: Path, topic_prefix: str) -> Settings:
    """Topics of the test's own, two partitions each."""
    names = TopicSettings()
    topics = TopicSettings(**{field: f"{topic_prefix}.{getattr(names, field)}" for field in TopicSettings.model_fields})
    return Settings(data_dir=tmp_path, kafka=KafkaSettings(partitions=2, topics=topics))


@pytest.fixture
def link(settings: Settings, kafka_server: KafkaAddress) -> KafkaLink:
    """To a Kafka that has them, leaders and all: what it has just made it may not know yet."""
    made = KafkaLink(settings.kafka, kafka_server.bootstrap_servers)
    create_topics(made, topic_specs(settings))
    with closing(KafkaViewLog(made)) as log:
        for topic in (settings.kafka.topics.documents, settings.index_topic, settings.kafka.topics.floors):
            wait_until(lambda: is_known(log, topic), within_s=WITHIN_S, what=f"the leaders of {topic}")  # noqa: B023
    return made


def is_known(log: KafkaViewLog, topic: str) -> bool:
    try:
        return bool(log.identity(topic) and log.ends(topic, WITHIN_S))
    except (Misconfigured, Retryable):
        return False


@pytest.fixture
def view(settings: Settings, link: KafkaLink) -> Iterator[IndexView]:
    """One that follows them."""
    made = IndexView(settings, KafkaViewLog(link))
    made.start()
    yield made
    made.stop()


def add_partition(link: KafkaLink, topic: str) -> None:
    """A third one."""
    admin = AdminClient({"bootstrap.servers": link.bootstrap})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(WITHIN_S)


def publish(link: KafkaLink, topic: str, partition: int) -> None:
    """One event, once the brokers tell producers of the partition."""

    def is_sent() -> bool:
        try:
            with closing(Producer(link)) as producer:
                return producer.send_and_wait(OutRecord(topic, b"k", b"v", partition=partition), WITHIN_S)[1] == 0
        except Misconfigured:
            return False

    wait_until(is_sent, within_s=WITHIN_S, what="the event to be sent")


def test_ends_are_those_of_all_partitions_there_are(settings: Settings, link: KafkaLink) -> None:
    """Asked a moment ago, asked again: the new partition's event is in."""
    topic = settings.kafka.topics.documents
    with closing(KafkaViewLog(link)) as log:
        assert log.ends(topic, WITHIN_S) == {0: 0, 1: 0}
        add_partition(link, topic)
        publish(link, topic, 2)
        assert log.ends(topic, WITHIN_S) == {0: 0, 1: 0, 2: 1}


def test_a_topic_that_is_not_there_is_said(link: KafkaLink, settings: Settings) -> None:
    """By its name, and asking does not make it."""
    missing = f"{settings.kafka.topics.documents}.missing"
    with closing(Metadata(link)) as metadata:
        with pytest.raises(Misconfigured, match="missing"):
            metadata.partitions_now(missing, WITHIN_S)
        assert missing not in metadata.topics(WITHIN_S)


def test_the_stated_moment_waits_for_an_event_in_a_new_partition(settings: Settings, link: KafkaLink, view: IndexView) -> None:
    """Nobody has processed it, so no moment after it is reflected, from the first measurement on."""
    wait_until(lambda: view.as_of().reflected_until, within_s=WITHIN_S, what="as_of")
    add_partition(link, settings.kafka.topics.documents)
    publish(link, settings.kafka.topics.documents, 2)
    published_ms = time.time_ns() // 1_000_000

    def is_told() -> bool:
        as_of = view.as_of()
        assert as_of.reflected_until is not None and to_ms(as_of.reflected_until) <= published_ms
        return PartitionLag(partition=2, position=0, end=1) in as_of.partitions

    wait_until(is_told, within_s=WITHIN_S, what="the event to be known")
    told = view.as_of()
    wait_until(lambda: (view.as_of().lag_ms or 0) > (told.lag_ms or 0) + 500, within_s=WITHIN_S, what="a growing lag")
    assert view.as_of().reflected_until == told.reflected_until
