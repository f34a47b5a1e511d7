"""Whose floors a view heeds: those of its own generation's lanes, each by itself, and those whose keys name no lane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka import Record
from query_api.view.store import ManifestStore, ViewIdentity
from schemas.acl import PUBLIC, principals_of
from schemas.errors import Fatal
from schemas.floors import NO_FLOOR, AccessFloor, DeleteFloor, Floor, FloorKey, LaneName
from schemas.index import SourcePosition
from tests.unit.query_api.view.writing import KeyValue, Writer, key_of, progress

INDEX, FLOORS = "rag.index.g1", "rag.floors"
A = key_of("a")
ANN = principals_of(["user:ann"])
NOW = 1_700_000_000_000
OLD = FloorKey(A, None)
DELETED = Floor(delete=DeleteFloor(5, SourcePosition(0, 7)))
REVOKED = Floor(access=(AccessFloor(5, ("group:hr",), SourcePosition(4, 7)),))


def of_lane(partition: int, generation: str = "g1") -> FloorKey:
    """Over the document, by a lane."""
    return FloorKey(A, LaneName(generation, partition))


class Floors:
    """One partition of the topic, as it comes to a view."""

    def __init__(self, store: ManifestStore) -> None:
        self._store = store
        self._offset = 0

    def write(self, key: bytes, floor: Floor | None) -> None:
        """The next record."""
        self._store.apply([Record(FLOORS, 0, self._offset, 0, key, floor.to_bytes() if floor else None)])
        self._offset += 1

    def raise_floor(self, key: FloorKey, floor: Floor) -> None:
        self.write(key.to_bytes(), floor)

    def clear(self, key: FloorKey) -> None:
        self.write(key.to_bytes(), None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ManifestStore]:
    """A view of g1 that shows one document to everybody."""
    identity = ViewIdentity("g1", "log-1", "floors-1")
    store = ManifestStore(tmp_path / "m", identity, index_topic=INDEX, floors_topic=FLOORS, missing={}).open()
    apply(store, *Writer(0).upsert(A, 1, "text", PUBLIC))
    yield store
    store.close()


@pytest.fixture
def floors(store: ManifestStore) -> Floors:
    return Floors(store)


def apply(store: ManifestStore, *pairs: KeyValue) -> None:
    start = store.positions(INDEX).get(0, 0)
    store.apply([Record(INDEX, 0, start + n, 0, key, value) for n, (key, value) in enumerate(pairs)])


def is_readable(store: ManifestStore) -> bool:
    with store.snapshot() as snapshot:
        document = snapshot.document(A)
        return document is not None and snapshot.is_readable(document, ANN, NOW)


def floor_of(store: ManifestStore) -> Floor:
    with store.snapshot() as snapshot:
        return snapshot.floor(A)


@pytest.mark.parametrize("key", [of_lane(0), OLD], ids=["its generation's", "an older release's"])
def test_a_floor_is_heeded(store: ManifestStore, floors: Floors, key: FloorKey) -> None:
    """Until the view has passed it."""
    assert is_readable(store)
    floors.raise_floor(key, DELETED)
    assert not is_readable(store)
    apply(store, progress(0, 8))
    assert is_readable(store), "the delete was fenced: what the manifest says holds"


@pytest.mark.parametrize("key", [of_lane(0), OLD], ids=["its generation's", "an older release's"])
def test_what_another_generation_clears_still_stands_for_this_one(store: ManifestStore, floors: Floors, key: FloorKey) -> None:
    """The other one is ahead, this one behind."""
    for raised in (key, of_lane(0, "g2")):
        floors.raise_floor(raised, DELETED)
    floors.clear(of_lane(0, "g2"))
    assert floor_of(store) == DELETED and not is_readable(store)


def test_another_generation_s_floor_is_none_of_its_own(store: ManifestStore, floors: Floors) -> None:
    """Its versions may be counted otherwise: joined, its floor could outdo one that is meant."""
    floors.raise_floor(of_lane(0), REVOKED)
    floors.raise_floor(of_lane(0, "g2"), Floor(access=(AccessFloor(NOW, PUBLIC, SourcePosition(4, 9)),)))
    assert floor_of(store) == REVOKED and not is_readable(store)
    floors.raise_floor(of_lane(0, "g2"), Floor(delete=DeleteFloor(NOW, SourcePosition(0, 99))))
    assert floor_of(store) == REVOKED


def test_lanes_in_one_partition_of_the_floors_keep_their_own(store: ManifestStore, floors: Floors) -> None:
    """Four partitions of floors, eight of documents: lanes 0 and 4, one doc_id. What one clears the other has yet to come to."""
    floors.raise_floor(of_lane(0), DELETED)
    floors.raise_floor(of_lane(4), REVOKED)
    apply(store, progress(0, 8))
    floors.clear(of_lane(0))
    assert floor_of(store) == REVOKED and not is_readable(store)
    apply(store, progress(4, 8))
    floors.clear(of_lane(4))
    assert floor_of(store) == NO_FLOOR and is_readable(store)


def test_an_old_floor_that_is_cleared_leaves_the_lanes_own(store: ManifestStore, floors: Floors) -> None:
    """A release that named no lanes has written the one, this release the other."""
    floors.raise_floor(OLD, DELETED)
    floors.raise_floor(of_lane(4), REVOKED)
    apply(store, progress(0, 8))
    floors.clear(OLD)
    assert floor_of(store) == REVOKED


@pytest.mark.parametrize("key", [b"@g1", b"@g1/0", b"@g1/x/docs/a", b"\xff"])
def test_what_is_no_floor_is_said(floors: Floors, key: bytes) -> None:
    """Going on would leave out what may narrow."""
    with pytest.raises(Fatal, match=r"rag.floors\[0\] at 0 is no record of ragstream"):
        floors.write(key, DELETED)
