"""Messages between the parser and its child process: a JSON header and a body, each with its length in front."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any, NamedTuple

_LENGTHS = struct.Struct("!IQ")
_READ_SIZE = 1024 * 1024


class Message(NamedTuple):
    """A header of plain values, and bytes."""

    header: dict[str, Any]
    body: bytes = b""


def send(channel: socket.socket, message: Message, *, within_s: float | None = None) -> None:
    """Send a message. Raises: TimeoutError; OSError when the other end is gone."""
    header = json.dumps(message.header).encode()
    channel.settimeout(within_s)
    channel.sendall(_LENGTHS.pack(len(header), len(message.body)) + header + message.body)


def receive(channel: socket.socket, *, within_s: float | None = None) -> Message | None:
    """Wait for a message; None when the other end is gone. Raises: TimeoutError."""
    deadline = None if within_s is None else time.monotonic() + within_s
    lengths = _read(channel, _LENGTHS.size, deadline)
    if lengths is None:
        return None
    header_length, body_length = _LENGTHS.unpack(lengths)
    header = _read(channel, header_length, deadline)
    body = _read(channel, body_length, deadline)
    if header is None or body is None:
        return None
    return Message(json.loads(header), body)


def _read(channel: socket.socket, length: int, deadline: float | None) -> bytes | None:
    received = bytearray()
    while len(received) < length:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(left)
        try:
            block = channel.recv(min(_READ_SIZE, length - len(received)))
        except ConnectionResetError:
            return None
        if not block:
            return None
        received += block
    return bytes(received)
