"""One view's folder: claimed by one process at a time, so that several query workers may share a data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from schemas.errors import Misconfigured

MAX_VIEWS: Final = 64


class ClaimedFolder:
    """A folder that is this process's until `release`. After a restart a worker finds what an earlier one left."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def first_free(cls, root: Path) -> ClaimedFolder:
        """The first numbered folder under `root` that nobody has claimed.

        Raises: Misconfigured, when there is none, or none can be made.
        """
        for number in range(MAX_VIEWS):
            path = root / str(number)
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)  # texts lie in it
                lock = os.open(path / "claim.lock", os.O_CREAT | os.O_RDWR, 0o600)
            except OSError as exc:
                remedy = "make it writable for this user, or choose another RAG_DATA_DIR"
                msg = f"{path} can't be written: {exc.strerror or exc}; {remedy}"
                raise Misconfigured(msg) from exc
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return cls(path, lock)
        msg = f"{root}: all {MAX_VIEWS} views are in use; give some query workers a RAG_DATA_DIR of their own"
        raise Misconfigured(msg)

    def release(self) -> None:
        """Let others have it. Never raises, and may be called again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
