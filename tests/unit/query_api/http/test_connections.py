"""Clients that send or read slowly: they hold up nobody, are kept nothing for long, and get nothing after it went."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from query_api.answer import Asking, Draft, Emit, ExtractiveAnswerer, Passage
from query_api.deadline import Deadline
from query_api.http import HttpService, connection
from schemas.queries import Usage
from tests.unit.query_api.http.serving import Scripted, Site
from tests.unit.query_api.http.test_answers import ASK, events
from tests.unit.query_api.world import World
from tests.waiting import wait_until

HEAD = b"POST /v1/answers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenths of a second in place of seconds."""
    for name, seconds in {"HEAD_S": 0.4, "STALLED_S": 0.4, "LINGER_S": 0.2}.items():
        monkeypatch.setattr(connection, name, seconds)
    monkeypatch.setattr("query_api.http.server.LOOK_EVERY_S", 0.05)


@contextmanager
def connected(service: HttpService, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(10)
        client.connect(("127.0.0.1", int(service.url.rsplit(":", 1)[1])))
        yield client


def read_until(client: socket.socket, mark: bytes) -> bytes:
    client.settimeout(10)
    received = b""
    while mark not in received:
        part = client.recv(512)
        assert part, f"the connection ended after {received!r}"
        received += part
    return received


def has_ended(client: socket.socket) -> bool:
    """Whether the other side is gone."""
    client.settimeout(0.01)
    try:
        return not client.recv(65_536)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def dripped(client: socket.socket, drop: bytes) -> Callable[[], bool]:
    """Sends one more drop each time it is asked whether the connection has ended."""

    def one() -> bool:
        try:
            client.sendall(drop)
        except OSError:
            return True
        return has_ended(client)

    return one


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b""),
        (b"GET /healthz HTTP/1.1\r\nX: ", b"x"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nX: ", b"x"),
        (HEAD + b"Authorization: none\r\nContent-Length: 9999999\r\n\r\n", b"x"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", b"x"),
    ],
    ids=["nothing", "a head", "a second head", "a body after a refusal", "a body that nobody wants"],
)
def test_whoever_sends_byte_by_byte_is_given_up(tmp_path: Path, first: bytes, drop: bytes) -> None:
    """However often a byte comes."""
    with Site(tmp_path, Scripted("x")).served() as service, connected(service) as client:
        client.sendall(first)
        wait_until(dripped(client, drop), within_s=5, what="the connection to end")
        assert httpx.post(f"{service.url}/v1/answers", json=ASK).status_code == 200


def test_a_body_that_comes_byte_by_byte_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told why."""
    monkeypatch.setattr("query_api.http.bodies.BodyReader.__init__.__defaults__", (0.3,))
    with Site(tmp_path, Scripted("x")).served() as service, connected(service) as client:
        client.sendall(HEAD + b"Content-Length: 999\r\n\r\n{")
        received = bytearray()

        def is_told() -> bool:
            client.sendall(b" ")
            client.settimeout(0.01)
            try:
                received.extend(client.recv(4096))
            except TimeoutError:
                return False
            return b"body_too_slow" in received

        wait_until(is_told, within_s=5, what="408")


def test_idle_connections_live_on(tmp_path: Path) -> None:
    """Between two requests more time passes than a head may take."""
    with Site(tmp_path, Scripted("x")).served() as service, connected(service) as client:
        for _ in range(2):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            read_until(client, b"alive")
            passed = time.monotonic() + 0.8

            def is_over(passed: float = passed) -> bool:
                return time.monotonic() > passed or has_ended(client)

            wait_until(is_over, within_s=5, what="a while")


def test_what_is_no_http_is_a_problem_too(tmp_path: Path) -> None:
    """As every error."""
    with Site(tmp_path, Scripted("x")).served() as service, connected(service) as client:
        client.sendall(b"\x16\x03\x01\x02\x00nonsense\r\n\r\n")
        head, _, body = read_until(client, b"}").partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert orjson.loads(body)["code"] == "bad_request"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Authorization: Bearer a\r\nContent-Length: 2\r\nAuthorization: Bearer b",
    ],
)
def test_what_two_servers_may_read_otherwise_is_refused(tmp_path: Path, head: bytes) -> None:
    """A proxy before this one could have seen another request in it, or another caller."""
    pipeline = Scripted("x")
    with Site(tmp_path, pipeline).served() as service, connected(service) as client:
        client.sendall(HEAD + head + b"\r\n\r\n{}")
        told = read_until(client, b"}")
    assert told.startswith(b"HTTP/1.1 400")
    assert b"bad_request" in told
    assert b"connection: close" in told
    assert not pipeline.asked


def test_large_bodies_are_held_for_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are told to come again, small ones are taken meanwhile, and there is room again once one is through."""
    monkeypatch.setattr("query_api.http.bodies.LARGE_AT_ONCE", 1)
    site = Site(tmp_path, Scripted("x"), http={"max_body_kib": 128})
    large = orjson.dumps({**ASK, "indexes": ["docs"]}).ljust(120 * 1024)
    with site.served() as service, connected(service) as slow:
        slow.sendall(HEAD + f"Content-Length: {len(large)}\r\n\r\n".encode() + large[:-1])

        def ask(body: bytes) -> int:
            return httpx.post(f"{service.url}/v1/answers", content=body, headers={"Content-Type": "application/json"}).status_code

        wait_until(lambda: ask(large) == 503, within_s=5, what="no room")
        assert ask(orjson.dumps(ASK)) == 200
        slow.sendall(large[-1:])
        read_until(slow, b"200 OK")
        assert ask(large) == 200


def test_more_connections_than_there_is_room_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First with 503, then at once; those who leave make room."""
    monkeypatch.setattr(connection, "HEAD_S", 20.0)
    monkeypatch.setattr("query_api.http.server.CONNECTIONS_A_QUERY", 4)
    with Site(tmp_path, Scripted("x"), http={"concurrency": 1}).served() as service:
        crowd = [socket.create_connection(("127.0.0.1", int(service.url.rsplit(":", 1)[1]))) for _ in range(20)]
        try:
            wait_until(lambda: sum(map(has_ended, crowd)) == 14, within_s=5, what="those beyond six to be refused")
        finally:
            for one in crowd:
                one.close()
        wait_until(lambda: _is_alive(service), within_s=5, what="room")


def _is_alive(service: HttpService) -> bool:
    try:
        return httpx.get(f"{service.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


class Talkative(ExtractiveAnswerer):
    """Says the secret again and again."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.said = 0

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        text = asking.passages[0].text + " " * 4_000
        for _ in range(self.times):
            await emit(text)
            self.said += 1
            await asyncio.sleep(0)
        return Draft(text * self.times, (asking.passages[0].citation(1),), Usage(model="talkative"))


def ask_and_stop_reading(client: socket.socket, **more: object) -> bytes:
    """What came until the first piece had."""
    body = orjson.dumps({"question": "When does the merger close?", "stream": True, **more})
    client.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return read_until(client, b"event: delta")


@pytest.mark.parametrize("cache", ["use", "off"])
def test_what_is_revoked_meanwhile_is_not_sent_to_a_slow_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    """The answer waits for its reader, not the model for both; access is looked at again before it goes on."""
    monkeypatch.setattr(connection, "STALLED_S", 20.0)
    monkeypatch.setattr("query_api.speech.LOOK_EVERY_S", 0.0)
    answerer = Talkative(1_000)
    world = World(tmp_path / "world", answerer)
    try:
        world.upsert("merger", 1, "The merger closes on Friday.")
        with Site(tmp_path, world.pipeline, deadline_s=20).served() as service, connected(service, 4_096) as client:
            ask_and_stop_reading(client, cache=cache)
            wait_until(lambda: answerer.said == answerer.times, within_s=10, what="the model to be through")
            world.access("merger", 2, ("group:hr",))
            rest = _read_all(client)
        name, final = events(_dechunked(rest))[-1]
        assert (name, final["outcome"], final["attempt"]) == ("final", "unknown", 2)
        assert "event: reset" in _dechunked(rest)
        assert len(rest) < 8 * connection.HELD_BYTES, f"{len(rest):,} bytes of {4_000 * answerer.times:,}"
    finally:
        world.close()


def test_a_reader_that_stops_for_good_is_given_up(tmp_path: Path) -> None:
    """Its connection goes, its answer stops, and nothing is kept for it."""
    pipeline = Scripted(*["x" * 4_000] * 1_000)
    with Site(tmp_path, pipeline, deadline_s=20).served() as service, connected(service, 4_096) as client:
        ask_and_stop_reading(client)
        wait_until(lambda: pipeline.cancelled == 1, within_s=10, what="the answer to stop")
        assert len(_read_all(client)) < 8 * connection.HELD_BYTES


@pytest.mark.parametrize(
    ("path", "more"),
    [("/v1/search", {}), ("/v1/answers", {"stream": False}), ("/v1/answers", {"stream": True})],
    ids=["passages", "an answer", "a stream"],
)
def test_what_is_revoked_while_the_response_before_is_read_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, more: dict[str, Any]
) -> None:
    """On a connection that lives on the second answer waits until the first response has left, and is looked at then."""
    monkeypatch.setattr(connection, "STALLED_S", 20.0)
    world = World(tmp_path / "world")
    try:
        world.upsert("merger", 1, "The merger closes on Friday.")
        site = Site(tmp_path, world.pipeline, deadline_s=20)
        site.waiting = MUCH
        with site.served() as service, connected(service, 4_096) as client:
            client.sendall(LARGE + asking(path, question="When does the merger close?", **more))
            wait_a_while(1.0)  # for an answer that doesn't wait
            world.access("merger", 2, ("group:hr",))
            received = _read_all(client)
        assert b'"outcome":"unknown"' in received
        assert b"Friday" not in received
    finally:
        world.close()


class Thorough(ExtractiveAnswerer):
    """Cites every passage, and says nothing before that."""

    def select(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        return list(passages)

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        return Draft("See [1].", tuple(passage.citation(n) for n, passage in enumerate(asking.passages, start=1)))


@pytest.mark.parametrize(
    ("path", "more"),
    [("/v1/search", {}), ("/v1/answers", {"stream": False}), ("/v1/answers", {"stream": True})],
    ids=["passages", "an answer", "a stream"],
)
@pytest.mark.parametrize("is_revoked", [True, False])
def test_what_is_revoked_while_an_answer_is_read_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, more: dict[str, Any], *, is_revoked: bool
) -> None:
    """No more is on its way than what may be held; the rest is looked at before it goes, and half of it doesn't look whole."""
    monkeypatch.setattr(connection, "STALLED_S", 20.0)
    world = World(tmp_path / "world", Thorough())
    try:
        for number in range(20):
            filling = " ".join(f"clause{number}x{n}" for n in range(1_500))
            world.upsert(f"merger{number}", 1, f"The merger number {number} closes on Friday, {filling}.")
        with Site(tmp_path, world.pipeline, deadline_s=20).served() as service, connected(service, 4_096) as client:
            client.sendall(asking(path, question="When does the merger close?", passages=50, **more))
            received = read_until(client, b"Friday")
            if is_revoked:
                world.access("merger0", 2, ("group:hr",))
            received += _read_all(client)
        assert received.endswith(b"0\r\n\r\n") is not is_revoked
        assert (len(received) < 8 * connection.HELD_BYTES) is is_revoked, f"{len(received):,} bytes"
    finally:
        world.close()


def test_who_reads_one_response_past_the_deadline_of_the_next_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is worked on for it any more, and it says so."""
    monkeypatch.setattr(connection, "STALLED_S", 20.0)
    monkeypatch.setattr("query_api.http.answering.SEND_GRACE_S", 0.1)
    site = Site(tmp_path, pipeline := Scripted("x"))
    site.waiting = MUCH
    with site.served() as service, connected(service, 4_096) as client:
        client.sendall(LARGE + asking("/v1/answers", "Connection: close", timeout_ms=100))
        wait_a_while(0.6)
        received = _read_all(client)
    assert b"HTTP/1.1 504" in received
    assert b'"code":"deadline_passed"' in received
    assert not pipeline.asked


@pytest.mark.parametrize("head", ["Connection: keep-alive", "Connection: close", "HTTP/1.0"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_steady_reader_gets_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, *, stream: bool) -> None:
    """However long it takes, and however the connection ends."""
    for name in ("STALLED_S", "LINGER_S"):
        monkeypatch.setattr(connection, name, 0.5)
    text = "x" * 1_000_000
    with Site(tmp_path, Scripted(text=text)).served() as service, connected(service, 4_096) as client:
        client.sendall(asking("/v1/answers", head, stream=stream))
        began = time.monotonic()
        received = read_steadily(client, 32 * 1024)
        assert time.monotonic() - began > 2 * connection.STALLED_S
    assert received.count(b"x") >= len(text), f"{len(received):,} bytes of {len(text):,}"


def test_a_steady_reader_gets_all_of_what_is_sent_in_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is closed for writing at once, and stays as long as it is read."""
    for name in ("STALLED_S", "LINGER_S"):
        monkeypatch.setattr(connection, name, 0.5)
    site = Site(tmp_path, Scripted("x"))
    site.waiting = MUCH
    with site.served() as service, connected(service, 4_096) as client:
        whole = httpx.get(f"{service.url}/readyz").content
        client.sendall(LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        began = time.monotonic()
        received = read_steadily(client, len(whole) // 30)
        assert time.monotonic() - began > 2 * connection.LINGER_S
    assert received.endswith(whole)


@pytest.mark.parametrize("head", ["Connection: keep-alive", "Connection: close"])
def test_a_reader_that_stops_within_an_answer_is_given_up(tmp_path: Path, head: str) -> None:
    """As one that stops within a stream; by then its place has long been somebody else's."""
    pipeline = Scripted(text="x" * 1_000_000)
    with Site(tmp_path, pipeline, http={"concurrency": 1}).served() as service, connected(service, 4_096) as client:
        client.sendall(asking("/v1/answers", head))
        wait_until(lambda: httpx.post(f"{service.url}/v1/answers", json=ASK).status_code == 200, within_s=5, what="a place")
        wait_a_while(2.0)
        assert len(_read_all(client)) < 8 * connection.HELD_BYTES


def test_a_reader_that_pauses_takes_nobodys_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is made waits for its reader alone."""
    monkeypatch.setattr(connection, "STALLED_S", 20.0)
    text = "x" * 1_000_000
    with Site(tmp_path, Scripted(text=text), http={"concurrency": 1}).served() as service, connected(service, 4_096) as client:
        client.sendall(asking("/v1/answers", "Connection: close"))
        read_until(client, b"xxx")
        assert httpx.post(f"{service.url}/v1/answers", json=ASK).status_code == 200
        assert len(_read_all(client)) > len(text) - 8 * connection.HELD_BYTES


MUCH = {"view": "x" * 300_000}
LARGE = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""Its response is sent in one part, whether it is read or not."""


def asking(path: str, head: str = "Connection: keep-alive", **body: object) -> bytes:
    """A request; `HTTP/1.0` in place of a header is what many proxies speak."""
    content = orjson.dumps({**ASK, **body})
    version, more = ("1.0", "") if head == "HTTP/1.0" else ("1.1", f"{head}\r\n")
    fields = f"Host: localhost\r\nContent-Type: application/json\r\n{more}Content-Length: {len(content)}\r\n\r\n"
    return f"POST {path} HTTP/{version}\r\n{fields}".encode() + content


def wait_a_while(seconds: float) -> None:
    """For what must not happen meanwhile."""
    passed = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > passed, within_s=seconds + 5, what="a while")


def read_steadily(client: socket.socket, at_once: int) -> bytes:
    """So much at a time until the response ends, with a pause after each."""
    client.settimeout(10)
    received = bytearray()
    while not received.endswith(b"0\r\n\r\n"):
        wanted = len(received) + at_once
        wait_a_while(0.03)
        while len(received) < wanted and not received.endswith(b"0\r\n\r\n"):
            try:
                part = client.recv(wanted - len(received))
            except ConnectionError:
                return bytes(received)
            if not part:
                return bytes(received)
            received += part
    return bytes(received)


def _read_all(client: socket.socket) -> bytes:
    client.settimeout(10)
    received = bytearray()
    while not received.endswith(b"0\r\n\r\n"):
        try:
            part = client.recv(65_536)
        except ConnectionError:
            break
        if not part:
            break
        received += part
    return bytes(received)


def _dechunked(raw: bytes) -> str:
    """Events of a stream whose chunks' sizes stand on lines of their own."""
    return "\n".join(line for line in raw.decode(errors="replace").split("\r\n") if not line or line[0] in "ed{:")
