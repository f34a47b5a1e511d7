"""What a client's message becomes."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.kafka.records import from_message


class Message:
    """As confluent-kafka's, whose `headers()` fails in its own ways on names that aren't UTF-8."""

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def headers(self) -> Any:
        if isinstance(self._headers, BaseException):
            raise self._headers
        return self._headers

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ()), ([], ()), ([("a", b"b"), ("c", None), ("d", "e")], (("a", b"b"), ("c", b""), ("d", b"e")))],
)
def test_headers_are_bytes(given: Any, expected: Any) -> None:
    """Whatever kind of nothing or text the client makes of them."""
    record = from_message(Message(given))  # type: ignore[arg-type]
    assert (record.headers, record.has_unreadable_headers) == (expected, False)


@pytest.mark.parametrize(
    "error", [SystemError("returned a result with an exception set"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "")]
)
def test_headers_that_cannot_be_read_stop_nobody(error: Exception) -> None:
    """The record comes without them and says so."""
    record = from_message(Message(error))  # type: ignore[arg-type]
    assert (record.offset, record.value, record.headers, record.has_unreadable_headers) == (7, b"v", (), True)
