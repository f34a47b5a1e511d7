"""The file of API keys, read again when it changes. A file that can't be read or is wrong changes nothing, and is logged."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from query_api.identity.api_keys import MAX_FILE_BYTES, KeyEntry, parse_key_file
from schemas.errors import Misconfigured, Rejected

_log = structlog.get_logger(__name__)


class _Stamp(NamedTuple):
    """What changes with a file: written in place, or replaced by another."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class KeyFile:
    """The keys of one file, as of its last good state. Thread-safe.

    Raises: Misconfigured when made, where there is no such file or it is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._stamp: _Stamp | None = self._current_stamp()
            self._entries: Mapping[str, KeyEntry] = self._read()
        except (OSError, Rejected) as exc:
            msg = f"RAG_AUTH__API_KEYS_FILE: {path}: {_told(exc)}; `ragstream keys create` makes entries"
            raise Misconfigured(msg) from exc

    @property
    def entries(self) -> Mapping[str, KeyEntry]:
        """By id. Asks the file system whether they are still those of the file: microseconds."""
        with self._lock:
            try:
                stamp = self._current_stamp()
            except OSError as exc:
                self._note(None, exc)
                return self._entries
            if stamp != self._stamp:
                try:
                    entries = self._read()
                except (OSError, Rejected) as exc:
                    self._note(stamp, exc)
                else:
                    self._stamp, self._entries = stamp, entries
                    _log.info("api_keys_read", file=str(self._path), keys=len(entries))
            return self._entries

    def _note(self, stamp: _Stamp | None, exc: Exception) -> None:
        """Log once for each state of the file."""
        if stamp != self._stamp:
            _log.error("api_keys_unreadable_the_last_good_ones_stay", file=str(self._path), error=_told(exc))
        self._stamp = stamp

    def _current_stamp(self) -> _Stamp:
        now = self._path.stat()
        return _Stamp(now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)

    def _read(self) -> dict[str, KeyEntry]:
        reason = "bad_key_file"
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise Rejected(reason, "anybody on this machine may write it, and so give themselves every right: chmod o-w")
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise Rejected(reason, f"more than {MAX_FILE_BYTES:,} bytes")
        try:
            return parse_key_file(raw.decode())
        except UnicodeDecodeError as exc:
            raise Rejected(reason, f"not UTF-8 at byte {exc.start}") from exc


def _told(exc: Exception) -> str:
    return exc.detail if isinstance(exc, Rejected) else str(getattr(exc, "strerror", None) or exc)
