"""Store and log of one process: what is used without Redis, and in tests."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from connectors.redis.port import Held, Logged

MAX_KEYS: Final = 100_000


class MemoryStore:
    """An `ExpiringStore`; beyond `max_keys` the oldest leave first."""

    def __init__(self, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> bytes | None:
        found = self.held(key)
        return found.value if found is not None else None

    def held(self, key: str) -> Held | None:
        with self._lock:
            until, value = self._held.get(key, (0.0, b""))
            left_s = until - self._clock()
            if left_s > 0:
                return Held(value, left_s)
            self._held.pop(key, None)
            return None

    def put(self, key: str, value: bytes, ttl_s: float) -> bool:
        with self._lock:
            self._held.pop(key, None)
            self._held[key] = (self._clock() + ttl_s, value)
            while len(self._held) > self._max:
                self._held.popitem(last=False)
            return True

    def delete(self, key: str) -> None:
        with self._lock:
            self._held.pop(key, None)

    def close(self) -> None:
        pass


class MemoryLog:
    """A `SharedLog` of the threads of one process."""

    def __init__(self, max_records: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._records: deque[tuple[float, Logged]] = deque(maxlen=max_records)
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0

    def append(self, value: bytes) -> bool:
        with self._lock:
            self._count += 1
            self._records.append((self._clock() + self._ttl_s, Logged(f"{self._count:020}", value)))
            return True

    def read(self, after: str, limit: int) -> list[Logged]:
        with self._lock:
            now = self._clock()
            return [record for until, record in self._records if record.position > after and until > now][:limit]

    def close(self) -> None:
        pass
