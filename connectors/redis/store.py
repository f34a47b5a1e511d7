"""`ExpiringStore` in Redis: a string a key, with Redis' own expiry."""

from __future__ import annotations

from connectors.redis.link import RedisLink


class RedisStore:
    """Keys are prefixed; values are bytes as they come. The link is shared and closed by whoever made it."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    def get(self, key: str) -> bytes | None:
        found = self._link.call(lambda client: client.get(self._prefix + key), None)
        return found if isinstance(found, bytes) else None

    def put(self, key: str, value: bytes, ttl_s: float) -> bool:
        ttl_ms = max(1, round(ttl_s * 1000))
        return bool(self._link.call(lambda client: client.set(self._prefix + key, value, px=ttl_ms), None))

    def delete(self, key: str) -> None:
        self._link.call(lambda client: client.delete(self._prefix + key), 0)

    def close(self) -> None:
        pass
