"""The product as a user has it: the `ragstream` command in processes of its own, with an environment of a test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ragstream.embedded.running import Running
from ragstream.inspection.health import Health, ask_health
from ragstream.inspection.status import read_status
from ragstream.reach import reach
from schemas.settings import Settings
from tests.waiting import wait_until

ENCODED = 'rag_ingest_chunks_total{source="encoder"}'
COMMAND_TIMEOUT_S = 90.0
READY_WITHIN_S = 90
CAUGHT_UP_WITHIN_S = 90
STOPPED_WITHIN_S = 30
ENDED_WITHIN_S = 60

# Seconds count: no model is loaded, and no port is anybody's.
SMALL = {"EMBEDDING__KIND": "hashing", "OBSERVABILITY__INGEST_PORT": "0", "OBSERVABILITY__QUERY_PORT": "0", "HTTP__PORT": "0"}


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """A directory and an environment to type commands in."""

    cwd: Path
    variables: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
        own = {name if name.isupper() and "XDG" in name else f"RAG_{name}": value for name, value in self.variables.items()}
        return {**inherited, **own, "COLUMNS": "200"}

    def having(self, **more: str) -> Shell:
        return replace(self, variables={**self.variables, **more})

    def run(self, *words: str, expect: int | None = 0, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S) -> Result:
        """Run to the end; the exit code must be `expect` (None: any)."""
        done = subprocess.run(
            [sys.executable, "-m", "ragstream", *words],
            cwd=self.cwd,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
        result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
        if expect is not None:
            assert result.code == expect, f"ragstream {' '.join(words)}: {result}"
        return result

    def start(self, log: Path, *words: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "ragstream", *words], cwd=self.cwd, env=self.environment(), stdout=output, stderr=output
            )


@dataclass
class Up:
    """A `ragstream up` that runs."""

    shell: Shell
    process: subprocess.Popen[bytes]
    log: Path
    running: Running

    def metrics(self) -> dict[str, float]:
        return self.ingest().metrics

    def ingest(self) -> Health:
        return ask_health(self.running.ingest_health)

    def encoded(self) -> int:
        """Chunks that went through the encoder in this life."""
        return int(self.metrics().get(ENCODED, 0))

    def status(self) -> Any:
        return self.shell.run("status", "--json").json

    def caught_up(self, within_s: float = CAUGHT_UP_WITHIN_S) -> Any:
        """The status, once everything that was accepted is in the view."""
        # Asked in this process: a command takes a second to start.
        found = reach(Settings(data_dir=self.running.data_dir))

        def is_reached() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            status = read_status(found)
            return status.lag == 0 and all(p.reflected == p.end for p in status.partitions if p.end)

        wait_until(is_reached, within_s=within_s, what="everything to be indexed and reflected")
        return self.status()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOPPED_WITHIN_S)


def start_up(shell: Shell, log: Path) -> Up:
    """`ragstream up` in the shell's directory, until it answers questions."""
    data_dir = shell.cwd / ".ragstream"
    process = shell.start(log, "up")
    announced = data_dir / "running.json"

    def is_ready() -> Running | None:
        assert process.poll() is None, log.read_text()[-3000:]
        if not announced.exists():
            return None
        running = Running.model_validate_json(announced.read_bytes())
        if running.pid != process.pid:
            return None  # of a life that was killed
        states = {ask_health(running.ingest_health).state, ask_health(running.query_health).state}
        return running if states == {"ready"} else None

    try:
        found = wait_until(is_ready, within_s=READY_WITHIN_S, what="`ragstream up` to be ready")
    except BaseException:
        process.kill()
        process.wait()
        raise
    assert found is not None
    return Up(shell, process, log, found)


@contextmanager
def up(shell: Shell, log: Path) -> Iterator[Up]:
    """The same, killed at the end if it still runs."""
    whole = start_up(shell, log)
    try:
        yield whole
    finally:
        if whole.process.poll() is None:
            whole.process.kill()
            whole.process.wait()


@contextmanager
def running(shell: Shell, log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that serves until it is stopped; SIGTERM ends it with status 0."""
    process = shell.start(log, *words)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDED_WITHIN_S) == 0, log.read_text()[-3000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def new_shell(folder: Path, **more: str) -> Shell:
    """An empty home and an empty working directory below `folder`."""
    work = folder / "work"
    work.mkdir(parents=True)
    return Shell(work, {"XDG_STATE_HOME": str(folder / "state"), **SMALL, **more})


def write_docs(folder: Path, **texts: str) -> Path:
    """A folder of Markdown files, last written a minute ago (a file's time is its event's)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text)
    return folder
