"""The same commands on real servers: topics, ingest with two workers, a query worker; over SASL, over TLS, in every codec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import Producer

from connectors.kafka import KafkaLink, partitions_of, read_to_end
from connectors.milvus import create_vector_store
from schemas.queries import AnswerEvent
from schemas.settings import KafkaSettings, Settings, TopicSettings
from tests.e2e.cli.commands import Shell, new_shell, running, write_docs
from tests.servers.certificates import Authority
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CODECS = ("gzip", "snappy", "lz4", "zstd")
ASK_TIMEOUT_S = "60"


@pytest.fixture
def shell(
    tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str, topic_prefix: str
) -> Iterator[Shell]:
    """Settings that name the servers, with topics, groups and collections of this test's alone."""
    topics = {f"KAFKA__TOPICS__{name.upper()}": f"{topic_prefix}.{topic}" for name, topic in TopicSettings().model_dump().items()}
    collections = f"t_{unique_name}"[:40]
    yield new_shell(
        tmp_path,
        KAFKA__BOOTSTRAP_SERVERS=kafka_server.bootstrap_servers,
        KAFKA__PARTITIONS="2",
        KAFKA__QUERY_GROUP=f"{topic_prefix}.query",
        KAFKA__INGEST_GROUP=f"{topic_prefix}.ingest",
        MILVUS__URI=milvus_server.uri,
        MILVUS__TOKEN=milvus_server.token,
        MILVUS__COLLECTION_PREFIX=collections,
        **topics,
    )
    store = create_vector_store(Settings.model_validate({"milvus": {"uri": milvus_server.uri}}), milvus_server.uri)
    for name in store.collections():
        if name.startswith(collections):
            store.drop(name)
    store.close()


def test_two_ingest_workers_and_a_query_worker(shell: Shell, tmp_path: Path) -> None:
    """Topics are made, a folder is published, indexed by two processes, asked about; SIGTERM ends each with status 0."""
    shell.run("topics", "create")
    write_docs(shell.cwd / "docs", **{f"doc-{n}": f"# Doc {n}\n\nThe colour of door {n} is shade {n * 11}.\n" for n in range(12)})
    shell.run("publish", "docs", "--acl", "*")
    shell.run("ingest", "--workers", "2", "--until-caught-up")
    status = shell.run("status", "--json").json
    assert (status["lag"], status["documents"], status["embedded"]) == (0, 12, False)
    assert status["outcomes"] == {"indexed": 12}
    ingest = running(shell, tmp_path / "ingest.log", "ingest", "--workers", "2")
    with ingest, running(shell, tmp_path / "serve.log", "serve"):
        assert "shade 77" in shell.run("ask", "What colour is door 7?", "--timeout", ASK_TIMEOUT_S).out
        shell.run("publish", "docs/doc-7.md", "--delete")
        wait_until(lambda: shell.run("status", "--json").json["documents"] == 11, within_s=60, what="the delete to be followed")
        assert "shade 77" not in shell.run("ask", "What colour is door 7?", expect=None).out


def work_with_a_document(shell: Shell, folder: Path) -> None:
    """What takes both Kafka clients: topics, a document in the index, and a question that it answers."""
    shell.run("topics", "create")
    write_docs(shell.cwd / "docs", vault="# Vault\n\nThe vault opens at nine in the morning.\n")
    shell.run("publish", "docs", "--acl", "*")
    shell.run("ingest", "--until-caught-up")
    with running(shell, folder / "serve.log", "serve"):
        assert "nine" in shell.run("ask", "When does the vault open?", "--timeout", ASK_TIMEOUT_S).out


@pytest.mark.slow
def test_both_kafka_clients_log_in_through_sasl(shell: Shell, kafka_server: KafkaAddress, tmp_path: Path) -> None:
    """librdkafka's and Faust's, with SCRAM; a wrong password is said, with the exit code for settings."""
    sasl = kafka_server.sasl
    if sasl is None:
        pytest.skip("the given Kafka's SASL listener is not known: leave RAG_TEST_KAFKA unset")
    secured = shell.having(
        KAFKA__BOOTSTRAP_SERVERS=sasl.bootstrap_servers,
        KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
        KAFKA__SASL_MECHANISM="SCRAM-SHA-512",
        KAFKA__SASL_USERNAME=sasl.username,
        KAFKA__SASL_PASSWORD=sasl.password,
    )
    work_with_a_document(secured, tmp_path)
    refused = secured.having(KAFKA__SASL_PASSWORD="wrong").run("ingest", "--until-caught-up", expect=78)
    assert "RAG_KAFKA__SASL" in refused.err


def test_both_kafka_clients_prove_who_they_are_by_certificate(shell: Shell, kafka_server: KafkaAddress, tmp_path: Path) -> None:
    """Mutual TLS, librdkafka's and Faust's; without a certificate, and with the wrong authority, the setting is said."""
    tls = kafka_server.tls
    if tls is None:
        pytest.skip("the given Kafka's TLS listener is not known: leave RAG_TEST_KAFKA unset")
    unknown = shell.having(
        KAFKA__BOOTSTRAP_SERVERS=tls.mutual_bootstrap_servers,
        KAFKA__SECURITY_PROTOCOL="SSL",
        KAFKA__SSL_CA_LOCATION=str(tls.authority),
    )
    known = unknown.having(
        KAFKA__SSL_CERTIFICATE_LOCATION=str(tls.client.certificate),
        KAFKA__SSL_KEY_LOCATION=str(tls.client.key),
        KAFKA__SSL_KEY_PASSWORD=tls.key_password,
    )
    work_with_a_document(known, tmp_path)
    assert "RAG_KAFKA__SSL_CERTIFICATE_LOCATION" in unknown.run("ingest", "--until-caught-up", expect=78).err
    stranger = Authority(tmp_path, "stranger")
    unsure = known.having(KAFKA__SSL_CA_LOCATION=str(stranger.certificate))
    assert "RAG_KAFKA__SSL_CA_LOCATION" in unsure.run("serve", expect=78).err


def test_documents_and_questions_in_every_codec(
    shell: Shell, kafka_server: KafkaAddress, topic_prefix: str, tmp_path: Path
) -> None:
    """The producer's choice of compression is nobody else's business."""
    shell.run("topics", "create")
    for codec in CODECS:
        text = f"# Compressed\n\nThe {codec} document holds the word {codec}-ish. " + "It says so again. " * 50
        change = {"op": "upsert", "doc_id": codec, "acl": ["*"], "content": {"text": text}}
        _produce(kafka_server, f"{topic_prefix}.rag.documents", codec, change, codec)
    shell.run("ingest", "--until-caught-up")
    link = KafkaLink(KafkaSettings(), kafka_server.bootstrap_servers)
    topic = f"{topic_prefix}.rag.answers"

    def answers() -> dict[str, AnswerEvent]:
        records = [record for p in partitions_of(link, topic) for record in read_to_end(link, topic, p)]
        return {event.query_id: event for event in (AnswerEvent.from_bytes(record.value or b"") for record in records)}

    with running(shell, tmp_path / "serve.log", "serve"):
        for codec in CODECS:
            question = {"query_id": codec, "question": f"Which word does the {codec} document hold?" + " " * 500}
            _produce(kafka_server, f"{topic_prefix}.rag.queries", codec, question, codec)
        wait_until(lambda: set(answers()) == set(CODECS), within_s=60, what="four answers")
    for codec, answer in answers().items():
        assert answer.outcome == "answered"
        assert codec in {citation.doc_id for citation in answer.citations}


def _produce(kafka: KafkaAddress, topic: str, key: str, value: Mapping[str, object], codec: str) -> None:
    failures: list[object] = []
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "compression.type": codec, "partitioner": "murmur2_random"}
    )
    producer.produce(topic, json.dumps(value), key, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(20) == 0
    assert not failures
