"""What each of Kafka's errors means to whoever called."""

import pytest
from confluent_kafka import KafkaError

from connectors.kafka.errors import ProducerFenced, is_passing, translate
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
