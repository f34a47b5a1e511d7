"""A login is needed, and both clients have it."""

import asyncio
from contextlib import closing

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from connectors.kafka.config import faust_config
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import cluster_identity
from connectors.kafka.producer import Producer
from connectors.kafka.reader import PartitionReader, read_to_end
from connectors.kafka.records import OutRecord
from connectors.kafka.writer import TransactionalWriter
from schemas.errors import Misconfigured
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import create_topic
from tests.contract.connectors.kafka.helpers import WITHIN_S, numbered, read, values, writing
from tests.servers.kafka import KafkaAddress
from tests.waiting import wait_until


def secured(address: KafkaAddress, mechanism: str, password: str | None = None) -> KafkaLink:
    """A link through the SASL listener."""
    if address.sasl is None:
        pytest.skip("the Kafka given by RAG_TEST_KAFKA has no known SASL listener: unset it to use one of the suite's own")
    settings = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_username": address.sasl.username,
        "sasl_password": password or address.sasl.password,
        "request_timeout_s": 3.0,
    }
    return KafkaLink(KafkaSettings.model_validate(settings), address.sasl.bootstrap_servers)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_everything_works_through_a_login(kafka_server: KafkaAddress, topic_prefix: str, mechanism: str) -> None:
    """Producer, writer, readers, questions; and aiokafka with what Faust is given."""
    link = secured(kafka_server, mechanism)
    create_topic(kafka_server.bootstrap_servers, topic_prefix)
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(topic_prefix, b"k", b"1", 0), WITHIN_S)
    with writing(link, topic_prefix) as writer:
        writer.commit(numbered(topic_prefix, [2]))
    with writing(link, topic_prefix), closing(PartitionReader(link, topic_prefix, 0, "start")) as reader:
        assert values(read_to_end(link, topic_prefix, 0)) == [1, 2]
        assert values(read(reader, 2)) == [1, 2]
    assert cluster_identity(link, topic_prefix)
    assert asyncio.run(_first_value(link, topic_prefix)) == b"1"


async def _first_value(link: KafkaLink, topic: str) -> bytes | None:
    from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth  # noqa: PLC0415

    auth = credentials_to_aiokafka_auth(faust_config(link.kafka, link.bootstrap)["broker_credentials"])
    consumer = AIOKafkaConsumer(bootstrap_servers=link.bootstrap, auto_offset_reset="earliest", **auth)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(WITHIN_S):
            value: bytes | None = (await consumer.getone()).value
            return value
    finally:
        await consumer.stop()


def test_a_wrong_password_is_said(kafka_server: KafkaAddress, topic_prefix: str) -> None:
    """By everyone, naming the settings, rather than waited for."""
    link = secured(kafka_server, "SCRAM-SHA-512", "wrong")
    with closing(TransactionalWriter(link, topic_prefix)) as writer, pytest.raises(Misconfigured, match="SASL_"):
        writer.open(10)
    with closing(Producer(link)) as producer, pytest.raises(Misconfigured, match="SASL_"):
        producer.send_and_wait(OutRecord(topic_prefix, b"k", b"1"), 3)
    with (
        closing(PartitionReader(link, topic_prefix, 0, "start")) as reader,
        pytest.raises(Misconfigured, match="SASL_"),
    ):
        wait_until(lambda: reader.poll(1), within_s=WITHIN_S, what="the refusal to be noticed")
    with pytest.raises(Misconfigured, match="SASL_"):
        cluster_identity(link, topic_prefix)
