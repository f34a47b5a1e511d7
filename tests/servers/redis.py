"""Debian's redis-server as a process of the tests; acknowledged writes survive kill -9 (append-only file)."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.servers.cache import UnavailableError
from tests.servers.ports import free_ports
from tests.servers.process import ServerProcess


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis answers."""

    url: str


class RedisServer(ServerProcess):
    """A Redis on a free port of 127.0.0.1."""

    name = "redis"
    start_timeout_s = 20.0

    def __init__(self, home: Path, *options: str) -> None:
        """`options` are further redis-server arguments, such as `--maxmemory 10mb`, each word its own argument."""
        super().__init__(home)
        self._binary = redis_binary()
        self._options = options
        (self.port,) = free_ports(1)

    @property
    def address(self) -> RedisAddress:
        """What clients need to connect."""
        return RedisAddress(self.url)

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """No snapshots; the append-only file is written before a command is answered."""
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home), "--save", ""]
        return [self._binary, *own, "--appendonly", "yes", *self._options]

    def is_ready(self) -> bool:
        """PING; False while the port is closed or the append-only file is still being read."""
        client = redis.Redis.from_url(self.url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=None)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def redis_binary() -> str:
    """The redis-server on the path.

    Raises:
        UnavailableError: when there is none.
    """
    found = shutil.which("redis-server")
    if found is None:
        server = "Redis"
        raise UnavailableError(server, "redis-server is not on the path", "apt-get install redis-server")
    return found
