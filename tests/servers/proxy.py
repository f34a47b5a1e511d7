"""A TCP proxy between a client and a server, which makes a network of loopback: slow, narrow, refusing, cut, silent.

Only bytes; it knows no protocol. What it is told holds for open connections too, from that moment on.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

PIECE_BYTES: Final = 16_384
PIECES_UNDER_WAY: Final = 256
"""Then reading waits, as a full window does."""
CONTROL_TIMEOUT_S: Final = 10.0
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: to close is to reset."""


@dataclass(eq=False)
class _Connection:
    """Both halves of one connection, and what the server may still send through it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    allowance: int | None
    is_forgotten: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self) -> None:
        for writer in (self.client, self.server):
            found = writer.get_extra_info("socket")
            if found is not None and not writer.transport.is_closing():
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """Passes on what comes to `port` to a server's port, both on loopback, until it is told otherwise; `heal` undoes it.

    Runs in a thread of its own; its methods return once they have taken effect.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._latency_s = 0.0
        self._bytes_per_s: float | None = None
        self._cut_after: int | None = None
        self._flows = asyncio.Event()
        self.port = 0
        self.accepted = 0
        """Connections taken so far."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._healed())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run(self._ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def heal(self) -> None:
        """A good network again. What was held back by silence flows on; what was forgotten stays so."""
        self._run(self._healed())

    def slow(self, latency_s: float, bytes_per_s: float | None = None) -> None:
        """Each piece arrives `latency_s` later, either way, and no more than `bytes_per_s` a connection and direction."""
        self._run(self._slowed(latency_s, bytes_per_s))

    def refuse(self) -> None:
        """Nothing listens any more, and open connections are reset."""
        self._run(self._refused())

    def cut(self) -> None:
        """Reset the connections that are open now; new ones are passed on."""
        self._run(self._reset_all())

    def cut_after(self, count: int) -> None:
        """Reset each connection once the server has sent `count` more bytes through it."""
        self._run(self._limited(count))

    def swallow(self) -> None:
        """Silence: connections are taken, bytes too, and none come out until `heal`."""
        self._run(self._silenced())

    def forget(self) -> None:
        """Connections open now are silent for ever, with no reset to tell of it, as after a failover; new ones are passed on."""
        self._run(self._forgotten())

    # -- in the loop

    def _run(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(CONTROL_TIMEOUT_S)

    async def _healed(self) -> None:
        self._latency_s, self._bytes_per_s, self._cut_after = 0.0, None, None
        for connection in self._connections:
            connection.allowance = None
        self._flows.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=128)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _slowed(self, latency_s: float, bytes_per_s: float | None) -> None:
        self._latency_s, self._bytes_per_s = latency_s, bytes_per_s

    async def _silenced(self) -> None:
        self._flows.clear()

    async def _refused(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._reset_all()

    async def _limited(self, count: int) -> None:
        self._cut_after = count
        for connection in self._connections:
            connection.allowance = count

    async def _forgotten(self) -> None:
        for connection in self._connections:
            connection.is_forgotten = True

    async def _reset_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _ended(self) -> None:
        await self._refused()
        self._flows.set()
        tasks = [task for connection in self._connections for task in connection.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rest = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()  # as refused as one can be who has accepted
            return
        connection = _Connection(writer, to_server, self._cut_after)
        self._connections.add(connection)
        pumps = (self._pump(connection, reader, to_server), self._pump(connection, from_server, writer))
        connection.tasks = [self._loop.create_task(pump) for pump in pumps]
        try:
            await asyncio.gather(*connection.tasks)
        except OSError:
            connection.reset()
        finally:
            self._connections.discard(connection)
            for end in (writer, to_server):
                end.transport.abort()

    async def _pump(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pieces and, at the end, the end, each at its time."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_UNDER_WAY)
        passing = self._loop.create_task(self._pass(connection, under_way, writer))
        connection.tasks.append(passing)
        try:
            while True:
                piece = await reader.read(PIECE_BYTES)
                await under_way.put((self._loop.time() + self._latency_s, piece))
                if not piece:
                    break
            await passing
        finally:
            passing.cancel()

    async def _pass(
        self, connection: _Connection, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(due - self._loop.time())
            if self._bytes_per_s is not None:
                await asyncio.sleep(len(piece) / self._bytes_per_s)
            await self._flows.wait()
            if connection.is_forgotten:
                await asyncio.Event().wait()
            if not piece:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            if writer is connection.client and connection.allowance is not None:
                piece = piece[: connection.allowance]
                connection.allowance -= len(piece)
            writer.write(piece)
            await writer.drain()
            if connection.allowance == 0:
                connection.reset()
                return
