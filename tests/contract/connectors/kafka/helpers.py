"""Short ways to write and to read in these tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from connectors.kafka.link import KafkaLink
from connectors.kafka.producer import Producer
from connectors.kafka.reader import PartitionReader
from connectors.kafka.records import OutRecord, Record
from connectors.kafka.writer import TransactionalWriter
from tests.waiting import wait_until

WITHIN_S = 15.0


def numbered(topic: str, numbers: Iterable[int], partition: int = 0) -> list[OutRecord]:
    """One record a number, with the number as its value."""
    return [OutRecord(topic, b"k%d" % number, b"%d" % number, partition) for number in numbers]


def values(records: Iterable[Record]) -> list[int]:
    """The numbers again."""
    return [int(record.value or b"-1") for record in records]


def write(link: KafkaLink, records: Iterable[OutRecord]) -> None:
    """Without a transaction."""
    with closing(Producer(link)) as producer:
        for record in records:
            producer.send(record)
        producer.flush(WITHIN_S)


@contextmanager
def writing(link: KafkaLink, transactional_id: str) -> Iterator[TransactionalWriter]:
    """An open transactional writer."""
    with closing(TransactionalWriter(link, transactional_id)) as writer:
        writer.open()
        yield writer


def read(reader: PartitionReader, count: int, within_s: float = WITHIN_S) -> list[Record]:
    """Poll until `count` records have come; more is an error."""
    records: list[Record] = []

    def has_all() -> bool:
        records.extend(reader.poll(count))
        return len(records) >= count

    wait_until(has_all, within_s=within_s, what=f"{count} records of {reader.topic}")
    assert len(records) == count
    return records
