"""One connection to a Milvus server: made when first needed, kept through its restarts, no call longer than its deadline."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import grpc

from connectors.milvus.errors import TooLate, translated
from schemas.errors import Misconfigured, Retryable

if TYPE_CHECKING:
    from pymilvus import MilvusClient

T = TypeVar("T")

_SCHEMES: Final = ("http", "https")
_DEFAULT_PORTS: Final = {"http": 19530, "https": 443}

# gRPC alone would wait up to 120 s before it looks whether a server has come back.
_CHANNEL_OPTIONS: Final = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
    # Else a new channel would share the connection of the old one, silent or not.
    "grpc.use_local_subchannel_pool": 1,
}


class Deadline:
    """A moment by which a call must be over, however many requests it takes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self, what: str) -> float:
        """Seconds left. Raises: TooLate when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            msg = f"Milvus: {what} took longer than {self._seconds:g} s"
            raise TooLate(msg)
        return left


class MilvusConnection:
    """Hands out the client and translates its errors. Safe to use from several threads.

    pymilvus would answer an outage by retrying in its own time and by reconnecting under one lock for the whole process,
    which holds searchers far beyond their deadlines. Here a call that finds the server away fails at once, and gRPC's channel
    reconnects by itself.
    """

    def __init__(self, uri: str, token: str = "", database: str = "") -> None:
        parts = urlsplit(uri)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            remedy = (
                "Milvus Lite files are opened by embedded mode only: leave RAG_MILVUS__URI empty"
                if uri.endswith(".db")
                else "use http(s)://host:19530"
            )
            msg = f"RAG_MILVUS__URI={uri} is no address of a Milvus server: {remedy}"
            raise Misconfigured(msg)
        self.uri = f"{parts.scheme}://{parts.hostname}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"
        self._full_uri, self._token, self._database = uri, token, database
        self._address = (parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme])
        self._lock = threading.Lock()
        # Two seconds to import: not with this module, which is imported for its names, and not within a call's deadline.
        import_module("pymilvus")
        self._client: MilvusClient | None = None
        self._is_lite = False

    def call(self, deadline: Deadline, what: str, request: Callable[[MilvusClient, float], T]) -> T:
        """`request(client, timeout)`, with its errors translated."""
        client = self._connected(deadline, what)
        timeout = deadline.remaining(what)
        with translated(self.uri, what):
            return request(client, timeout)

    def is_lite(self, deadline: Deadline) -> bool:
        """Whether the server is Milvus Lite, which lacks index types, timestamps and flushing."""
        self._connected(deadline, "connecting")
        return self._is_lite

    def renew(self, deadline: Deadline) -> None:
        """A new channel in place of one that has become silent: after a failover no reset may ever come, and gRPC would wait for
        a quarter of an hour. Only once the new one works; what still waits on the old one then fails. Raises: as `call`.
        """
        client = self._connect(deadline)
        with self._lock:
            old, self._client = self._client, client
        if old is not None:
            old.close()

    def close(self) -> None:
        """Close the channel; a later call makes a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self, deadline: Deadline, what: str) -> MilvusClient:
        client = self._client
        if client is not None:
            return client
        if not self._lock.acquire(timeout=deadline.remaining(what)):
            msg = f"Milvus at {self.uri}: still connecting ({what})"
            raise TooLate(msg)
        try:
            if self._client is None:
                self._client = self._connect(deadline)
            return self._client
        finally:
            self._lock.release()

    def _connect(self, deadline: Deadline) -> MilvusClient:
        self._knock(deadline.remaining("connecting"))
        from pymilvus import MilvusClient  # noqa: PLC0415

        # It logs every error it raises with its traceback; we raise them all.
        logging.getLogger("pymilvus.decorators").setLevel(logging.CRITICAL)
        with translated(self.uri, "connecting"):
            client = MilvusClient(
                self._full_uri,
                token=self._token,
                db_name=self._database,
                timeout=deadline.remaining("connecting"),
                dedicated=True,
                grpc_options=_CHANNEL_OPTIONS,
            )
            client._get_connection()._on_rpc_error = _fail_at_once
            # Lite has no version.
            self._is_lite = not client.get_server_version(detail=True, timeout=deadline.remaining("connecting"))["version"]
        return client

    def _knock(self, timeout_s: float) -> None:
        """Fail at once where nothing listens: gRPC would take the whole time to say so."""
        try:
            socket.create_connection(self._address, timeout_s).close()
        except OSError as exc:
            msg = f"Milvus at {self.uri} is away: {exc}"
            raise Retryable(msg) from exc


def _fail_at_once(error: Exception) -> bool:
    """Stand in for pymilvus's recovery: what gRPC raised ends the call, anything else is not for the connection."""
    if isinstance(error, grpc.RpcError):
        _raise(error)
    return False


def _raise(error: Exception) -> NoReturn:
    raise error
