"""What the index log says of one document, and which text follows from it. Pure.

A card holds the last record of each kind from each partition, nothing else: exactly what compaction keeps. The visible
document is a function of the card, so any order of partitions, any duplication and any compaction of a log give the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import starmap
from typing import Any, NamedTuple

import orjson

from schemas.errors import Misconfigured
from schemas.index import (
    ChunkSpan,
    DocKey,
    IndexEntry,
    Registers,
    SeenRecord,
    SourcePosition,
    state_from_wire,
    state_to_wire,
)
from schemas.join import EMPTY, DocumentState, fold, join
from schemas.wire import SCHEMA_VERSION

NONE_YET = -1


class ManifestHead(NamedTuple):
    """A manifest without its text.

    Attributes:
        offset: where it stands in its partition of the index log; -1 for none.
        shown: whether it has text to show.
        chunks: how many passages it has.
        mark: equal marks mean equal passages, rows and title: the keyword index need not change.
        facets: equal ones mean equal metadata; empty: it has none.
        source: the event it follows from.
    """

    offset: int = NONE_YET
    state: DocumentState = EMPTY
    shown: bool = False
    chunks: int = 0
    mark: str = ""
    source: SourcePosition | None = None
    facets: str = ""


class SeenHead(NamedTuple):
    """A `seen/` record and where it stands; -1 for none."""

    offset: int = NONE_YET
    state: DocumentState = EMPTY
    source: SourcePosition | None = None


class LaneCard(NamedTuple):
    """What one partition of the index log says of a document."""

    manifest: ManifestHead = ManifestHead()
    seen: SeenHead = SeenHead()

    @property
    def state(self) -> DocumentState:
        return join(self.manifest.state, self.seen.state)

    @property
    def is_empty(self) -> bool:
        return self.manifest.source is None and self.seen.source is None


class Shown(NamedTuple):
    """Which manifest is visible: the partition's, at the offset."""

    partition: int
    offset: int
    chunks: int
    mark: str
    facets: str


@dataclass(frozen=True, slots=True)
class DocumentCard:
    """Everything the log says of a document but its text."""

    key: DocKey
    lanes: Mapping[int, LaneCard] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return all(lane.is_empty for lane in self.lanes.values())

    @property
    def state(self) -> DocumentState:
        """Registers, joined over partitions: one doc_id can lie in two (another partitioner, added partitions)."""
        return fold(lane.state for lane in self.lanes.values())

    def shown(self, state: DocumentState) -> Shown | None:
        """The manifest that holds the text of `state` (this card's own, joined): None while none does.

        A manifest of an earlier content is not shown in place of one that is still to come: its text may be what a later
        event took back.
        """
        if state.content is None:
            return None
        holders = [
            (lane.manifest.state.content, partition)
            for partition, lane in self.lanes.items()
            if lane.manifest.shown and lane.manifest.state.content is not None
            if lane.manifest.state.content.digest == state.content.digest
        ]
        if not holders:
            return None
        # Two partitions may hold the same content in rows of their own: every view must pick the same one.
        _, partition = max(holders)
        head = self.lanes[partition].manifest
        return Shown(partition, head.offset, head.chunks, head.mark, head.facets)

    def has_seen(self, source: SourcePosition) -> bool:
        """Whether the log holds a record of this document that follows from `source` or a later event of its partition."""
        heads = [head for lane in self.lanes.values() for head in (lane.manifest, lane.seen)]
        return any(h.source is not None and h.source.partition == source.partition and h.source >= source for h in heads)

    def follows_from(self, source: SourcePosition) -> bool:
        """Whether the newest record of this document in some partition follows from this very event."""
        return any(source in (lane.manifest.source, lane.seen.source) for lane in self.lanes.values())

    def with_manifest(self, partition: int, head: ManifestHead) -> DocumentCard:
        lane = self.lanes.get(partition, LaneCard())
        return self if head.offset <= lane.manifest.offset else self._with(partition, lane._replace(manifest=head))

    def with_seen(self, partition: int, head: SeenHead) -> DocumentCard:
        lane = self.lanes.get(partition, LaneCard())
        return self if head.offset <= lane.seen.offset else self._with(partition, lane._replace(seen=head))

    def _with(self, partition: int, lane: LaneCard) -> DocumentCard:
        return replace(self, lanes={**self.lanes, partition: lane})

    def to_bytes(self) -> bytes:
        lanes = [
            (partition, _manifest_to_wire(lane.manifest), _seen_to_wire(lane.seen)) for partition, lane in self.lanes.items()
        ]
        return orjson.dumps([self.key, lanes], default=tuple)

    @classmethod
    def from_bytes(cls, raw: bytes) -> DocumentCard:
        key, lanes = orjson.loads(raw)
        cards = {partition: LaneCard(_manifest_from_wire(m), _seen_from_wire(s)) for partition, m, s in lanes}
        return cls(DocKey(*key), cards)


def manifest_head(offset: int, raw: bytes | None) -> ManifestHead:
    """The head of a `doc/` record; a null value takes back what was there. Raises: Misconfigured, for a newer schema."""
    if raw is None:
        return ManifestHead(offset)
    wire: dict[str, Any] = orjson.loads(raw)
    require_known_schema(wire)
    chunks = wire.get("chunks", ())
    parts = [wire.get("title", ""), *(chunk[3] for chunk in chunks)]
    metadata = dict(wire.get("metadata") or {})
    return ManifestHead(
        offset,
        state_from_wire(wire["registers"]),
        shown=bool(wire.get("shown", False)),
        chunks=len(chunks),
        mark=_digest(parts),
        source=SourcePosition(*wire["source"]),
        facets=_digest(metadata) if metadata else "",
    )


def shown_entry(raw: bytes) -> IndexEntry:
    """A manifest, taken as its writer wrote it: validating it again took longer than all else that a question does with it."""
    wire: dict[str, Any] = orjson.loads(raw)
    wire["chunks"] = tuple(starmap(ChunkSpan, wire.get("chunks", ())))
    wire["superseded"] = tuple(wire.get("superseded", ()))
    wire["registers"] = Registers.model_construct(**wire["registers"])
    wire["source"] = SourcePosition(*wire["source"])
    wire["content_source"] = _source(wire.get("content_source"))
    return IndexEntry.model_construct(**wire)


def seen_head(offset: int, raw: bytes | None) -> SeenHead:
    """The head of a `seen/` record. Raises: Misconfigured, for a newer schema."""
    if raw is None:
        return SeenHead(offset)
    require_known_schema(orjson.loads(raw))
    seen = SeenRecord.from_bytes(raw)
    return SeenHead(offset, seen.state, seen.source)


def require_known_schema(wire: dict[str, Any]) -> None:
    """Stop at records of a newer release: guessing at them could show what they mean to hide. Raises: Misconfigured."""
    found = wire.get("schema_version")
    if found != SCHEMA_VERSION:
        known = f"this release knows {SCHEMA_VERSION}. Update the query workers"
        message = f"the index log holds records of schema_version {found!r}; {known}"
        raise Misconfigured(message)


def _digest(parts: object) -> str:
    return hashlib.blake2b(orjson.dumps(parts), digest_size=12).hexdigest()


def _manifest_to_wire(head: ManifestHead) -> list[object]:
    return [head.offset, state_to_wire(head.state), head.shown, head.chunks, head.mark, head.source, head.facets]


def _manifest_from_wire(wire: list[Any]) -> ManifestHead:
    offset, state, shown, chunks, mark, source, facets = wire
    return ManifestHead(offset, state_from_wire(state), shown, chunks, mark, _source(source), facets)


def _seen_to_wire(head: SeenHead) -> list[object]:
    return [head.offset, state_to_wire(head.state), head.source]


def _seen_from_wire(wire: list[Any]) -> SeenHead:
    offset, state, source = wire
    return SeenHead(offset, state_from_wire(state), _source(source))


def _source(wire: list[int] | None) -> SourcePosition | None:
    return SourcePosition(*wire) if wire else None
