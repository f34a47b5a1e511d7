"""`rag.index.<generation>`: the log of what is indexed. Manifests, register records, progress markers, owners.

Keys carry the kind, so that compaction keeps the newest of each: `doc/<index>/<doc_id>`, `seen/<index>/<doc_id>`,
`progress/<partition>`, `owner/<partition>`. Written only by the partition's fenced writer, read by views and lanes.
Readers ignore unknown fields (they may be older than the writer) but stop at an unknown `schema_version`.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Literal, NamedTuple

import orjson
from pydantic import Field

from schemas.documents import Metadata
from schemas.errors import Rejected
from schemas.join import EMPTY, AccessEntry, Content, DocumentState, ExpiryEntry
from schemas.wire import SCHEMA_VERSION, Growing

DOC = "doc"
SEEN = "seen"
PROGRESS = "progress"
OWNER = "owner"


class DocKey(NamedTuple):
    """A document's identity: the same doc_id in two indexes is two documents."""

    index: str  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a key
    doc_id: str

    def __str__(self) -> str:
        return f"{self.index}/{self.doc_id}"

    @classmethod
    def parse(cls, text: str) -> DocKey:
        index, _, doc_id = text.partition("/")
        return cls(index, doc_id)


class LogKey(NamedTuple):
    """A key of the index log: its kind and what follows (`<index>/<doc_id>` or a partition)."""

    kind: str
    name: str

    def to_bytes(self) -> bytes:
        return f"{self.kind}/{self.name}".encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> LogKey:
        kind, _, name = raw.decode().partition("/")
        return cls(kind, name)


class SourcePosition(NamedTuple):
    """Where in `rag.documents` something came from."""

    partition: int
    offset: int


class ChunkSpan(NamedTuple):
    """A chunk of a manifest's text: `text[start:end]`, its content digest, and its row in the vector store."""

    start: int
    end: int
    digest: str
    row_id: str


def row_id(key: DocKey, digest: str, occurrence: int, first_written: SourcePosition) -> str:
    """A row's primary key: 32 hex characters.

    It holds the source position of the revision that first wrote the chunk, so an id is never used again: a late
    delete of an old row can't hit one that came back (A→B→A).
    """
    parts = (key.index, key.doc_id, digest, occurrence, first_written.partition, first_written.offset)
    return hashlib.sha256("\x00".join(map(str, parts)).encode()).hexdigest()[:32]


class Registers(Growing):
    """A `DocumentState` on the wire."""

    deleted: int | None = None
    content: tuple[int, str] | None = None
    access: tuple[tuple[int, tuple[str, ...]], ...] = ()
    expiry: tuple[tuple[int, int | None, bool], ...] = ()
    failed: int | None = None


def state_to_wire(state: DocumentState) -> dict[str, object]:
    """The registers that are set, as JSON values."""
    wire: dict[str, object] = {}
    if state.deleted >= 0:
        wire["deleted"] = state.deleted
    if state.content is not None:
        wire["content"] = state.content
    if state.access:
        wire["access"] = state.access
    if state.expiry:
        wire["expiry"] = state.expiry
    if state.failed >= 0:
        wire["failed"] = state.failed
    return wire


def state_from_wire(wire: dict[str, object]) -> DocumentState:
    """Inverse of `state_to_wire`. The writer is trusted; types are not checked again."""
    if not wire:
        return EMPTY
    content = wire.get("content")
    return DocumentState(
        deleted=wire.get("deleted", -1),  # type: ignore[arg-type]
        content=Content(*content) if content else None,  # type: ignore[misc]
        access=tuple(AccessEntry(version, tuple(allow)) for version, allow in wire.get("access", ())),  # type: ignore[attr-defined]
        expiry=tuple(ExpiryEntry(*entry) for entry in wire.get("expiry", ())),  # type: ignore[attr-defined]
        failed=wire.get("failed", -1),  # type: ignore[arg-type]
    )


class IndexEntry(Growing):
    """The manifest of a document's one current revision: the switch that makes it visible, in one message.

    With `shown` false it is a tombstone: deleted or expired; its registers stay, so that nothing older comes back.
    `text[start:end]` of the spans are the passages; together they cover all of the text that is not white space.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    index: str
    doc_id: str
    registers: Registers
    shown: bool = Field(False, description="Whether this revision has text to show; false for a tombstone.")
    title: str = ""
    source_uri: str | None = None
    metadata: Metadata = Field(default_factory=dict)
    media_type: str = "text/markdown"
    text: str = ""
    chunks: tuple[ChunkSpan, ...] = ()
    superseded: tuple[str, ...] = Field((), description="Row ids of earlier revisions that may not be deleted yet.")
    source: SourcePosition = Field(description="Position in rag.documents of the event that this record follows from.")
    content_source: SourcePosition | None = Field(None, description="Position of the event that set the content.")
    event_time_ms: int = 0
    written_at_ms: int = 0

    @property
    def key(self) -> DocKey:
        return DocKey(self.index, self.doc_id)

    @property
    def state(self) -> DocumentState:
        return state_from_wire(self.registers.model_dump(exclude_none=True))

    def passages(self) -> list[str]:
        return [self.text[span.start : span.end] for span in self.chunks]


class Outcome(StrEnum):
    """What became of an event of `rag.documents`; each has exactly one."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    FENCED = "fenced"
    ACCESS_ONLY = "access-only"
    DELETED = "deleted"
    EXPIRED = "expired"
    DEAD_LETTERED = "dead-lettered"


class OutcomeRun(NamedTuple):
    """`count` offsets from `first` on (delivered ones, one after the other) that ended in the same outcome."""

    first: int
    last: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    outcome: str


class Progress(Growing):
    """The marker of one source partition, committed with the manifests it speaks of.

    `runs` tell the outcome of every delivered offset in [`start`, `next`); `totals` sum up over [`origin`, `next`). Gaps
    between runs are offsets that Kafka never delivers (transaction markers, compaction).
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    partition: int
    origin: int = Field(0, description="Offset at which the first of all batches began.")
    start: int
    next: int
    runs: tuple[OutcomeRun, ...] = ()
    totals: dict[str, int] = Field(default_factory=dict)
    model: str = Field(description="Fingerprint of the encoder whose vectors the generation holds.")
    chunker: str = Field(description="Fingerprint of the chunker.")
    log_id: str = Field("", description="Identity of the source log: cluster and topic.")
    written_at_ms: int = 0


class Owner(Growing):
    """Who writes this partition. Tells a real rival from a transaction that only timed out."""

    schema_version: Literal[1] = SCHEMA_VERSION
    partition: int
    owner: str = Field(description="Unique to one writer's life.")
    host: str
    pid: int
    started_at_ms: int


class SeenRecord(NamedTuple):
    """What `seen/<index>/<doc_id>` holds: registers alone, because the text they speak of is already in the log."""

    state: DocumentState
    source: SourcePosition
    content_source: SourcePosition | None = None

    def to_bytes(self) -> bytes:
        wire = {
            "schema_version": SCHEMA_VERSION,
            "registers": state_to_wire(self.state),
            "source": self.source,
            "content_source": self.content_source,
        }
        return orjson.dumps(wire, default=tuple)  # orjson takes plain tuples only

    @classmethod
    def from_bytes(cls, raw: bytes) -> SeenRecord:
        wire = orjson.loads(raw)
        if wire.get("schema_version") != SCHEMA_VERSION:
            msg = "unknown_schema_version"
            raise Rejected(msg, f"a seen record says {wire.get('schema_version')!r}; this release knows 1")
        content_source = wire.get("content_source")
        return cls(
            state_from_wire(wire["registers"]),
            SourcePosition(*wire["source"]),
            SourcePosition(*content_source) if content_source else None,
        )
