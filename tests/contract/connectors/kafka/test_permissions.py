"""docs/kafka-permissions.md, granted as it stands to a broker that forbids everything else: enough to ingest, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # reason: documented there
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata, cluster_identity
from connectors.kafka.producer import Producer
from connectors.kafka.reader import PartitionReader, read_to_end
from connectors.kafka.records import OutRecord
from connectors.kafka.writer import TransactionalWriter
from schemas.errors import Misconfigured
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import create_topic
from tests.markdown import ROOT
from tests.servers.kafka import KafkaServer
from tests.servers.plugin import KafkaFactory

WITHIN_S = 20.0
AUTHORIZER = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
"""
TOPICS = ("rag.documents", "rag.index.g1", "rag.floors", "rag.dead-letters", "rag.answers", "rag.queries")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(kafka_factory: KafkaFactory) -> Iterator[KafkaServer]:
    """A broker that permits nothing to those who log in, but what they are granted."""
    running = kafka_factory(AUTHORIZER).start()
    for topic in TOPICS:
        create_topic(running.bootstrap_servers, topic)
    yield running


def _link(server: KafkaServer) -> KafkaLink:
    sasl = server.address.sasl
    assert sasl is not None
    login = {"sasl_mechanism": "PLAIN", "sasl_username": sasl.username, "sasl_password": sasl.password}
    kafka = KafkaSettings.model_validate({"security_protocol": "SASL_PLAINTEXT", "request_timeout_s": 5.0, **login})
    return KafkaLink(kafka, sasl.bootstrap_servers)


def _grant(server: KafkaServer, service: str) -> None:
    """Grant what the page's row says, read from the page."""
    sasl = server.address.sasl
    assert sasl is not None
    page = (ROOT / "docs/kafka-permissions.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith(f"| {service} |"))
    _, _, read, write, besides, _ = row.split("|")
    wanted = [(ResourceType.TOPIC, name, AclOperation.READ) for name in re.findall("`(.+?)`", read)]
    wanted += [(ResourceType.TOPIC, name, AclOperation.WRITE) for name in re.findall("`(rag.+?)`", write)]
    for name in re.findall("transactional ids `(.+?)`", besides):
        wanted += [(ResourceType.TRANSACTIONAL_ID, name, one) for one in (AclOperation.WRITE, AclOperation.DESCRIBE)]
    wanted += [(ResourceType.TOPIC, name, AclOperation.DESCRIBE) for name in re.findall("Describe on `(.+?)`", besides)]
    wanted += [(ResourceType.GROUP, name, AclOperation.READ) for name in re.findall("group `(.+?)`", besides)]
    bindings = [
        AclBinding(
            kind,
            name.removesuffix("*"),
            ResourcePatternType.PREFIXED if name.endswith("*") else ResourcePatternType.LITERAL,
            f"User:{sasl.username}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for kind, name, operation in wanted
    ]
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
    for granted in admin.create_acls(bindings).values():
        granted.result(WITHIN_S)


def _publish(link: KafkaLink, topic: str) -> None:
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(topic, b"k", b"1", 0), WITHIN_S)


def test_ingest(server: KafkaServer) -> None:
    """Reads documents, writes its log in transactions with dead letters, raises floors; may not ask or answer."""
    _publish(KafkaLink(KafkaSettings(), server.bootstrap_servers), "rag.documents")
    _grant(server, "`ragstream ingest`")
    link = _link(server)
    with closing(TransactionalWriter(link, "rag.index.g1.0")) as writer:
        writer.open(WITHIN_S)
        writer.commit([OutRecord("rag.index.g1", b"k", b"v", 0), OutRecord("rag.dead-letters", b"k", b"v", 0)])
    assert len(list(read_to_end(link, "rag.index.g1", 0))) == 1
    with closing(PartitionReader(link, "rag.documents", 0, "start")) as reader:
        assert reader.poll_blocking(WITHIN_S)
    _publish(link, "rag.floors")
    assert list(read_to_end(link, "rag.floors", 0))
    assert cluster_identity(link, "rag.documents")
    for topic in ("rag.documents", "rag.answers"):
        with pytest.raises(Misconfigured):
            _publish(link, topic)
    with pytest.raises(Misconfigured):
        list(read_to_end(link, "rag.queries", 0))


def test_upstream(server: KafkaServer) -> None:
    """Publishes; can't read what it, or anybody, published."""
    _grant(server, "upstream system")
    link = _link(server)
    _publish(link, "rag.documents")
    with pytest.raises(Misconfigured):
        list(read_to_end(link, "rag.documents", 0))
    with pytest.raises(Misconfigured):
        list(read_to_end(link, "rag.index.g1", 0))


def test_serve(server: KafkaServer) -> None:
    """Follows the index, asks for the ends of the documents without reading them, answers."""
    _grant(server, "`ragstream serve`")
    link = _link(server)
    for topic in ("rag.index.g1", "rag.floors", "rag.queries"):
        assert list(read_to_end(link, topic, 0)) == []
    with closing(Metadata(link)) as metadata:
        assert metadata.ends("rag.documents", [0], WITHIN_S) == {0: 0}
    assert cluster_identity(link, "rag.documents")
    for topic in ("rag.answers", "rag.dead-letters"):
        _publish(link, topic)
    with pytest.raises(Misconfigured):
        _publish(link, "rag.index.g1")
