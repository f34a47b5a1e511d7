"""One answer as a response: whole, or as server-sent events from its first delta on.

The status is sent with the first event, so an early failure has its own; after that an error is the stream's last event.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from query_api.deadline import Deadline
from query_api.http.connection import HELD_BYTES
from query_api.http.problems import ProblemError, is_problem, problem_of
from query_api.http.turns import ClientGone, Turn, Turns, Work
from schemas.queries import AnswerEvent

SEND_GRACE_S: Final = 5.0
"""A client that reads so slowly that an answer isn't through so long after its deadline is given up."""
WAITED_FROM_BYTES: Final = HELD_BYTES // 2
"""Of one response: it began with a quarter of `HELD_BYTES` held at most, so nothing waits for the client before that."""
KEEP_ALIVE: Final = b": keep-alive\n\n"
EVENT_STREAM: Final = "text/event-stream"
CLIENT_GONE: Final = 499

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


class AnswerResponse(Response):
    """Works on the answer while it responds."""

    def __init__(self, serving: Serving, query_id: str, work: Work, deadline: Deadline, shape: Shape, *, streams: bool) -> None:
        super().__init__()
        self._serving = serving
        self._query_id = query_id
        self._work = work
        self._deadline = deadline
        self._shape = shape
        self._streams = streams
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        turn = Turn(self._serving.turns, self._query_id, self._work, self._deadline, receive)
        try:
            async with asyncio.timeout(self._deadline.remaining_s + SEND_GRACE_S), turn:
                await (self._stream(turn, send) if self._streams else self._respond(turn, send))
        except ClientGone:
            scope["state"]["ended"] = "client_gone"
        except TimeoutError:
            scope["state"]["ended"] = "client_too_slow"
            _log.warning("response_given_up", query_id=self._query_id, why="the client reads too slowly")

    async def _respond(self, turn: Turn, send: Send) -> None:
        event = await turn.final()
        if is_problem(event):
            raise problem_of(event)
        await _start(send, "application/json")
        await self._part(send, self._shape.whole(event), is_last=True)

    async def _stream(self, turn: Turn, send: Send) -> None:
        first = await turn.next(self._serving.keep_alive_s)
        if first is not None and first.kind == "final" and is_problem(first):
            raise problem_of(first)
        await _start(send, EVENT_STREAM)
        event = first
        while event is None or event.kind == "delta":
            part = KEEP_ALIVE if event is None else self._shape.delta(event)
            if part:
                await self._part(send, part, is_last=self._shape.is_over)
            if self._shape.is_over:
                return
            event = await turn.next(self._serving.keep_alive_s)
        await self._part(send, self._shape.final(event), is_last=True)

    async def _part(self, send: Send, body: bytes, *, is_last: bool) -> None:
        message: dict[str, Any] = {"type": "http.response.body", "body": body, "more_body": not is_last}
        await send(message)
        self._sent += len(body)
        if not is_last and self._sent > WAITED_FROM_BYTES:
            # The server waits for the client to read on before it takes the next part. Here, as that may be void by then.
            await send({"type": "http.response.body", "body": b"", "more_body": True})


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


async def _start(send: Send, media_type: str) -> None:
    headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
    if media_type == EVENT_STREAM:
        headers.append((b"x-accel-buffering", b"no"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


__all__ = ["CLIENT_GONE", "EVENT_STREAM", "AnswerResponse", "AnswerShape", "ProblemError", "Serving", "Shape", "sent_event"]
