"""`ragstream ingest --workers N`: one Bytewax cluster of N processes on this machine, started and stopped as one.

Threads don't make Python faster (bytewax#405), processes do. Each is signalled by itself; when one ends, all end,
with its exit code. Should this process be killed, they notice and stop (`is_orphan`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from schemas.errors import Retryable

STOP_GRACE_S: Final = 40.0
CAUSE_GRACE_S: Final = 45.0
"""How long the cause is waited for after somebody noticed: who is fenced first ends what its encoder is at, and closes."""


def run_workers(count: int, *, threads: int, until_caught_up: bool) -> int:
    """Blocks until all processes have ended; returns the first exit code that is not 0, else 0.

    Of one that a signal killed it is 128 and the signal's number, as shells have it: 137 is SIGKILL.
    """
    addresses = _free_addresses(count)
    command = [sys.executable, "-m", "ragstream", "ingest", "--threads", str(threads), "--parent", str(os.getpid())]
    if until_caught_up:
        command.append("--until-caught-up")
    for address in addresses:
        command += ["--address", address]
    with ExitStack() as stack:
        # In groups of their own: a terminal's Ctrl-C goes to this process alone, which passes it on once; twice is no clean stop.
        children = [subprocess.Popen([*command, "--process", str(n)], process_group=0) for n in range(count)]
        stack.callback(_end, children)

        def forward(number: int, _frame: object) -> None:
            for child in children:
                if child.poll() is None:
                    child.send_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, forward))
        return _wait(children)


def is_orphan(parent: int | None) -> bool:
    """Whether the process that started this worker is gone, so that nobody would stop it any more."""
    return parent is not None and os.getppid() != parent


def outcome(codes: Sequence[int | None]) -> int | None:
    """What the parent ends with, of its workers' exit codes so far (None: runs; below 0: a signal's number); None: not yet.

    Who only noticed that another one was gone (75) is not the cause.
    """
    failed = [code for code in codes if code]
    if not failed:
        return 0 if all(code == 0 for code in codes) else None
    cause = next((code for code in failed if code != Retryable.exit_code), failed[0])
    return cause if cause > 0 else 128 - cause


def _wait(children: Sequence[subprocess.Popen[bytes]], grace_s: float = CAUSE_GRACE_S) -> int:
    """Until all have ended by themselves, or one has failed. Where it only noticed, the cause is waited for, for `grace_s`."""
    until: float | None = None
    while True:
        codes = [child.poll() for child in children]
        code = outcome(codes)
        if code is not None and (code != Retryable.exit_code or None not in codes):
            return code
        if code is not None:
            until = until or time.monotonic() + grace_s
            if time.monotonic() >= until:
                return code
        time.sleep(0.1)


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + STOP_GRACE_S
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _free_addresses(count: int) -> list[str]:
    """Loopback addresses for the processes to meet at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
