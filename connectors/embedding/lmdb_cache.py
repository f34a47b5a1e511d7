"""The cache of vectors on disk: LMDB, shared by all ingest processes of a machine, so that a restart or replay embeds nothing.

Bounded by two generations: new entries go to the young one; when it has its half of the space, the old one is dropped, the
young one becomes old and an empty one young. An entry found in the old one is copied to the young one: what is used survives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from zlib import crc32

import lmdb
import numpy as np
import structlog

from connectors.embedding._lmdb_env import GENERATIONS, SharedStore, Store
from connectors.embedding.cache import entry_key
from connectors.embedding.port import Vector

_log = structlog.get_logger(__name__)

T = TypeVar("T")

FOLDER: Final = "embedding-cache"
YOUNG: Final = b"young"

# Both generations, the pages of a transaction that drops one, and the free list have to fit.
GENERATION_SHARE: Final = 0.42
MIN_MAX_BYTES: Final = 1024 * 1024
TRANSACTION_ENTRIES: Final = 128

# Half precision: half the space, cosine to the original 0.9999999; checksum because sync is off.
STORED: Final = np.dtype("<f2")
CHECKSUM_BYTES: Final = 4


class LmdbCache:
    """Vectors of one fingerprint in a cache file that may hold those of many. See `EmbeddingCache` for the contract.

    Several processes and threads may use the same folder. Errors of the store become log lines and misses; a damaged
    store is moved aside (`embedding-cache.damaged-…`) and a fresh one begun.
    """

    def __init__(self, data_dir: Path, fingerprint: str, max_bytes: int) -> None:
        self._fingerprint = fingerprint
        self._shared: SharedStore | None = SharedStore.join(data_dir / FOLDER, max(max_bytes, MIN_MAX_BYTES))

    def get_many(self, digests: Sequence[str]) -> dict[str, Vector]:
        digest_of = {entry_key(self._fingerprint, digest): digest for digest in digests}
        found, aging = self._attempt(partial(_read, list(digest_of)), "read") or ({}, {})
        if aging:
            self._put(aging)
        return {digest_of[key]: vector for key, value in found.items() if (vector := _decode(value)) is not None}

    def put_many(self, vectors: Mapping[str, Vector]) -> None:
        if vectors:
            self._put({entry_key(self._fingerprint, digest): _encode(vector) for digest, vector in vectors.items()})

    def close(self) -> None:
        if self._shared is not None:
            self._shared.leave()
            self._shared = None

    def _put(self, entries: Mapping[bytes, bytes]) -> None:
        items = list(entries.items())
        # In small transactions: a large one could outgrow a generation's share before that is looked at.
        for start in range(0, len(items), TRANSACTION_ENTRIES):
            write = partial(_write, items[start : start + TRANSACTION_ENTRIES], self._open_store().max_bytes)
            if self._attempt(write, "write") is None:
                return

    def _attempt(self, action: Callable[[Store], T], what: str) -> T | None:
        try:
            return self._open_store().run(action)
        except (lmdb.Error, OSError) as exc:
            _log.warning("embedding cache can't be used; vectors are computed instead", doing=what, error=str(exc))
            return None

    def _open_store(self) -> SharedStore:
        assert self._shared is not None, "the cache is used after close()"
        return self._shared


def _read(keys: Sequence[bytes], store: Store) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Return what is known, and which of it is in the old generation only."""
    found: dict[bytes, bytes] = {}
    aging: dict[bytes, bytes] = {}
    with store.env.begin() as txn:
        young, old = _by_age(store, txn)
        for key in keys:
            if (value := txn.get(key, db=young)) is not None:
                found[key] = value
            elif (value := txn.get(key, db=old)) is not None:
                found[key] = aging[key] = value
    return found, aging


def _write(entries: Sequence[tuple[bytes, bytes]], max_bytes: int, store: Store) -> int:
    try:
        return _insert(store, entries, max_bytes)
    except lmdb.MapFullError:
        # A reader holds dropped pages, or entries are larger than foreseen: giving up the old generation makes room.
        with store.env.begin(write=True) as txn:
            _rotate(store, txn)
        return _insert(store, entries, max_bytes)


def _insert(store: Store, entries: Sequence[tuple[bytes, bytes]], max_bytes: int) -> int:
    with store.env.begin(write=True) as txn:
        young, _ = _by_age(store, txn)
        for key, value in entries:
            txn.put(key, value, db=young)
        stat = txn.stat(young)
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        if pages * stat["psize"] > GENERATION_SHARE * max_bytes:
            _rotate(store, txn)
    return len(entries)


def _by_age(store: Store, txn: Any) -> tuple[Any, Any]:
    """Return the young and the old generation, as the last rotation, of whichever process, left them."""
    first, second = store.generations
    return (second, first) if txn.get(YOUNG) == GENERATIONS[1] else (first, second)


def _rotate(store: Store, txn: Any) -> None:
    """Empty the old generation and make it the young one."""
    _, old = _by_age(store, txn)
    txn.drop(old, delete=False)
    txn.put(YOUNG, GENERATIONS[1] if old is store.generations[1] else GENERATIONS[0])


def _encode(vector: Vector) -> bytes:
    body = vector.astype(STORED).tobytes()
    return crc32(body).to_bytes(CHECKSUM_BYTES) + body


def _decode(value: bytes) -> Vector | None:
    body = value[CHECKSUM_BYTES:]
    if crc32(body).to_bytes(CHECKSUM_BYTES) != value[:CHECKSUM_BYTES]:
        return None
    vector = np.frombuffer(body, STORED).astype(np.float32)
    vector /= np.linalg.norm(vector)
    return vector
