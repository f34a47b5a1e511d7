"""One immutable state of the view: what the checks of a query look at, from the first candidate to the last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Final, NamedTuple, Self

import lmdb

from query_api.view.access import hides, narrowed, standing
from query_api.view.records import DocumentCard
from query_api.view.tables import (
    FINGERPRINT_BYTES,
    Tables,
    document_key,
    fingerprint,
    in_partition,
    pack_number,
    run_key,
    unpack_count,
    unpack_number,
    unpack_offset,
    with_prefix,
)
from schemas.acl import OPERATOR, OPERATOR_ONLY, AllowList, Principals, permits
from schemas.floors import NO_FLOOR, Floor, join_floors
from schemas.index import ChunkSpan, DocKey, IndexEntry, Progress, SourcePosition
from schemas.join import DocumentState

# What is hidden now (floors, expiry) counts towards a limit that is about what is readable.
SCAN_SLACK: Final = 2


class _ManifestId(NamedTuple):
    document: bytes
    partition: int
    offset: int


class ManifestCache:
    """Decoded manifests by document and position in the log, the least recently used leave first. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[_ManifestId, tuple[IndexEntry, Mapping[str, int], int]] = OrderedDict()

    def decoded(self, manifest: _ManifestId, raw: bytes) -> tuple[IndexEntry, Mapping[str, int]]:
        """The manifest and where in it each row id stands."""
        with self._lock:
            found = self._held.get(manifest)
            if found is not None:
                self._held.move_to_end(manifest)
                return found[0], found[1]
        entry = IndexEntry.from_bytes(raw)
        rows = {span.row_id: position for position, span in enumerate(entry.chunks)}
        with self._lock:
            if manifest not in self._held:
                self._held[manifest] = (entry, rows, len(raw))
                self._bytes += len(raw)
            while self._bytes > self._max_bytes and len(self._held) > 1:
                _, (_, _, size) = self._held.popitem(last=False)
                self._bytes -= size
        return entry, rows


@dataclass(frozen=True)
class ViewDocument:
    """A document as this view shows it: one manifest, and who may read it right now.

    Attributes:
        state: its registers, joined over partitions.
        allow_lists: a reader must be on all of them; narrowed by standing floors.
        rows: position of each passage by row id.
    """

    key: DocKey
    state: DocumentState
    allow_lists: tuple[AllowList, ...]
    entry: IndexEntry
    rows: Mapping[str, int]

    @property
    def version(self) -> int:
        """Version of the shown content."""
        return self.state.content_version

    @property
    def newest_version_failed(self) -> bool:
        """Whether a newer version could not be processed, so that an older text is shown."""
        return self.state.is_stale

    @cached_property
    def expires_at_ms(self) -> int | None:
        return self.state.expires_at_ms()

    @property
    def chunks(self) -> tuple[ChunkSpan, ...]:
        return self.entry.chunks

    def passage(self, position: int) -> str:
        """Text of the passage at a position."""
        span = self.entry.chunks[position]
        return self.entry.text[span.start : span.end]

    def is_expired(self, now_ms: int) -> bool:
        return self.expires_at_ms is not None and self.expires_at_ms <= now_ms

    def permits(self, principals: Principals) -> bool:
        return all(permits(allow, principals) for allow in self.allow_lists)


class ViewSnapshot:
    """A context manager. Hold it briefly and don't await inside: pages it sees can't be reused meanwhile."""

    def __init__(
        self, txn: lmdb.Transaction, tables: Tables, missing: Mapping[str, AllowList], cache: ManifestCache, generation: str
    ) -> None:
        self._txn = txn
        self._tables = tables
        self._missing = missing
        self._cache = cache
        self.generation = generation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """May be called again."""
        self._txn.abort()

    # -- documents

    def document(self, key: DocKey) -> ViewDocument | None:
        """The document as it may be shown to those who may read it; None where there is nothing to show.

        Expiry depends on the moment, readers on the caller: ask `is_readable`.
        """
        name = document_key(key)
        card = self._card(name)
        return self._document(name, card, self._standing(name)) if card is not None else None

    def indexed(self, key: DocKey) -> ViewDocument | None:
        """The document as the keyword index holds it: floors come and go without touching that."""
        name = document_key(key)
        card = self._card(name)
        return self._document(name, card, NO_FLOOR) if card is not None else None

    def is_readable(self, document: ViewDocument, principals: Principals, now_ms: int) -> bool:
        """Whether a caller with `principals` may be shown the document at `now_ms`."""
        return document.permits(principals) and not document.is_expired(now_ms)

    def state(self, key: DocKey) -> DocumentState | None:
        """Registers of a document, a deleted one's too; None where the log knows nothing of it."""
        card = self._card(document_key(key))
        return card.state if card is not None else None

    def card(self, key: DocKey) -> DocumentCard | None:
        """What the log says of a document but its text."""
        return self._card(document_key(key))

    def floor(self, key: DocKey) -> Floor:
        """What the express lane knows and the view's progress has not passed yet."""
        return self._standing(document_key(key))

    def keys(self) -> Iterator[DocKey]:
        """Every document that the log knows, deleted ones too, in no order that means anything."""
        with self._txn.cursor(db=self._tables.cards) as cursor:
            for raw in cursor.iternext(keys=False, values=True):
                yield DocumentCard.from_bytes(bytes(raw)).key

    def is_dirty(self, key: DocKey) -> bool:
        """Whether the keyword index has yet to commit the document's newest text."""
        return self._txn.get(document_key(key), db=self._tables.dirty) is not None

    # -- positions

    @cached_property
    def _progress(self) -> dict[int, Progress]:
        with self._txn.cursor(db=self._tables.progress) as cursor:
            return {unpack_number(bytes(key)): Progress.from_bytes(bytes(raw)) for key, raw in cursor}

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {partition: marker.next for partition, marker in self._progress.items()}

    def progress(self) -> dict[int, int]:
        """By partition of `rag.documents`: everything below the offset is reflected in the documents."""
        return dict(self._positions)

    def markers(self) -> dict[int, Progress]:
        """The newest progress marker of each partition of `rag.documents`."""
        return dict(self._progress)

    def is_dead_lettered(self, source: SourcePosition) -> bool:
        """Whether an event that progress has passed ended as a dead letter, as far back as is remembered."""
        with self._txn.cursor(db=self._tables.dead_letters) as cursor:
            # The last run that begins at or before the offset.
            wanted = run_key(source.partition, source.offset)
            found = cursor.set_range(wanted) and bytes(cursor.key()) == wanted
            if not found and not (cursor.prev() if cursor.key() else cursor.last()):
                return False
            is_same_partition = bytes(cursor.key()).startswith(pack_number(source.partition))
            return is_same_partition and unpack_offset(bytes(cursor.value()))[0] >= source.offset

    # -- selective callers

    def readable_rows(
        self, principals: Principals, now_ms: int, limit: int, indexes: Collection[str] = ()
    ) -> dict[str, DocKey] | None:
        """All rows that a caller may read, for one who may read so little that a filtered vector search finds almost nothing.

        Returns:
            Row id to document; None when there are more than `limit`, which is found out quickly.
        """
        if OPERATOR in principals:
            return None
        found: dict[bytes, int] = {}
        total = 0
        for principal in principals:
            for key, count in with_prefix(self._txn, self._tables.readers, fingerprint(f"principal:{principal}")):
                name = key[FINGERPRINT_BYTES:]
                if name not in found:
                    found[name] = unpack_count(count)
                    total += found[name]
                    if total > limit * SCAN_SLACK:
                        return None
        return self._rows_of(found, principals, now_ms, limit, frozenset(indexes))

    def _rows_of(
        self, names: Collection[bytes], principals: Principals, now_ms: int, limit: int, indexes: frozenset[str]
    ) -> dict[str, DocKey] | None:
        rows: dict[str, DocKey] = {}
        for name in names:
            card = self._card(name)
            if card is None or (indexes and card.key.index not in indexes):
                continue
            document = self._document(name, card, self._standing(name))
            if document is not None and self.is_readable(document, principals, now_ms):
                rows.update(dict.fromkeys(document.rows, document.key))
                if len(rows) > limit:
                    return None
        return rows

    # -- reading

    def _card(self, name: bytes) -> DocumentCard | None:
        raw = self._txn.get(name, db=self._tables.cards)
        return DocumentCard.from_bytes(bytes(raw)) if raw is not None else None

    def _document(self, name: bytes, card: DocumentCard, floor: Floor) -> ViewDocument | None:
        state = card.state
        shown = card.shown(state)
        if shown is None or hides(floor, state):
            return None
        raw = self._txn.get(in_partition(name, shown.partition), db=self._tables.manifests)
        if raw is None:
            msg = "a card and its manifests are written in one transaction"
            raise AssertionError(msg)
        _, manifest = unpack_offset(bytes(raw))
        entry, rows = self._cache.decoded(_ManifestId(name, shown.partition, shown.offset), manifest)
        missing = self._missing.get(card.key.index, OPERATOR_ONLY)
        return ViewDocument(card.key, state, narrowed(floor, state, missing), entry, rows)

    def _standing(self, name: bytes) -> Floor:
        floor = NO_FLOOR
        for _, raw in with_prefix(self._txn, self._tables.floors, name):
            floor = join_floors(floor, Floor.from_bytes(raw))
        return standing(floor, self._positions) if floor != NO_FLOOR else floor
