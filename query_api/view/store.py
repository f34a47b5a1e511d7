"""The view on disk: manifests, registers, floors, progress and log positions, each batch in one LMDB transaction.

It resumes where it stopped, and is emptied when what it holds doesn't fit the log it is to follow.
"""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import lmdb
import orjson
import structlog

from connectors.kafka import Record
from connectors.kafka.topic_specs import DAY_MS, DELETE_RETENTION_MS, HOUR_MS
from query_api.view.metadata import value_keys
from query_api.view.records import DocumentCard, Shown, manifest_head, require_known_schema, seen_head
from query_api.view.snapshot import DocumentCache, ViewSnapshot
from query_api.view.tables import (
    Tables,
    document_key,
    floor_key,
    in_partition,
    pack_count,
    pack_number,
    pack_offset,
    position_key,
    reader_key,
    run_key,
    unpack_number,
    unpack_offset,
    with_prefix,
)
from schemas.acl import OPERATOR_ONLY, AllowList
from schemas.errors import Fatal, Misconfigured
from schemas.floors import NO_FLOOR, Floor, FloorKey, join_floors, standing
from schemas.index import DOC, PROGRESS, SEEN, DocKey, LogKey, Outcome, Progress

VIEW_FORMAT: Final = 3
"""Raised when what is stored changes: older views are then read again from the log."""

MAP_BYTES: Final = 1 << 38
"""Address space, not disk: the file grows with what is in it."""
MAX_READERS: Final = 512
DOCUMENT_CACHE_BYTES: Final = 64 * 1024 * 1024
DEAD_LETTER_SPAN: Final = 1_000_000
"""How far back, in offsets, a dead letter is remembered for those who ask what became of their event."""
MAX_AWAY_MS: Final = DELETE_RETENTION_MS - DAY_MS
"""Below the 7 days for which compacted topics keep what says that something was cleared (`delete.retention.ms`): the rest is for
reading on."""
MAX_AHEAD_MS: Final = HOUR_MS
"""A view that last followed in the future had that from a wrong clock: nobody knows how long it was away."""
AWAY: Final = "it was away for so long that the log may have forgotten what it cleared"
_META_KEY: Final = b"meta"
_FOLLOWED_KEY: Final = b"followed"
_NOTHING: Final = Shown(-1, -1, 0, "", "")

_log = structlog.get_logger(__name__)


class ViewIdentity(NamedTuple):
    """What a stored view must belong to, to be used: logs made anew have other identities."""

    generation: str
    index_log: str
    floors_log: str


class Dirty(NamedTuple):
    """A document whose passages the keyword index has yet to commit; `mark` tells this change from later ones."""

    key: DocKey
    mark: bytes


@dataclass(slots=True)
class _Batch:
    """Cards of one transaction, read once and written once."""

    txn: lmdb.Transaction
    before: dict[DocKey, DocumentCard]
    after: dict[DocKey, DocumentCard]
    progress: Mapping[int, int] | None = None


class ManifestStore:
    """One thread writes; any number take snapshots.

    Args:
        folder: its own; emptied when what is in it doesn't fit.
        identity: the logs it follows.
        index_topic, floors_topic: whose records are whose.
        missing: per index, the allow-list of documents that never carried one.
        now_ms: the wall clock, which goes on while nothing runs.
    """

    def __init__(
        self,
        folder: Path,
        identity: ViewIdentity,
        *,
        index_topic: str,
        floors_topic: str,
        missing: Mapping[str, AllowList],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._index_topic = index_topic
        self._floors_topic = floors_topic
        self._missing = missing
        self._now_ms = now_ms
        self._followed_ms: int | None = None
        self._cache = DocumentCache(DOCUMENT_CACHE_BYTES)
        self._lock = threading.Lock()
        self._env: lmdb.Environment | None = None
        self._tables: Tables | None = None
        self.stamp = ""
        """Names this filling of the store: a keyword index with another stamp belongs to another."""

    # -- life

    def open(self) -> ManifestStore:
        """Open or make it. A view that doesn't fit is emptied, with a line in the log."""
        try:
            self._attach()
            found = self._meta()
        except lmdb.Error as exc:
            self._empty(f"damaged: {exc}")
            return self
        if found is None:
            self._begin()
        elif found.get("fits") != self._fits():
            self._empty("it belongs to another log, generation or release")
        elif self.was_away_too_long():
            self._empty(AWAY)
        else:
            self.stamp = found["stamp"]
        return self

    def followed(self, at_ms: int) -> None:
        """The view holds everything that was in the log at this moment: from then on it is away. To be told now and then.

        Never of a log that was not asked where it ends: a view that is open, and one that waits for Kafka, follow nothing.
        """
        env, tables = self._opened()
        with self._on_disk(), env.begin(write=True) as txn:
            txn.put(_FOLLOWED_KEY, pack_offset(at_ms), db=tables.meta)
        self._followed_ms = at_ms

    def was_away_too_long(self) -> bool:
        """Whether news of what was cleared since it last followed may be gone: what it would read on to may be missing them.

        It must then begin anew, before anything that is read is applied.
        """
        if self._followed_ms is None:
            return True
        return not -MAX_AHEAD_MS <= self._now_ms() - self._followed_ms <= MAX_AWAY_MS

    def age_ms(self) -> int:
        """How long ago it last followed, by the wall clock; to be asked at its opening."""
        return max(0, self._now_ms() - self._followed_ms) if self._followed_ms is not None else 0

    def close(self) -> None:
        """Release the files. Snapshots must be closed before. May be called again."""
        with self._lock:
            env, self._env = self._env, None
        if env is not None:
            env.close()

    def wipe(self, reason: str) -> None:
        """Forget everything but what the view belongs to; snapshots that are open keep what they see."""
        _log.warning("view emptied; it is read again from the log", folder=str(self._folder), reason=reason)
        env, tables = self._opened()
        now_ms = self._now_ms()
        with env.begin(write=True) as txn:
            for field in fields(tables):
                if field.name != "meta":
                    txn.drop(getattr(tables, field.name), delete=False)
            txn.put(_FOLLOWED_KEY, pack_offset(now_ms), db=tables.meta)
        self._followed_ms = now_ms
        # The same offsets may hold something else now; open snapshots keep the cache they have.
        self._cache = DocumentCache(DOCUMENT_CACHE_BYTES)

    # -- what has been read

    def positions(self, topic: str) -> dict[int, int]:
        """Offset to read next of each partition that was ever read."""
        env, tables = self._opened()
        prefix = f"{topic}/".encode()
        with env.begin() as txn:
            found = with_prefix(txn, tables.positions, prefix)
            return {int(key[len(prefix) :]): unpack_offset(raw)[0] for key, raw in found}

    def apply(self, records: Sequence[Record]) -> None:
        """Take in what was read of index and floors, with its positions, at once. Known records change nothing.

        Raises: Misconfigured, for records of a newer release; Fatal, for what is no record of ours, or a full disk.
        """
        if not records:
            return
        env, tables = self._opened()
        with self._on_disk(), env.begin(write=True) as txn:
            batch = _Batch(txn, {}, {})
            positions = self._apply_all(batch, tables, records)
            self._write_cards(batch, tables)
            for (topic, partition), position in positions.items():
                txn.put(position_key(topic, partition), pack_offset(position), db=tables.positions)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """Around what is written. Raises: Fatal, for a full disk."""
        try:
            yield
        except (lmdb.MapFullError, lmdb.DiskError) as exc:
            msg = f"{self._folder}: the view can't be written: {exc}. Free some disk, then restart"
            raise Fatal(msg) from exc

    # -- what the keyword index owes

    def dirty(self, limit: int) -> list[Dirty]:
        """Documents that the keyword index has yet to commit, some of them."""
        env, tables = self._opened()
        found: list[Dirty] = []
        with env.begin() as txn, txn.cursor(db=tables.dirty) as cursor:
            for raw in cursor.iternext(keys=False, values=True):
                if len(found) == limit:
                    break
                mark, name = bytes(raw[:8]), bytes(raw[8:])
                found.append(Dirty(DocKey(*orjson.loads(name)), mark))
        return found

    def settle(self, committed: Iterable[Dirty]) -> None:
        """The keyword index has committed these; those that changed again meanwhile stay dirty."""
        env, tables = self._opened()
        with env.begin(write=True) as txn:
            for item in committed:
                name = document_key(item.key)
                raw = txn.get(name, db=tables.dirty)
                if raw is not None and bytes(raw[:8]) == item.mark:
                    txn.delete(name, db=tables.dirty)

    def mark_all_dirty(self) -> int:
        """The keyword index starts from nothing: every document is to be fed. Returns how many."""
        env, tables = self._opened()
        count = 0
        with env.begin(write=True) as txn, txn.cursor(db=tables.cards) as cursor:
            for raw in cursor.iternext(keys=False, values=True):
                self._mark_dirty(txn, tables, DocumentCard.from_bytes(bytes(raw)).key)
                count += 1
        return count

    # -- reading

    def snapshot(self) -> ViewSnapshot:
        """The state as of the last batch. Close it: it is a context manager."""
        with self._lock:
            env, tables = self._opened()
            return ViewSnapshot(env.begin(), tables, self._missing, self._cache, self._identity.generation)

    # -- applying

    def _apply_all(self, batch: _Batch, tables: Tables, records: Sequence[Record]) -> dict[tuple[str, int], int]:
        positions: dict[tuple[str, int], int] = {}
        for record in records:
            place = (record.topic, record.partition)
            if place not in positions:
                raw = batch.txn.get(position_key(*place), db=tables.positions)
                positions[place] = unpack_offset(bytes(raw))[0] if raw is not None else 0
            if record.offset < positions[place]:
                continue
            try:
                self._apply_one(batch, tables, record)
            except (ValueError, KeyError, TypeError, UnicodeDecodeError) as exc:
                message = (
                    f"{record.topic}[{record.partition}] at {record.offset} is no record of ragstream ({type(exc).__name__})"
                )
                msg = f"{message}: something else writes to this topic; start a new generation"
                raise Fatal(msg) from exc
            positions[place] = record.offset + 1
        return positions

    def _apply_one(self, batch: _Batch, tables: Tables, record: Record) -> None:
        if record.key is None:
            return
        if record.topic == self._floors_topic:
            self._apply_floor(batch, tables, record)
            return
        key = LogKey.from_bytes(record.key)
        if key.kind == DOC:
            document = DocKey.parse(key.name)
            head = manifest_head(record.offset, record.value)
            self._change(batch, tables, document, lambda card: card.with_manifest(record.partition, head))
            stored = pack_offset(record.offset, record.value or b"")
            batch.txn.put(in_partition(document_key(document), record.partition), stored, db=tables.manifests)
        elif key.kind == SEEN:
            seen = seen_head(record.offset, record.value)
            self._change(batch, tables, DocKey.parse(key.name), lambda card: card.with_seen(record.partition, seen))
        elif key.kind == PROGRESS and record.value is not None:
            self._apply_progress(batch.txn, tables, int(key.name), record.value)
            batch.progress = None

    def _change(self, batch: _Batch, tables: Tables, key: DocKey, change: Callable[[DocumentCard], DocumentCard]) -> None:
        card = batch.after.get(key)
        if card is None:
            raw = batch.txn.get(document_key(key), db=tables.cards)
            card = DocumentCard.from_bytes(bytes(raw)) if raw is not None else DocumentCard(key)
            batch.before[key] = card
        batch.after[key] = change(card)

    def _apply_floor(self, batch: _Batch, tables: Tables, record: Record) -> None:
        key = FloorKey.from_bytes(record.key or b"")
        if not key.is_heeded_by(self._identity.generation):
            return  # it stands in for another generation's manifests, and goes when they have come
        name = floor_key(document_key(key.document), record.partition, key.lane.partition if key.lane is not None else None)
        held = batch.txn.get(name, db=tables.floors)
        floor = Floor.from_bytes(record.value) if record.value is not None else NO_FLOOR
        # Joined, not replaced: a floor narrows until it is cleared, whoever wrote the last one. Cleared it still narrows until
        # this view has passed it: floors may be read ahead of the manifests that they stand in for.
        stands = standing(Floor.from_bytes(bytes(held)), self._progress_in(batch, tables)) if held is not None else NO_FLOOR
        joined = join_floors(stands, floor)
        if joined == NO_FLOOR:
            batch.txn.delete(name, db=tables.floors)
        else:
            batch.txn.put(name, joined.to_bytes(), db=tables.floors)

    def _progress_in(self, batch: _Batch, tables: Tables) -> Mapping[int, int]:
        if batch.progress is None:
            with batch.txn.cursor(db=tables.progress) as cursor:
                batch.progress = {unpack_number(bytes(key)): orjson.loads(bytes(raw))["next"] for key, raw in cursor}
        return batch.progress

    def _apply_progress(self, txn: lmdb.Transaction, tables: Tables, partition: int, raw: bytes) -> None:
        require_known_schema(orjson.loads(raw))
        txn.put(pack_number(partition), raw, db=tables.progress)
        marker = Progress.from_bytes(raw)
        dead = [run for run in marker.runs if run.outcome == Outcome.DEAD_LETTERED]
        for run in dead:
            txn.put(run_key(partition, run.first), pack_offset(run.last), db=tables.dead_letters)
        if dead:
            oldest = run_key(partition, max(0, marker.next - DEAD_LETTER_SPAN))
            for key, _ in list(with_prefix(txn, tables.dead_letters, pack_number(partition))):
                if key >= oldest:
                    break
                txn.delete(key, db=tables.dead_letters)

    def _write_cards(self, batch: _Batch, tables: Tables) -> None:
        for key, card in batch.after.items():
            before, name = batch.before[key], document_key(key)
            if card is before:
                continue
            if card.is_empty:
                batch.txn.delete(name, db=tables.cards)
                for partition in card.lanes:
                    batch.txn.delete(in_partition(name, partition), db=tables.manifests)
            else:
                batch.txn.put(name, card.to_bytes(), db=tables.cards)
            self._write_consequences(batch.txn, tables, before, card)

    def _write_consequences(self, txn: lmdb.Transaction, tables: Tables, before: DocumentCard, after: DocumentCard) -> None:
        """Who may find it, by which metadata, and whether its passages changed."""
        old_readers, old = self._found_by(before)
        new_readers, new = self._found_by(after)
        name = document_key(after.key)
        if old_readers != new_readers:
            for principal in old_readers.keys() - new_readers.keys():
                txn.delete(reader_key(principal, name), db=tables.readers)
            for principal, chunks in new_readers.items():
                txn.put(reader_key(principal, name), pack_count(chunks), db=tables.readers)
        if (old.facets or new.facets) and (old.facets, old.chunks) != (new.facets, new.chunks):
            self._write_metadata(txn, tables, name, new)
        if old.mark != new.mark:
            self._mark_dirty(txn, tables, after.key)

    def _write_metadata(self, txn: lmdb.Transaction, tables: Tables, name: bytes, shown: Shown) -> None:
        listed = txn.pop(name, db=tables.metadata_keys)
        for key in map(bytes.fromhex, orjson.loads(listed) if listed is not None else ()):
            txn.delete(key + name, db=tables.metadata)
        if not shown.facets:
            return
        stored = txn.get(in_partition(name, shown.partition), db=tables.manifests)
        if stored is None:
            msg = "a card and its manifests are written in one transaction"
            raise AssertionError(msg)
        _, manifest = unpack_offset(bytes(stored))
        keys = value_keys(orjson.loads(manifest)["metadata"])
        txn.put(name, orjson.dumps([key.hex() for key in keys]), db=tables.metadata_keys)
        for key in keys:
            txn.put(key + name, pack_count(shown.chunks), db=tables.metadata)

    def _found_by(self, card: DocumentCard) -> tuple[dict[str, int], Shown]:
        """Number of passages by principal that may find them, and what is shown."""
        state = card.state
        shown = card.shown(state)
        if shown is None:
            return {}, _NOTHING
        # A reader must be on all lists, so being on the shortest is enough to be looked at.
        lists = state.allow_lists(self._missing.get(card.key.index, OPERATOR_ONLY))
        shortest = min(lists, key=len)
        return dict.fromkeys(shortest, shown.chunks), shown

    def _mark_dirty(self, txn: lmdb.Transaction, tables: Tables, key: DocKey) -> None:
        # A transaction's number is never given out again.
        txn.put(document_key(key), pack_offset(txn.id(), orjson.dumps(list(key))), db=tables.dirty)

    # -- opening

    def _attach(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._env = lmdb.open(
            str(self._folder),
            map_size=MAP_BYTES,
            max_dbs=Tables.count(),
            max_readers=MAX_READERS,
            max_spare_txns=16,
            # A power cut may take back the last batches, never tear one: they are read again.
            metasync=False,
        )
        self._tables = Tables.open(self._env)

    def _meta(self) -> dict[str, Any] | None:
        env, tables = self._opened()
        with env.begin() as txn:
            raw, followed = (txn.get(key, db=tables.meta) for key in (_META_KEY, _FOLLOWED_KEY))
        self._followed_ms = unpack_offset(bytes(followed))[0] if followed is not None else None
        return dict(orjson.loads(bytes(raw))) if raw is not None else None

    def _begin(self) -> None:
        """Empty, and so up to date: whoever reads a log from its start misses what is cleared from now on only."""
        env, tables = self._opened()
        self.stamp = uuid.uuid4().hex
        now_ms = self._now_ms()
        with env.begin(write=True) as txn:
            txn.put(_META_KEY, orjson.dumps({"stamp": self.stamp, "fits": self._fits()}), db=tables.meta)
            txn.put(_FOLLOWED_KEY, pack_offset(now_ms), db=tables.meta)
        self._followed_ms = now_ms

    def _empty(self, reason: str) -> None:
        _log.warning("view emptied; it is read again from the log", folder=str(self._folder), reason=reason)
        self.close()
        shutil.rmtree(self._folder)
        self._attach()
        self._begin()

    def _fits(self) -> list[Any]:
        # Allow-lists of documents without an ACL are part of the readers' table.
        return [VIEW_FORMAT, *self._identity, sorted([name, list(allow)] for name, allow in self._missing.items())]

    def _opened(self) -> tuple[lmdb.Environment, Tables]:
        if self._env is None or self._tables is None:
            msg = f"{self._folder}: the view is not open"
            raise Misconfigured(msg)
        return self._env, self._tables
