"""The parser's child process, seen from the parent: started, asked, killed. Not safe for several threads at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from connectors.parsing.errors import ParseRejected
from connectors.parsing.wire import Message, receive, send
from schemas.errors import Misconfigured, Retryable

START_TIMEOUT_S = 60.0
_REAP_TIMEOUT_S = 10.0
_ROOT = Path(__file__).resolve().parents[2]
_KILLED_BY_KERNEL = {signal.SIGALRM: "timeout", signal.SIGXCPU: "timeout", signal.SIGKILL: "out_of_memory"}
# All that it needs of our environment: settings there hold passwords.
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONHOME")
# One thread each, and one heap: threads of a library that is not asked for speed only eat the address space.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class ChildProcess:
    """A process that runs `worker.py`: a fresh interpreter, not a fork, so it inherits neither threads nor connections."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            Misconfigured: a library is missing.
            Retryable: it did not come up in time.
        """
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "connectors.parsing.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries' warnings may quote documents
            )
        self.files_parsed = 0
        self._wait_ready()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: Message, *, timeout_s: float) -> Message:
        """Have a file parsed. After any exception the process must be killed.

        Raises:
            ParseRejected: it took too long, or its process died of it.
        """
        self.files_parsed += 1
        deadline = time.monotonic() + timeout_s
        try:
            send(self._channel, request, within_s=timeout_s)
            answer = receive(self._channel, within_s=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            detail = f"parsing takes longer than {timeout_s:g} s (RAG_PARSING__TIMEOUT_S)"
            msg = "timeout"
            raise ParseRejected(msg, detail) from None
        except OSError:
            answer = None
        if answer is None:
            raise self._died()
        return answer

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once."""
        self._channel.close()
        self._process.kill()
        self._process.wait(_REAP_TIMEOUT_S)

    def _wait_ready(self) -> None:
        try:
            hello = receive(self._channel, within_s=START_TIMEOUT_S)
        except TimeoutError as exc:
            self.kill()
            message = f"the parser's process did not start within {START_TIMEOUT_S:g} s"
            raise Retryable(message) from exc
        if hello is None or "failed" in hello.header:
            self.kill()
            why = hello.header["failed"] if hello else f"status {self._process.returncode}"
            message = f"the parser's process can't start ({why}); install ragstream with its parsing libraries"
            raise Misconfigured(message)

    def _died(self) -> ParseRejected:
        """Say what its own end tells: the kernel's limits, or a crash inside a library."""
        status = self._process.wait(_REAP_TIMEOUT_S)
        if status >= 0:
            return ParseRejected("crashed", f"the parser's process ended with status {status}")
        reason = _KILLED_BY_KERNEL.get(signal.Signals(-status), "crashed")
        return ParseRejected(reason, f"the parser's process was ended by {signal.Signals(-status).name}")


def _environment() -> dict[str, str]:
    """Our packages first on the path, wherever the parent was started; then what it was given."""
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, **_ENVIRONMENT, "PYTHONPATH": path}
