"""One client's connection, with the limits that uvicorn has none for: how long a request's head may take, how little a client may
read, how much is held for it, how many there are. A body's own limits are `bodies.py`'s.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import uuid
from functools import partial
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from query_api.http.problems import MEDIA_TYPE, ProblemError

LOOK_EVERY_S: Final = 0.5
HEAD_S: Final = 10.0
"""From a connection's beginning, or the first byte after the last response, to the end of a request's head. What is still sent
of a body that nobody reads any more counts as well."""
STALLED_S: Final = 10.0
"""A client that reads nothing in this time of what is held for it is given up; one that reads on has the time it needs."""
LINGER_S: Final = 2.0
"""The same for a connection that is closed once everything is read."""
HELD_BYTES: Final = 32 * 1024
"""What is held for a client that doesn't read: so much in this process and as much in the kernel. Then its answer waits, and
whether it may still be shown is looked at again before it goes on."""
READY_BYTES: Final = HELD_BYTES // 4
"""With no more than this held, a response's head and its first part are held at once."""
WRITABLE: Final = "writable"
"""Under this name `writable` of a request's own connection is in its scope's state."""
SHARE_OF_FILES: Final = 0.5
"""Of the files that this process may open, for connections: the log, the index and Redis need some as well."""


class Connection(H11Protocol):
    """uvicorn's, and `look`, which its server calls every `LOOK_EVERY_S`."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]
        self._awaited: RequestResponseCycle | None = None
        self._awaited_since = self.loop.time()
        self._read_at = self._awaited_since
        self._held = 0
        self._closing_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency * 3 // 2:
            transport.abort()  # answering them 503, as it is done up to here, would take files that others need
            return
        # Not a method: what a request's scope holds must not hold this connection, which holds the scope.
        self.app_state = {**self.app_state, WRITABLE: partial(writable, transport, self.flow)}
        transport.set_write_buffer_limits(HELD_BYTES)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, HELD_BYTES)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_at = self.loop.time()

    def look(self, now: float) -> None:
        """Give up a client that sends too slowly, or reads nothing. `now`: the loop's time."""
        before, self._held = self._held, self.transport.get_write_buffer_size()
        is_closing = self.transport.is_closing()
        if self._held < before or not (is_closing or self.flow.write_paused):
            self._read_at = now
        if is_closing:
            self._closing_since = self._closing_since or now
            if now - max(self._closing_since, self._read_at) > LINGER_S:
                self.transport.abort()
            return
        is_idle = self.timeout_keep_alive_task is not None  # uvicorn's own limit holds
        if self._is_working or is_idle or self._awaited is not self.cycle:
            self._awaited, self._awaited_since = self.cycle, now
        if now - self._awaited_since > HEAD_S or now - self._read_at > STALLED_S:
            self.transport.abort()

    @property
    def _is_working(self) -> bool:
        """Whether a response is being made."""
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]  # None at first

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP: told as every other error is, where nothing was told yet."""
        if self._is_working and self.cycle.response_started:
            self.transport.abort()  # half a response must not look whole
            return
        code = "bad_request"
        body = ProblemError(code, msg).document(uuid.uuid4().hex)
        head = f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close"
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n\r\n".encode() + body)
        self.transport.close()


async def writable(transport: asyncio.Transport, flow: FlowControl) -> None:
    """Returns once so little is held for the client that what is made ready now is handed over without waiting. Also where the
    client has gone."""
    if transport.is_closing() or transport.get_write_buffer_size() <= READY_BYTES:
        return await flow.drain()
    # A transport tells only of its way down from above the bar, which is lowered for that.
    transport.set_write_buffer_limits(READY_BYTES, READY_BYTES)
    try:
        await flow.drain()
    finally:
        if not transport.is_closing():
            transport.set_write_buffer_limits(HELD_BYTES)


def most_connections(wanted: int) -> int:
    """`wanted`, or what the process may have open: a connection too many must not cost the log its own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, int(soft * SHARE_OF_FILES)))
