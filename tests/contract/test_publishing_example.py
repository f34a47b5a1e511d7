"""The Python producer in docs/publishing.md, run against the in-process broker and Apache Kafka."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # reason: documented there

from connectors.kafka import KafkaLink, PartitionReader
from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.partitioner import partition_for_key
from connectors.kafka.records import Record
from flows.ingest.events import Event, decode
from schemas.settings import IndexSettings, KafkaSettings
from tests.markdown import code_blocks

PARTITIONS = 4
KEY = b"faq/refunds"


@pytest.fixture
def embedded_link(topic_prefix: str) -> Iterator[KafkaLink]:
    """The in-process broker with the test's topic."""
    broker = EmbeddedBroker()
    yield KafkaLink(KafkaSettings(), broker.start({f"{topic_prefix}.documents": PARTITIONS}), embedded=True)
    broker.close()


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def link(request: pytest.FixtureRequest, topic_prefix: str) -> KafkaLink:
    """A broker that has the topic."""
    if request.param == "embedded":
        embedded: KafkaLink = request.getfixturevalue("embedded_link")
        return embedded
    bootstrap = request.getfixturevalue("kafka_server").bootstrap_servers
    topic = f"{topic_prefix}.documents"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    return KafkaLink(KafkaSettings(), bootstrap)


def test_the_python_example_publishes(link: KafkaLink, topic_prefix: str) -> None:
    """As written, it delivers one event, into the partition where every murmur2 client puts its key."""
    (block,) = (block for block in code_blocks("publishing.md") if block.language == "python")
    topic = f"{topic_prefix}.documents"
    code = block.text.replace("localhost:9092", link.bootstrap).replace('"rag.documents"', repr(topic))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr

    reader = PartitionReader(link, topic, partition_for_key(KEY, PARTITIONS), 0)
    try:
        deadline = time.monotonic() + 10
        records: list[Record] = []
        while not records and time.monotonic() < deadline:
            records = list(reader.poll_blocking(0.2, 1))
    finally:
        reader.close()
    event = decode(records[0], {"docs": IndexSettings()})
    assert isinstance(event, Event)
    assert event.change.doc_id.encode() == records[0].key == KEY


def test_the_python_example_says_what_was_not_delivered() -> None:
    """Without a broker it ends with an error, not with success."""
    (block,) = (block for block in code_blocks("publishing.md") if block.language == "python")
    code = block.text.replace("localhost:9092", "127.0.0.1:9").replace("flush(30)", "flush(0.5)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "not delivered" in done.stderr
