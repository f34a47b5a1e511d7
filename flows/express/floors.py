"""Which events raise a floor, and when a floor may go. Pure.

A floor only narrows (manifest ∩ floor), so raising one too many costs a record and never an answer that is too open. It is
cleared by the lane that raised it, once that lane's own progress has passed every position that it came from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from flows.express.forgotten import Forgotten
from flows.ingest.events import Event, Rejection
from schemas.acl import EVERYONE, AllowList
from schemas.floors import NO_FLOOR, AccessFloor, DeleteFloor, Floor, FloorKey, join_floors, standing
from schemas.index import DocKey, SourcePosition
from schemas.join import NEVER, DocumentState


class _Sighting(NamedTuple):
    """The newest that was said of who may read a document.

    Attributes:
        allow: None where it can't be told.
        is_seen: by an event that was read; otherwise it is only known, and the event that says it may be on its way yet.
        is_as_known: nothing that was read says otherwise than what was known: to forget it loses nothing.
    """

    version: int
    allow: AllowList | None
    is_seen: bool = False
    is_as_known: bool = False


class Sightings:
    """The newest allow-list seen of each document, by reading a partition in order from its published position on.

    With what the lane knows this tells whether an event takes anything from anybody. Where it can't be told (the lane has planned
    this very event already, it is older than another, or memory ran out) the answer is yes.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._newest: OrderedDict[DocKey, _Sighting] = OrderedDict()
        self._forgotten = Forgotten()
        self._newest_forgotten: int = NEVER

    def changes_access(self, key: DocKey, version: int, allow: AllowList, known: DocumentState | None) -> bool:
        """Whether `allow` may differ from what is, or is about to be, in force; remembers it if it is the newest.

        What is newer than all else and says the same as the newest takes nothing: whom it keeps out is kept out by the floor of
        that one until the write path has come to it, and by the manifest from then on.
        """
        before = self._newest.get(key) or self._first(key, known)
        if before is None:
            self._remember(key, _Sighting(version, allow, is_seen=True))
            return False  # nothing is shown of it, and nothing earlier is on its way
        says_the_same = before.allow == allow
        if version < before.version:
            self._remember(key, before)
            return True
        self._remember(
            key,
            _Sighting(
                version,
                allow if says_the_same or version > before.version else None,  # of two lists at one version either may win
                is_seen=True,
                is_as_known=before.is_as_known and says_the_same,
            ),
        )
        return not says_the_same or (version == before.version and not before.is_seen)

    def deletes(self, key: DocKey, version: int, known: DocumentState | None) -> None:
        """What was said of access up to `version` counts no more."""
        before = self._newest.get(key) or self._first(key, known)
        if before is None or before.version <= version:
            self._remember(key, _Sighting(version, None, is_seen=True))

    def says_nothing(self, key: DocKey, known: DocumentState | None) -> None:
        """The event carries no list: a document that was unknown is then for whom its index says, which may be everybody."""
        if key not in self._newest and self._first(key, known) is None:
            self._remember(key, _Sighting(NEVER, None, is_seen=True))

    def _first(self, key: DocKey, known: DocumentState | None) -> _Sighting | None:
        """What an event is compared with whose document was not seen, or forgotten. None: with nothing, there is none."""
        is_forgotten = str(key) in self._forgotten
        if known is None and not is_forgotten:
            return None
        newest = known.access[-1] if known is not None and known.access else None
        version = newest.version if newest is not None else NEVER
        if is_forgotten:
            return _Sighting(max(version, self._newest_forgotten), None)
        is_told = newest is not None and known is not None and not known.is_stale
        return _Sighting(version, newest.allow if newest is not None and is_told else None, is_as_known=True)

    def _remember(self, key: DocKey, newest: _Sighting) -> None:
        self._newest[key] = newest
        self._newest.move_to_end(key)
        if len(self._newest) > self._most:
            forgotten, oldest = self._newest.popitem(last=False)
            if not oldest.is_as_known:
                self._forgotten.add(str(forgotten))
                self._newest_forgotten = max(oldest.version, self._newest_forgotten)


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
        return _of_access(item.key, entry.version, entry.allow, source)
    if item.change.op == "delete":
        sightings.deletes(item.key, item.version, known)
        return item.key, Floor(delete=DeleteFloor(item.version, item.source))
    allow = item.change.acl
    if allow is None:
        sightings.says_nothing(item.key, known)
        return None
    if not sightings.changes_access(item.key, item.version, allow, known):
        return None
    return _of_access(item.key, item.version, allow, item.source)


def _of_access(key: DocKey, version: int, allow: AllowList, source: SourcePosition) -> tuple[DocKey, Floor] | None:
    return (key, Floor(access=(AccessFloor(version, allow, source),))) if EVERYONE not in allow else None


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

    def raise_floor(self, place: Place, floor: Floor, progress: Mapping[int, int]) -> Floor | None:
        """The joined floor to publish, without what the write path has passed of it; None when it stands already."""
        before = self._floors.get(place, NO_FLOOR)
        if join_floors(before, floor) == before:
            return None
        self._floors[place] = join_floors(standing(before, progress), floor)
        return self._floors[place]

    def passed(self, progress: Mapping[int, int]) -> list[Place]:
        """Take out the floors whose every position the write path has passed; their records are to be cleared."""
        done = [place for place, floor in self._floors.items() if standing(floor, progress) == NO_FLOOR]
        for place in done:
            del self._floors[place]
        return done
