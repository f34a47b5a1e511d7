"""Floors of several lanes in one topic: whose they are, when they go, and that no lane lifts another's."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from flows.express.floors import FloorBook, Place
from query_api.view.access import hides, narrowed
from schemas.acl import PUBLIC, permits, principals_of
from schemas.floors import NO_FLOOR, AccessFloor, DeleteFloor, Floor, FloorKey, LaneName, join_floors, standing
from schemas.index import DocKey, SourcePosition
from schemas.join import DocumentState, effect_of, fold

DOCUMENT = DocKey("docs", "d")
HR, ANN = ("group:hr",), ("user:ann",)
CALLERS = [principals_of([name]) for name in ("group:hr", "user:ann", "user:bob")]
GENERATIONS = ("g1", "g2")
OLD = Place(FloorKey(DOCUMENT, None), 0)


def place_of(generation: str, partition: int = 0, floor_partitions: int = 1) -> Place:
    """Where a lane writes its floor."""
    return Place(FloorKey(DOCUMENT, LaneName(generation, partition)), partition % floor_partitions)


def deleted(version: int, offset: int, partition: int = 0) -> Floor:
    """A delete's floor."""
    return Floor(delete=DeleteFloor(version, SourcePosition(partition, offset)))


def test_a_floor_stands_until_every_position_behind_it_is_passed() -> None:
    """A delete and an access change over one document: one record, cleared once both are in the manifest."""
    book = FloorBook()
    place = place_of("g1")
    access = Floor(access=(AccessFloor(4, HR, SourcePosition(0, 7)),))
    assert book.raise_floor(place, deleted(3, 5), {}) == deleted(3, 5)
    assert book.raise_floor(place, access, {0: 5}) == join_floors(deleted(3, 5), access)
    assert book.raise_floor(place, access, {0: 6}) is None, "it stands already"
    assert book.passed({0: 7}) == []
    assert book.passed({1: 99}) == [], "another partition's progress tells nothing"
    assert book.passed({0: 8}) == [place]
    assert len(book) == 0


def test_lanes_that_share_a_partition_of_the_floors_have_records_of_their_own() -> None:
    """Partitions were added to the documents alone: the lanes of 1 and of 5 write to the same of four, over the same document."""
    first, second = place_of("g1", 1, 4), place_of("g1", 5, 4)
    assert (first.partition, second.partition) == (1, 1)
    assert first.key.to_bytes() != second.key.to_bytes()


def test_keys_name_their_lane_unless_they_are_old() -> None:
    """Document ids may hold what keys are made of."""
    for document in (DOCUMENT, DocKey("docs", "@g1/0/docs/d"), DocKey("my-index", "a/b/c")):
        for lane in (None, LaneName("g1", 0), LaneName("2026-11", 47)):
            key = FloorKey(document, lane)
            assert FloorKey.from_bytes(key.to_bytes()) == key


def test_a_floor_is_heeded_in_its_generation_and_an_old_one_in_all() -> None:
    """Old keys protect everybody, as they did."""
    own = FloorKey(DOCUMENT, LaneName("g1", 0))
    assert own.is_heeded_by("g1") and not own.is_heeded_by("g2") and not own.is_heeded_by("g")
    assert all(OLD.key.is_heeded_by(generation) for generation in GENERATIONS)


@dataclass
class Topic:
    """`rag.floors`, compacted all the time: of each key only the last record is left."""

    records: dict[Place, Floor] = field(default_factory=dict)

    def write(self, place: Place, floor: Floor | None) -> None:
        """A null value clears."""
        if floor is None:
            self.records.pop(place, None)
        else:
            self.records[place] = floor

    def over_the_document(self, generation: str) -> Floor:
        """What a reader of the generation finds that begins now."""
        heeded = [floor for place, floor in self.records.items() if place.key.is_heeded_by(generation)]
        joined = NO_FLOOR
        for floor in heeded:
            joined = join_floors(joined, floor)
        return joined


@dataclass
class Lane:
    """An ingest process over one partition: how far its express lane has read, and how far its write path has published."""

    generation: str
    topic: Topic
    book: FloorBook = field(default_factory=FloorBook)
    read: int = 0
    published: int = 0
    ever_read: int = 0

    def restart(self) -> None:
        """A new life, of the process or of its express lane: what stands is read back, and read again from what is published."""
        self.book, self.read = FloorBook(), self.published
        for place, floor in self.topic.records.items():
            if place.key.is_heeded_by(self.generation):
                self.book.restore(place, floor)

    def read_ahead(self, event: DocumentState, offset: int) -> None:
        """The next event."""
        place = place_of(self.generation)
        joined = self.book.raise_floor(place, floor_of(event, offset), {0: self.published})
        if joined is not None:
            self.topic.write(place, joined)
        self.read = offset + 1
        self.ever_read = max(self.ever_read, self.read)

    def clear(self) -> None:
        """Floors that the write path has passed."""
        for place in self.book.passed({0: self.published}):
            self.topic.write(place, None)


def floor_of(event: DocumentState, offset: int) -> Floor:
    """Of an event as the join sees it."""
    source = SourcePosition(0, offset)
    if event.deleted >= 0:
        return Floor(delete=DeleteFloor(event.deleted, source))
    entry = event.access[-1]
    return Floor(access=(AccessFloor(entry.version, entry.allow, source),))


def readers(state: DocumentState, floor: Floor) -> set[int]:
    """Callers who may read what a manifest with `state` shows under `floor`."""
    if state.content is None or hides(floor, state):
        return set()
    lists = narrowed(floor, state, ())
    return {n for n, caller in enumerate(CALLERS) if all(permits(allow, caller) for allow in lists)}


versions = st.integers(2, 4)
acls = st.sampled_from([HR, ANN, PUBLIC, ()])
SHOWN = effect_of(version=1, digest="d1", allow=PUBLIC)
changes = (
    st.builds(lambda version: effect_of(version=version, deletes=True), versions)
    | st.builds(lambda version, allow: effect_of(version=version, allow=allow), versions, acls)
    | st.builds(lambda version, allow: effect_of(version=version, digest=f"d{version}", allow=allow), versions, acls)
)
histories = st.lists(changes, min_size=1, max_size=4).map(lambda changes: [SHOWN, *changes])
ACTS = ("read", "read", "publish", "clear", "restart")
steps = st.lists(st.tuples(st.sampled_from(range(2)), st.sampled_from(ACTS)), min_size=12, max_size=40)


def assert_nothing_is_lifted(history: list[DocumentState], lane: Lane, *, has_old: bool) -> None:
    """A reader of the lane's generation is shown no more than all that its express lane has ever read lets them see.

    Old floors come from all of the history, and may be newer than what the lane has read.
    """
    manifest, known = fold(history[: lane.published]), fold(history[: max(lane.ever_read, lane.published)])
    found = standing(lane.topic.over_the_document(lane.generation), {0: lane.published})
    permitted = readers(known, NO_FLOOR) | (readers(fold(history), NO_FLOOR) if has_old else set())
    assert readers(manifest, found) <= permitted


@given(histories, steps, st.booleans())
def test_generations_side_by_side_never_lift_each_other_s_floors(
    history: list[DocumentState], steps: list[tuple[int, str]], begins_with_old: bool
) -> None:
    """One is ahead, one behind, at any moment, whoever clears, restarts, or finds floors whose keys name no lane."""
    topic = Topic()
    lanes = [Lane(generation, topic) for generation in GENERATIONS]
    if begins_with_old:
        for offset, event in enumerate(history):
            topic.write(OLD, join_floors(topic.records.get(OLD, NO_FLOOR), floor_of(event, offset)))
    for lane in lanes:
        lane.restart()
    for which, step in steps:
        lane = lanes[which]
        if step == "read" and lane.read < len(history):
            lane.read_ahead(history[lane.read], lane.read)
        elif step == "publish" and lane.published < len(history):
            lane.published += 1
            lane.read = max(lane.read, lane.published)
        elif step == "clear":
            lane.clear()
        elif step == "restart":
            lane.restart()
        for each in lanes:
            assert_nothing_is_lifted(history, each, has_old=begins_with_old)
    for lane in lanes:
        lane.published = len(history)
        lane.restart()
        lane.clear()
    assert topic.records == {}, "nothing stays once everybody has passed everything"
