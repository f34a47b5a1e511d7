"""Who asked which query, and which remembered answer was given: kept as digests, so that feedback counts only from the asker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

import orjson

from connectors.redis import ExpiringStore
from schemas.acl import EVERYONE

ANONYMOUS: Final = ""
MAX_ASKERS: Final = 8
"""Principals of one caller that may give feedback: its users, or its groups where it has no user."""


class Unmatched(Enum):
    """Feedback that doesn't count."""

    UNKNOWN = "unknown"
    """No such query is remembered."""
    FOREIGN = "foreign"
    """Somebody else asked it."""


class Asked(NamedTuple):
    """What is known of a query. `entry_id`: the remembered answer that was given or made; None: none."""

    entry_id: str | None


class AskedLog:
    """Query ids are chosen by askers, so two may choose the same: each asker has a record of its own."""

    def __init__(self, store: ExpiringStore, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s

    def note(self, query_id: str, principals: Iterable[str], entry_id: str | None) -> None:
        """Remember who asked. May block for the store's timeout: call it in a thread where the store is a server."""
        raw = orjson.dumps({"format": 1, "entry": entry_id})
        for asker in _askers(principals):
            self._store.put(_key(query_id, asker), raw, self._ttl_s)
        self._store.put(_key(query_id), b"{}", self._ttl_s)  # last: whoever finds the query finds its asker

    def find(self, query_id: str, principal: str | None) -> Asked | Unmatched:
        """The query, if `principal` asked it."""
        asker = ANONYMOUS if principal is None or principal == EVERYONE else principal
        raw = self._store.get(_key(query_id, asker))
        if raw is None:
            return Unmatched.UNKNOWN if self._store.get(_key(query_id)) is None else Unmatched.FOREIGN
        try:
            entry_id = orjson.loads(raw)["entry"]
        except (ValueError, KeyError, TypeError):
            return Unmatched.UNKNOWN
        return Asked(entry_id if isinstance(entry_id, str) else None)


def _askers(principals: Iterable[str]) -> list[str]:
    named = sorted(set(principals) - {EVERYONE})
    users = [name for name in named if name.startswith("user:")]
    return (users or named or [ANONYMOUS])[:MAX_ASKERS]


def _key(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
