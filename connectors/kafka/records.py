"""What travels to and from Kafka: plain tuples, so that the rest of the code never sees a client's own message type."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from confluent_kafka import Message

Headers = tuple[tuple[str, bytes], ...]

_HEADERS: Final = methodcaller("headers")

# What one record, its batch header and a transaction marker may add to key, value and headers on the broker's disk; a
# batch header is 61 bytes, a marker batch 78, a record's own framing at most 40 and a header's at most 20.
RECORD_OVERHEAD_BYTES: Final = 200
HEADER_OVERHEAD_BYTES: Final = 20


class Record(NamedTuple):
    """A record as it was read.

    Attributes:
        has_unreadable_headers: they are no text (a name that isn't UTF-8), and were left out.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    has_unreadable_headers: bool = False


class OutRecord(NamedTuple):
    """A record to be written.

    Attributes:
        partition: None puts it where every Kafka client's murmur2 puts its key (see `partition_for_key`).
        timestamp_ms: None is the time of sending.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None


def footprint(record: OutRecord) -> int:
    """Bytes the record takes in a log at most, uncompressed and alone in its batch."""
    headers = sum(len(name) * 3 + len(value) + HEADER_OVERHEAD_BYTES for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + RECORD_OVERHEAD_BYTES


def from_message(message: Message[Any, Any]) -> Record:
    """A consumed message without its client. Only for messages that carry no error."""
    headers = _headers_of(message)
    # A consumed message has all of these; the client's types allow for ones that were never sent.
    return Record(
        topic=message.topic(),  # type: ignore[arg-type]
        partition=message.partition(),  # type: ignore[arg-type]
        offset=message.offset(),  # type: ignore[arg-type]
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers or (),
        has_unreadable_headers=headers is None,
    )


def _headers_of(message: Message[Any, Any]) -> Headers | None:
    """None where they can't be read: Kafka takes any bytes for a header's name, and the client then returns with an error set.

    Python notices that in a call through C; a call from here, once it is specialised, leaves the error to whatever comes next.
    """
    try:
        headers: list[tuple[str, bytes | str | None]] = _HEADERS(message) or []
        return tuple((name, _header_bytes(value)) for name, value in headers)
    except (SystemError, UnicodeDecodeError):
        return None


def _header_bytes(value: bytes | str | None) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return value or b""
