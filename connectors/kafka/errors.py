"""What can go wrong with Kafka, translated at the boundary.

Retryable
├── ProducerFenced   the writer was fenced, by a rival or by a transaction that timed out: the owner record tells
└── Backpressure     consumers are behind: try again after `retry_after_s`
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from schemas.errors import DataLoss, Fatal, Misconfigured, RagError, Rejected, Retryable


class ProducerFenced(Retryable):
    """The transactional producer can write no more, and whether its last batch was committed is unknown.

    A rival process gives this error and so does a transaction that timed out while this process or Kafka was paused:
    read the log (owner record, last marker) before deciding which.
    """


class Backpressure(Retryable):
    """Consumers are too far behind for another message.

    Attributes:
        retry_after_s: when another try makes sense.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


FENCED_CODES: Final = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)

LOST_POSITION_CODES: Final = frozenset(
    {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION, KafkaError._NO_OFFSET}
)

_LOGIN_CODES: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})

_TLS_ALERT: Final = re.compile(r"SSL alert number (\d+)")
_CERTIFICATE_ALERTS: Final = frozenset({42, 43, 44, 45, 46, 48, 49, 116})
"""What a broker says of a client's certificate (RFC 8446, 6.2): bad, unsupported, revoked, expired, unknown, of an unknown
authority, denied, required."""

_PASSING_CODES: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._IN_PROGRESS,
        KafkaError._PREV_IN_PROGRESS,
        KafkaError._RETRY,
        KafkaError._INTR,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._QUEUE_FULL,
        KafkaError._DESTROY_BROKER,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_CONTROLLER,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.FETCH_SESSION_ID_NOT_FOUND,
        KafkaError.INVALID_FETCH_SESSION_EPOCH,
        KafkaError.TRANSACTION_ABORTABLE,
        KafkaError.REBOOTSTRAP_REQUIRED,
    }
)

_MISSING_TOPIC_CODES: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)

_FORBIDDEN_CODES: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)

_TOO_LARGE_CODES: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}
)

_REJECTED_CODES: Final = frozenset({KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_MSG})


def error_of(exc: KafkaException) -> KafkaError:
    """The client's error inside its exception."""
    error = exc.args[0]
    # Some local failures are raised with a text only.
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._FAIL, str(error))


def is_refusal(error: KafkaError) -> bool:
    """Whether one side doesn't take the other for who it should be: a password, a certificate. Settings mend it."""
    return error.code() in _LOGIN_CODES or error.code() == KafkaError._SSL or _is_about_our_certificate(error)


def _is_about_our_certificate(error: KafkaError) -> bool:
    """With TLS 1.3 the broker says so after the client's handshake: the client takes it for a connection that broke."""
    alert = _TLS_ALERT.search(error.str())
    return alert is not None and int(alert[1]) in _CERTIFICATE_ALERTS


def is_passing(error: KafkaError) -> bool:
    """Whether waiting can mend it: a broker is away, starting, electing or slow."""
    return not error.fatal() and not is_refusal(error) and (error.retriable() or error.code() in _PASSING_CODES)


def translate(error: KafkaError, doing: str) -> RagError:
    """The exception to raise for `error`; `doing` says what was tried, with names and values."""
    said = error.str()
    if is_refusal(error):
        return Misconfigured(f"{doing}: {_refused(error, said)}")
    for codes, meaning in _MEANINGS:
        if error.code() in codes:
            return meaning(doing, said)
    if is_passing(error):
        return Retryable(f"{doing}: {said}")
    return Fatal(f"{doing}: {error.name()}: {said}")


def _too_large(doing: str, said: str) -> RagError:
    remedy = "send less, or raise RAG_KAFKA__MAX_MESSAGE_BYTES and the topic's max.message.bytes"
    return Rejected("message_too_large", f"{doing}: larger than Kafka takes ({said}); {remedy}")


def _no_topic(doing: str, said: str) -> RagError:
    return Misconfigured(f"{doing}: no such topic or partition ({said}); `ragstream topics create` makes them")


def _refused(error: KafkaError, said: str) -> str:
    if error.code() in _LOGIN_CODES:
        return f"Kafka refuses the login ({said}); check RAG_KAFKA__SASL_*"
    if _is_about_our_certificate(error):
        remedy = "RAG_KAFKA__SSL_CERTIFICATE_LOCATION and __SSL_KEY_LOCATION must name one that Kafka trusts"
        return f"Kafka asks for a certificate of this client, or refuses the one it has ({said}); {remedy}"
    if "certificate verify failed" in said:
        remedy = "RAG_KAFKA__SSL_CA_LOCATION must name who signed it, RAG_KAFKA__BOOTSTRAP_SERVERS the host that it is for"
        return f"Kafka's certificate can't be verified ({said}); {remedy}"
    return f"no TLS connection to Kafka ({said}); check RAG_KAFKA__SECURITY_PROTOCOL and RAG_KAFKA__SSL_*"


def _not_permitted(doing: str, said: str) -> RagError:
    return Misconfigured(f"{doing}: not permitted ({said}); grant it to this user")


_MEANINGS: Final[tuple[tuple[frozenset[int], Callable[[str, str], RagError]], ...]] = (
    (FENCED_CODES, lambda doing, said: ProducerFenced(f"{doing}: the producer was fenced ({said})")),
    (_TOO_LARGE_CODES, _too_large),
    (_REJECTED_CODES, lambda doing, said: Rejected("record_refused", f"{doing}: the broker refuses it ({said})")),
    (_MISSING_TOPIC_CODES, _no_topic),
    (_FORBIDDEN_CODES, _not_permitted),
    (LOST_POSITION_CODES, lambda doing, said: DataLoss(f"{doing}: the log does not hold this position ({said})")),
)
