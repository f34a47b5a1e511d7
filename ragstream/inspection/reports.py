"""What a snapshot says of a document, as plain values that stay what they are: scripts read them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from query_api.view.access import hides, narrowed
from query_api.view.records import DocumentCard
from query_api.view.snapshot import ViewSnapshot
from schemas.acl import EVERYONE, OPERATOR_ONLY, AllowList
from schemas.floors import NO_FLOOR
from schemas.index import DocKey, SourcePosition
from schemas.join import NEVER, DocumentState
from schemas.settings import Settings
from schemas.wire import LAST_MS, from_ms

Status = Literal["live", "expired", "deleted", "pending"]
"""pending: something of it is known (its rights, say), but no text is shown: still on its way, or a dead letter."""


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """One passage, with its row in the vector store."""

    position: int
    start: int
    end: int
    digest: str
    row_id: str
    text: str


@dataclass(frozen=True, slots=True)
class DocumentReport:
    """A document as the index has it.

    Attributes:
        version: of the shown content, else the newest that any register holds.
        deleted: a delete holds, and nothing that came after it is shown; `failed_version` may name what did come.
        acl: what it takes to read it now: the principals of which a reader must have one; empty: nobody but the operator. Where
            a newer version is a dead letter, or a revocation is ahead of the write path, that may take several such lists: then
            it is a list of them, and a reader must have one principal of each.
        acl_lists: the same as the log has it: always a list of lists, also those that keep out nobody beside the others.
        expires_at: `expires_at_ms` as a time in UTC.
        content_hash: the content register's digest, which an upsert is compared with.
        failed_version: a newer version that became a dead letter; the shown text is older than its producer meant.
        source, content_source: [partition, offset] of the event of the last record, and of the one with the text.
        narrowed_ahead: a delete or a revocation of the express lane holds already, before the write path has come to it.
    """

    doc_id: str
    index: str
    version: int
    status: Status
    deleted: bool
    acl: AllowList | tuple[AllowList, ...]
    acl_lists: tuple[AllowList, ...]
    expires_at: str | None
    expires_at_ms: int | None
    content_hash: str | None
    failed_version: int | None
    source: SourcePosition | None
    content_source: SourcePosition | None
    narrowed_ahead: bool
    chunk_count: int
    title: str = ""
    source_uri: str | None = None
    media_type: str = ""
    metadata: dict[str, object] = field(default_factory=dict)
    event_time_ms: int | None = None
    written_at_ms: int | None = None
    superseded: tuple[str, ...] = ()
    chunks: tuple[ChunkReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in an index. `chunks` and `documents` are of live documents only."""

    documents: int
    chunks: int
    deleted: int
    expired: int
    pending: int


def report(snapshot: ViewSnapshot, key: DocKey, settings: Settings, now_ms: int) -> DocumentReport | None:
    """All that is known of one document; None when the log never heard of it."""
    card = snapshot.card(key)
    if card is None:
        return None
    document = snapshot.document(key)
    if document is None:
        return _without_text(snapshot, card, settings, now_ms)
    entry, state, floor = document.entry, card.state, snapshot.floor(key)
    return DocumentReport(
        doc_id=key.doc_id,
        index=key.index,
        version=document.version,
        status=_status(state, is_shown=True, now_ms=now_ms),
        deleted=False,
        acl=readers(document.allow_lists),
        acl_lists=document.allow_lists,
        expires_at=moment(document.expires_at_ms),
        expires_at_ms=document.expires_at_ms,
        content_hash=state.content.digest if state.content else None,
        failed_version=_set(state.failed),
        source=entry.source,
        content_source=entry.content_source,
        narrowed_ahead=floor != NO_FLOOR,
        chunk_count=len(entry.chunks),
        title=entry.title,
        source_uri=entry.source_uri,
        media_type=entry.media_type,
        metadata=dict(entry.metadata),
        event_time_ms=entry.event_time_ms,
        written_at_ms=entry.written_at_ms,
        superseded=entry.superseded,
        chunks=tuple(
            ChunkReport(position, span.start, span.end, span.digest, span.row_id, document.passage(position))
            for position, span in enumerate(entry.chunks)
        ),
    )


def _without_text(snapshot: ViewSnapshot, card: DocumentCard, settings: Settings, now_ms: int) -> DocumentReport:
    key, state, floor = card.key, card.state, snapshot.floor(card.key)
    status: Status = "deleted" if hides(floor, state) else _status(state, is_shown=False, now_ms=now_ms)
    lists = narrowed(floor, state, settings.missing_allow_lists.get(key.index, OPERATOR_ONLY))
    sources = [head.source for lane in card.lanes.values() for head in (lane.manifest, lane.seen) if head.source is not None]
    return DocumentReport(
        doc_id=key.doc_id,
        index=key.index,
        version=state.version,
        status=status,
        deleted=status == "deleted",
        acl=readers(lists),
        acl_lists=lists,
        expires_at=moment(state.expires_at_ms()),
        expires_at_ms=state.expires_at_ms(),
        content_hash=state.content.digest if state.content else None,
        failed_version=_set(state.failed),
        source=max(sources, default=None),
        content_source=None,
        narrowed_ahead=floor != NO_FLOOR,
        chunk_count=0,
    )


def readers(lists: tuple[AllowList, ...]) -> AllowList | tuple[AllowList, ...]:
    """The lists that a reader must be on, without those that keep out nobody beside the others; one alone as it is."""
    needed: list[AllowList] = []
    for one in lists:
        if not any(_implies(other, one) for other in needed):
            needed = [other for other in needed if not _implies(one, other)]
            needed.append(one)
    return needed[0] if len(needed) == 1 else tuple(needed)


def _implies(allow: AllowList, other: AllowList) -> bool:
    """Whether everybody on `allow` is on `other`; everybody has `*`."""
    return EVERYONE in other or set(allow) <= set(other)


def moment(ms: int | None) -> str | None:
    """As ISO 8601, in UTC. What lies beyond the year 9999 (its last hours in the west do) ends with it."""
    return from_ms(min(ms, LAST_MS)).isoformat(timespec="milliseconds").replace("+00:00", "Z") if ms is not None else None


def find(snapshot: ViewSnapshot, doc_id: str, index: str | None, settings: Settings) -> list[DocKey]:
    """The documents of that name: of one index, or of any."""
    names = [index] if index is not None else list(settings.indexes)
    found = [key for name in names if snapshot.card(key := DocKey(name, doc_id)) is not None]
    if found or index is not None:
        return found
    # In an index that these settings don't name.
    return [key for key in snapshot.keys() if key.doc_id == doc_id]  # noqa: SIM118  no dict


def counts(snapshot: ViewSnapshot, now_ms: int) -> dict[str, Counts]:
    """By index; reads no texts."""
    tallies: dict[str, Counter[str]] = {}
    for key in snapshot.keys():  # noqa: SIM118  no dict
        card = snapshot.card(key)
        if card is None:
            continue
        state = card.state
        shown = card.shown(state)
        status = _status(state, is_shown=shown is not None, now_ms=now_ms)
        tally = tallies.setdefault(key.index, Counter())
        tally[status] += 1
        if shown is not None and status == "live":
            tally["chunks"] += shown.chunks
    return {
        index: Counts(tally["live"], tally["chunks"], tally["deleted"], tally["expired"], tally["pending"])
        for index, tally in sorted(tallies.items())
    }


def reports(snapshot: ViewSnapshot, settings: Settings, now_ms: int, index: str | None = None) -> Iterator[DocumentReport]:
    """Every document, one at a time, in no order that means anything."""
    for key in snapshot.keys():  # noqa: SIM118  no dict
        if index is None or key.index == index:
            found = report(snapshot, key, settings, now_ms)
            if found is not None:
                yield found


def _status(state: DocumentState, *, is_shown: bool, now_ms: int) -> Status:
    if state.content is not None and state.is_expired(now_ms):
        return "expired"
    if is_shown:
        return "live"
    # Whatever came after the delete shows nothing either: rights that wait for a text, or an upsert that became a dead letter.
    return "deleted" if state.content is None and state.deleted != NEVER else "pending"


def _set(version: int) -> int | None:
    return version if version != NEVER else None
