"""What the transactional writer promises."""

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from connectors.kafka.errors import ProducerFenced
from connectors.kafka.link import KafkaLink
from connectors.kafka.reader import PartitionReader, read_to_end
from connectors.kafka.records import OutRecord
from connectors.kafka.writer import TransactionalWriter
from schemas.errors import Fenced, Misconfigured, Rejected, Retryable
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import Broker, MakeTopic
from tests.contract.connectors.kafka.helpers import numbered, read, values, writing

PRODUCE_REQUEST = 0
END_TXN_REQUEST = 26


def committed(link: KafkaLink, topic: str, writer_id: str, partition: int = 0) -> list[int]:
    """Everything in the log once the writer's last transaction has ended."""
    with writing(link, writer_id):
        return values(read_to_end(link, topic, partition))


def test_a_batch_goes_where_it_is_told_in_one_piece(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Explicit partitions, several of them, in order."""
    topic = make_topic(2)
    with writing(link, topic) as writer:
        writer.commit([*numbered(topic, range(100), 0), *numbered(topic, range(100, 150), 1)])
    assert committed(link, topic, topic, 0) == list(range(100))
    assert committed(link, topic, topic, 1) == list(range(100, 150))


def test_records_without_a_partition_go_by_key(link: KafkaLink, make_topic: MakeTopic) -> None:
    """`foobar` belongs to partition 1 of 7 by Java's murmur2."""
    topic = make_topic(7)
    with writing(link, topic) as writer:
        writer.commit([OutRecord(topic, b"foobar", b"7")])
    assert committed(link, topic, topic, (-790332482 & 0x7FFFFFFF) % 7) == [7]


def test_many_batches_are_each_written_once(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Nothing lost, doubled or out of order."""
    topic = make_topic()
    with writing(link, topic) as writer:
        for start in range(0, 500, 25):
            writer.commit(numbered(topic, range(start, start + 25)))
        writer.commit([])
    assert committed(link, topic, topic) == list(range(500))


def test_the_second_writer_wins_and_the_first_is_told(real_broker: Broker) -> None:
    """Which of the two goes on is the owner record's business."""
    topic = real_broker.topic()
    with writing(real_broker.link, topic) as first:
        first.commit(numbered(topic, [1]))
        with writing(real_broker.link, topic) as second:
            with pytest.raises(ProducerFenced):
                first.commit(numbered(topic, [666]))
            # The first stays out until it opens again, which would be a decision.
            with pytest.raises(ProducerFenced, match=r"not open"):
                first.commit(numbered(topic, [666]))
            second.commit(numbered(topic, [2]))
            first.open()
            with pytest.raises(ProducerFenced):
                second.commit(numbered(topic, [666]))
        first.commit(numbered(topic, [3]))
    assert committed(real_broker.link, topic, topic) == [1, 2, 3]


def test_embedded_the_first_writer_wins_and_the_second_is_told(embedded_broker: Broker) -> None:
    """That broker fences nobody, so a file lock does."""
    topic = embedded_broker.topic()
    with writing(embedded_broker.link, topic) as first, closing(TransactionalWriter(embedded_broker.link, topic)) as second:
        with pytest.raises(Fenced, match="end one of the two"):
            second.open()
        first.commit(numbered(topic, [1]))
    assert committed(embedded_broker.link, topic, topic) == [1]


def test_a_transaction_that_timed_out_looks_like_a_rival(real_broker: Broker) -> None:
    """So `ProducerFenced` is no proof of one; opening again goes on."""
    link = dataclasses.replace(real_broker.link, kafka=KafkaSettings(transaction_timeout_s=1))
    topic = real_broker.topic()
    with writing(link, topic) as writer:
        producer = writer._producer
        assert producer is not None
        producer.begin_transaction()
        producer.produce(topic, b"666", partition=0)
        producer.flush(5)
        # Paused here for longer than the timeout: the next writer's open sees the transaction gone.
        with closing(PartitionReader(link, topic, 0, "start")) as reader, writing(link, f"{topic}-other") as other:
            other.commit(numbered(topic, [1]))
            assert values(read(reader, 1)) == [1]
        with pytest.raises(ProducerFenced):
            writer._commit(producer)
        writer.open()
        writer.commit(numbered(topic, [2]))
    assert committed(link, topic, topic) == [1, 2]


def test_a_batch_with_a_record_too_large_is_refused_whole(link: KafkaLink, make_topic: MakeTopic) -> None:
    """The writer goes on with the next."""
    topic = make_topic()
    huge = OutRecord(topic, b"k", os.urandom(link.kafka.max_message_bytes + 200_000), 0)
    with writing(link, topic) as writer:
        with pytest.raises(Rejected, match="RAG_KAFKA__MAX_MESSAGE_BYTES"):
            writer.commit([*numbered(topic, [666]), huge])
        writer.commit(numbered(topic, [1]))
    found = committed(link, topic, topic)
    # Taken back before it was sent, or, where nothing is taken back, never sent.
    assert found == [1]


def test_a_record_larger_than_the_topic_takes_is_refused_whole(real_broker: Broker) -> None:
    """The broker's own limit arrives as a failed delivery."""
    topic = real_broker.topic(max_message_bytes="1000")
    with writing(real_broker.link, topic) as writer:
        with pytest.raises(Rejected, match=r"max\.message\.bytes"):
            writer.commit([*numbered(topic, [666]), OutRecord(topic, b"k", os.urandom(5000), 0)])
        writer.commit(numbered(topic, [1]))
    assert committed(real_broker.link, topic, topic) == [1]


def test_a_topic_that_does_not_exist_is_said(real_broker: Broker) -> None:
    """Rather than tried for ever."""
    with writing(real_broker.link, real_broker.prefix) as writer, pytest.raises(Misconfigured, match="topics create"):
        writer.commit(numbered(real_broker.prefix, [1]))


def test_a_failure_that_passes_is_repeated(embedded_broker: Broker) -> None:
    """The batch arrives once although produce and commit were refused at first."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    with writing(embedded_broker.link, topic) as writer:
        embedded_broker.embedded.fail_requests(PRODUCE_REQUEST, [KafkaError.NOT_LEADER_FOR_PARTITION] * 3)
        embedded_broker.embedded.fail_requests(END_TXN_REQUEST, [KafkaError.COORDINATOR_NOT_AVAILABLE] * 3)
        writer.commit(numbered(topic, range(10)))
    assert committed(embedded_broker.link, topic, topic) == list(range(10))


def test_a_transaction_that_must_be_aborted_is_repeated(embedded_broker: Broker) -> None:
    """Messages outlive their transaction while the broker is away: the same batch goes again in a new one."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    link = dataclasses.replace(embedded_broker.link, kafka=KafkaSettings(transaction_timeout_s=1))
    with writing(link, topic) as writer, capture_logs() as said:
        writer.commit(numbered(topic, [1]))
        with away(embedded_broker, for_s=3.0):
            writer.commit(numbered(topic, range(2, 50)))
    assert committed(embedded_broker.link, topic, topic) == list(range(1, 50))
    assert "Kafka answers again" in [entry["event"] for entry in said]


def test_a_client_that_has_given_up_can_be_opened_again(embedded_broker: Broker) -> None:
    """Here over its sequence numbers."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    with writing(embedded_broker.link, topic) as writer:
        writer.commit(numbered(topic, [1]))
        embedded_broker.embedded.fail_requests(PRODUCE_REQUEST, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER])
        with pytest.raises(ProducerFenced, match="OUT_OF_ORDER"):
            writer.commit(numbered(topic, [2]))
        writer.open()
        writer.commit(numbered(topic, [2]))
    assert committed(embedded_broker.link, topic, topic) == [1, 2]


def test_being_fenced_at_commit_is_told(embedded_broker: Broker) -> None:
    """As the coordinator puts it."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    with writing(embedded_broker.link, topic) as writer:
        embedded_broker.embedded.fail_requests(END_TXN_REQUEST, [KafkaError.PRODUCER_FENCED])
        with pytest.raises(ProducerFenced, match=topic):
            writer.commit(numbered(topic, [1]))


def unreachable(link: KafkaLink) -> KafkaLink:
    """The same settings, but nobody listens there."""
    return dataclasses.replace(link, bootstrap="127.0.0.1:1", embedded=False, lock_dir=None)


def test_opening_without_kafka_ends_at_its_deadline(embedded_broker: Broker) -> None:
    """And names the address."""
    writer = TransactionalWriter(unreachable(embedded_broker.link), "w")
    with closing(writer), pytest.raises(Retryable, match=r"127\.0\.0\.1:1 gave no writer in 1 s"):
        writer.open(1)


def test_a_writer_that_waits_for_kafka_can_be_stopped(embedded_broker: Broker) -> None:
    """At a commit that Kafka does not answer; what became of it only the log can tell."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    stop = threading.Event()
    link = dataclasses.replace(embedded_broker.link, lock_dir=None)
    with closing(TransactionalWriter(link, topic, stop)) as writer:
        writer.open()
        embedded_broker.embedded.set_down(is_down=True)
        raised: list[Exception] = []
        thread = threading.Thread(target=lambda: _collect(raised, lambda: writer.commit(numbered(topic, [1]))))
        thread.start()
        stop.set()
        thread.join(15)
        assert not thread.is_alive()
    assert isinstance(raised[0], Retryable)


def test_a_broker_that_comes_back_gets_the_batch_once(embedded_broker: Broker) -> None:
    """The writer waits for it by itself."""
    assert embedded_broker.embedded is not None
    topic = embedded_broker.topic()
    with writing(embedded_broker.link, topic) as writer:
        writer.commit(numbered(topic, [0]))
        with away(embedded_broker, for_s=1.5):
            writer.commit(numbered(topic, range(1, 20)))
    assert committed(embedded_broker.link, topic, topic) == list(range(20))


@contextmanager
def away(broker: Broker, for_s: float) -> Iterator[None]:
    """The broker refuses connections for a while."""
    assert broker.embedded is not None
    broker.embedded.set_down(is_down=True)
    returning = threading.Timer(for_s, broker.embedded.set_down, kwargs={"is_down": False})
    returning.start()
    yield
    returning.join()


def _collect(raised: list[Exception], call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as exc:
        raised.append(exc)
