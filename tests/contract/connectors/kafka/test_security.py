"""A login is needed, and both clients have it."""

import pytest

from connectors.kafka.link import KafkaLink
from schemas.settings import KafkaSettings
from tests.contract.connectors.kafka.conftest import create_topic
from tests.contract.connectors.kafka.every_client import assert_every_client_refuses, assert_every_client_works
from tests.servers.kafka import KafkaAddress


def secured(address: KafkaAddress, mechanism: str, password: str | None = None) -> KafkaLink:
    """A link through the SASL listener."""
    if address.sasl is None:
        pytest.skip("the Kafka given by RAG_TEST_KAFKA has no known SASL listener: unset it to use one of the suite's own")
    settings = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_username": address.sasl.username,
        "sasl_password": password or address.sasl.password,
        "request_timeout_s": 2.0,
    }
    return KafkaLink(KafkaSettings.model_validate(settings), address.sasl.bootstrap_servers)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_everything_works_through_a_login(kafka_server: KafkaAddress, topic_prefix: str, mechanism: str) -> None:
    """Producer, writer, readers, questions; and aiokafka with what Faust is given."""
    create_topic(kafka_server.bootstrap_servers, topic_prefix)
    assert_every_client_works(secured(kafka_server, mechanism), topic_prefix)


def test_a_wrong_password_is_said(kafka_server: KafkaAddress, topic_prefix: str) -> None:
    """By everyone, naming the settings, rather than waited for."""
    link = secured(kafka_server, "SCRAM-SHA-512", "wrong")
    assert_every_client_refuses(link, topic_prefix, "SASL_")
