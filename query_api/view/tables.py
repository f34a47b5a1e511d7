"""The LMDB tables of a view and how their keys are made. Shared by the store, which writes, and its snapshots."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

import lmdb

from schemas.index import DocKey

FINGERPRINT_BYTES: Final = 20
_PARTITION: Final = struct.Struct(">I")
_COUNT: Final = struct.Struct(">I")
_OFFSET: Final = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class Tables:
    """The named databases.

    Attributes:
        meta: what the view belongs to, and when it last followed.
        positions: topic/partition → offset to read next.
        cards: document → `DocumentCard`.
        manifests: document and partition → offset and raw manifest.
        floors: document, floors partition and the lane's own partition, if the floor is a lane's → raw floor.
        progress: source partition → raw marker.
        dead_letters: source partition and first offset of a run of dead letters → its last offset.
        dirty: document → mark of the change that the keyword index has yet to commit.
        readers: principal and document → number of passages; for documents that are shown.
        metadata: name, type, value and document → number of passages; for documents that are shown.
        metadata_keys: document → its keys in `metadata`, without the document's part.
    """

    meta: Any
    positions: Any
    cards: Any
    manifests: Any
    floors: Any
    progress: Any
    dead_letters: Any
    dirty: Any
    readers: Any
    metadata: Any
    metadata_keys: Any

    @classmethod
    def open(cls, env: lmdb.Environment) -> Tables:
        return cls(**{field.name: env.open_db(field.name.encode()) for field in fields(cls)})

    @classmethod
    def count(cls) -> int:
        return len(fields(cls))


@lru_cache(maxsize=65_536)
def fingerprint(name: str) -> bytes:
    """A key of fixed length: LMDB's are 511 bytes at most, document ids may be longer."""
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=FINGERPRINT_BYTES).digest()


def document_key(key: DocKey) -> bytes:
    return fingerprint(str(key))


def in_partition(document: bytes, partition: int) -> bytes:
    return document + _PARTITION.pack(partition)


def floor_key(document: bytes, partition: int, lane: int | None) -> bytes:
    """Of a record in `partition` of the floors, written by the lane of a partition; None: by one that its key doesn't name."""
    name = in_partition(document, partition)
    return name if lane is None else name + _PARTITION.pack(lane)


def reader_key(principal: str, document: bytes) -> bytes:
    return fingerprint(f"principal:{principal}") + document


def position_key(topic: str, partition: int) -> bytes:
    return f"{topic}/{partition}".encode()


def pack_count(count: int) -> bytes:
    return _COUNT.pack(count)


def unpack_count(raw: bytes) -> int:
    return int(_COUNT.unpack(raw)[0])


def pack_offset(offset: int, rest: bytes = b"") -> bytes:
    return _OFFSET.pack(offset) + rest


def unpack_offset(raw: bytes) -> tuple[int, bytes]:
    return int(_OFFSET.unpack_from(raw)[0]), raw[_OFFSET.size :]


def pack_number(number: int) -> bytes:
    return _PARTITION.pack(number)


def unpack_number(raw: bytes) -> int:
    return int(_PARTITION.unpack(raw)[0])


def run_key(partition: int, first: int) -> bytes:
    return _PARTITION.pack(partition) + _OFFSET.pack(first)


def with_prefix(txn: lmdb.Transaction, table: Any, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries whose key begins with `prefix`, in order."""
    with txn.cursor(db=table) as cursor:
        if not cursor.set_range(prefix):
            return
        for raw, value in cursor:
            key = bytes(raw)
            if not key.startswith(prefix):
                return
            yield key, bytes(value)


def between(txn: lmdb.Transaction, table: Any, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries from `first` on, in order, until their key sorts behind all that begin with `last`."""
    with txn.cursor(db=table) as cursor:
        if not cursor.set_range(first):
            return
        for raw, value in cursor:
            key = bytes(raw)
            if key[: len(last)] > last:
                return
            yield key, bytes(value)
