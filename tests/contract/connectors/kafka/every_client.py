"""What must hold of each of our Kafka clients, whatever stands between them and the broker."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition

from connectors.kafka.config import faust_config
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import cluster_identity
from connectors.kafka.producer import Producer
from connectors.kafka.reader import PartitionReader, read_to_end
from connectors.kafka.records import OutRecord
from connectors.kafka.writer import TransactionalWriter
from schemas.errors import Misconfigured
from tests.contract.connectors.kafka.helpers import WITHIN_S, numbered, read, values, writing
from tests.waiting import wait_until


def assert_every_client_works(link: KafkaLink, topic: str) -> None:
    """Producer, writer, readers, questions; and aiokafka with what Faust is given."""
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(topic, b"k", b"1", 0), WITHIN_S)
    with writing(link, topic) as writer:
        writer.commit(numbered(topic, [2]))
    with writing(link, topic), closing(PartitionReader(link, topic, 0, "start")) as reader:
        assert values(read_to_end(link, topic, 0)) == [1, 2]
        assert values(read(reader, 2)) == [1, 2]
    assert cluster_identity(link, topic)
    assert asyncio.run(first_value(link, topic)) == b"1"


def assert_every_client_refuses(link: KafkaLink, topic: str, named: str) -> None:
    """Each says at once that a setting is wrong, and which (`named`, a pattern), rather than wait for what won't come."""
    with closing(TransactionalWriter(link, topic)) as writer, pytest.raises(Misconfigured, match=named):
        writer.open(10)
    producer = Producer(link)
    with pytest.raises(Misconfigured, match=named):
        producer.send_and_wait(OutRecord(topic, b"k", b"1"), link.kafka.request_timeout_s)
    producer.close(0)  # there is nobody to wait for
    with closing(PartitionReader(link, topic, 0, "start")) as reader, pytest.raises(Misconfigured, match=named):
        wait_until(lambda: reader.poll(1), within_s=WITHIN_S, what="the refusal to be noticed")
    with pytest.raises(Misconfigured, match=named):
        cluster_identity(link, topic)


def assert_aiokafka_refuses(link: KafkaLink, topic: str) -> None:
    """What Faust runs on does not get in either; what it says of that is its own."""
    with pytest.raises(KafkaConnectionError):
        asyncio.run(first_value(link, topic))


async def first_value(link: KafkaLink, topic: str) -> bytes | None:
    """Of the topic's first partition, read with aiokafka and what Faust is given."""
    from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth  # noqa: PLC0415

    auth = credentials_to_aiokafka_auth(faust_config(link.kafka, link.bootstrap)["broker_credentials"])
    consumer = AIOKafkaConsumer(bootstrap_servers=link.bootstrap, auto_offset_reset="earliest", **auth)
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(WITHIN_S):
            value: bytes | None = (await consumer.getone()).value
            return value
    finally:
        await consumer.stop()
