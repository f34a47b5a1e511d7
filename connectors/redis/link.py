"""The way to Redis: short timeouts, no waiting for a dead server, back by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from schemas.errors import Misconfigured

T = TypeVar("T")

CONNECTIONS: Final = 32
PROBE_EVERY_S: Final = 0.5
"""How often an absent Redis is knocked at, by a thread of its own: no query pays for it."""
PROTOCOL: Final = 3

_log = structlog.get_logger(__name__)


Counts = Callable[[str], object]
"""Is told of failed calls: `away` (no answer in time) or `refused` (Redis answered with an error)."""


class RedisLink:
    """Calls that fail open. Thread-safe. Connects on first use.

    The first call that gets no answer marks Redis as away: later calls return at once, and a thread asks until it answers again.
    """

    def __init__(self, url: str, timeout_s: float, failed: Counts = lambda _: None) -> None:
        """Raises: Misconfigured, for a `url` that is none. `url` may hold a password and is never logged."""
        try:
            # One more try on a connection that had died in the pool; a timeout is not tried again, it would double the wait.
            # redis-py's own defaults are ten tries of five seconds.
            pool = redis.BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
                protocol=PROTOCOL,
                decode_responses=False,
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
        except ValueError as exc:
            msg = "RAG_REDIS__URL: must be redis://host:port/db, rediss://… (TLS) or unix://path"
            raise Misconfigured(msg) from exc
        self._client = redis.Redis(connection_pool=pool)
        self._failed = failed
        self._lock = threading.Lock()
        self._is_away = False
        self._closed = threading.Event()
        self._prober: threading.Thread | None = None

    @property
    def is_away(self) -> bool:
        """Whether Redis did not answer last time."""
        return self._is_away

    def call(self, work: Callable[[redis.Redis], T], otherwise: T) -> T:
        """What `work` returns, or `otherwise` when Redis is away or refuses. Never raises a Redis error."""
        if self._is_away or self._closed.is_set():
            self._failed("away")
            return otherwise
        try:
            return work(self._client)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as exc:
            self._failed("away")
            self._lost(exc)
        except redis.RedisError as exc:
            # Out of memory, no permission, a key of another type: it answers, so it is not away.
            self._failed("refused")
            _log.warning("Redis refused", cause=type(exc).__name__, detail=str(exc))
        return otherwise

    def close(self) -> None:
        """Release the connections. Never raises; may be called again."""
        self._closed.set()
        prober = self._prober
        if prober is not None:
            prober.join()
        self._client.connection_pool.disconnect()

    def _lost(self, cause: Exception) -> None:
        with self._lock:
            if self._is_away or self._closed.is_set():
                return
            self._is_away = True
            _log.warning("Redis is away; going on without it", cause=type(cause).__name__)
            self._prober = threading.Thread(target=self._probe, name="redis-probe", daemon=True)
            self._prober.start()

    def _probe(self) -> None:
        since = time.monotonic()
        while not self._closed.wait(PROBE_EVERY_S):
            try:
                self._client.ping()
            except (redis.RedisError, OSError):
                continue
            with self._lock:
                self._is_away = False
            _log.info("Redis answers again", waited_s=round(time.monotonic() - since, 1))
            return
