"""Writes valid index logs: single writers, one a partition, whose records carry all registers they know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.acl import PUBLIC, AllowList
from schemas.documents import MetadataValue
from schemas.index import (
    DOC,
    PROGRESS,
    SEEN,
    ChunkSpan,
    DocKey,
    IndexEntry,
    LogKey,
    OutcomeRun,
    Progress,
    Registers,
    SeenRecord,
    SourcePosition,
    row_id,
    state_to_wire,
)
from schemas.join import EMPTY, DocumentState, effect_of, join

KeyValue = tuple[bytes, bytes]


def key_of(doc_id: str, index: str = "docs") -> DocKey:
    """A document of an index."""
    return DocKey(index, doc_id)


def digest_of(text: str) -> str:
    """A content digest."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def manifest(
    key: DocKey,
    state: DocumentState,
    text: str,
    source: SourcePosition,
    *,
    shown: bool = True,
    title: str = "",
    metadata: Mapping[str, MetadataValue] | None = None,
) -> KeyValue:
    """A manifest whose passages are the lines of `text`."""
    spans, start = [], 0
    for number, line in enumerate(text.split("\n") if shown else []):
        spans.append(ChunkSpan(start, start + len(line), digest_of(line), row_id(key, digest_of(line), number, source)))
        start += len(line) + 1
    entry = IndexEntry(
        index=key.index,
        doc_id=key.doc_id,
        registers=Registers.model_validate(state_to_wire(state)),
        shown=shown,
        title=title,
        metadata=dict(metadata or {}) if shown else {},
        text=text if shown else "",
        chunks=tuple(spans),
        source=source,
    )
    return LogKey(DOC, str(key)).to_bytes(), entry.to_bytes()


def seen(key: DocKey, state: DocumentState, source: SourcePosition) -> KeyValue:
    """A register record."""
    return LogKey(SEEN, str(key)).to_bytes(), SeenRecord(state, source).to_bytes()


def progress(partition: int, up_to: int, *, start: int = 0, runs: tuple[OutcomeRun, ...] = ()) -> KeyValue:
    """A progress marker."""
    marker = Progress(partition=partition, start=start, next=up_to, runs=runs, model="m", chunker="c")
    return LogKey(PROGRESS, str(partition)).to_bytes(), marker.to_bytes()


@dataclass
class Writer:
    """What a lane does, in little: joins each event into what it knows and writes a manifest or a register record."""

    partition: int
    states: dict[DocKey, DocumentState] = field(default_factory=dict)
    texts: dict[DocKey, str] = field(default_factory=dict)
    metadata: dict[DocKey, Mapping[str, MetadataValue]] = field(default_factory=dict)
    offset: int = 0

    def upsert(
        self,
        key: DocKey,
        version: int,
        text: str,
        allow: AllowList | None = PUBLIC,
        metadata: Mapping[str, MetadataValue] | None = None,
    ) -> list[KeyValue]:
        """An event with content; metadata is part of it."""
        self.metadata[key] = metadata or {}
        digest = digest_of(f"{text}\n{sorted(self.metadata[key].items())}" if metadata else text)
        return self._take(key, effect_of(version=version, digest=digest, allow=allow), text)

    def access(self, key: DocKey, version: int, allow: AllowList) -> list[KeyValue]:
        """An access change."""
        return self._take(key, effect_of(version=version, allow=allow))

    def delete(self, key: DocKey, version: int) -> list[KeyValue]:
        """A delete."""
        return self._take(key, effect_of(version=version, deletes=True))

    def fail(self, key: DocKey, version: int, allow: AllowList | None = None) -> list[KeyValue]:
        """An upsert that became a dead letter."""
        return self._take(key, effect_of(version=version, failed=True, allow=allow))

    def _take(self, key: DocKey, effect: DocumentState, text: str | None = None) -> list[KeyValue]:
        source = SourcePosition(self.partition, self.offset)
        self.offset += 1
        before = self.states.get(key, EMPTY)
        state = self.states[key] = join(before, effect)
        records: list[KeyValue] = []
        if state != before:
            is_content = text is not None and state.content == effect.content
            is_new = state.content is not None and (before.content is None or before.content.digest != state.content.digest)
            if is_content and text is not None and (is_new or self.texts.get(key) != text):
                self.texts[key] = text
                records.append(manifest(key, state, text, source, metadata=self.metadata[key]))
            elif key in self.texts and state.content is None:
                del self.texts[key]
                records.append(manifest(key, state, "", source, shown=False))
            else:
                records.append(seen(key, state, source))
        return [*records, progress(self.partition, self.offset, start=self.offset - 1)]
