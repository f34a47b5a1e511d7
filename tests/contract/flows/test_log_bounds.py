"""What metrics say of the log's start and of the lag, while a lane stands still and the log goes on."""

from __future__ import annotations

from contextlib import closing

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # reason: documented there
from prometheus_client import REGISTRY

from connectors.kafka import KafkaLink, OutRecord, Producer
from flows.ingest.log_bounds import LogBounds
from schemas.errors import Retryable
from schemas.settings import KafkaSettings
from tests.servers.kafka import KafkaAddress
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PARTITION = 17
"""One that no other test's lanes have: metrics are the process's."""
WITHIN_S = 20.0


@pytest.fixture
def link(kafka_server: KafkaAddress) -> KafkaLink:
    return KafkaLink(KafkaSettings(), kafka_server.bootstrap_servers)


@pytest.fixture
def admin(link: KafkaLink) -> AdminClient:
    return AdminClient({"bootstrap.servers": link.bootstrap})


@pytest.fixture
def topic(admin: AdminClient, topic_prefix: str) -> str:
    name = f"{topic_prefix}.documents"
    admin.create_topics([NewTopic(name, PARTITION + 1, 1)])[name].result(WITHIN_S)
    return name


def publish(link: KafkaLink, topic: str, count: int) -> None:
    with closing(Producer(link)) as producer:
        for number in range(count):
            producer.send(OutRecord(topic, b"k", str(number).encode(), partition=PARTITION))
        producer.flush(WITHIN_S)


def shown(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"partition": str(PARTITION)})


def test_a_lane_that_stands_still_sees_its_lag_grow_and_the_log_s_start_come_near(
    link: KafkaLink, admin: AdminClient, topic: str
) -> None:
    """Nothing is published meanwhile: the brokers are asked."""
    positions = {PARTITION: 4}
    bounds = LogBounds(link, topic, lambda: positions, every_s=0.05)
    publish(link, topic, 10)
    bounds.start()
    try:
        wait_until(lambda: shown("rag_ingest_lag") == 6, within_s=WITHIN_S, what="the lag to be told")
        assert (shown("rag_ingest_position"), shown("rag_ingest_log_start")) == (4, 0)
        publish(link, topic, 5)
        wait_until(lambda: shown("rag_ingest_lag") == 11, within_s=WITHIN_S, what="what came to be lag")
        cut = TopicPartition(topic, PARTITION, 3)
        admin.delete_records([cut])[cut].result(WITHIN_S)
        wait_until(lambda: shown("rag_ingest_log_start") == 3, within_s=WITHIN_S, what="the cut to be seen")
    finally:
        bounds.stop()


def test_while_kafka_is_away_the_last_figures_stay() -> None:
    """A question ends by itself, and is asked again."""
    bounds = LogBounds(KafkaLink(KafkaSettings(), "127.0.0.1:9"), "rag.documents", lambda: {PARTITION: 4})
    with pytest.raises(Retryable):
        bounds.look()
    LogBounds(KafkaLink(KafkaSettings(), "127.0.0.1:9"), "rag.documents", dict).look()  # without a lane there is nothing to ask
