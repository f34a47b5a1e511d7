"""One immutable state of the view: what the checks of a query look at, from the first candidate to the last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Final, NamedTuple, Self

import lmdb

from query_api.view.access import hides, narrowed
from query_api.view.metadata import spans
from query_api.view.records import DocumentCard, shown_entry
from query_api.view.tables import (
    FINGERPRINT_BYTES,
    Tables,
    between,
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
from schemas.filters import Filter, matches
from schemas.floors import NO_FLOOR, Floor, join_floors, standing
from schemas.index import ChunkSpan, DocKey, IndexEntry, Progress, SourcePosition
from schemas.join import DocumentState

# What is hidden now (floors, expiry) counts towards a limit that is about what is readable.
SCAN_SLACK: Final = 2
SCAN_ENTRIES: Final = 20_000
"""Entries that a caller's principals, or one filter, may have before they count as not selective: each takes 1 µs to look at, and
a document has one for every group of the caller's that may read it."""
NO_FILTERS: Final[Mapping[str, Filter]] = {}
DECODED_SIZE: Final = 2
"""About how many bytes of memory a byte of a manifest takes."""


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


class Wanted(NamedTuple):
    """What rows must be: readable by whom and when, of which indexes (any, where none is named), with which metadata."""

    principals: Principals
    now_ms: int
    indexes: frozenset[str]
    filters: Mapping[str, Filter]


class _Known(NamedTuple):
    """What a card says, decoded; the document is as it would be without floors, None where there is nothing to show."""

    raw: bytes
    card: DocumentCard
    document: ViewDocument | None
    size: int


class DocumentCache:
    """Decoded documents, the least recently used leave first. Thread-safe.

    A card names the manifest that is shown, so the same card's bytes mean the same document.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes, _Known] = OrderedDict()

    def get(self, name: bytes, raw: bytes) -> _Known | None:
        with self._lock:
            found = self._held.get(name)
            if found is None or found.raw != raw:
                return None
            self._held.move_to_end(name)
            return found

    def put(self, name: bytes, known: _Known) -> None:
        with self._lock:
            before = self._held.pop(name, None)
            self._held[name] = known
            self._bytes += known.size - (before.size if before is not None else 0)
            while self._bytes > self._max_bytes and len(self._held) > 1:
                _, oldest = self._held.popitem(last=False)
                self._bytes -= oldest.size


class ViewSnapshot:
    """A context manager. Hold it briefly and don't await inside: pages it sees can't be reused meanwhile."""

    def __init__(
        self, txn: lmdb.Transaction, tables: Tables, missing: Mapping[str, AllowList], cache: DocumentCache, generation: str
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
        known = self._known(name)
        return self._under_floors(name, known) if known is not None else None

    def indexed(self, key: DocKey) -> ViewDocument | None:
        """The document as the keyword index holds it: floors come and go without touching that."""
        known = self._known(document_key(key))
        return known.document if known is not None else None

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

    def is_told_of_failure(self, key: DocKey, source: SourcePosition, principals: Principals, now_ms: int) -> bool:
        """Whether the event at `source` is a dead letter, of this document, and this caller may read the document.

        Who names a position and a document proves nothing: the document's own newest record must follow from that event. One
        that never had a text has readers all the same, by what its events said. Operators are told of any dead letter.
        """
        if not self.is_dead_lettered(source):
            return False
        if OPERATOR in principals:
            return True
        card = self.card(key)
        if card is None or not card.follows_from(source):
            return False
        document = self.document(key)
        if document is not None:
            return self.is_readable(document, principals, now_ms)
        floor = self.floor(key)
        if card.state.content is not None or floor.delete is not None or card.state.is_expired(now_ms):
            return False
        lists = narrowed(floor, card.state, self._missing.get(key.index, OPERATOR_ONLY))
        return all(permits(allow, principals) for allow in lists)

    # -- selective callers

    def readable_rows(
        self,
        principals: Principals,
        now_ms: int,
        limit: int,
        indexes: Collection[str] = (),
        filters: Mapping[str, Filter] = NO_FILTERS,
    ) -> dict[str, DocKey] | None:
        """All rows that a caller may read and that `filters` hold for, where that is so little that a search finds almost none.

        Returns:
            Row id to document; None when there are more than `limit`, which is found out quickly.
        """
        lists = [] if OPERATOR in principals else [self._read_by(principals)]
        lists += [self._matching(name, wanted) for name, wanted in filters.items()]
        most = limit * SCAN_SLACK
        found: dict[bytes, int] | None = None
        for listed in lists:
            few = _listed(listed, most if len(lists) == 1 else None)  # of several, only what is on all of them counts
            if few is not None:
                found = few if found is None else {name: count for name, count in found.items() if name in few}
        if found is None or sum(found.values()) > most:
            return None
        return self._rows_of(found, Wanted(principals, now_ms, frozenset(indexes), filters), limit)

    def _read_by(self, principals: Principals) -> Iterator[tuple[bytes, bytes]]:
        for principal in principals:
            yield from with_prefix(self._txn, self._tables.readers, fingerprint(f"principal:{principal}"))

    def _matching(self, name: str, wanted: Filter) -> Iterator[tuple[bytes, bytes]]:
        for span in spans(name, wanted):
            yield from between(self._txn, self._tables.metadata, span.first, span.last)

    def _rows_of(self, names: Collection[bytes], wanted: Wanted, limit: int) -> dict[str, DocKey] | None:
        rows: dict[str, DocKey] = {}
        for name in names:
            known = self._known(name)
            if known is None or (wanted.indexes and known.card.key.index not in wanted.indexes):
                continue
            document = self._under_floors(name, known)
            if document is None or not self.is_readable(document, wanted.principals, wanted.now_ms):
                continue
            if matches(wanted.filters, document.entry.metadata):
                rows.update(dict.fromkeys(document.rows, document.key))
                if len(rows) > limit:
                    return None
        return rows

    # -- reading

    def _card(self, name: bytes) -> DocumentCard | None:
        raw = self._txn.get(name, db=self._tables.cards)
        return DocumentCard.from_bytes(bytes(raw)) if raw is not None else None

    def _known(self, name: bytes) -> _Known | None:
        raw = self._txn.get(name, db=self._tables.cards)
        if raw is None:
            return None
        raw = bytes(raw)
        known = self._cache.get(name, raw)
        if known is None:
            known = self._decoded(name, raw)
            self._cache.put(name, known)
        return known

    def _decoded(self, name: bytes, raw: bytes) -> _Known:
        card = DocumentCard.from_bytes(raw)
        state = card.state
        shown = card.shown(state)
        if shown is None:
            return _Known(raw, card, None, len(raw))
        stored = self._txn.get(in_partition(name, shown.partition), db=self._tables.manifests)
        if stored is None:
            msg = "a card and its manifests are written in one transaction"
            raise AssertionError(msg)
        _, manifest = unpack_offset(bytes(stored))
        entry = shown_entry(manifest)
        rows = {span.row_id: position for position, span in enumerate(entry.chunks)}
        lists = state.allow_lists(self._missing.get(card.key.index, OPERATOR_ONLY))
        return _Known(raw, card, ViewDocument(card.key, state, lists, entry, rows), len(raw) + DECODED_SIZE * len(manifest))

    def _under_floors(self, name: bytes, known: _Known) -> ViewDocument | None:
        document = known.document
        if document is None or self._is_without_floors:
            return document
        floor = self._standing(name)
        if floor == NO_FLOOR:
            return document
        if hides(floor, document.state):
            return None
        missing = self._missing.get(document.key.index, OPERATOR_ONLY)
        return replace(document, allow_lists=narrowed(floor, document.state, missing))

    @cached_property
    def _is_without_floors(self) -> bool:
        return not self._txn.stat(self._tables.floors)["entries"]

    def _standing(self, name: bytes) -> Floor:
        floor = NO_FLOOR
        for _, raw in with_prefix(self._txn, self._tables.floors, name):
            floor = join_floors(floor, standing(Floor.from_bytes(raw), self._positions))
        return floor


def _listed(entries: Iterator[tuple[bytes, bytes]], most: int | None) -> dict[bytes, int] | None:
    """Number of passages by document; None where there are too many entries to list, or more than `most` passages in all."""
    found: dict[bytes, int] = {}
    passages = 0
    for visited, (key, raw) in enumerate(entries, start=1):
        document = key[-FINGERPRINT_BYTES:]
        if document not in found:
            found[document] = unpack_count(raw)
            passages += found[document]
        if visited > SCAN_ENTRIES or (most is not None and passages > most):
            return None
    return found
