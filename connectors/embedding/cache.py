"""Caches of vectors that live in the process, and what every cache shares: how entries are named.

`MemoryCache` is also the fake of the one on disk (`lmdb_cache`); both pass the same contract tests.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

from connectors.embedding.port import Vector

KEY_BYTES: Final = 16


def entry_key(fingerprint: str, digest: str) -> bytes:
    """Return the key of a chunk's vector: both parts hashed, so that encoders never meet each other's vectors."""
    return blake2b(f"{fingerprint}\x00{digest}".encode(errors="surrogatepass"), digest_size=KEY_BYTES).digest()


class MemoryCache:
    """Least-recently-used cache in the process. See `EmbeddingCache` for the contract."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get_many(self, digests: Sequence[str]) -> dict[str, Vector]:
        with self._lock:
            found = {digest: self._entries[digest] for digest in digests if digest in self._entries}
            for digest in found:
                self._entries.move_to_end(digest)
        return found

    def put_many(self, vectors: Mapping[str, Vector]) -> None:
        with self._lock:
            for digest, vector in vectors.items():
                self._forget(digest)
                # A copy: a row of a batch's matrix would keep the whole matrix alive.
                entry = vector.copy()
                entry.setflags(write=False)
                self._entries[digest] = entry
                self._bytes += entry.nbytes
            while self._bytes > self._max_bytes and self._entries:
                self._forget(next(iter(self._entries)))

    def close(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _forget(self, digest: str) -> None:
        former = self._entries.pop(digest, None)
        if former is not None:
            self._bytes -= former.nbytes


class NoCache:
    """Remembers nothing (RAG_EMBEDDING__CACHE=off)."""

    def get_many(self, digests: Sequence[str]) -> dict[str, Vector]:
        return {}

    def put_many(self, vectors: Mapping[str, Vector]) -> None:
        pass

    def close(self) -> None:
        pass
