"""`rag.floors`: what the express lane knows before the write path has caught up. A floor only narrows.

A floor is a join of its own: the highest delete and the highest access, each with the source position it came from. A view
takes manifest ∩ floor, and ignores a register once its own progress has passed that register's position.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from schemas.acl import AllowList
from schemas.errors import Rejected
from schemas.index import SourcePosition
from schemas.wire import SCHEMA_VERSION


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
        max((f.access for f in (a, b) if f.access), default=None),
    )
