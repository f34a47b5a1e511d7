"""`rag.floors`: what the express lane knows before the write path has caught up. A floor only narrows.

A floor is a join of its own: the highest delete and the highest access, each with the source position it came from. A view
takes manifest ∩ floor, and ignores a register once its own progress has passed that register's position.

A record has one writer, named in its key: the lane of a generation and a partition of `rag.documents`. Generations share the
topic and not their floors: one that is ahead would clear what another, which is behind, has yet to come to.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from schemas.acl import AllowList
from schemas.errors import Rejected
from schemas.index import DocKey, SourcePosition
from schemas.join import allow_list_digest
from schemas.wire import SCHEMA_VERSION

OF_A_LANE: Final = "@"
"""Begins the keys that name their lane. No index's name does."""


class LaneName(NamedTuple):
    """Whose floor it is: the generation, and the partition of `rag.documents` that the floor comes from."""

    generation: str
    partition: int


class FloorKey(NamedTuple):
    """A key of `rag.floors`: `@<generation>/<partition>/<index>/<doc_id>`.

    Attributes:
        lane: None in `<index>/<doc_id>`, as releases wrote it in which generations shared their floors: heeded by all of them.
    """

    document: DocKey
    lane: LaneName | None

    def is_heeded_by(self, generation: str) -> bool:
        """Whether readers and lanes of `generation` take the floor for theirs."""
        return self.lane is None or self.lane.generation == generation

    def to_bytes(self) -> bytes:
        if self.lane is None:
            return str(self.document).encode()
        return f"{OF_A_LANE}{self.lane.generation}/{self.lane.partition}/{self.document}".encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> FloorKey:
        """Raises: ValueError, for what is no such key."""
        text = raw.decode()
        if not text.startswith(OF_A_LANE):
            return cls(DocKey.parse(text), None)
        generation, partition, document = text.removeprefix(OF_A_LANE).split("/", 2)
        return cls(DocKey.parse(document), LaneName(generation, int(partition)))


class DeleteFloor(NamedTuple):
    version: int
    source: SourcePosition


class AccessFloor(NamedTuple):
    version: int
    allow: AllowList
    source: SourcePosition


class Floor(NamedTuple):
    """Restrictions on a document that may be ahead of its manifest."""

    delete: DeleteFloor | None = None
    access: AccessFloor | None = None

    def to_bytes(self) -> bytes:
        wire = {"schema_version": SCHEMA_VERSION, "delete": self.delete, "access": self.access}
        return orjson.dumps(wire, default=tuple)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Floor:
        wire = orjson.loads(raw)
        if wire.get("schema_version") != SCHEMA_VERSION:
            msg = "unknown_schema_version"
            raise Rejected(msg, f"a floor says {wire.get('schema_version')!r}; this release knows 1")
        delete, access = wire.get("delete"), wire.get("access")
        return cls(
            DeleteFloor(delete[0], SourcePosition(*delete[1])) if delete else None,
            AccessFloor(access[0], tuple(access[1]), SourcePosition(*access[2])) if access else None,
        )


NO_FLOOR = Floor()


def join_floors(a: Floor, b: Floor) -> Floor:
    """The floor that narrows as both do. Associative, commutative, idempotent."""
    return Floor(
        max((f.delete for f in (a, b) if f.delete), default=None),
        max((f.access for f in (a, b) if f.access), default=None, key=_access_order),
    )


def _access_order(access: AccessFloor) -> tuple[int, str, SourcePosition]:
    """Of two lists at one version the same one wins as in a document's state."""
    return access.version, allow_list_digest(access.allow), access.source
