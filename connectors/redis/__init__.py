"""Redis, for what may be lost: remembered answers, who asked what, answers to repeated queries. All of it fails open."""

from __future__ import annotations

from connectors.redis.link import RedisLink
from connectors.redis.log import RedisLog
from connectors.redis.memory import MemoryLog, MemoryStore
from connectors.redis.port import BEGINNING, ExpiringStore, Held, Logged, SharedLog
from connectors.redis.store import RedisStore

__all__ = [
    "BEGINNING",
    "ExpiringStore",
    "Held",
    "Logged",
    "MemoryLog",
    "MemoryStore",
    "RedisLink",
    "RedisLog",
    "RedisStore",
    "SharedLog",
]
