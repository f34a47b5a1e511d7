"""One answer as a response: whole, or as server-sent events from its first delta on.

The status is sent with the first event, so an early failure has its own; after that an error is the stream's last event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from query_api.deadline import Deadline
from query_api.http.connection import HELD_BYTES, READY_BYTES, WRITABLE
from query_api.http.problems import ProblemError, is_problem, problem_of
from query_api.http.turns import Caller, ClientGone, Listen, Turn, Turns
from query_api.query import Look
from schemas.queries import AnswerEvent

SEND_GRACE_S: Final = 5.0
"""A client that reads so slowly that what comes before the final event isn't through so long after the deadline is given up. The
final event is sent as it is read, however long that takes: nothing is worked on any more."""
SLICE_BYTES: Final = HELD_BYTES - READY_BYTES
JSON: Final = "application/json"
KEEP_ALIVE: Final = b": keep-alive\n\n"
EVENT_STREAM: Final = "text/event-stream"
CLIENT_GONE: Final = 499

Work = Callable[[Listen, Look], Coroutine[Any, Any, AnswerEvent]]

_log = structlog.get_logger(__name__)


class Shape(Protocol):
    """How one answer is told. Used for one answer only: it may remember what it said."""

    def whole(self, event: AnswerEvent) -> bytes:
        """The final event as the response's JSON."""
        ...

    def delta(self, event: AnswerEvent) -> bytes: ...

    def final(self, event: AnswerEvent) -> bytes:
        """What ends the stream, whatever the outcome is."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the stream must end after the last bytes, though the answer goes on."""
        ...


@dataclass(frozen=True, slots=True)
class Serving:
    """What all answers share."""

    turns: Turns
    keep_alive_s: float


class _Client(NamedTuple):
    """Whom a response goes to. What is sent right after `writable` is handed over without waiting."""

    send: Send
    writable: Callable[[], Awaitable[None]]


class AnswerResponse(Response):
    """Works on the answer while it responds."""

    def __init__(
        self, serving: Serving, caller: Caller, query_id: str, work: Work, deadline: Deadline, shape: Shape, *, streams: bool
    ) -> None:
        super().__init__()
        self._serving = serving
        self._caller = caller
        self._query_id = query_id
        self._work = work
        self._deadline = deadline
        self._shape = shape
        self._streams = streams
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        look = Look()
        turn = Turn(
            self._serving.turns, self._caller, self._query_id, lambda listen: self._work(listen, look), self._deadline, receive
        )
        client = _Client(send, scope["state"].get(WRITABLE, _at_once))
        try:
            async with asyncio.timeout(self._deadline.remaining_s + SEND_GRACE_S):
                # A response before this one may not be read yet. What is made now is looked at now, so it must not wait then.
                await client.writable()
                async with turn:
                    last = await (self._stream(turn, client) if self._streams else turn.final())
        except ClientGone:
            scope["state"]["ended"] = "client_gone"
        except TimeoutError as exc:
            scope["state"]["ended"] = "client_too_slow"
            _log.warning("response_given_up", query_id=self._query_id, why="the client reads too slowly")
            if not self._has_begun:
                code = "deadline_passed"
                raise ProblemError(code, "the deadline passed before the client had read the response before this one") from exc
        else:
            if last is not None and not await self._end(last, client, look):
                scope["state"]["ended"] = "withdrawn"

    async def _stream(self, turn: Turn, client: _Client) -> AnswerEvent | None:
        """Send the pieces. The final event; None where the stream had to end before it."""
        event = await turn.next(self._serving.keep_alive_s)
        while event is None or event.kind == "delta":
            await self._begin(client, EVENT_STREAM)
            part = KEEP_ALIVE if event is None else self._shape.delta(event)
            if part:
                await _send_part(client, part, is_last=self._shape.is_over)
            if self._shape.is_over:
                return None
            await client.writable()
            event = await turn.next(self._serving.keep_alive_s)
        return event

    async def _end(self, last: AnswerEvent, client: _Client, look: Look) -> bool:
        """Send the final event as it is read, with nothing of the server's but a connection. False: it may not be shown any more.

        What is left half sent is seen to be: the server ends the connection before the response is whole.
        """
        if not self._has_begun and is_problem(last):
            raise problem_of(last)
        await self._begin(client, EVENT_STREAM if self._streams else JSON)
        body = self._shape.final(last) if self._streams else self._shape.whole(last)
        for start in range(0, len(body), SLICE_BYTES):
            if start:
                await client.writable()
                if not look.stands():
                    return False
            end = start + SLICE_BYTES
            await _send_part(client, body[start:end], is_last=end >= len(body))
        return True

    async def _begin(self, client: _Client, media_type: str) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
        if media_type == EVENT_STREAM:
            headers.append((b"x-accel-buffering", b"no"))
        await client.send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send_part(client: _Client, body: bytes, *, is_last: bool) -> None:
    message: dict[str, Any] = {"type": "http.response.body", "body": body, "more_body": not is_last}
    await client.send(message)


async def _at_once() -> None:
    """Without a connection of ours there is nothing to wait for."""


class AnswerShape:
    """ragstream's own: `delta`, `reset` and `final` events."""

    is_over = False

    def __init__(self) -> None:
        self._attempt = 1

    def whole(self, event: AnswerEvent) -> bytes:
        return event.to_bytes()

    def delta(self, event: AnswerEvent) -> bytes:
        data = {"attempt": event.attempt, "seq": event.seq, "text": event.delta}
        return self._reset(event) + sent_event("delta", orjson.dumps(data))

    def final(self, event: AnswerEvent) -> bytes:
        return self._reset(event) + sent_event("final", event.to_bytes())

    def _reset(self, event: AnswerEvent) -> bytes:
        if event.attempt <= self._attempt:
            return b""
        self._attempt = event.attempt
        return sent_event("reset", orjson.dumps({"attempt": event.attempt}))


def sent_event(name: str, data: bytes) -> bytes:
    """One server-sent event; `data` is JSON, which holds no line breaks."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


__all__ = ["CLIENT_GONE", "EVENT_STREAM", "AnswerResponse", "AnswerShape", "ProblemError", "Serving", "Shape", "sent_event"]
