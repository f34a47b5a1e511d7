"""Security and safety settings reach both Kafka clients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from pydantic import SecretStr

from connectors.kafka import config
from connectors.kafka.link import KafkaLink
from schemas.errors import Misconfigured
from schemas.settings import KafkaSettings
from tests.servers.certificates import Authority

Client = Callable[[KafkaSettings, str], object]
BOOTSTRAP = "kafka-1:9092,kafka-2:9092"

SASL: dict[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "ragstream",
    "sasl_password": "secret",
}
OAUTH: dict[str, Any] = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "OAUTHBEARER",
    "oauth_token_endpoint": "https://login.example/token",
    "oauth_client_id": "ragstream",
    "oauth_client_secret": "secret",
    "oauth_scope": "kafka",
}


def link(**kafka: Any) -> KafkaLink:
    """A link to nowhere with these settings."""
    return KafkaLink(KafkaSettings(**kafka), BOOTSTRAP)


def test_producers_are_idempotent_and_partition_like_java() -> None:
    """The two librdkafka defaults that lose order and split keys are overridden."""
    found = config.producer_config(link(compression="lz4"))
    wanted = {"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random", "compression.type": "lz4"}
    assert wanted.items() <= found.items()


def test_consumers_never_jump_commit_or_create() -> None:
    """A position that is gone is an error, and only committed records are seen."""
    found = config.consumer_config(link())
    wanted = {
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "allow.auto.create.topics": False,
        "isolation.level": "read_committed",
    }
    assert wanted.items() <= found.items()


@pytest.mark.parametrize("security", [{}, SASL, OAUTH], ids=["plain", "sasl", "oauth"])
def test_librdkafka_accepts_every_configuration(security: dict[str, Any]) -> None:
    """The client itself refuses unknown names and values."""
    with Consumer(config.consumer_config(link(**security))):
        pass
    Producer(config.transactional_config(link(**security), "writer"))


def test_login_reaches_librdkafka() -> None:
    """User, password and mechanism."""
    found = config.librdkafka_config(KafkaSettings(**SASL), BOOTSTRAP)
    assert found["bootstrap.servers"] == BOOTSTRAP
    assert (found["sasl.mechanism"], found["sasl.username"], found["sasl.password"]) == (
        "SCRAM-SHA-512",
        "ragstream",
        "secret",
    )


def test_oauth_reaches_librdkafka() -> None:
    """OIDC client credentials, which librdkafka fetches by itself."""
    found = config.librdkafka_config(KafkaSettings(**OAUTH), BOOTSTRAP)
    assert found["sasl.oauthbearer.method"] == "oidc"
    assert found["sasl.oauthbearer.token.endpoint.url"] == "https://login.example/token"
    assert found["sasl.oauthbearer.scope"] == "kafka"


def test_tls_files_reach_librdkafka(tmp_path: Path) -> None:
    """Authority, certificate and key, and the password of that; the client itself takes them."""
    authority = Authority(tmp_path, "authority")
    client = authority.issue("client", password="secret")
    settings = {
        "security_protocol": "SSL",
        "ssl_ca_location": authority.certificate,
        "ssl_certificate_location": client.certificate,
        "ssl_key_location": client.key,
        "ssl_key_password": "secret",
    }
    found = config.librdkafka_config(KafkaSettings(**settings), BOOTSTRAP)
    assert found["ssl.ca.location"] == str(authority.certificate)
    assert found["ssl.certificate.location"] == str(client.certificate)
    assert found["ssl.key.location"] == str(client.key)
    assert found["ssl.key.password"] == "secret"
    Producer(config.producer_config(link(**settings)))


@pytest.mark.parametrize("missing", ["sasl_mechanism", "sasl_username", "sasl_password"])
def test_an_incomplete_login_names_the_settings(missing: str) -> None:
    """The user learns which variables to set."""
    settings = KafkaSettings(**{name: value for name, value in SASL.items() if name != missing})
    with pytest.raises(Misconfigured, match="RAG_KAFKA__SASL_MECHANISM, __SASL_USERNAME and __SASL_PASSWORD"):
        config.librdkafka_config(settings, BOOTSTRAP)


def test_incomplete_oauth_names_the_settings() -> None:
    """For both clients."""
    settings = KafkaSettings(**{name: value for name, value in OAUTH.items() if name != "oauth_client_id"})
    with pytest.raises(Misconfigured, match="__OAUTH_CLIENT_ID"):
        config.librdkafka_config(settings, BOOTSTRAP)
    with pytest.raises(Misconfigured, match="__OAUTH_CLIENT_ID"):
        config.faust_config(settings, BOOTSTRAP)


def test_faust_gets_every_server_and_no_login_when_none_is_needed() -> None:
    """Checksums are left unchecked for the in-process broker only."""
    found = config.faust_config(KafkaSettings(), BOOTSTRAP)
    assert found["broker"] == ["kafka://kafka-1:9092", "kafka://kafka-2:9092"]
    assert found["broker_check_crcs"]
    assert "broker_credentials" not in found
    assert not config.faust_config(KafkaSettings(), BOOTSTRAP, embedded=True)["broker_check_crcs"]


def test_login_reaches_faust() -> None:
    """The same user, password and mechanism."""
    credentials = config.faust_config(KafkaSettings(**SASL), BOOTSTRAP)["broker_credentials"]
    assert (credentials.username, credentials.password) == ("ragstream", "secret")
    assert (credentials.mechanism.value, credentials.protocol.value) == ("SCRAM-SHA-512", "SASL_PLAINTEXT")


@pytest.mark.parametrize(("protocol", "expected"), [("SSL", "SSL"), ("SASL_SSL", "SASL_SSL")], ids=["tls", "login-over-tls"])
def test_tls_reaches_faust(protocol: str, expected: str) -> None:
    """With or without a login."""
    settings = KafkaSettings(**{**SASL, "security_protocol": protocol})
    assert config.faust_config(settings, BOOTSTRAP)["broker_credentials"].protocol.value == expected


def test_oauth_reaches_faust() -> None:
    """Through a token provider of our own."""
    credentials = config.faust_config(KafkaSettings(**OAUTH), BOOTSTRAP)["broker_credentials"]
    assert credentials.mechanism.value == "OAUTHBEARER"


@pytest.mark.parametrize("client", [config.librdkafka_config, config.faust_config], ids=["librdkafka", "faust"])
def test_a_missing_certificate_authority_is_named(tmp_path: Path, client: Client) -> None:
    """Not a bare FileNotFoundError, nor the client's own words, which name no file."""
    settings = KafkaSettings(security_protocol="SSL", ssl_ca_location=tmp_path / "nowhere.pem")
    with pytest.raises(Misconfigured, match=r"RAG_KAFKA__SSL_CA_LOCATION=.*nowhere\.pem"):
        client(settings, BOOTSTRAP)


@pytest.mark.parametrize("client", [config.librdkafka_config, config.faust_config], ids=["librdkafka", "faust"])
@pytest.mark.parametrize("password", ["wrong", None], ids=["wrong-password", "no-password"])
def test_a_key_that_does_not_open_is_named(tmp_path: Path, client: Client, password: str | None) -> None:
    """And nobody is asked for its password on the terminal."""
    files = Authority(tmp_path, "authority").issue("client", password="secret")
    settings = KafkaSettings(
        security_protocol="SSL",
        ssl_certificate_location=files.certificate,
        ssl_key_location=files.key,
        ssl_key_password=SecretStr(password) if password else None,
    )
    with pytest.raises(Misconfigured, match=r"RAG_KAFKA__SSL_KEY_LOCATION=.*RAG_KAFKA__SSL_KEY_PASSWORD"):
        client(settings, BOOTSTRAP)
