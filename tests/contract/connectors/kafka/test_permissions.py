"""docs/kafka-permissions.md, granted as it stands to a broker that forbids everything else: enough for each service, and no more.

That the commands themselves need nothing beyond their rows is seen in tests/e2e/cli/test_permissions.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Final

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions

from connectors.kafka.group_copy import GroupCopy
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata, cluster_identity
from connectors.kafka.producer import Producer
from connectors.kafka.reader import read_to_end
from connectors.kafka.records import OutRecord
from connectors.kafka.topic_check import check_topics
from connectors.kafka.topics import create_topics, topic_specs
from connectors.kafka.writer import TransactionalWriter
from schemas.errors import Misconfigured
from schemas.settings import KafkaSettings, Settings
from tests.permissions import LOGINS, NOBODY, PASSWORD, authorizer, grant_the_page, rows
from tests.servers.cache import UnavailableError
from tests.servers.kafka import KafkaServer

WITHIN_S: Final = 20.0
# As on the page; `g1` stands for any generation.
DOCUMENTS, INDEX, FLOORS, DEAD_LETTERS = "rag.documents", "rag.index.g1", "rag.floors", "rag.dead-letters"
QUERIES, ANSWERS, FEEDBACK = "rag.queries", "rag.answers", "rag.feedback"
TOPICS: Final = (DOCUMENTS, INDEX, FLOORS, DEAD_LETTERS, QUERIES, ANSWERS, FEEDBACK)

pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker with one message in every topic, where each row's login may do what the row says."""
    try:
        broker = KafkaServer(tmp_path_factory.mktemp("guarded-kafka"), authorizer())
    except UnavailableError as missing:
        pytest.skip(str(missing))
    with broker:
        plain = KafkaLink(KafkaSettings(), broker.bootstrap_servers)
        made = create_topics(plain, topic_specs(Settings.model_validate({"generation": "g1", "kafka": {"partitions": 1}})))
        assert {topic.name for topic in made if topic.outcome == "created"} >= set(TOPICS)
        for topic in TOPICS:
            _send(plain, topic)
        grant_the_page(broker)
        yield broker


def _link(server: KafkaServer, login: str) -> KafkaLink:
    sasl = server.address.sasl
    assert sasl is not None
    settings = {"sasl_mechanism": "PLAIN", "sasl_username": login, "sasl_password": PASSWORD, "request_timeout_s": 5.0}
    kafka = KafkaSettings.model_validate({"security_protocol": "SASL_PLAINTEXT", **settings})
    return KafkaLink(kafka, sasl.bootstrap_servers)


def _send(link: KafkaLink, topic: str) -> None:
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(topic, b"k", b"1", 0), WITHIN_S)


def _read(link: KafkaLink, topic: str) -> None:
    assert list(read_to_end(link, topic, 0))


def _readable(link: KafkaLink) -> set[str]:
    return {topic for topic in TOPICS if _is_allowed(partial(_read, link, topic))}


def _writable(link: KafkaLink) -> set[str]:
    return {topic for topic in TOPICS if _is_allowed(partial(_send, link, topic))}


def _is_allowed(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except Misconfigured:
        return False
    return True


def test_every_row_is_granted_to_a_login() -> None:
    """A row that is added to the page is looked at here, too."""
    assert set(rows()) == set(LOGINS)


@pytest.mark.parametrize(
    ("login", "reads", "writes"),
    [
        ("upstream", set(), {DOCUMENTS}),
        ("ingest", {DOCUMENTS, INDEX, FLOORS}, {INDEX, FLOORS, DEAD_LETTERS}),
        ("serve", {INDEX, FLOORS, QUERIES, FEEDBACK}, {ANSWERS, DEAD_LETTERS, FEEDBACK}),
        ("asker", {ANSWERS}, {QUERIES, FEEDBACK}),
        ("operator", {INDEX, FLOORS, DEAD_LETTERS}, set()),
        ("creator", set(), set()),
        (NOBODY, set(), set()),
    ],
)
def test_a_service_reads_and_writes_what_its_row_says(server: KafkaServer, login: str, reads: set[str], writes: set[str]) -> None:
    """All of it, and nothing else."""
    link = _link(server, login)
    assert (_readable(link), _writable(link)) == (reads, writes)


def test_ingest(server: KafkaServer) -> None:
    """Its log in transactions with dead letters, and the identity of the documents' log."""
    link = _link(server, "ingest")
    with closing(TransactionalWriter(link, f"{INDEX}.0")) as writer:
        writer.open(WITHIN_S)
        writer.commit([OutRecord(INDEX, b"k", b"v", 0), OutRecord(DEAD_LETTERS, b"k", b"v", 0)])
    assert cluster_identity(link, DOCUMENTS)
    with closing(TransactionalWriter(link, "someone-else")) as writer, pytest.raises(Misconfigured):
        writer.open(WITHIN_S)


def test_ingest_copies_its_positions_to_its_group_and_to_no_other(server: KafkaServer) -> None:
    """A copy that isn't permitted holds up nothing, the end least of all."""
    groups = (KafkaSettings().ingest_group, KafkaSettings().query_group)
    for group in groups:
        with closing(GroupCopy(_link(server, "ingest"), group, DOCUMENTS)) as copy:
            copy.update({0: 1})
            closing_since = time.monotonic()
        assert time.monotonic() - closing_since < WITHIN_S / 2
    with closing(Metadata(KafkaLink(KafkaSettings(), server.bootstrap_servers))) as metadata:
        copied = [_committed(metadata, group) for group in groups]
    assert copied == [{0: 1}, {}]


def _committed(metadata: Metadata, group: str) -> dict[int, int]:
    asked = metadata.client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    return {place.partition: place.offset for place in asked[group].result(WITHIN_S).topic_partitions}


def test_nobody_else_writes_the_index_in_transactions(server: KafkaServer) -> None:
    """Fencing the writer takes its transactional id, which is ingest's alone."""
    for login in LOGINS.values():
        with closing(TransactionalWriter(_link(server, login), f"{INDEX}.1")) as writer:
            if login == "ingest":
                writer.open(WITHIN_S)
                continue
            with pytest.raises(Misconfigured):
                writer.open(WITHIN_S)


def test_serve_asks_where_the_documents_end_without_reading_them(server: KafkaServer) -> None:
    """`as_of` takes Describe alone."""
    link = _link(server, "serve")
    with closing(Metadata(link)) as metadata:
        assert metadata.ends(DOCUMENTS, [0], WITHIN_S)[0] > 0
    assert cluster_identity(link, DOCUMENTS)


def test_an_operator_checks_the_topics_settings(server: KafkaServer) -> None:
    """`doctor` finds all of them as they were made; without permission it says what is refused."""
    specs = topic_specs(Settings.model_validate({"generation": "g1", "kafka": {"partitions": 1}}))
    assert all(finding.ok for finding in check_topics(_link(server, "operator"), specs))
    with pytest.raises(Misconfigured):
        check_topics(_link(server, "ingest"), specs)


def test_topics_are_created_by_who_may(server: KafkaServer) -> None:
    """And by nobody else: the refusal is told topic by topic."""
    specs = topic_specs(Settings.model_validate({"generation": "g2", "kafka": {"partitions": 1}}))
    refused = create_topics(_link(server, "operator"), specs)
    assert {topic.name: topic.outcome for topic in refused}["rag.index.g2"] == "failed"
    made = create_topics(_link(server, "creator"), specs)
    assert {topic.name: topic.outcome for topic in made}["rag.index.g2"] == "created"
    assert {topic.outcome for topic in made} == {"created", "exists"}
