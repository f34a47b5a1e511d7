"""One writer a transactional id, by file lock: for the embedded broker, which fences nobody."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import IO

from schemas.errors import Fenced


class WriterLock:
    """Held from `acquire` to `release`, and let go by the system when the process dies."""

    def __init__(self, folder: Path, transactional_id: str) -> None:
        self._id = transactional_id
        self._path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', transactional_id)}.lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; harmless when it is held already. Raises: Fenced when another writer holds it."""
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            message = f"{self._id} is written by process {holder} already ({self._path} is locked): end one of the two"
            raise Fenced(message) from exc
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go. Never raises."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
