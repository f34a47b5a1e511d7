"""A broker that is killed and comes back: everyone waits, says so, and goes on by themselves."""

import threading
from collections.abc import Sequence
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from connectors.kafka.follower import TopicFollower
from connectors.kafka.link import KafkaLink
from connectors.kafka.producer import Producer
from connectors.kafka.reader import PartitionReader
from connectors.kafka.writer import TransactionalWriter
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import create_topic
from tests.contract.connectors.kafka.helpers import numbered, values
from tests.servers.kafka import KafkaServer
from tests.servers.plugin import KafkaFactory
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

LAST = 400
BATCH = 20
WITHIN_S = 60.0


@pytest.fixture
def server(kafka_factory: KafkaFactory) -> KafkaServer:
    """A broker of the test's own, to kill."""
    return kafka_factory()


@pytest.mark.timeout(150)
def test_a_killed_broker_loses_and_doubles_nothing(server: KafkaServer, topic_prefix: str) -> None:
    """Reader, follower and transactional writer keep their places through kill -9 and restart."""
    create_topic(server.bootstrap_servers, topic_prefix)
    link = KafkaLink(KafkaSettings(transaction_timeout_s=60), server.bootstrap_servers)
    written = threading.Event()
    half = threading.Event()

    def write() -> None:
        with closing(TransactionalWriter(link, topic_prefix)) as writer:
            writer.open()
            for start in range(0, LAST, BATCH):
                writer.commit(numbered(topic_prefix, range(start, start + BATCH)))
                if start == LAST // 2:
                    half.set()
        written.set()

    writing = threading.Thread(target=write)
    seen: list[int] = []
    followed: list[int] = []
    with (
        capture_logs() as said,
        closing(PartitionReader(link, topic_prefix, 0, 0)) as reader,
        closing(TopicFollower(link, topic_prefix, {0: 0})) as follower,
    ):

        def take() -> bool:
            seen.extend(values(reader.poll(1000)))
            followed.extend(values(follower.poll(0)))
            return len(seen) >= LAST and len(followed) >= LAST

        writing.start()
        wait_until(lambda: take() or half.is_set(), within_s=WITHIN_S, what="half of the batches")
        server.kill()
        wait_until(lambda: take() or _is_waiting(said), within_s=WITHIN_S, what="the outage to be said")
        server.start()
        wait_until(take, within_s=WITHIN_S, what="everything to be read")
        writing.join(WITHIN_S)
        take()
    assert written.is_set()
    assert seen == list(range(LAST))
    assert followed == list(range(LAST))


@pytest.mark.timeout(120)
def test_what_was_sent_while_the_broker_was_away_arrives(server: KafkaServer, topic_prefix: str) -> None:
    """In order, once."""
    create_topic(server.bootstrap_servers, topic_prefix)
    link = KafkaLink(KafkaSettings(), server.bootstrap_servers)
    with closing(Producer(link)) as producer, closing(PartitionReader(link, topic_prefix, 0, 0)) as reader:
        for record in numbered(topic_prefix, range(100)):
            producer.send(record)
        producer.flush(WITHIN_S)
        server.kill()
        for record in numbered(topic_prefix, range(100, 200)):
            producer.send(record)
        server.start()
        producer.flush(WITHIN_S)
        seen: list[int] = []

        def all_read() -> bool:
            seen.extend(values(reader.poll(1000)))
            return len(seen) >= 200

        wait_until(all_read, within_s=WITHIN_S, what="everything to be read")
    assert seen == list(range(200))


def _is_waiting(said: Sequence[object]) -> bool:
    return any("waiting for Kafka" in str(entry) for entry in list(said))
