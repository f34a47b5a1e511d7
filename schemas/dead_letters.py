"""`DeadLetter`: a message that can't be processed, as a value that travels, never an exception that stops a flow.

On the wire the Kafka value is the raw bytes as they came and everything else is in the headers, so that a redrive sends
back exactly what was received. The key is the source position: publishing one again replaces it.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from schemas.errors import Rejected
from schemas.index import SourcePosition

PREFIX: Final = "rag-"
MAX_DETAIL_LENGTH: Final = 1_000


class DeadLetter(NamedTuple):
    """A rejected message.

    Attributes:
        reason: stable snake_case code; detail: a sentence with the remedy, no document text.
        topic, source: where it came from. raw: its value, byte for byte (None for a null value).
        key, timestamp_ms: as they came; a redrive keeps them. attempts: how often it was tried, from 1.
        headers: the original message's headers.
        is_complete: False where its headers, value or key were left out, because a dead letter with them is larger than Kafka
            takes; they are where `topic` and `source` say, as long as that topic keeps them.
    """

    reason: str
    detail: str
    topic: str
    source: SourcePosition
    raw: bytes | None
    key: bytes | None
    timestamp_ms: int
    failed_at_ms: int
    attempts: int = 1
    headers: tuple[tuple[str, bytes], ...] = ()
    is_complete: bool = True

    def fitting(self, max_bytes: int) -> Self:
        """The letter itself, or without what doesn't fit into a message of `max_bytes`: first headers go, then value, then key.

        A producer's compression lets a message through that is larger than the limit once unpacked: that must not stop anybody.
        """
        fitted = self
        for left_out in ({"headers": ()}, {"raw": None}, {"key": None}):
            if fitted.size <= max_bytes:
                break
            fitted = fitted._replace(is_complete=False, **left_out)
        return fitted

    @property
    def size(self) -> int:
        """Bytes of the message that carries it."""
        framing = len(self.wire_key()) + sum(len(name.encode()) + len(raw) for name, raw in self.wire_headers())
        return len(self.raw or b"") + framing

    def wire_key(self) -> bytes:
        return f"{self.topic}/{self.source.partition}/{self.source.offset}".encode()

    def wire_headers(self) -> list[tuple[str, bytes]]:
        own: dict[str, object] = {
            "schema-version": 1,
            "reason": self.reason,
            "detail": self.detail[:MAX_DETAIL_LENGTH],
            "topic": self.topic,
            "partition": self.source.partition,
            "offset": self.source.offset,
            "timestamp-ms": self.timestamp_ms,
            "failed-at-ms": self.failed_at_ms,
            "attempts": self.attempts,
            "value": self._value_kind(),
        }
        headers = [(PREFIX + name, str(value).encode()) for name, value in own.items()]
        if self.key is not None:
            headers.append((PREFIX + "key", self.key))
        return headers + [("original-" + name, value) for name, value in self.headers]

    def _value_kind(self) -> str:
        if self.raw is not None:
            return "bytes" if self.is_complete else "bytes-alone"
        return "null" if self.is_complete else "left-out"

    @classmethod
    def from_wire(cls, value: bytes | None, headers: list[tuple[str, bytes]]) -> DeadLetter:
        """Inverse of the wire form. Raises: Rejected, when a header is missing."""
        own = {name.removeprefix(PREFIX): raw for name, raw in headers if name.startswith(PREFIX)}
        try:
            return cls(
                reason=own["reason"].decode(),
                detail=own["detail"].decode(),
                topic=own["topic"].decode(),
                source=SourcePosition(int(own["partition"]), int(own["offset"])),
                raw=value or b"" if own["value"] in (b"bytes", b"bytes-alone") else None,
                key=own.get("key"),
                timestamp_ms=int(own["timestamp-ms"]),
                failed_at_ms=int(own["failed-at-ms"]),
                attempts=int(own["attempts"]),
                headers=tuple((n.removeprefix("original-"), raw) for n, raw in headers if n.startswith("original-")),
                is_complete=own["value"] in (b"bytes", b"null"),
            )
        except (KeyError, ValueError) as exc:
            msg = "invalid"
            raise Rejected(msg, f"a dead letter's headers are incomplete: {exc}") from exc
