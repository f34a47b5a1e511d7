"""The in-process broker: reachable from outside, and its silent retention can never bite."""

import dataclasses
import os
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.errors import Backpressure
from connectors.kafka.flow_control import Backlog
from connectors.kafka.link import KafkaLink
from connectors.kafka.producer import Producer
from connectors.kafka.reader import PartitionReader, read_to_end
from connectors.kafka.records import OutRecord
from connectors.kafka.writer import TransactionalWriter
from schemas.errors import Fatal, Rejected
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import Broker
from tests.contract.connectors.kafka.helpers import WITHIN_S, numbered, values

# Three times the 5 MiB that this broker keeps.
LARGE_BYTES = 20_000
LARGE_COUNT = 750
# More than the 100,000 batches that it keeps, were each alone in its batch.
SMALL_COUNT = 130_000
CONSUMER = "lane"

CHILD = """
import sys
from connectors.kafka.link import KafkaLink
from connectors.kafka.producer import Producer
from connectors.kafka.reader import read_to_end
from connectors.kafka.records import OutRecord
from schemas.settings import KafkaSettings

link = KafkaLink(KafkaSettings(), sys.argv[1], embedded=True)
[record] = read_to_end(link, sys.argv[2], 0)
producer = Producer(link)
producer.send_and_wait(OutRecord(sys.argv[2], None, record.value + b"1", 0), 10)
producer.close()
"""


@pytest.fixture
def held_back(embedded_broker: Broker) -> Broker:
    """With flow control, as its own process has it."""
    embedded_broker.link = dataclasses.replace(embedded_broker.link, backlog=Backlog())
    return embedded_broker


def consume_slowly(link: KafkaLink, topic: str, count: int, found: list[int], failures: list[Exception]) -> None:
    """A consumer that takes small bites, and reports its progress only after having worked on them."""
    assert link.backlog is not None
    with closing(PartitionReader(link, topic, 0, 0)) as reader:
        try:
            while len(found) < count:
                records = reader.poll_blocking(0.01, 64)
                found.extend(int((record.value or b"")[:10]) for record in records)
                position = reader.position()
                if isinstance(position, int):
                    link.backlog.progressed(topic, CONSUMER, 0, position)
        except Exception as exc:
            failures.append(exc)


@pytest.mark.parametrize("transactional", [False, True], ids=["producer", "transactional-writer"])
def test_more_than_it_holds_gets_through_to_a_slow_consumer(held_back: Broker, transactional: bool) -> None:
    """The producer is held back by the consumer's progress; nothing is lost."""
    topic = held_back.topic()
    link = held_back.link
    assert link.backlog is not None
    link.backlog.register(topic, CONSUMER)
    found: list[int] = []
    failures: list[Exception] = []
    consumer = threading.Thread(target=consume_slowly, args=(link, topic, LARGE_COUNT, found, failures))
    consumer.start()
    large = os.urandom(LARGE_BYTES)
    records = [OutRecord(topic, b"k", b"%010d" % number + large[:-10], 0) for number in range(LARGE_COUNT)]
    # Incompressible by one another too: each is cut at another place.
    records = [record._replace(value=(record.value or b"")[: LARGE_BYTES - n]) for n, record in enumerate(records)]
    if transactional:
        with closing(TransactionalWriter(link, topic)) as writer:
            writer.open()
            for start in range(0, LARGE_COUNT, 50):
                writer.commit(records[start : start + 50])
    else:
        with closing(Producer(link)) as producer:
            for record in records:
                producer.send(record)
            producer.flush(WITHIN_S)
    consumer.join(WITHIN_S)
    assert failures == []
    assert found == list(range(LARGE_COUNT))
    assert link.backlog.unread(topic, 0) == (0, 0)


def test_more_small_messages_than_it_holds_get_through(held_back: Broker) -> None:
    """Their number is limited too."""
    topic = held_back.topic()
    link = held_back.link
    assert link.backlog is not None
    link.backlog.register(topic, CONSUMER)
    found: list[int] = []
    failures: list[Exception] = []
    consumer = threading.Thread(target=consume_slowly, args=(link, topic, SMALL_COUNT, found, failures))
    consumer.start()
    with closing(Producer(link)) as producer:
        for record in numbered(topic, range(SMALL_COUNT)):
            producer.send(record)
        producer.flush(WITHIN_S)
    consumer.join(60)
    assert failures == []
    assert found == list(range(SMALL_COUNT))


def test_without_progress_the_producer_is_told_to_come_back(held_back: Broker) -> None:
    """Before anything is lost: everything that was acknowledged can be read."""
    topic = held_back.topic()
    link = held_back.link
    assert link.backlog is not None
    link.backlog.register(topic, CONSUMER)
    sent = 0
    with closing(Producer(link)) as producer:
        with pytest.raises(Backpressure, match="lane has yet to read") as raised:
            for _ in range(LARGE_COUNT):
                producer.send(OutRecord(topic, None, os.urandom(LARGE_BYTES), 0), timeout_s=0.05)
                sent += 1
        producer.flush(WITHIN_S)
    assert raised.value.retry_after_s > 0
    assert [record.offset for record in read_to_end(link, topic, 0)] == list(range(sent))
    assert sent > 100


def test_a_message_larger_than_the_whole_room_is_refused(held_back: Broker) -> None:
    """At once, however long one would wait."""
    topic = held_back.topic()
    assert held_back.link.backlog is not None
    held_back.link.backlog.register(topic, CONSUMER)
    with closing(Producer(held_back.link)) as producer, pytest.raises(Rejected, match="embedded broker takes"):
        producer.send(OutRecord(topic, b"k", bytes(held_back.link.backlog.max_bytes), 0))


def test_another_process_reaches_it(embedded_broker: Broker) -> None:
    """By TCP, to read and to write."""
    topic = embedded_broker.topic()
    with closing(Producer(embedded_broker.link)) as producer:
        producer.send_and_wait(OutRecord(topic, None, b"1", 0), WITHIN_S)
    subprocess.run([sys.executable, "-c", CHILD, embedded_broker.link.bootstrap, topic], check=True, timeout=25)
    assert values(read_to_end(embedded_broker.link, topic, 0)) == [1, 11]


def test_starting_creates_the_topics_and_closing_twice_is_harmless() -> None:
    """After which it can't be asked for more."""
    broker = EmbeddedBroker()
    bootstrap = broker.start({"a": 1, "b": 3})
    assert bootstrap == broker.bootstrap
    link = KafkaLink(KafkaSettings(), bootstrap, embedded=True)
    assert list(read_to_end(link, "b", 2)) == []
    broker.close()
    broker.close()
    with pytest.raises(Fatal, match="not running"):
        broker.create_topic("c", 1)
