"""A producer's choice of compression is no consumer's problem."""

import asyncio
import dataclasses
from contextlib import closing

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from connectors.kafka.config import faust_config
from connectors.kafka.follower import TopicFollower
from connectors.kafka.link import KafkaLink
from connectors.kafka.reader import read_to_end
from connectors.kafka.records import OutRecord
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import MakeTopic
from tests.contract.connectors.kafka.helpers import WITHIN_S, write
from tests.waiting import wait_until

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
VALUES = [b"%d " % number * 200 for number in range(200)]


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_read_by_both_clients(link: KafkaLink, make_topic: MakeTopic, codec: str) -> None:
    """librdkafka's consumers and aiokafka, which Faust reads with."""
    topic = make_topic()
    sending = dataclasses.replace(link, kafka=KafkaSettings.model_validate({"compression": codec}))
    write(sending, [OutRecord(topic, b"k", value, 0) for value in VALUES])
    assert [record.value for record in read_to_end(link, topic, 0)] == VALUES
    followed: list[bytes | None] = []
    with closing(TopicFollower(link, topic, {0: 0})) as follower:

        def all_read() -> bool:
            followed.extend(record.value for record in follower.poll(0.1))
            return len(followed) >= len(VALUES)

        wait_until(all_read, within_s=WITHIN_S, what="the follower to read all")
    assert followed == VALUES
    assert asyncio.run(read_with_aiokafka(link, topic)) == VALUES


async def read_with_aiokafka(link: KafkaLink, topic: str) -> list[bytes | None]:
    """As the query worker does."""
    checks = faust_config(link.kafka, link.bootstrap, embedded=link.embedded)["broker_check_crcs"]
    consumer = AIOKafkaConsumer(bootstrap_servers=link.bootstrap, check_crcs=checks, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(WITHIN_S):
            return [(await consumer.getone()).value for _ in VALUES]
    finally:
        await consumer.stop()


@pytest.mark.parametrize("codec", CODECS)
def test_what_faust_writes_is_read_here(link: KafkaLink, make_topic: MakeTopic, codec: str) -> None:
    """Answers and feedback come from there."""
    topic = make_topic()

    async def produce() -> None:
        compression = None if codec == "none" else codec
        producer = AIOKafkaProducer(bootstrap_servers=link.bootstrap, compression_type=compression)
        await producer.start()
        try:
            for value in VALUES:
                await producer.send(topic, value, partition=0)
            await producer.flush()
        finally:
            await producer.stop()

    asyncio.run(produce())
    assert [record.value for record in read_to_end(link, topic, 0)] == VALUES
