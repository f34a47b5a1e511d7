"""Kafka behind TLS: the broker proves who it is, and where it asks, so does the client; both of our clients do it."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kafka.link import KafkaLink
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import create_topic
from tests.contract.connectors.kafka.every_client import (
    assert_aiokafka_refuses,
    assert_every_client_refuses,
    assert_every_client_works,
)
from tests.servers.certificates import Authority
from tests.servers.kafka import KafkaAddress, TlsAddress

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def tls(kafka_server: KafkaAddress) -> TlsAddress:
    """The TLS listeners of the run's Kafka."""
    if kafka_server.tls is None:
        pytest.skip("the Kafka given by RAG_TEST_KAFKA has no known TLS listener: unset it to use one of the suite's own")
    return kafka_server.tls


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Signs for nobody that the broker knows."""
    return Authority(tmp_path, "stranger")


def link_to(bootstrap: str, **settings: object) -> KafkaLink:
    """Behind TLS."""
    kafka = {"security_protocol": "SSL", "request_timeout_s": 2.0, **settings}
    return KafkaLink(KafkaSettings.model_validate(kafka), bootstrap)


def test_everything_works_over_tls(kafka_server: KafkaAddress, tls: TlsAddress, topic_prefix: str) -> None:
    """With the authority that signed the broker's certificate, and no certificate of one's own."""
    create_topic(kafka_server.bootstrap_servers, topic_prefix)
    assert_every_client_works(link_to(tls.bootstrap_servers, ssl_ca_location=tls.authority), topic_prefix)


def test_everything_works_over_mutual_tls(kafka_server: KafkaAddress, tls: TlsAddress, topic_prefix: str) -> None:
    """With a certificate of one's own, whose key is locked."""
    create_topic(kafka_server.bootstrap_servers, topic_prefix)
    link = link_to(
        tls.mutual_bootstrap_servers,
        ssl_ca_location=tls.authority,
        ssl_certificate_location=tls.client.certificate,
        ssl_key_location=tls.client.key,
        ssl_key_password=tls.key_password,
    )
    assert_every_client_works(link, topic_prefix)


def test_a_broker_that_nobody_vouches_for_is_refused(tls: TlsAddress, stranger: Authority, topic_prefix: str) -> None:
    """The wrong authority: the setting that names it is said."""
    link = link_to(tls.bootstrap_servers, ssl_ca_location=stranger.certificate)
    assert_every_client_refuses(link, topic_prefix, "RAG_KAFKA__SSL_CA_LOCATION")
    assert_aiokafka_refuses(link, topic_prefix)


@pytest.mark.slow
def test_a_broker_under_another_name_is_refused(tls: TlsAddress, topic_prefix: str) -> None:
    """A certificate that is good, but for another host, is an impostor's."""
    port = tls.bootstrap_servers.rpartition(":")[2]
    link = link_to(f"localhost:{port}", ssl_ca_location=tls.authority)
    assert_every_client_refuses(link, topic_prefix, "RAG_KAFKA__BOOTSTRAP_SERVERS")
    assert_aiokafka_refuses(link, topic_prefix)


def test_a_client_without_a_certificate_is_refused(tls: TlsAddress, topic_prefix: str) -> None:
    """Where the broker asks for one: the settings that would name it are said."""
    link = link_to(tls.mutual_bootstrap_servers, ssl_ca_location=tls.authority)
    assert_every_client_refuses(link, topic_prefix, "RAG_KAFKA__SSL_CERTIFICATE_LOCATION")
    assert_aiokafka_refuses(link, topic_prefix)


@pytest.mark.slow
def test_a_client_that_nobody_vouches_for_is_refused(tls: TlsAddress, stranger: Authority, topic_prefix: str) -> None:
    """A certificate, but of an authority that the broker doesn't trust."""
    certificate = stranger.issue("client")
    link = link_to(
        tls.mutual_bootstrap_servers,
        ssl_ca_location=tls.authority,
        ssl_certificate_location=certificate.certificate,
        ssl_key_location=certificate.key,
    )
    assert_every_client_refuses(link, topic_prefix, "RAG_KAFKA__SSL_CERTIFICATE_LOCATION")
    assert_aiokafka_refuses(link, topic_prefix)
