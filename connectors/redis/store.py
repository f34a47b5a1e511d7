"""`ExpiringStore` in Redis: a string a key, with Redis' own expiry."""

from __future__ import annotations

import redis

from connectors.redis.link import RedisLink
from connectors.redis.port import Held


class RedisStore:
    """Keys are prefixed; values are bytes as they come. The link is shared and closed by whoever made it."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    def get(self, key: str) -> bytes | None:
        found = self._link.call(lambda client: client.get(self._prefix + key), None)
        return found if isinstance(found, bytes) else None

    def held(self, key: str) -> Held | None:
        def work(client: redis.Redis) -> Held | None:
            with client.pipeline(transaction=True) as pipe:
                pipe.get(self._prefix + key)
                pipe.pttl(self._prefix + key)
                value, left_ms = pipe.execute()
            return Held(value, left_ms / 1000) if isinstance(value, bytes) and left_ms >= 0 else None

        return self._link.call(work, None)

    def put(self, key: str, value: bytes, ttl_s: float) -> bool:
        ttl_ms = max(1, round(ttl_s * 1000))
        return bool(self._link.call(lambda client: client.set(self._prefix + key, value, px=ttl_ms), None))

    def delete(self, key: str) -> None:
        self._link.call(lambda client: client.delete(self._prefix + key), 0)

    def close(self) -> None:
        pass
