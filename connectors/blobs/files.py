"""`file://` URIs under allowed roots.

A path is resolved first, then opened step by step without following links, so that nothing swapped in between leads out.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from connectors.blobs.errors import BlobRejected, BlobTroubled
from schemas.errors import Retryable

_READ_SIZE = 1024 * 1024
# NONBLOCK: a named pipe must not hang us before it is seen to be one.
_OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OPEN_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
_REASONS = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_found",
    errno.ENAMETOOLONG: "not_found",
    errno.EACCES: "not_readable",
    errno.EPERM: "not_readable",
    errno.EISDIR: "not_regular",
    errno.ENXIO: "not_regular",  # a socket
    errno.ELOOP: "outside_roots",  # a link swapped in after the path was resolved, or a circle of them
}


class FileStore:
    """Implements `BlobStore` for regular files in the given folders and below."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)

    def fetch(self, uri: str, *, sha256: str | None, max_bytes: int, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        path = _path_of(uri)
        try:
            descriptor = self._open(uri, path)
            try:
                data = _read(descriptor, uri, max_bytes, deadline)
            finally:
                os.close(descriptor)
        except OSError as exc:
            if exc.errno == errno.EIO:
                self._require_roots()
            _translate(exc, uri)
        if sha256 is not None:
            _check_hash(data, sha256, uri)
        return data

    def _require_roots(self) -> None:
        """A share whose server is away may say the same as a damaged disk. Raises: Retryable, where a root can't be listed."""
        for root in self._roots:
            try:
                with os.scandir(root) as entries:
                    next(entries, None)
            except OSError as exc:
                message = f"the folder {root} can't be read: {exc.strerror}"
                raise Retryable(message) from exc

    def _open(self, uri: str, path: str) -> int:
        real = Path(os.path.realpath(path))
        for root in self._roots:
            real_root = Path(os.path.realpath(root))
            if real.is_relative_to(real_root):
                if not real_root.is_dir():
                    message = f"the folder {root} is not there; mount it, or take it out of RAG_BLOBS__FILE_ROOTS"
                    raise Retryable(message)
                return _open_below(real_root, real.relative_to(real_root).parts)
        detail = f"{uri} is not in an allowed folder; RAG_BLOBS__FILE_ROOTS lists {[str(root) for root in self._roots]}"
        msg = "outside_roots"
        raise BlobRejected(msg, detail)


def _path_of(uri: str) -> str:
    """Return the absolute path that a `file:` URI names."""
    try:
        parts = urlsplit(uri)
        path = unquote(parts.path, errors="strict")
    except ValueError as exc:
        raise _malformed(uri, "is not a URI") from exc
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise _malformed(uri, "is not of the form file:///absolute/path")
    if parts.query or parts.fragment:
        raise _malformed(uri, "has a ? or #; write them as %3F and %23")
    if "\x00" in path:
        raise _malformed(uri, "holds a NUL")
    return path


def _malformed(uri: str, why: str) -> BlobRejected:
    return BlobRejected("malformed_uri", f"{uri} {why}")


def _open_below(root: Path, parts: Sequence[str]) -> int:
    """Open a file by its path below a folder, following no link on the way."""
    folder = os.open(root, _OPEN_FOLDER)
    try:
        for name in parts[:-1]:
            inner = os.open(name, _OPEN_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1] if parts else ".", _OPEN_FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _read(descriptor: int, uri: str, max_bytes: int, deadline: float) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        detail = f"{uri} is not a regular file"
        msg = "not_regular"
        raise BlobRejected(msg, detail)
    data = bytearray()
    while block := os.read(descriptor, min(_READ_SIZE, max_bytes + 1 - len(data))):
        data += block
        if len(data) > max_bytes or status.st_size > max_bytes:
            detail = f"{uri} has {max(status.st_size, len(data))} bytes; at most {max_bytes} (RAG_BLOBS__MAX_MIB)"
            msg = "too_large"
            raise BlobRejected(msg, detail)
        if time.monotonic() >= deadline:
            message = f"reading {uri} takes too long: {len(data)} of {status.st_size} bytes in time"
            raise BlobTroubled(message)
    return bytes(data)


def _translate(exc: OSError, uri: str) -> NoReturn:
    reason = _REASONS.get(exc.errno or 0)
    if reason is None:
        message = f"reading {uri} failed for now: {exc.strerror}"
        raise (BlobTroubled if exc.errno == errno.EIO else Retryable)(message) from exc
    raise BlobRejected(reason, f"{uri}: {exc.strerror}") from exc


def _check_hash(data: bytes, expected: str, uri: str) -> None:
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected.lower():
        detail = f"{uri} has sha256 {actual}, not {expected}; publish the change again with what is there now"
        msg = "hash_mismatch"
        raise BlobRejected(msg, detail)
