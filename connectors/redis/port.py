"""Ports of what is kept outside the process for a while: values by key, and a log that every worker can read."""

from __future__ import annotations

from typing import NamedTuple, Protocol

BEGINNING = ""
"""Position before the first record of a log."""


class Held(NamedTuple):
    """A value, and for how long it stays, by the store's own clock: the same for everyone who asks."""

    value: bytes
    left_s: float


class ExpiringStore(Protocol):
    """Bytes by key, each for a limited time. Safe to use from several threads.

    It fails open: a store that can't be reached, refuses, or has evicted behaves like one that never had the value. It doesn't
    raise; it counts and says so in the log. A call blocks for the configured timeout at most, and while the store is known to be
    away not at all.
    """

    def get(self, key: str) -> bytes | None:
        """What was put last, unless its time has passed."""
        ...

    def held(self, key: str) -> Held | None:
        """The same, with how much of its time is left."""
        ...

    def put(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Keep `value` for `ttl_s`, in place of what was there; whether it was taken."""
        ...

    def delete(self, key: str) -> None:
        """Forget it. A key that isn't there is no error."""
        ...

    def close(self) -> None:
        """Release connections. Never raises; may be called again."""
        ...


class Logged(NamedTuple):
    """A record of a shared log. `position` is read after; it orders as the log does, and only there has meaning."""

    position: str
    value: bytes


class SharedLog(Protocol):
    """Records that all workers read in the same order: bounded in number, each for a limited time. Fails open, too."""

    def append(self, value: bytes) -> bool:
        """Add a record; whether it was taken."""
        ...

    def read(self, after: str, limit: int) -> list[Logged]:
        """Up to `limit` records after a position, oldest first; none when there are none or the log is away.

        A log that was emptied and begins anew is read from its beginning.
        """
        ...

    def close(self) -> None:
        """Release connections. Never raises; may be called again."""
        ...
