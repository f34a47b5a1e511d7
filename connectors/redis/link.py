"""The way to Redis: short timeouts, no waiting for a dead server, back by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from connectors.absence import Absence
from schemas.errors import Misconfigured

T = TypeVar("T")

CONNECTIONS: Final = 32
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
        self._absence = Absence("redis-probe", self._answers, _came_back)

    @property
    def is_away(self) -> bool:
        """Whether Redis did not answer last time."""
        return self._absence.is_on

    def call(self, work: Callable[[redis.Redis], T], otherwise: T) -> T:
        """What `work` returns, or `otherwise` when Redis is away or refuses. Never raises a Redis error."""
        if self._absence.is_on or self._absence.is_closed:
            self._failed("away")
            return otherwise
        try:
            return work(self._client)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as exc:
            self._failed("away")
            if self._absence.begin():
                # A certificate that isn't trusted looks like an outage. The detail names the host, never the URL's password.
                _log.warning(
                    "Redis is away; going on without it", cause=type(exc).__name__, detail=str(exc), setting="RAG_REDIS__URL"
                )
        except redis.RedisError as exc:
            # Out of memory, no permission, a key of another type: it answers, so it is not away.
            self._failed("refused")
            _log.warning("Redis refused", cause=type(exc).__name__, detail=str(exc))
        return otherwise

    def close(self) -> None:
        """Release the connections. Never raises; may be called again."""
        self._absence.close()
        self._client.connection_pool.disconnect()

    def _answers(self) -> bool:
        try:
            self._client.ping()
        except (redis.RedisError, OSError):
            return False
        return True


def _came_back(waited_s: float) -> None:
    _log.info("Redis answers again", waited_s=round(waited_s, 1))
