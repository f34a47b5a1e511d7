"""The child process: parses one file after the other within limits that the kernel enforces.

Run by `child.py` as `python -m connectors.parsing.worker FD`; FD is its end of a socket pair. It ends when the other end
closes, so it never outlives its parent by more than a file's time limit. It can't open connections, start programs or
write files.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors.parsing.archive import ArchiveLimits, check_archive
from connectors.parsing.errors import ParseRejected
from connectors.parsing.formats import ARCHIVES
from connectors.parsing.text import clean, clean_title
from connectors.parsing.wire import Message, receive, send

# The parent kills at the time limit; the kernel does this much later, in case there is no parent any more.
_ALARM_GRACE_S = 2.0
_MAX_OPEN_FILES = 64
_FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile")


def main() -> None:
    """Answer requests until the parent closes its end."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes its end
    try:
        from connectors.parsing import converters  # noqa: PLC0415  so that a missing library can be reported
    except ImportError as exc:
        send(channel, Message({"failed": f"{type(exc).__name__}: {exc}"}))
        return
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    memory = 0
    send(channel, Message({"ready": True}))
    threading.Thread(target=_read_requests, args=(channel, requests), daemon=True).start()
    _forbid_side_effects()
    while True:
        request = requests.get()
        if not memory:
            memory = _bound(request.header["memory_bytes"])
        signal.setitimer(signal.ITIMER_REAL, request.header["timeout_s"] + _ALARM_GRACE_S)
        answer = _answer(converters.convert, request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(channel, answer)
        if answer.header.get("reason") == "out_of_memory":
            os._exit(0)  # what is left of the heap is not to be trusted


def _read_requests(channel: socket.socket, requests: queue.SimpleQueue[Message]) -> None:
    """Hand on requests; reading all the time is how the end of the parent is noticed, even while a file is parsed."""
    try:
        while (request := receive(channel)) is not None:
            requests.put(request)
    finally:  # the parent's end, or no memory for its next file
        os._exit(0)


def _answer(convert: Callable[[bytes, str], tuple[str, object]], request: Message) -> Message:
    """Check, convert and clean one file; an error that a parser makes is a verdict on the file."""
    header = request.header
    try:
        if header["format"] in ARCHIVES:
            check_archive(request.body, ArchiveLimits(*header["archive_limits"]))
        markdown, title = convert(request.body, header["format"])
        if len(markdown) > header["max_output_chars"]:
            most = header["max_output_chars"]
            return _rejected("too_large", f"{len(markdown)} characters of text; at most {most} (RAG_PARSING__MAX_OUTPUT_CHARS)")
        return Message({"title": clean_title(title)}, clean(markdown).encode())
    except ParseRejected as exc:
        return _rejected(exc.reason, exc.detail)
    except Exception as exc:
        return _rejected(*_verdict(exc, header))


def _verdict(exc: Exception, header: dict[str, Any]) -> tuple[str, str]:
    """Return reason and detail; the exception's own message stays out, as it may quote the document."""
    causes: list[BaseException] = []
    cause: BaseException | None = exc
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(cause, MemoryError) for cause in causes):
        limit = header["memory_bytes"] // (1024 * 1024)
        return "out_of_memory", f"parsing takes more than {limit} MiB (RAG_PARSING__MEMORY_MIB)"
    names = [type(cause).__name__ for cause in causes]
    if any("Password" in name or "Encrypt" in name for name in names):
        return "encrypted", "the file is protected by a password; send it without"
    detail = f"not a readable {header['format']} file ({', '.join(names[:3])}); send the file as its program saved it"
    return "malformed", detail


def _rejected(reason: str, detail: str) -> Message:
    return Message({"reason": reason, "detail": detail})


def _bound(memory_bytes: int) -> int:
    """Allow this much memory on top of what the imports take; return the limit."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return limit


def _forbid_side_effects() -> None:
    """No files written, no cores dumped, no connections, no programs."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN_FILES, _MAX_OPEN_FILES))

    def forbid(event: str, arguments: tuple[Any, ...]) -> None:
        del arguments
        if event.startswith(_FORBIDDEN):
            message = f"a parser must not use {event}"
            raise PermissionError(message)

    sys.addaudithook(forbid)


if __name__ == "__main__":
    main()
