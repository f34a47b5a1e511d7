"""The HTTP server: uvicorn in a thread with a loop of its own, or in a loop that is given. It takes no signals.

Open streams don't hold up the end (aiohttp would wait a minute): they get a moment to finish, then a final event that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

import structlog
import uvicorn
import uvloop

from query_api.http.app import HttpApp
from query_api.http.connection import LOOK_EVERY_S, Connection, most_connections
from query_api.http.ports import Ports
from schemas.errors import Misconfigured
from schemas.settings import Settings

FINISH_S: Final = 2.0
"""What answers in work have to come to their end once the server stops."""
LAST_EVENTS_S: Final = 2
"""Then they are told to end; what hasn't by then is cut off."""
JOIN_S: Final = FINISH_S + LAST_EVENTS_S + 3.0
BACKLOG: Final = 256
KEEP_ALIVE_S: Final = 30
CONNECTIONS_A_QUERY: Final = 16
"""Connections in all, idle and slow ones too, by the queries worked on at once: more are answered 503 by the server itself."""

_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpService:
    """Serves the HTTP interface: `start()` and `stop()` for a thread of its own, or `await serve()` in a loop that runs.

    Args:
        ports: what it needs, or what makes it, called where it is going to be used, before the first connection is taken.
        host: in place of the settings'; embedded mode binds loopback.
    """

    def __init__(self, settings: Settings, ports: Ports | Callable[[], Ports], host: str | None = None) -> None:
        self._settings = settings
        self._host = host or settings.http.host
        self._ports = ports
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._is_asked_to_stop = False
        self.error: BaseException | None = None

    @property
    def url(self) -> str:
        """Where it is bound; empty before."""
        if self._socket is None:
            return ""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def bind(self) -> None:
        """Take the address. Raises: Misconfigured, when it can't be had."""
        http = self._settings.http
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._socket = socket.create_server((self._host, http.port), family=family, backlog=BACKLOG)
        except OSError as exc:
            remedy = "choose another with RAG_HTTP__PORT (0: any free one) or RAG_HTTP__HOST, or RAG_HTTP__ENABLED=false"
            msg = f"can't serve HTTP on {self._host}:{http.port}: {exc.strerror or exc}; {remedy}"
            raise Misconfigured(msg) from exc
        # asyncio sets it only for sockets that name their protocol; without it a first token waits 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Serve from a thread; returns once connections are taken. Raises: Misconfigured."""
        if self._socket is None:
            self.bind()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """End within seconds, streams or not. From any thread, any number of times; returns at once when `serve` is awaited."""
        self._is_asked_to_stop = True
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stop.set)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)
        if self._loop is None and self._thread is None and self._socket is not None:
            self._socket.close()  # it was never served
            self._socket = None

    async def serve(self) -> None:
        """Serve in this loop until `stop`. Cancelled, it ends as well. Raises: Misconfigured."""
        if self._socket is None:
            self.bind()
        assert self._socket is not None
        app = HttpApp(self._settings, self._ports() if callable(self._ports) else self._ports, self._host)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._is_asked_to_stop:
            self._stop.set()
        server = _Server(self._config(app))
        serving = self._loop.create_task(server.serve([self._socket]))
        serving.add_done_callback(lambda _: self._stop.set() if self._stop else None)
        ready = self._loop.create_task(self._tell_ready(server))
        tending = self._loop.create_task(_tend(server))
        try:
            await self._stop.wait()
            app.turns.refuse()
            await self._let_finish(app)
            app.turns.stop()
        finally:
            server.should_exit = True
            ready.cancel()
            try:
                await serving
            finally:
                tending.cancel()
                app.close()
                self._socket.close()

    async def _let_finish(self, app: HttpApp) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S):
                while len(app.turns):  # noqa: ASYNC110  a moment at the end of the process
                    await asyncio.sleep(0.02)

    async def _tell_ready(self, server: uvicorn.Server) -> None:
        while not server.started:  # noqa: ASYNC110  uvicorn has nothing to wait for
            await asyncio.sleep(0.005)
        _log.info("http_serving", url=self.url)
        self._started.set()

    def _config(self, app: HttpApp) -> uvicorn.Config:
        return uvicorn.Config(
            app.asgi,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=LAST_EVENTS_S,
            limit_concurrency=most_connections(self._settings.http.concurrency * CONNECTIONS_A_QUERY),
        )

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self.serve())
        except BaseException as exc:
            self.error = exc
            _log.exception("http_server_died")
        finally:
            self._started.set()


async def _tend(server: uvicorn.Server) -> None:
    """Look at all connections now and then. One task for all of them: a timer for each would cost more than it finds."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for connection in list(server.server_state.connections):
            if isinstance(connection, Connection):
                connection.look(loop.time())
