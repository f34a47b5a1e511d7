"""How the other commands find an `up` that runs: a file in its data directory, and one the user's commands all look at."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict

from ragstream.data_directory import make
from schemas.errors import Misconfigured

FILE: Final = "running.json"
LOCK: Final = "lock"


class Running(BaseModel):
    """Where an `up` can be reached. Only this user can read it: `token` opens its door."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    data_dir: Path
    bootstrap: str
    is_embedded_kafka: bool
    milvus_uri: str
    door: str
    token: str
    generation: str
    ingest_health: str
    query_health: str
    http: str = ""


def user_file() -> Path:
    """Where this user's running `up` is noted, whatever the directory it was started in."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ragstream" / FILE


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Be the one `up` of a data directory. Raises: Misconfigured, naming the process that is it already."""
    make(data_dir)
    with (data_dir / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            msg = f"{data_dir} is in use by process {holder}: stop it, or choose another RAG_DATA_DIR"
            raise Misconfigured(msg) from exc
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def announce(running: Running) -> None:
    """Let other commands find this process."""
    for path in (running.data_dir / FILE, user_file()):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.touch(mode=0o600)
        scratch.write_bytes(running.model_dump_json().encode())
        scratch.replace(path)


def withdraw(running: Running) -> None:
    """Take back what `announce` wrote, if nobody has written over it since."""
    for path in (running.data_dir / FILE, user_file()):
        found = _read(path)
        if found is not None and found.pid == running.pid:
            path.unlink(missing_ok=True)


def find(data_dir: Path) -> Running | None:
    """The `up` that runs in `data_dir`, else the one that this user runs anywhere."""
    for path in (data_dir / FILE, user_file()):
        found = _read(path)
        if found is not None and _is_held(found.data_dir):
            return found
    return None


def _read(path: Path) -> Running | None:
    try:
        return Running.model_validate(orjson.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def _is_held(data_dir: Path) -> bool:
    try:
        with (data_dir / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
