"""An HTTP server that answers chat completions as a test wants it to: well, late, broken, or not at all; it sees who hangs up."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

Body = dict[str, Any]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MODEL = "scripted-model"


class Exchange:
    """One request, and the way to answer it."""

    def __init__(self, body: Body, headers: Mapping[str, str], writer: asyncio.StreamWriter) -> None:
        self.body = body
        self.headers = headers
        self.writer = writer

    async def begin(self) -> None:
        self.writer.write(HEAD)
        await self.writer.drain()

    async def send(self, raw: bytes) -> None:
        """Raw bytes as one HTTP chunk."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(raw), raw))
        await self.writer.drain()

    async def event(self, value: object) -> None:
        await self.send(b"data: " + orjson.dumps(value) + b"\n\n")

    async def text(self, text: str) -> None:
        await self.event(chunk({"content": text}))

    async def end(self, reason: str = "stop", usage: tuple[int, int] | None = (7, 3)) -> None:
        await self.event(chunk({}, reason))
        if usage is not None:
            counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
            await self.event({**chunk(), "choices": [], "usage": counts})
        await self.send(b"data: [DONE]\n\n")
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def status(self, code: int, body: Body, headers: Mapping[str, str] | None = None) -> None:
        raw = orjson.dumps(body)
        lines = [f"HTTP/1.1 {code} No", "Content-Type: application/json", f"Content-Length: {len(raw)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
        await self.writer.drain()


Behaviour = Callable[[Exchange], Awaitable[None]]


def chunk(delta: Body | None = None, reason: str | None = None) -> Body:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}


def says(*pieces: str, reason: str = "stop", usage: tuple[int, int] | None = (7, 3)) -> Behaviour:
    """A well-behaved answer."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.event(chunk({"role": "assistant", "content": None}))
        for piece in pieces:
            await exchange.text(piece)
        await exchange.end(reason, usage)

    return behave


def fails(code: int, body: Body | None = None, **headers: str) -> Behaviour:
    """An HTTP error; `retry_after="1"` becomes the header Retry-After."""

    async def behave(exchange: Exchange) -> None:
        await exchange.status(code, body or {"error": {"message": "no"}}, {k.replace("_", "-"): v for k, v in headers.items()})

    return behave


def breaks_after(*pieces: str) -> Behaviour:
    """Some text, and then the connection is gone."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        for piece in pieces:
            await exchange.text(piece)
        exchange.writer.transport.abort()

    return behave


def sends(raw: bytes) -> Behaviour:
    """These bytes in place of a stream of chunks, properly ended."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(raw)
        exchange.writer.write(b"0\r\n\r\n")
        await exchange.writer.drain()

    return behave


def falls_silent(*pieces: str) -> Behaviour:
    """Some text, then comments that keep the connection alive, for ever."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        for piece in pieces:
            await exchange.text(piece)
        while True:
            await exchange.send(b": ping\n\n")
            await exchange.event(chunk({}))
            await asyncio.sleep(0.01)

    return behave


async def never_ends(exchange: Exchange) -> None:
    """Text without end."""
    await exchange.begin()
    while True:
        await exchange.text("more ")
        await asyncio.sleep(0.005)


async def never_answers(exchange: Exchange) -> None:
    """Not even a status line."""
    await asyncio.Event().wait()


async def echoes(exchange: Exchange) -> None:
    """The last message's words, as many as are allowed."""
    await _echo(exchange, 0.0)


async def paced_echo(exchange: Exchange) -> None:
    """The same, with a little pause before each word."""
    await _echo(exchange, 0.002)


async def _echo(exchange: Exchange, pace_s: float) -> None:
    words = re.findall(r"\s*\S+", exchange.body["messages"][-1]["content"])
    said = words[: exchange.body["max_tokens"]]
    await exchange.begin()
    for word in said:
        await asyncio.sleep(pace_s)
        await exchange.text(word)
    await exchange.end("stop" if said == words else "length")


@dataclass
class ScriptedEndpoint:
    """Behaviours are used up one a request, then `otherwise` goes on.

    Attributes:
        hung_up: requests whose client left before they were answered.
    """

    url: str
    otherwise: Behaviour = echoes
    script: list[Behaviour] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    hung_up: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (exchange := await self._next(reader, writer)) is not None:
                behave = self.script.pop(0) if self.script else self.otherwise
                answering = asyncio.get_running_loop().create_task(_answer(behave, exchange))
                leaving = asyncio.get_running_loop().create_task(_gone(reader))
                await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done() or answering.exception() is not None:
                    self.hung_up += 1
                answering.cancel()
                leaving.cancel()
                await asyncio.gather(answering, leaving, return_exceptions=True)
                if reader.at_eof() or writer.transport.is_closing():
                    return
        except asyncio.CancelledError:
            return  # the test is over; asyncio's streams would report it as an error
        finally:
            writer.transport.abort()

    async def _next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.bodies.append(body)
        self.keys.append(headers.get("authorization", ""))
        return Exchange(body, headers, writer)


async def _answer(behave: Behaviour, exchange: Exchange) -> None:
    await behave(exchange)


async def _gone(reader: asyncio.StreamReader) -> None:
    """Returns once the client has closed its side; clients here never send two requests at once."""
    while not reader.at_eof():  # noqa: ASYNC110  to read is to take a byte of the next request
        await asyncio.sleep(0.005)


@asynccontextmanager
async def scripted(*script: Behaviour, otherwise: Behaviour = echoes) -> AsyncIterator[ScriptedEndpoint]:
    """A server on a free port of loopback."""
    endpoint = ScriptedEndpoint("", otherwise, list(script))
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        server.close()
