"""What one partition's reader promises."""

import os
import time
from contextlib import closing

import pytest
from confluent_kafka import Producer as Client
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.config import transactional_config
from connectors.kafka.link import KafkaLink
from connectors.kafka.reader import PartitionReader, read_to_end
from connectors.kafka.records import OutRecord
from schemas.errors import DataLoss, Misconfigured
from tests.contract.connectors.kafka.conftest import Broker, MakeTopic
from tests.contract.connectors.kafka.helpers import WITHIN_S, numbered, read, values, write, writing
from tests.waiting import wait_until

# The embedded broker keeps 5 MiB of a partition.
CHUNK_BYTES = 100_000
TOO_MANY_CHUNKS = 70


def test_records_come_back_whole_and_in_order(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Key, value, headers and time, nulls included."""
    topic = make_topic(2)
    sent = [
        OutRecord(topic, b"a", b"1", 1, (("h", b"x"), ("h", b"")), 1_700_000_000_000),
        OutRecord(topic, b"a", None, 1, (), 1_700_000_000_001),
        OutRecord(topic, None, b"", 1, (), 1_700_000_000_002),
    ]
    write(link, sent)
    with closing(PartitionReader(link, topic, 1, "start")) as reader:
        found = read(reader, 3)
    assert [(r.key, r.value, r.headers, r.timestamp_ms) for r in found] == [
        (r.key, r.value, r.headers, r.timestamp_ms) for r in sent
    ]
    assert [(r.partition, r.offset) for r in found] == [(1, 0), (1, 1), (1, 2)]


def test_a_reader_goes_on_where_it_is_told(link: KafkaLink, make_topic: MakeTopic) -> None:
    """And knows where it is and where the log ends."""
    topic = make_topic()
    write(link, numbered(topic, range(10)))
    with closing(PartitionReader(link, topic, 0, 7)) as reader:
        assert reader.position() == 7
        assert reader.cached_end() is None
        assert values(read(reader, 3)) == [7, 8, 9]
        assert reader.position() == 10
        assert reader.watermarks() == (0, 10)
        assert reader.cached_end() == 10


def test_a_poll_takes_no_more_than_asked_for_and_does_not_wait(link: KafkaLink, make_topic: MakeTopic) -> None:
    """A lane polls many partitions in turn."""
    topic = make_topic()
    write(link, numbered(topic, range(5)))
    with closing(PartitionReader(link, topic, 0, "start")) as reader:
        first = wait_until(lambda: reader.poll(2), within_s=WITHIN_S, what="the first records")
        assert len(first) <= 2
        read(reader, 5 - len(first))
        began = time.monotonic()
        for _ in range(20):
            assert reader.poll(100) == []
        assert time.monotonic() - began < 0.2


def test_only_committed_records_are_seen(real_broker: Broker) -> None:
    """Neither open nor aborted ones; the embedded broker shows both, so its writers take a lock instead."""
    topic = real_broker.topic()
    client = Client(transactional_config(real_broker.link, topic))
    client.init_transactions(WITHIN_S)
    client.begin_transaction()
    client.produce(topic, b"0", partition=0)
    client.flush(WITHIN_S)
    with closing(PartitionReader(real_broker.link, topic, 0, "start")) as reader:
        assert reader.poll_blocking(0.5) == []
        client.abort_transaction(WITHIN_S)
        client.begin_transaction()
        client.produce(topic, b"1", partition=0)
        client.commit_transaction(WITHIN_S)
        assert values(read(reader, 1)) == [1]


def test_reading_to_the_end_passes_transaction_markers(link: KafkaLink, make_topic: MakeTopic) -> None:
    """The last offset is a marker, which no record has."""
    topic = make_topic()
    with writing(link, topic) as writer:
        for number in range(5):
            writer.commit(numbered(topic, [2 * number, 2 * number + 1]))
    # All that was committed is in sight once a successor has opened.
    with writing(link, topic):
        assert values(read_to_end(link, topic, 0)) == list(range(10))


def test_reading_to_the_end_passes_an_aborted_transaction(link: KafkaLink, make_topic: MakeTopic) -> None:
    """The last records are ones that nobody may see."""
    topic = make_topic()
    with writing(link, topic) as writer:
        writer.commit(numbered(topic, [1, 2]))
    client = Client(transactional_config(link, f"{topic}-aborting"))
    client.init_transactions(WITHIN_S)
    client.begin_transaction()
    for number in range(100):
        client.produce(topic, b"%d" % (1000 + number), partition=0)
    client.flush(WITHIN_S)
    client.abort_transaction(WITHIN_S)
    with writing(link, f"{topic}-aborting"):
        found = values(read_to_end(link, topic, 0))
    # The embedded broker shows aborted records too: what its writers repeat must be harmless to read twice.
    assert [number for number in found if number < 1000] == [1, 2]
    assert link.embedded or len(found) == 2


def test_reading_an_empty_partition_to_its_end(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Ends at once."""
    assert list(read_to_end(link, make_topic(), 0)) == []


def test_the_end_is_that_of_the_call(link: KafkaLink, make_topic: MakeTopic) -> None:
    """Records that come later are not waited for, nor handed out."""
    topic = make_topic()
    write(link, numbered(topic, range(3)))
    records = read_to_end(link, topic, 0)
    write(link, numbered(topic, range(3, 1000)))
    assert values(records) == [0, 1, 2]


def test_a_killed_writers_open_transaction_is_ended_by_its_successor(real_broker: Broker) -> None:
    """After `open` nothing committed lies behind the last stable offset."""
    topic = real_broker.topic()
    link = real_broker.link
    dead = Client(transactional_config(link, topic))
    dead.init_transactions(WITHIN_S)
    dead.begin_transaction()
    dead.produce(topic, b"666", partition=0)
    dead.flush(WITHIN_S)
    write(link, numbered(topic, [1, 2]))
    assert values(read_to_end(link, topic, 0)) == []
    with writing(link, topic):
        assert values(read_to_end(link, topic, 0)) == [1, 2]


def test_a_compacted_tail_has_an_end_too(real_broker: Broker) -> None:
    """Where the last offsets hold nothing any more, positions tell the end."""
    topic = real_broker.topic(
        cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001", delete_retention_ms="0"
    )
    link = real_broker.link
    with writing(link, topic) as writer:
        for number in range(4):
            writer.commit([OutRecord(topic, b"same", b"%d" % number, 0)])
        writer.commit([OutRecord(topic, b"same", None, 0)])
        before = len(list(read_to_end(link, topic, 0)))
        # Every commit may roll a segment, and what is rolled is cleaned.
        wait_until(lambda: _cleaned(link, topic, writer, before), within_s=25, what="the cleaner")
    records = list(read_to_end(link, topic, 0))
    assert all(record.offset > 3 for record in records)


def _cleaned(link: KafkaLink, topic: str, writer: object, before: int) -> bool:
    assert hasattr(writer, "commit")
    writer.commit([OutRecord(topic, b"same", None, 0)])
    return len(list(read_to_end(link, topic, 0))) < before


def test_a_position_that_the_log_dropped_is_data_loss(broker: Broker) -> None:
    """Never a silent jump; the message names topic, partition and both offsets."""
    topic = broker.topic()
    if broker.embedded is None:
        write(broker.link, numbered(topic, range(50)))
        admin = AdminClient({"bootstrap.servers": broker.link.bootstrap})
        asked = admin.delete_records([TopicPartition(topic, 0, 40)])
        next(iter(asked.values())).result(WITHIN_S)
    else:
        write(broker.link, [OutRecord(topic, None, os.urandom(CHUNK_BYTES), 0) for _ in range(TOO_MANY_CHUNKS)])
    with closing(PartitionReader(broker.link, topic, 0, 3)) as reader:
        low, _ = reader.watermarks()
        assert low > 3
        expected = rf"{topic}\[0\]: offset 3 is to be read next, but the log starts at {low}"
        with pytest.raises(DataLoss, match=expected):
            wait_until(lambda: reader.poll(10), within_s=WITHIN_S, what="the loss to be seen")
    with closing(PartitionReader(broker.link, topic, 0, "start")) as reader:
        first = wait_until(lambda: reader.poll(1), within_s=WITHIN_S, what="what remains")
        assert first[0].offset == low


def test_a_position_behind_the_end_is_data_loss(link: KafkaLink, make_topic: MakeTopic) -> None:
    """The topic was truncated, or is another one of the same name."""
    topic = make_topic()
    write(link, numbered(topic, range(3)))
    with (
        closing(PartitionReader(link, topic, 0, 1000)) as reader,
        pytest.raises(DataLoss, match="offset 1000 is to be read next, but the log ends at 3"),
    ):
        wait_until(lambda: reader.poll(10), within_s=WITHIN_S, what="the loss to be seen")


def test_a_topic_that_does_not_exist_is_said(real_broker: Broker) -> None:
    """With the command that makes it."""
    with (
        closing(PartitionReader(real_broker.link, real_broker.prefix, 0, "start")) as reader,
        pytest.raises(Misconfigured, match="ragstream topics create"),
    ):
        wait_until(lambda: reader.poll(10), within_s=WITHIN_S, what="the missing topic to be noticed")
