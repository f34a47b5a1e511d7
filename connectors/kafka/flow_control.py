"""Holds producers back so that the in-process broker never drops what a consumer has yet to read.

librdkafka's in-process broker keeps 5 MiB and 100,000 batches a partition and drops older ones silently. Only its own
process can know who reads what, so this is plain accounting in memory, without any I/O.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from connectors.kafka.errors import Backpressure
from schemas.errors import Rejected

# Safe shares of 5 MiB and 100,000: a batch is dropped as a whole, so up to one more batch (1 MB) than the unread part
# counts, and transaction markers take room too.
MAX_UNREAD_BYTES: Final = 3 * 1024 * 1024
MAX_UNREAD_MESSAGES: Final = 60_000
RETRY_AFTER_S: Final = 0.05


class _Unread(NamedTuple):
    offset: int
    nbytes: int


@dataclass(slots=True)
class _Partition:
    """What consumers have yet to read: messages on their way to the log, and messages in it."""

    pending_bytes: int = 0
    pending_messages: int = 0
    unread_bytes: int = 0
    unread: deque[_Unread] = field(default_factory=deque)
    positions: dict[str, int] = field(default_factory=dict)

    def messages(self) -> int:
        return self.pending_messages + len(self.unread)

    def bytes(self) -> int:
        return self.pending_bytes + self.unread_bytes

    def forget_read(self, slowest: int) -> None:
        while self.unread and self.unread[0].offset < slowest:
            self.unread_bytes -= self.unread.popleft().nbytes


class Backlog:
    """Bytes and messages per partition that the slowest registered consumer has not read yet. Thread-safe.

    A producer calls `admit` before it sends and then exactly one of `delivered` and `failed` for the same bytes.
    Consumers register before producers start, and report how far they have read. Topics that no consumer registered for
    are not held back: nobody reads them.
    """

    def __init__(self, max_bytes: int = MAX_UNREAD_BYTES, max_messages: int = MAX_UNREAD_MESSAGES) -> None:
        self.max_bytes = max_bytes
        self.max_messages = max_messages
        self._changed = threading.Condition()
        self._consumers: dict[str, set[str]] = {}
        self._partitions: dict[tuple[str, int], _Partition] = {}

    def register(self, topic: str, consumer: str) -> None:
        """From now on `topic` is held back until `consumer` has read it, from offset 0 of every partition."""
        with self._changed:
            self._consumers.setdefault(topic, set()).add(consumer)

    def unregister(self, topic: str, consumer: str) -> None:
        """`consumer` reads `topic` no longer."""
        with self._changed:
            self._consumers.get(topic, set()).discard(consumer)
            for (name, _), state in self._partitions.items():
                if name == topic:
                    state.positions.pop(consumer, None)
                    self._forget_read(topic, state)
            self._changed.notify_all()

    def progressed(self, topic: str, consumer: str, partition: int, position: int) -> None:
        """`consumer` has read everything below the offset `position`."""
        with self._changed:
            state = self._state(topic, partition)
            if position > state.positions.get(consumer, 0):
                state.positions[consumer] = position
                self._forget_read(topic, state)
                self._changed.notify_all()

    def admit(self, topic: str, partition: int, nbytes: int, timeout: float) -> None:
        """Reserve room for one message, waiting up to `timeout` seconds for consumers to make it.

        Raises:
            Backpressure: they did not.
            Rejected: the message is larger than the whole room, so no consumer can ever make it.
        """
        if nbytes > self.max_bytes:
            detail = f"{nbytes} bytes for {topic}; the embedded broker takes {self.max_bytes}. Use Kafka for larger ones"
            msg = "message_too_large"
            raise Rejected(msg, detail)
        with self._changed:
            state = self._await_room(topic, partition, nbytes, timeout)
            state.pending_bytes += nbytes
            state.pending_messages += 1

    def await_room(self, topic: str, partition: int, nbytes: int, timeout: float) -> None:
        """Wait until `admit` of so much, or of as much as there ever is room for, would not wait; reserves nothing.

        Whoever alone sends to `topic` finds that room when it sends. Raises: Backpressure after `timeout` seconds.
        """
        with self._changed:
            self._await_room(topic, partition, min(nbytes, self.max_bytes), timeout)

    def _await_room(self, topic: str, partition: int, nbytes: int, timeout: float) -> _Partition:
        """With the lock held."""
        deadline = time.monotonic() + timeout
        state = self._state(topic, partition)
        while self._consumers.get(topic) and not self._has_room(state, nbytes):
            if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                raise Backpressure(self._explain(topic, partition, state), RETRY_AFTER_S)
        return state

    def delivered(self, topic: str, partition: int, nbytes: int, offset: int) -> None:
        """A message that was admitted is in the log at `offset`."""
        with self._released(topic, partition, nbytes) as state:
            if self._consumers.get(topic) and offset >= self._slowest(topic, state):
                state.unread.append(_Unread(offset, nbytes))
                state.unread_bytes += nbytes

    def failed(self, topic: str, partition: int, nbytes: int) -> None:
        """A message that was admitted never reached the log."""
        with self._released(topic, partition, nbytes):
            pass

    def unread(self, topic: str, partition: int) -> tuple[int, int]:
        """(bytes, messages) on their way to the slowest consumer of a partition."""
        with self._changed:
            state = self._state(topic, partition)
            return state.bytes(), state.messages()

    @contextmanager
    def _released(self, topic: str, partition: int, nbytes: int) -> Iterator[_Partition]:
        with self._changed:
            state = self._state(topic, partition)
            state.pending_bytes -= nbytes
            state.pending_messages -= 1
            yield state
            self._changed.notify_all()

    def _has_room(self, state: _Partition, nbytes: int) -> bool:
        return state.bytes() + nbytes <= self.max_bytes and state.messages() < self.max_messages

    def _state(self, topic: str, partition: int) -> _Partition:
        return self._partitions.setdefault((topic, partition), _Partition())

    def _slowest(self, topic: str, state: _Partition) -> int:
        return min(state.positions.get(consumer, 0) for consumer in self._consumers[topic])

    def _forget_read(self, topic: str, state: _Partition) -> None:
        if self._consumers.get(topic):
            state.forget_read(self._slowest(topic, state))
        else:
            state.unread.clear()
            state.unread_bytes = 0

    def _explain(self, topic: str, partition: int, state: _Partition) -> str:
        behind = min(self._consumers[topic], key=lambda consumer: state.positions.get(consumer, 0))
        return (
            f"{topic}[{partition}]: {behind} has yet to read {state.messages()} messages, {state.bytes()} bytes, as much as "
            f"the embedded broker keeps safely ({self.max_messages} messages, {self.max_bytes} bytes)"
        )
