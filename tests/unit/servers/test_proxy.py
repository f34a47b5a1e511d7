"""The proxy that makes a network of loopback."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.servers.proxy import Proxy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(65_536):
                self.request.sendall(data)
        except ConnectionError:
            return


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with Proxy(server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()


def connected(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), 5)
    connection.settimeout(5)
    return connection


def echoed(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    found = b""
    while len(found) < len(data) and (piece := connection.recv(65_536)):
        found += piece
    return found


def test_bytes_come_through_whole(proxy: Proxy) -> None:
    """Much more than a piece, both ways."""
    data = bytes(range(256)) * 4096
    with closing(connected(proxy)) as connection:
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        found = b""
        while len(found) < len(data):
            found += connection.recv(65_536)
    assert found == data


def test_slow_takes_its_time_both_ways(proxy: Proxy) -> None:
    """A round trip through an open connection is late by twice the latency, and in time again when healed."""
    with closing(connected(proxy)) as connection:
        assert echoed(connection, b"a") == b"a"
        proxy.slow(0.1)
        began = time.monotonic()
        assert echoed(connection, b"b") == b"b"
        assert time.monotonic() - began >= 0.2
        proxy.heal()
        began = time.monotonic()
        assert echoed(connection, b"c") == b"c"
        assert time.monotonic() - began < 0.2


def test_a_narrow_line_is_as_fast_as_it_is_wide(proxy: Proxy) -> None:
    """20 kB at 100 kB/s take 0.2 s each way."""
    with closing(connected(proxy)) as connection:
        proxy.slow(0, bytes_per_s=100_000)
        began = time.monotonic()
        assert echoed(connection, b"x" * 20_000) == b"x" * 20_000
        assert time.monotonic() - began >= 0.2


def test_refusing_resets_what_is_open_and_takes_nothing_new(proxy: Proxy) -> None:
    """Until healed: then the same port answers."""
    with closing(connected(proxy)) as connection:
        assert echoed(connection, b"a") == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    proxy.heal()
    with closing(connected(proxy)) as connection:
        assert echoed(connection, b"b") == b"b"


def test_cut_after_so_many_bytes(proxy: Proxy) -> None:
    """What the server says breaks off in the middle."""
    with closing(connected(proxy)) as connection:
        proxy.cut_after(3)
        connection.sendall(b"abcdef")
        found = b""
        with pytest.raises(ConnectionResetError):
            while True:
                found += connection.recv(1)
        assert found in (b"", b"a", b"ab", b"abc")  # a reset may overtake what was sent


def test_silence_holds_bytes_back_until_healed(proxy: Proxy) -> None:
    """New connections are taken and get no word, and nothing is lost."""
    proxy.swallow()
    with closing(connected(proxy)) as connection:
        connection.settimeout(0.1)
        connection.sendall(b"a")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        connection.settimeout(5)
        assert connection.recv(1) == b"a"


def test_a_forgotten_connection_is_silent_for_ever(proxy: Proxy) -> None:
    """Others work, and healing doesn't bring it back."""
    with closing(connected(proxy)) as old:
        assert echoed(old, b"a") == b"a"
        proxy.forget()
        proxy.heal()
        with closing(connected(proxy)) as new:
            assert echoed(new, b"b") == b"b"
        old.settimeout(0.1)
        old.sendall(b"c")
        with pytest.raises(TimeoutError):
            old.recv(1)
