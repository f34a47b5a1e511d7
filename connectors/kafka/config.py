"""Settings as the two Kafka clients want them: librdkafka's dictionary and a Faust app's options. Nowhere else."""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final

from pydantic import SecretStr

from connectors.kafka.link import KafkaLink
from schemas.errors import Misconfigured
from schemas.settings import KafkaSettings

# Values are scalars and, for `logger`, an object; the client's own types don't agree with one another.
Config = dict[str, Any]

# Room for a message's key, headers and framing beside the value that `max_message_bytes` limits.
MESSAGE_HEADROOM_BYTES: Final = 64 * 1024
# The in-process broker doesn't wake waiting fetches: they must come back soon by themselves.
EMBEDDED_FETCH_WAIT_MS: Final = 10
LINGER_MS: Final = 1
RECONNECT_MAX_MS: Final = 1_000
# A topic that is unknown for this long does not exist; a new one takes a moment to be known everywhere.
MISSING_TOPIC_AFTER_MS: Final = 5_000
MIN_FETCH_BYTES: Final = 1024 * 1024

# librdkafka writes to stderr by itself; what matters reaches us as errors, the rest goes where the logging settings say.
_client_log = logging.getLogger("connectors.kafka.librdkafka")


def librdkafka_config(kafka: KafkaSettings, bootstrap: str) -> Config:
    """What every librdkafka client shares: where the brokers are and how to log in. Raises: Misconfigured."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": kafka.client_id,
        "security.protocol": kafka.security_protocol,
        "socket.keepalive.enable": True,
        "topic.metadata.propagation.max.ms": MISSING_TOPIC_AFTER_MS,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
        "logger": _client_log,
        **_tls(kafka),
        **_sasl(kafka),
    }


def producer_config(link: KafkaLink) -> Config:
    """An idempotent producer that puts keys where Java, Faust and every other client puts them."""
    return {
        **librdkafka_config(link.kafka, link.bootstrap),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": link.kafka.compression,
        "linger.ms": LINGER_MS,
        "message.max.bytes": link.kafka.max_message_bytes + MESSAGE_HEADROOM_BYTES,
    }


def transactional_config(link: KafkaLink, transactional_id: str) -> Config:
    """A producer whose batches are atomic and which fences its predecessors."""
    return {
        **producer_config(link),
        "transactional.id": transactional_id,
        "transaction.timeout.ms": round(link.kafka.transaction_timeout_s * 1000),
        # A message that outlives its transaction is of no use, and the client refuses a longer timeout.
        "message.timeout.ms": round(link.kafka.transaction_timeout_s * 1000),
    }


def consumer_config(link: KafkaLink) -> Config:
    """A consumer that is told what to read, commits nothing and never jumps silently."""
    config: Config = {
        **librdkafka_config(link.kafka, link.bootstrap),
        # Required by the client; assign() takes no part in any group.
        "group.id": f"{link.kafka.client_id}-unused",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "allow.auto.create.topics": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": link.kafka.prefetch_kib,
        "fetch.message.max.bytes": max(MIN_FETCH_BYTES, link.kafka.max_message_bytes + MESSAGE_HEADROOM_BYTES),
    }
    if link.embedded:
        config["fetch.wait.max.ms"] = EMBEDDED_FETCH_WAIT_MS
    return config


def admin_config(link: KafkaLink) -> Config:
    """A client for topics and offsets."""
    return librdkafka_config(link.kafka, link.bootstrap)


def faust_config(kafka: KafkaSettings, bootstrap: str, *, embedded: bool = False) -> dict[str, Any]:
    """Options of `faust.App` that concern the connection: `faust.App("id", **faust_config(kafka, bootstrap))`.

    Imports Faust only when a login or TLS is asked for. Raises: Misconfigured.
    """
    options: dict[str, Any] = {
        "broker": [f"kafka://{server.strip()}" for server in bootstrap.split(",")],
        "broker_client_id": kafka.client_id,
        # The in-process broker's transaction markers carry no checksum that aiokafka accepts.
        "broker_check_crcs": not embedded,
    }
    credentials = _faust_credentials(kafka)
    if credentials is not None:
        options["broker_credentials"] = credentials
    return options


def _tls(kafka: KafkaSettings) -> Config:
    if not _uses_tls(kafka):
        return {}
    # librdkafka says of a file that it can't use neither its path nor our setting's name.
    _ssl_context(kafka)
    return _present(
        {
            "ssl.ca.location": kafka.ssl_ca_location,
            "ssl.certificate.location": kafka.ssl_certificate_location,
            "ssl.key.location": kafka.ssl_key_location,
            "ssl.key.password": _revealed(kafka.ssl_key_password),
        }
    )


def _sasl(kafka: KafkaSettings) -> Config:
    if not _uses_sasl(kafka):
        return {}
    if kafka.sasl_mechanism == "OAUTHBEARER":
        endpoint, client_id, secret = _oauth(kafka)
        return {
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": endpoint,
            "sasl.oauthbearer.client.id": client_id,
            "sasl.oauthbearer.client.secret": secret,
            **_present({"sasl.oauthbearer.scope": kafka.oauth_scope}),
        }
    mechanism, username, password = _password_login(kafka)
    return {"sasl.mechanism": mechanism, "sasl.username": username, "sasl.password": password}


def _faust_credentials(kafka: KafkaSettings) -> object | None:
    context = _ssl_context(kafka) if _uses_tls(kafka) else None
    if not _uses_sasl(kafka) and context is None:
        return None
    from faust import auth  # noqa: PLC0415  reason: only the query worker has Faust loaded

    if not _uses_sasl(kafka):
        return auth.SSLCredentials(context)
    if kafka.sasl_mechanism == "OAUTHBEARER":
        from connectors.kafka.oauth import token_provider  # noqa: PLC0415  reason: as above

        return auth.OAuthCredentials(oauth_cb=token_provider(*_oauth(kafka), kafka.oauth_scope), ssl_context=context)
    mechanism, username, password = _password_login(kafka)
    return auth.SASLCredentials(username=username, password=password, mechanism=mechanism, ssl_context=context)


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_ca_location)
    except OSError as exc:
        msg = f"RAG_KAFKA__SSL_CA_LOCATION={kafka.ssl_ca_location}: {exc}; a PEM file with certificates is needed"
        raise Misconfigured(msg) from exc
    if kafka.ssl_certificate_location:
        # Never None: OpenSSL would ask for the password of a locked key on the terminal.
        password = _revealed(kafka.ssl_key_password) or ""
        try:
            context.load_cert_chain(kafka.ssl_certificate_location, kafka.ssl_key_location, password)
        except OSError as exc:
            msg = (
                f"RAG_KAFKA__SSL_CERTIFICATE_LOCATION={kafka.ssl_certificate_location}, "
                f"RAG_KAFKA__SSL_KEY_LOCATION={kafka.ssl_key_location}: {exc}; PEM files that belong together are needed, and "
                "RAG_KAFKA__SSL_KEY_PASSWORD where the key is locked"
            )
            raise Misconfigured(msg) from exc
    return context


def _uses_tls(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol in ("SSL", "SASL_SSL")


def _uses_sasl(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")


def _password_login(kafka: KafkaSettings) -> tuple[str, str, str]:
    needed = "RAG_KAFKA__SASL_MECHANISM, __SASL_USERNAME and __SASL_PASSWORD"
    if kafka.sasl_mechanism is None or kafka.sasl_username is None or kafka.sasl_password is None:
        msg = f"RAG_KAFKA__SECURITY_PROTOCOL={kafka.security_protocol} needs {needed}"
        raise Misconfigured(msg)
    return kafka.sasl_mechanism, kafka.sasl_username, kafka.sasl_password.get_secret_value()


def _oauth(kafka: KafkaSettings) -> tuple[str, str, str]:
    needed = "RAG_KAFKA__OAUTH_TOKEN_ENDPOINT, __OAUTH_CLIENT_ID and __OAUTH_CLIENT_SECRET"
    if kafka.oauth_token_endpoint is None or kafka.oauth_client_id is None or kafka.oauth_client_secret is None:
        msg = f"RAG_KAFKA__SASL_MECHANISM=OAUTHBEARER needs {needed}"
        raise Misconfigured(msg)
    return kafka.oauth_token_endpoint, kafka.oauth_client_id, kafka.oauth_client_secret.get_secret_value()


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _present(values: dict[str, object | None]) -> Config:
    return {name: str(value) for name, value in values.items() if value is not None}
