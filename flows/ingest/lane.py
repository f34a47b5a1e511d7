"""One source partition's lane: fence and dedupe by the join, and what each event means for rows and manifests.

Pure logic: no clock, no I/O but the `Resolver` it is given. A lane's state is the fold of its partition's index log;
`restore` reads it
back, `plan` advances it. The state runs ahead of what is published by the batch in flight, in order, and is thrown away with
the process if that can't be published.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
import orjson

from connectors.embedding import TokenIds
from connectors.kafka.config import MESSAGE_HEADROOM_BYTES
from connectors.kafka.records import OutRecord, Record
from flows.chunking import Chunk
from flows.ingest.events import Event, Rejection, Tick, dead_letter
from schemas.acl import AllowList
from schemas.dead_letters import DeadLetter
from schemas.errors import Rejected
from schemas.index import DOC, SEEN, DocKey, LogKey, Outcome, SeenRecord, SourcePosition, row_id, state_from_wire, state_to_wire
from schemas.join import EMPTY, DocumentState, join
from schemas.wire import SCHEMA_VERSION

LETTER_ROOM_BYTES: Final = MESSAGE_HEADROOM_BYTES // 2
"""A dead letter carries its message byte for byte, so it may be larger than a manifest by what its headers take."""
LISTED_SHARE: Final = 4
"""A record's share for superseded rows is one in so many."""
ROW_ID_BYTES: Final = 35
"""32 characters, quotes and a comma."""
SPARE_ENDS: Final = 64
"""The heap of ends may hold so many more than twice as many as there are documents."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """An event's content as text, cut into chunks."""

    text: str
    media_type: str
    title: str
    chunks: Sequence[Chunk]


class Resolver(Protocol):
    """What a lane needs from outside to turn content into chunks."""

    def resolve(self, event: Event) -> Resolved:
        """Fetch, parse and chunk. Blocks while a server is away. Raises: Rejected, for content that can't be processed."""

    def recall(self, source: SourcePosition) -> Event | None:
        """Read an earlier event again; None where retention has dropped it. Blocks while Kafka is away."""


class RowScalars(NamedTuple):
    """A row's filterable fields. They preselect; the view decides."""

    allow: AllowList
    expires_at_ms: int | None


@dataclass(slots=True)
class RowWrite:
    """A row to upsert: a chunk's vector, found or computed by `digest`, with the scalars of its document."""

    row_id: str
    digest: str
    key: DocKey
    scalars: RowScalars
    text: str | None = None  # None: the row exists, only its scalars change
    tokens: int = 0
    token_ids: TokenIds | None = None
    vector: np.ndarray | None = None


@dataclass(slots=True)
class Work:
    """What one event (or a tick) asks of the stores, in the order the partition's events came."""

    partition: int
    source: SourcePosition | None
    outcome: Outcome | None
    records: list[OutRecord] = field(default_factory=list)
    rows: list[RowWrite] = field(default_factory=list)
    garbage: list[tuple[DocKey, tuple[str, ...]]] = field(default_factory=list)
    dead_letter: DeadLetter | None = None
    position: int = 0
    published_ms: int = 0  # when the producer's message entered Kafka
    reused_rows: int = 0

    @property
    def new_chunks(self) -> int:
        return sum(1 for row in self.rows if row.text is not None)


@dataclass(slots=True)
class Known:
    """What a lane remembers of a document: no text, so that memory grows with chunks, not with content."""

    state: DocumentState = EMPTY
    published: str | None = None  # digest of the content whose manifest is in the log with its rows
    content_source: SourcePosition | None = None  # the event that set the content register
    chunks: tuple[tuple[str, str], ...] = ()  # (chunk digest, row id), in order
    superseded: tuple[str, ...] = ()
    watched_end: int | None = None  # the earliest moment at which the heap of ends speaks of it

    def shows_all_of(self, state: DocumentState, now_ms: int) -> bool:
        """Whether `state` has no text that should be shown and isn't."""
        return state.content is None or not state.is_live(now_ms) or state.content.digest == self.published


class Lane:
    """The fence of one partition.

    Args:
        partition: of `rag.documents`, and of the index log.
        index_topic: where manifests go.
        missing_allow: per index, the allow-list of documents that never carried one.
        max_record_bytes: manifests above are dead letters, found out before any row is written. Nothing larger is ever
            asked to be published: one message that Kafka doesn't take would stop the lane for good.
    """

    def __init__(
        self,
        partition: int,
        *,
        index_topic: str,
        dead_letter_topic: str,
        missing_allow: Mapping[str, AllowList],
        max_record_bytes: int,
    ) -> None:
        self.partition = partition
        self.known: dict[str, Known] = {}
        self._index_topic = index_topic
        self._dead_letter_topic = dead_letter_topic
        self._missing_allow = missing_allow
        self._max_record_bytes = max_record_bytes
        self._ends: list[tuple[int, str]] = []
        self._collected: deque[tuple[DocKey, frozenset[str]]] = deque()

    # -- reading the state back

    def restore(self, record: Record) -> tuple[DocKey, tuple[str, ...]] | None:
        """Take in a `doc/…` or `seen/…` record of one's own log. Returns row ids that may still have to be deleted."""
        key = LogKey.from_bytes(record.key or b"")
        if record.value is None or key.kind not in (DOC, SEEN):
            return None
        known = self.known.setdefault(key.name, Known())
        if key.kind == SEEN:
            seen = SeenRecord.from_bytes(record.value)
            known.state = join(known.state, seen.state)
            known.content_source = seen.content_source
            self._watch_end(key.name, known)
            return None
        wire = orjson.loads(record.value)
        if wire.get("schema_version") != SCHEMA_VERSION:
            msg = "unknown_schema_version"
            raise Rejected(msg, f"manifest {key.name!r} says {wire.get('schema_version')!r}; this release knows 1")
        known.state = join(known.state, state_from_wire(wire["registers"]))
        known.chunks = tuple((digest, row) for _, _, digest, row in wire.get("chunks", ()))
        known.published = wire["registers"]["content"][1] if wire.get("shown") else None
        known.superseded = tuple(wire.get("superseded", ()))
        known.content_source = _position(wire.get("content_source"))
        self._watch_end(key.name, known)
        return (DocKey.parse(key.name), known.superseded) if known.superseded else None

    @property
    def documents(self) -> int:
        return sum(1 for known in self.known.values() if known.published is not None)

    @property
    def chunks(self) -> int:
        return sum(len(known.chunks) for known in self.known.values())

    def collected(self, key: DocKey, row_ids: Iterable[str]) -> None:
        """These rows are deleted: later manifests need not list them. Called from the publisher's thread."""
        self._collected.append((key, frozenset(row_ids)))

    def _forget_collected(self) -> None:
        while self._collected:
            key, gone = self._collected.popleft()
            known = self.known.get(str(key))
            if known is not None and known.superseded:
                known.superseded = tuple(row for row in known.superseded if row not in gone)

    # -- planning

    def plan(self, item: Event | Rejection | Tick, resolver: Resolver, now_ms: int) -> list[Work]:
        """What `item` asks for. Never raises for bad content."""
        self._forget_collected()
        if isinstance(item, Tick):
            return self._plan_tick(item)
        if isinstance(item, Rejection):
            return [*self._due_expiries(now_ms), self._plan_rejection(item, now_ms)]
        return [*self._due_expiries(now_ms), self._plan_event(item, resolver, now_ms)]

    def _plan_event(self, event: Event, resolver: Resolver, now_ms: int) -> Work:
        work = self._work(event.record)
        name = str(event.key)
        known = self.known.get(name) or Known()
        state = join(known.state, event.effect())
        if known.shows_all_of(state, now_ms):
            if state == known.state:
                work.outcome = Outcome.FENCED
                return work
            self.known[name] = known
            self._advance(event, known, state, work, now_ms)
            work.outcome = _outcome_without_text(event, state, now_ms, work)
            return work
        self.known[name] = known
        wanted = state.content.digest if state.content is not None else None
        content = event if event.digest == wanted else self._recalled(known, wanted, resolver)
        if content is None:  # the text that lives again is gone from the log: it stays hidden, registers advance
            return self._leave_hidden(event, known, state, work, now_ms)
        try:
            self._publish_content(content, known, state, resolver.resolve(content), work, now_ms)
        except Rejected as exc:
            if content is not event:  # the fault is of another event, whose text was never shown: it stays hidden
                return self._leave_hidden(event, known, state, work, now_ms)
            return self._reject(event.record, event.key, event.effect(failed=True), exc.reason, exc.detail, now_ms)
        work.outcome = Outcome.INDEXED if content is event else Outcome.ACCESS_ONLY
        return work

    def _leave_hidden(self, event: Event, known: Known, state: DocumentState, work: Work, now_ms: int) -> Work:
        if state == known.state:
            work.outcome = Outcome.FENCED
        else:
            self._advance(event, known, state, work, now_ms)
            work.outcome = Outcome.ACCESS_ONLY
        return work

    @staticmethod
    def _recalled(known: Known, digest: str | None, resolver: Resolver) -> Event | None:
        """The event whose content lives again: it had ended, by an end that a late event moves or by a clock that was wrong."""
        event = resolver.recall(known.content_source) if known.content_source is not None else None
        return event if event is not None and event.digest == digest else None

    def _plan_rejection(self, rejection: Rejection, now_ms: int) -> Work:
        return self._reject(rejection.record, rejection.key, rejection.salvage, rejection.reason, rejection.detail, now_ms)

    def _reject(
        self, record: Record, key: DocKey | None, effect: DocumentState | None, reason: str, detail: str, now_ms: int
    ) -> Work:
        """A dead letter, in the same transaction as whatever of the message still applies."""
        work = self._work(record)
        work.outcome = Outcome.DEAD_LETTERED
        letter = dead_letter(record, reason, detail, now_ms).fitting(self._max_record_bytes + LETTER_ROOM_BYTES)
        work.dead_letter = letter
        headers = tuple(letter.wire_headers())
        # A null would be a tombstone in a compacted topic; the headers say that the value was one.
        work.records.append(OutRecord(self._dead_letter_topic, letter.wire_key(), letter.raw or b"", headers=headers))
        if key is not None and effect is not None:
            known = self.known.setdefault(str(key), Known())
            state = join(known.state, effect)
            if state != known.state:
                self._publish_registers(key, known, state, work, now_ms)
        return work

    def _plan_tick(self, tick: Tick) -> list[Work]:
        works = self._due_expiries(tick.now_ms)
        if not works:
            works = [Work(self.partition, None, None)]
        works[-1].position = tick.position
        return works

    def _due_expiries(self, now_ms: int) -> list[Work]:
        """Tombstones for documents that have ended. Readers stopped showing them at the second; this frees their rows."""
        works: list[Work] = []
        while self._ends and self._ends[0][0] <= now_ms:
            end, name = heapq.heappop(self._ends)
            known = self.known.get(name)
            if known is None or known.watched_end != end:
                continue
            known.watched_end = None
            if known.published is None:
                continue
            if known.state.is_expired(now_ms):
                work = Work(self.partition, None, None)
                self._publish_tombstone(DocKey.parse(name), known, work, now_ms)
                works.append(work)
            else:
                self._watch_end(name, known)
        return works

    # -- writing

    def _work(self, record: Record) -> Work:
        return Work(
            self.partition,
            SourcePosition(record.partition, record.offset),
            None,
            position=record.offset + 1,
            published_ms=record.timestamp_ms,
        )

    def _advance(self, event: Event, known: Known, state: DocumentState, work: Work, now_ms: int) -> None:
        """Registers advanced by `event`, which brings no text to show."""
        if state.content is not None and (state.content.version, state.content.digest) == (event.version, event.digest):
            known.content_source = event.source
        self._publish_registers(event.key, known, state, work, now_ms)

    def _publish_registers(self, key: DocKey, known: Known, state: DocumentState, work: Work, now_ms: int) -> None:
        """Advanced registers of a document whose shown text stays, or goes."""
        before, known.state = known.state, state
        if known.published is not None:
            self._watch_end(str(key), known)
            if not state.is_live(now_ms):
                self._publish_tombstone(key, known, work, now_ms)
                return
            if not _same_scalars(before, state):
                scalars = self._scalars(key, state)
                if scalars != self._scalars(key, before):
                    work.rows += [RowWrite(row, digest, key, scalars) for digest, row in known.chunks]
        source = work.source or SourcePosition(self.partition, -1)
        seen = SeenRecord(state, source, known.content_source)
        work.records.append(self._record(LogKey(SEEN, str(key)), seen.to_bytes()))

    def _publish_tombstone(self, key: DocKey, known: Known, work: Work, now_ms: int) -> None:
        rows = tuple(row for _, row in known.chunks)
        known.superseded = self._listed(known.superseded + rows)
        known.chunks, known.published = (), None
        work.garbage.append((key, rows))
        manifest = {**self._manifest(key, known, work, now_ms), "shown": False}
        work.records.append(self._record(LogKey(DOC, str(key)), orjson.dumps(manifest, default=tuple)))

    def _publish_content(
        self, event: Event, known: Known, state: DocumentState, resolved: Resolved, work: Work, now_ms: int
    ) -> None:
        """Rows for new chunks, carried-forward ids for the rest, and the manifest that switches to them.

        Raises: Rejected, when the manifest is too large; nothing has changed then.
        """
        key, scalars, source = event.key, self._scalars(event.key, state), work.source
        if source is None:
            msg = "content comes from an event"
            raise AssertionError(msg)
        rows, carried = _assign_rows(key, resolved.chunks, known.chunks, source)
        kept = {row for _, row in rows if row in carried}
        dropped = tuple(row for _, row in known.chunks if row not in kept)
        following = Known(state, event.digest, event.source, tuple(rows), self._listed(known.superseded + dropped))
        manifest = self._manifest(key, following, work, now_ms) | {
            "shown": True,
            "title": resolved.title,
            "source_uri": event.change.source_uri,
            "metadata": event.change.metadata,
            "media_type": resolved.media_type,
            "text": resolved.text,
            "chunks": [(c.start, c.end, c.digest, row) for c, (_, row) in zip(resolved.chunks, rows, strict=True)],
            "event_time_ms": event.time_ms,
        }
        record = self._record(LogKey(DOC, str(key)), orjson.dumps(manifest, default=tuple))
        self._check_size(record)
        before = self._scalars(key, known.state)
        for chunk, (digest, row) in zip(resolved.chunks, rows, strict=True):
            if row not in carried:
                work.rows.append(RowWrite(row, digest, key, scalars, chunk.text, chunk.tokens, chunk.ids))
            elif scalars != before:
                work.rows.append(RowWrite(row, digest, key, scalars))
        work.reused_rows = len(kept)
        work.records.append(record)
        if dropped:
            work.garbage.append((key, dropped))
        known.state, known.published = following.state, following.published
        known.chunks, known.superseded = following.chunks, following.superseded
        known.content_source = following.content_source
        self._watch_end(str(key), known)

    def _manifest(self, key: DocKey, known: Known, work: Work, now_ms: int) -> dict[str, object]:
        return {
            "schema_version": SCHEMA_VERSION,
            "index": key.index,
            "doc_id": key.doc_id,
            "registers": state_to_wire(known.state),
            "superseded": known.superseded,
            "source": work.source or (self.partition, -1),
            "content_source": known.content_source,
            "written_at_ms": now_ms,
        }

    def _record(self, key: LogKey, value: bytes) -> OutRecord:
        return OutRecord(self._index_topic, key.to_bytes(), value, partition=self.partition)

    def _listed(self, superseded: tuple[str, ...]) -> tuple[str, ...]:
        """The newest of the superseded rows: their list must not crowd out the text, nor make a tombstone too large.

        Older ones are deleted all the same, and soon; only a process that dies before that leaves them behind, where they show
        nothing to anybody.
        """
        return superseded[-(self._max_record_bytes // LISTED_SHARE // ROW_ID_BYTES) :]

    def _check_size(self, record: OutRecord) -> None:
        size = len(record.value or b"") + len(record.key or b"")
        if size > self._max_record_bytes:
            msg = "manifest_too_large"
            raise Rejected(
                msg,
                f"the document's manifest takes {size:,} bytes; allowed are {self._max_record_bytes:,}. "
                "Split the document, or raise RAG_KAFKA__MAX_MESSAGE_BYTES and the topics' max.message.bytes",
            )

    def _scalars(self, key: DocKey, state: DocumentState) -> RowScalars:
        # Of several lists a reader must be on all: any one of them preselects without hiding a permitted row.
        return RowScalars(state.allow_lists(self._missing_allow.get(key.index, ()))[-1], state.expires_at_ms())

    def _watch_end(self, name: str, known: Known) -> None:
        """See to it that the heap speaks of `name` when it ends, or earlier: it then finds out about a later end."""
        ends = known.state.expires_at_ms()
        if ends is None or known.published is None or (known.watched_end is not None and known.watched_end <= ends):
            return
        known.watched_end = ends
        heapq.heappush(self._ends, (ends, name))
        if len(self._ends) > 2 * len(self.known) + SPARE_ENDS:  # most are of ends that earlier ones have replaced
            self._ends = [(known.watched_end, name) for name, known in self.known.items() if known.watched_end is not None]
            heapq.heapify(self._ends)


def _assign_rows(
    key: DocKey, chunks: Sequence[Chunk], previous: tuple[tuple[str, str], ...], source: SourcePosition
) -> tuple[list[tuple[str, str]], set[str]]:
    """(chunk digest, row id) for each chunk, and which ids are carried forward from the last revision."""
    available: dict[str, list[str]] = {}
    for digest, row in reversed(previous):
        available.setdefault(digest, []).append(row)
    occurrences: Counter[str] = Counter()
    rows: list[tuple[str, str]] = []
    carried: set[str] = set()
    for chunk in chunks:
        if available.get(chunk.digest):
            row = available[chunk.digest].pop()
            carried.add(row)
        else:
            row = row_id(key, chunk.digest, occurrences[chunk.digest], source)
        occurrences[chunk.digest] += 1
        rows.append((chunk.digest, row))
    return rows, carried


def _same_scalars(before: DocumentState, after: DocumentState) -> bool:
    """Whether rows surely keep their fields: what most events find, told without making the fields."""
    if before.expiry or after.expiry or not before.access or not after.access or before.is_stale or after.is_stale:
        return False
    return before.access[-1].allow == after.access[-1].allow


def _position(wire: Sequence[int] | None) -> SourcePosition | None:
    return SourcePosition(*wire) if wire else None


def _outcome_without_text(event: Event, state: DocumentState, now_ms: int, work: Work) -> Outcome:
    """Which outcome an event has that advanced registers but brought no new text to show."""
    if event.change.op == "delete":
        return Outcome.DELETED
    if state.content is not None and state.content.version == event.version and state.is_expired(now_ms):
        return Outcome.EXPIRED
    if state.content is not None and state.content.version == event.version and not work.rows:
        return Outcome.UNCHANGED
    return Outcome.ACCESS_ONLY
