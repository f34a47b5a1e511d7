"""`SharedLog` in Redis: a stream, whose ids are the server's time; bounded in length, trimmed by age, gone when nobody writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import redis

from connectors.redis.link import RedisLink
from connectors.redis.port import BEGINNING, Logged

FIELD: Final = b"v"


class RedisLog:
    """The link is shared and closed by whoever made it."""

    def __init__(
        self,
        link: RedisLink,
        key: str,
        max_records: int,
        ttl_s: float,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._link = link
        self._key = key
        self._max = max_records
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._now_ms = now_ms

    def append(self, value: bytes) -> bool:
        def work(client: redis.Redis) -> bool:
            with client.pipeline(transaction=True) as pipe:
                pipe.xadd(self._key, {FIELD: value}, maxlen=self._max, approximate=False)
                pipe.xtrim(self._key, minid=f"{max(0, self._now_ms() - self._ttl_ms)}", approximate=True)
                pipe.pexpire(self._key, self._ttl_ms)
                pipe.execute()
            return True

        return self._link.call(work, False)

    def read(self, after: str, limit: int) -> list[Logged]:
        def work(client: redis.Redis) -> list[Logged]:
            oldest = self._now_ms() - self._ttl_ms
            is_old = after == BEGINNING or _order(after.encode())[0] < oldest
            with client.pipeline(transaction=True) as pipe:
                pipe.xrange(self._key, min=str(max(0, oldest)) if is_old else f"({after}", count=limit)
                pipe.xrevrange(self._key, count=1)
                found, last = pipe.execute()
            if not found and last and not is_old and _order(last[0][0]) < _order(after.encode()):
                # Emptied, and begun anew by a server whose clock is behind.
                found = client.xrange(self._key, count=limit)
            return [Logged(position.decode(), fields.get(FIELD, b"")) for position, fields in found]

        none: list[Logged] = []
        return self._link.call(work, none)

    def close(self) -> None:
        pass


def _order(position: bytes) -> tuple[int, int]:
    ms, _, number = position.partition(b"-")
    return int(ms), int(number or 0)
