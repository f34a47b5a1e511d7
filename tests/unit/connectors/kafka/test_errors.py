"""What each of Kafka's errors means to whoever called."""

import pytest
from confluent_kafka import KafkaError

from connectors.kafka.errors import ProducerFenced, is_passing, is_refusal, translate
from schemas.errors import DataLoss, Fatal, Misconfigured, RagError, Rejected, Retryable


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(KafkaError._TRANSPORT, Retryable, id="broker-away"),
        pytest.param(KafkaError.NOT_LEADER_FOR_PARTITION, Retryable, id="leader-moves"),
        pytest.param(KafkaError._FENCED, ProducerFenced, id="fenced"),
        pytest.param(KafkaError.MSG_SIZE_TOO_LARGE, Rejected, id="too-large"),
        pytest.param(KafkaError.UNKNOWN_TOPIC_OR_PART, Misconfigured, id="no-topic"),
        pytest.param(KafkaError._AUTHENTICATION, Misconfigured, id="login"),
        pytest.param(KafkaError.TOPIC_AUTHORIZATION_FAILED, Misconfigured, id="permission"),
        pytest.param(KafkaError.OFFSET_OUT_OF_RANGE, DataLoss, id="position-gone"),
        pytest.param(KafkaError.UNSUPPORTED_VERSION, Fatal, id="anything-else"),
    ],
)
def test_errors_are_split_by_remedy(code: int, expected: type[RagError]) -> None:
    """And carry what was being done."""
    error = translate(KafkaError(code), "reading rag.documents")
    assert type(error) is expected
    assert "reading rag.documents" in str(error)


def test_a_fatal_error_never_passes() -> None:
    """Whatever its code: the client has given up."""
    assert is_passing(KafkaError(KafkaError._TRANSPORT))
    assert not is_passing(KafkaError(KafkaError._TRANSPORT, "gone", fatal=True))


UNTRUSTED = (
    "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified"
)
REQUIRED = "Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116"
UNKNOWN = "SSL handshake failed: error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48"
PLAIN = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"


@pytest.mark.parametrize(
    ("error", "named"),
    [
        pytest.param(KafkaError(KafkaError._AUTHENTICATION, "no"), "RAG_KAFKA__SASL_", id="password"),
        pytest.param(KafkaError(KafkaError._SSL, UNTRUSTED), "RAG_KAFKA__SSL_CA_LOCATION", id="the-brokers-certificate"),
        # With TLS 1.3 it comes when the handshake is over, and looks like a broken connection.
        pytest.param(KafkaError(KafkaError._TRANSPORT, REQUIRED), "RAG_KAFKA__SSL_CERTIFICATE_LOCATION", id="no-certificate"),
        pytest.param(KafkaError(KafkaError._SSL, UNKNOWN), "RAG_KAFKA__SSL_CERTIFICATE_LOCATION", id="a-strangers-certificate"),
        pytest.param(KafkaError(KafkaError._SSL, PLAIN), "RAG_KAFKA__SECURITY_PROTOCOL", id="no-tls-there"),
    ],
)
def test_a_refusal_names_the_setting_that_mends_it(error: KafkaError, named: str) -> None:
    """And is never waited out."""
    assert is_refusal(error)
    assert not is_passing(error)
    told = translate(error, "reading rag.documents")
    assert isinstance(told, Misconfigured)
    assert named in str(told)


def test_a_connection_that_breaks_is_no_refusal() -> None:
    """Other alerts of TLS, such as one for a broker's own trouble, pass."""
    assert is_passing(KafkaError(KafkaError._TRANSPORT, "Receive failed: tlsv1 alert internal error: SSL alert number 80"))
