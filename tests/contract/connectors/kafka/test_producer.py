"""What the producer without transactions promises."""

import os
from contextlib import closing

import pytest
from confluent_kafka import KafkaError

from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import partitions_of
from connectors.kafka.producer import Producer, partition_for_key
from connectors.kafka.reader import read_to_end
from connectors.kafka.records import OutRecord
from schemas.errors import RagError, Rejected, Retryable
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import Broker, MakeTopic
from tests.contract.connectors.kafka.helpers import WITHIN_S, numbered, values

PRODUCE_REQUEST = 0


def test_everything_sent_arrives_once_and_in_order(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Also on a topic that was made a moment ago."""
    topic = make_topic()
    with closing(Producer(link)) as producer:
        for record in numbered(topic, range(2000)):
            producer.send(record)
        producer.flush(WITHIN_S)
        assert values(read_to_end(link, topic, 0)) == list(range(2000))


def test_keys_land_where_they_are_looked_for(link: KafkaLink, make_topic: MakeTopic) -> None:
    """The function and the client agree."""
    topic = make_topic(5)
    keys = [b"doc-%d" % number for number in range(50)] + [b"", "schlüssel".encode()]
    with closing(Producer(link)) as producer:
        for key in keys:
            producer.send(OutRecord(topic, key, b"1"))
        producer.flush(WITHIN_S)
    for partition in partitions_of(link, topic):
        for record in read_to_end(link, topic, partition):
            assert partition_for_key(record.key or b"", 5) == partition


def test_an_acknowledgement_says_where_the_record_is(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Read-your-writes tokens are made of it."""
    topic = make_topic(2)
    with closing(Producer(link)) as producer:
        assert producer.send_and_wait(OutRecord(topic, b"k", b"1", 1), WITHIN_S) == (1, 0)
        assert producer.send_and_wait(OutRecord(topic, b"k", b"2", 1), WITHIN_S) == (1, 1)
        key = b"doc"
        assert producer.send_and_wait(OutRecord(topic, key, b"2"), WITHIN_S)[0] == partition_for_key(key, 2)


def test_a_failed_delivery_is_raised_later_once(embedded_broker: Broker) -> None:
    """flush() of the client alone says 0 left, and the record is gone."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    with closing(Producer(embedded_broker.link)) as producer:
        embedded_broker.embedded.fail_requests(PRODUCE_REQUEST, [KafkaError.INVALID_RECORD])
        producer.send(numbered(topic, [1])[0])
        with pytest.raises(Rejected, match="delivering an earlier record"):
            producer.flush(WITHIN_S)
        producer.flush(WITHIN_S)
        producer.send_and_wait(numbered(topic, [2])[0], WITHIN_S)
    assert values(read_to_end(embedded_broker.link, topic, 0)) == [2]


def test_the_next_send_raises_an_earlier_failure(embedded_broker: Broker) -> None:
    """Nobody goes on for long after a loss."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    with closing(Producer(embedded_broker.link)) as producer:
        embedded_broker.embedded.fail_requests(PRODUCE_REQUEST, [KafkaError.INVALID_RECORD])
        producer.send(numbered(topic, [1])[0])
        with pytest.raises(RagError, match="delivering an earlier record"):
            for record in numbered(topic, range(2, 1_000_000)):
                producer.send(record)


def test_a_record_too_large_is_refused(link: KafkaLink, make_topic: MakeTopic) -> None:
    """With the setting to raise; the next one is fine."""
    topic = make_topic()
    huge = OutRecord(topic, b"k", os.urandom(link.kafka.max_message_bytes + 200_000), 0)
    with closing(Producer(link)) as producer:
        with pytest.raises(Rejected, match="RAG_KAFKA__MAX_MESSAGE_BYTES"):
            producer.send_and_wait(huge, WITHIN_S)
        with pytest.raises(Rejected):
            producer.send(huge)
        producer.send_and_wait(numbered(topic, [1])[0], WITHIN_S)


def test_the_largest_allowed_record_passes(real_broker: Broker) -> None:
    """`max_message_bytes` is what a value may have."""
    link = real_broker.link
    topic = real_broker.topic(max_message_bytes=str(link.kafka.max_message_bytes + 64 * 1024))
    value = os.urandom(link.kafka.max_message_bytes)
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(topic, b"k" * 1000, value), WITHIN_S)
    [record] = read_to_end(link, topic, 0)
    assert record.value == value


def test_without_kafka_the_caller_gets_its_time_back() -> None:
    """Waiting is bounded, closing too."""
    link = KafkaLink(KafkaSettings(), "127.0.0.1:1")
    producer = Producer(link)
    with pytest.raises(Retryable, match="no acknowledgement"):
        producer.send_and_wait(OutRecord("t", b"k", b"v"), 0.3)
    producer.send(OutRecord("t", b"k", b"v"))
    with pytest.raises(Retryable, match="not acknowledged"):
        producer.flush(0.3)
    producer.close(0.1)
