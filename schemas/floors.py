"""`rag.floors`: what the express lane knows before the write path has caught up. A floor only narrows.

A floor is a join of its own: the highest delete, and every list that waits, each with the source position it came from. A view
takes manifest ∩ floor, and ignores what its own progress has passed.

Of the lists not only the newest is kept: a grant may wait behind a revocation, for its content, and must not lift it meanwhile.

A record has one writer, named in its key: the lane of a generation and a partition of `rag.documents`. Generations share the
topic and not their floors: one that is ahead would clear what another, which is behind, has yet to come to.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import groupby
from typing import Final, NamedTuple

import orjson

from schemas.acl import AllowList, common
from schemas.errors import Rejected
from schemas.index import DocKey, SourcePosition
from schemas.wire import SCHEMA_VERSION

OF_A_LANE: Final = "@"
"""Begins the keys that name their lane. No index's name does."""

MAX_WAITING: Final = 8
"""Lists of a document that wait in one partition and are kept apart: the newest. Older ones are brought together."""
MAX_FLOOR_BYTES: Final = 64 * 1024
"""Less than the smallest limit that messages can have: where long lists would take more, one stands for all of a partition."""


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
    """Restrictions on a document that may be ahead of its manifest.

    Attributes:
        access: by partition and version; whoever reads must be on all lists that are newer than what is shown.
    """

    delete: DeleteFloor | None = None
    access: tuple[AccessFloor, ...] = ()

    @property
    def sources(self) -> tuple[SourcePosition, ...]:
        """The positions that it came from."""
        entries = tuple(entry.source for entry in self.access)
        return entries if self.delete is None else (self.delete.source, *entries)

    def to_bytes(self) -> bytes:
        raw = self._to_bytes(self.access)
        return raw if len(raw) <= MAX_FLOOR_BYTES else self._to_bytes(_one_for_each_partition(self.access))

    def _to_bytes(self, access: tuple[AccessFloor, ...]) -> bytes:
        # Readers of releases that know one list only take `access`: it keeps out whoever any of the lists keeps out.
        as_one = reduce(_as_one, access) if access else None
        wire: dict[str, object] = {"schema_version": SCHEMA_VERSION, "delete": self.delete, "access": as_one}
        if len(access) > 1:
            wire["waiting"] = access
        return orjson.dumps(wire, default=tuple)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Floor:
        wire = orjson.loads(raw)
        if wire.get("schema_version") != SCHEMA_VERSION:
            msg = "unknown_schema_version"
            raise Rejected(msg, f"a floor says {wire.get('schema_version')!r}; this release knows 1")
        delete, access = wire.get("delete"), wire.get("access")
        waiting = wire.get("waiting") or ([access] if access else [])
        return cls(
            DeleteFloor(delete[0], SourcePosition(*delete[1])) if delete else None,
            reduce(_join_access, ((_access_floor(*entry),) for entry in waiting), ()),
        )


NO_FLOOR = Floor()


def join_floors(a: Floor, b: Floor) -> Floor:
    """The floor that narrows as both do. Associative, commutative, idempotent."""
    return Floor(max((f.delete for f in (a, b) if f.delete), default=None), _join_access(a.access, b.access))


def standing(floor: Floor, progress: Mapping[int, int]) -> Floor:
    """What of `floor` those who have come as far as `progress` have not passed yet; what they have passed is in the manifest."""
    if floor == NO_FLOOR:
        return floor
    return Floor(
        floor.delete if floor.delete and not _is_passed(floor.delete.source, progress) else None,
        tuple(entry for entry in floor.access if not _is_passed(entry.source, progress)),
    )


def _join_access(a: tuple[AccessFloor, ...], b: tuple[AccessFloor, ...]) -> tuple[AccessFloor, ...]:
    """All entries, one for each version in a partition; of more than are kept apart the oldest as one.

    Which are the oldest depends on newer versions alone, so it doesn't matter in which order they come together.
    """
    if not a or not b or a == b:
        return a or b
    apart: dict[tuple[int, int], AccessFloor] = {}
    for entry in (*a, *b):
        place = entry.source.partition, entry.version
        apart[place] = _as_one(apart[place], entry) if place in apart else entry
    joined: list[AccessFloor] = []
    for _, places in groupby(sorted(apart), key=lambda place: place[0]):
        entries = [apart[place] for place in places]
        older, newer = entries[: 1 - MAX_WAITING], entries[1 - MAX_WAITING :]
        joined += [reduce(_as_one, older), *newer] if older else newer
    return tuple(joined)


def _one_for_each_partition(access: tuple[AccessFloor, ...]) -> tuple[AccessFloor, ...]:
    return tuple(reduce(_as_one, entries) for _, entries in groupby(access, key=lambda entry: entry.source.partition))


def _as_one(a: AccessFloor, b: AccessFloor) -> AccessFloor:
    """An entry that keeps out whom either does, as long as either does."""
    return AccessFloor(max(a.version, b.version), common(a.allow, b.allow), max(a.source, b.source))


def _access_floor(version: int, allow: list[str], source: list[int]) -> AccessFloor:
    return AccessFloor(version, tuple(allow), SourcePosition(*source))


def _is_passed(source: SourcePosition, progress: Mapping[int, int]) -> bool:
    return progress.get(source.partition, 0) > source.offset
