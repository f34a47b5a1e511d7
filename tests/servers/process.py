"""A real server as a process of the tests: started, killed, paused and brought back on the same port and data."""

import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import DeadlineExceededError, wait_until

LOG_TAIL_LINES = 40

_LAUNCHER = Path(__file__).with_name("launch.py")

# A child's death signal fires when the *thread* that started it ends, so one thread that lives as long as the process
# starts them all: a test may restart a server from a thread of its own.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-spawner")


class ServerFailedError(RuntimeError):
    """A server ended or did not get ready; the message carries the end of its log."""


class ServerProcess(ABC):
    """One server process with a data directory and ports of its own.

    `start` after `kill` or `stop` reuses both, so clients see the same server return. Not safe to drive from two
    threads at once. Everything lives under `home`; `discard` removes it.
    """

    name: str
    start_timeout_s: float
    stop_timeout_s: float = 15.0

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.log_path = home / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line; files it needs are written by `prepare`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether a client can use the server now; False, not an exception, while it can't."""

    def prepare(self) -> None:
        """Write what the server reads at start; called before every start."""
        return

    def environment(self) -> dict[str, str]:
        """The process's environment."""
        return dict(os.environ)

    @property
    def pid(self) -> int:
        """The running server's process id."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process exists (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it is ready."""
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self) -> None:
        """Start the server without waiting for it."""
        if self.is_running:
            message = f"{self.name} runs already as process {self.pid}: stop or kill it first"
            raise ServerFailedError(message)
        self.prepare()
        self._process = _SPAWNER.submit(self._popen).result()

    def wait_ready(self, within_s: float | None = None) -> None:
        """Return once the server can be used.

        Raises:
            ServerFailedError: when it ended or took longer, with the end of its log.
        """
        limit = self.start_timeout_s if within_s is None else within_s
        try:
            wait_until(lambda: not self.is_running or self.is_ready(), within_s=limit, what=f"{self.name} to get ready")
        except DeadlineExceededError as error:
            message = f"{error}\n{self.log_tail()}"
            raise ServerFailedError(message) from error
        if not self.is_running:
            status = self._running().returncode
            message = f"{self.name} ended with status {status} before it was ready\n{self.log_tail()}"
            raise ServerFailedError(message)

    def stop(self) -> None:
        """End the server in its own orderly way, by force after a while; does nothing when it isn't running."""
        if not self.is_running:
            return
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            self._running().wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """kill -9: nothing is flushed or closed by the server."""
        self._signal(signal.SIGKILL)
        self._running().wait()

    def pause(self) -> None:
        """SIGSTOP: the server holds its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: undo `pause`; harmless otherwise."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop in an orderly way and start again on the same data and ports."""
        self.stop()
        self.start()

    def discard(self) -> None:
        """End the server at once and delete its data."""
        if self.is_running:
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines the server wrote, headed by the log's path."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        tail = "\n".join(text.splitlines()[-lines:])
        return f"--- end of {self.log_path}:\n{tail}"

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.discard()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()

    def _popen(self) -> subprocess.Popen[bytes]:
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [*launcher, *self.command()],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal is for the tests; they stop their servers themselves.
                start_new_session=True,
            )

    def _signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            message = f"{self.name} was never started"
            raise ServerFailedError(message)
        return self._process
