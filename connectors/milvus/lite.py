"""Milvus Lite as a server of its own: one file, one process, any number of clients on this machine."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, Final

from schemas.errors import Fatal, Misconfigured, Retryable

HOST: Final = "127.0.0.1"
NAME_PATTERN: Final = r"^[A-Za-z0-9._-]{1,36}$"
START_TIMEOUT_S: Final = 20.0
# A server that was let go ends in 30 ms; this is for a busy machine.
LOCK_TIMEOUT_S: Final = 3.0
STOP_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.02


class LiteServer:
    """Serves one database file on a free port of the loopback interface, to every process that knows the address.

    The server is a child that ends with this process, however that ends (kill -9 included): it waits for a lock that we
    hold. A second lock that it holds itself keeps others off the file until it is really gone. Milvus Lite's own starter
    does neither over TCP.
    """

    def __init__(self, db_file: Path, port: int = 0) -> None:
        self._db_file = db_file.absolute()
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._locks: list[IO[str]] = []

    @property
    def uri(self) -> str:
        """The address; the same after `start` following a crash."""
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process id, while it runs."""
        return self._process.pid if self.is_running and self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start and return the address once the server takes connections; does nothing when it runs.

        Raises:
            Misconfigured: when another process serves the file, or it can't be made.
            Retryable: when the server did not start in time or ended.
        """
        if self.is_running:
            return self.uri
        self.close()
        self._check_name()
        try:
            self._db_file.parent.mkdir(parents=True, exist_ok=True)
            held_by_server = self._lock(".serving", fcntl.flock, LOCK_TIMEOUT_S)
            self._lock(".lock", fcntl.lockf, 0.0)
            self._port = self._port or _free_port()
            self._process = self._spawn(held_by_server)
            # From here on the server alone holds it: as long as it lives.
            held_by_server.close()
            self._locks.remove(held_by_server)
            self._wait_ready()
        except BaseException:
            self.close()
            raise
        return self.uri

    def close(self) -> None:
        """End the server and wait for that. Never raises; harmless when repeated."""
        process, self._process = self._process, None
        for lock in self._locks:
            lock.close()  # lets the server go
        self._locks.clear()
        if process is None:
            return
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _check_name(self) -> None:
        if re.fullmatch(NAME_PATTERN, self._db_file.name) is None:
            msg = f"Milvus Lite can't open a file called {self._db_file.name!r}: letters, digits, . _ - and 36 characters at most"
            raise Misconfigured(msg)

    def _lock(self, suffix: str, lock: object, patience_s: float) -> IO[str]:
        path = self._lock_path(suffix)
        file = path.open("a+")
        deadline = time.monotonic() + patience_s
        while True:
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[operator]
            except BlockingIOError as exc:
                if time.monotonic() < deadline:
                    time.sleep(POLL_S)
                    continue
                file.close()
                msg = f"{self._db_file} is open in another process: end it (`fuser {path}`), or choose another RAG_DATA_DIR"
                raise Misconfigured(msg) from exc
            self._locks.append(file)
            return file

    def _lock_path(self, suffix: str) -> Path:
        return self._db_file.parent / f".{self._db_file.name}{suffix}"

    def _spawn(self, held_by_server: IO[str]) -> subprocess.Popen[bytes]:
        folder = _binaries()
        command = [str(folder / "milvus"), str(self._db_file), f"{HOST}:{self._port}", "ERROR", str(self._lock_path(".lock"))]
        libraries = os.pathsep.join(filter(None, (str(folder), os.environ.get("LD_LIBRARY_PATH"))))
        return subprocess.Popen(
            command,
            cwd=self._db_file.parent,
            env={**os.environ, "LD_LIBRARY_PATH": libraries, "DYLD_LIBRARY_PATH": libraries},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(held_by_server.fileno(),),
            # Ctrl-C in a terminal is for us; the server ends when we let it.
            start_new_session=True,
        )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.is_running:
                status = self._process.returncode if self._process is not None else None
                msg = f"Milvus Lite ended with status {status} over {self._db_file}: is it damaged, or the disk full?"
                raise Retryable(msg)
            try:
                socket.create_connection((HOST, self._port), 1.0).close()
            except OSError:
                time.sleep(POLL_S)
            else:
                return
        msg = f"Milvus Lite did not open {self._db_file} within {START_TIMEOUT_S:g} s"
        raise Retryable(msg)


def _binaries() -> Path:
    # Importing the package would warn about pkg_resources; only its files are needed.
    spec = importlib.util.find_spec("milvus_lite")
    if spec is None or spec.origin is None:
        msg = "milvus-lite is not installed: pip install milvus-lite==2.5.1"
        raise Fatal(msg)
    return Path(spec.origin).parent / "lib"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
