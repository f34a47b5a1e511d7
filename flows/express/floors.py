"""Which events raise a floor, and when a floor may go. Pure.

A floor only narrows (manifest ∩ floor), so raising one too many costs a record and never an answer that is too open. It is
cleared by the lane that raised it, once that lane's own progress has passed every position that it came from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from flows.ingest.events import Event, Rejection
from schemas.acl import AllowList
from schemas.floors import NO_FLOOR, AccessFloor, DeleteFloor, Floor, FloorKey, join_floors
from schemas.index import DocKey, SourcePosition
from schemas.join import DocumentState


class Sightings:
    """The last allow-list seen of each document, by reading a partition in order from its published position on.

    With what the lane knows this tells whether an event takes anything from anybody. Where it can't be told (the lane has planned
    this very event already, or memory ran out) the answer is yes.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._allow: OrderedDict[DocKey, AllowList | None] = OrderedDict()
        self._has_forgotten = False

    def changes_access(self, key: DocKey, version: int, allow: AllowList, known: DocumentState | None) -> bool:
        """Whether `allow` may differ from what is, or is about to be, in force; remembers it."""
        is_new = key not in self._allow
        before = self._allow.get(key)
        self._allow[key] = allow
        self._allow.move_to_end(key)
        if len(self._allow) > self._most:
            self._allow.popitem(last=False)
            self._has_forgotten = True
        if not is_new:
            return before != allow
        if known is None:
            return self._has_forgotten  # nothing is shown of it, and nothing earlier is on its way
        in_force = known.access[-1] if known.access else None
        return in_force is None or in_force.version >= version or in_force.allow != allow or known.is_stale


def narrows(item: Event | Rejection, known: DocumentState | None, sightings: Sightings) -> tuple[DocKey, Floor] | None:
    """The floor that `item` raises over its document, None where it takes nothing from anybody.

    Args:
        known: what the lane knows of the document, None if nothing.
        sightings: of the item's partition.
    """
    if isinstance(item, Rejection):
        if item.key is None or item.salvage is None or not item.salvage.access:
            return None
        entry = item.salvage.access[-1]
        source = SourcePosition(item.record.partition, item.record.offset)
        sightings.changes_access(item.key, entry.version, entry.allow, known)
        return item.key, Floor(access=AccessFloor(entry.version, entry.allow, source))
    if item.change.op == "delete":
        return item.key, Floor(delete=DeleteFloor(item.version, item.source))
    allow = item.change.acl
    if allow is None or not sightings.changes_access(item.key, item.version, allow, known):
        return None
    return item.key, Floor(access=AccessFloor(item.version, allow, item.source))


class Place(NamedTuple):
    """A floor's one record: its key, and the partition of `rag.floors` that it stands in.

    The key names its writer, so that no lane clears what another has raised over the same document: one of another generation,
    or of another process (a doc_id lies in two partitions after partitions were added, or with a producer that has another
    partitioner).
    """

    key: FloorKey
    partition: int


class FloorBook:
    """What stands in the topic of the floors that this process's lanes have raised, and of those whose key names no lane.

    The former have no other writer. The latter are only ever cleared: each generation does it when it has passed them, and by
    then the others have raised floors of their own for what they have yet to come to.
    """

    def __init__(self) -> None:
        self._floors: dict[Place, Floor] = {}

    def __len__(self) -> int:
        return len(self._floors)

    def restore(self, place: Place, floor: Floor | None) -> None:
        """Take in a record of the topic; None is a cleared floor."""
        if floor is None:
            self._floors.pop(place, None)
        else:
            self._floors[place] = floor

    def raise_floor(self, place: Place, floor: Floor) -> Floor | None:
        """The joined floor to publish, None when it stands already."""
        before = self._floors.get(place, NO_FLOOR)
        joined = join_floors(before, floor)
        if joined == before:
            return None
        self._floors[place] = joined
        return joined

    def passed(self, progress: Mapping[int, int]) -> list[Place]:
        """Take out the floors whose every position the write path has passed; their records are to be cleared."""
        done = [place for place, floor in self._floors.items() if _is_passed(floor, progress)]
        for place in done:
            del self._floors[place]
        return done


def _is_passed(floor: Floor, progress: Mapping[int, int]) -> bool:
    sources = [register.source for register in (floor.delete, floor.access) if register is not None]
    return all(progress.get(source.partition, 0) > source.offset for source in sources)
