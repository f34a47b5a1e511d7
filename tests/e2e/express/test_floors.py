"""The express lane on a log that runs: floors go up ahead of the write path, and no lane clears another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from connectors.kafka import KafkaLink, OutRecord, Producer, partitions_of, read_to_end
from connectors.kafka.embedded import EmbeddedBroker
from flows.express import ExpressLane
from schemas.documents import DocumentChange
from schemas.floors import NO_FLOOR, AccessFloor, DeleteFloor, Floor, FloorKey, join_floors
from schemas.index import DocKey, SourcePosition
from schemas.join import DocumentState, effect_of
from schemas.settings import Settings
from schemas.wire import from_ms
from tests.waiting import wait_until

PARTITIONS = 2
SHOWN = effect_of(version=1, digest="d", allow=("*",))
KEY = DocKey("docs", "d")
OLD = FloorKey(KEY, None)
WITHIN_S = 10.0

StateOf = Callable[[int, DocKey], DocumentState | None]


def shown(_partition: int, _key: DocKey) -> DocumentState:
    """What the write path knows of every document."""
    return SHOWN


@pytest.fixture
def link(tmp_path: Path) -> Iterator[KafkaLink]:
    topics = Settings().kafka.topics
    broker = EmbeddedBroker()
    bootstrap = broker.start({topics.documents: PARTITIONS, topics.floors: PARTITIONS})
    yield KafkaLink(Settings().kafka, bootstrap, embedded=True, lock_dir=tmp_path / "locks")
    broker.close()


@contextmanager
def express(
    link: KafkaLink, positions: dict[int, int], generation: str = "g1", state_of: StateOf = shown
) -> Iterator[ExpressLane]:
    """A process's lane over the partitions of `positions`, which the test moves as the write path would."""
    lane = ExpressLane(Settings(generation=generation), link, positions=lambda: dict(positions), state_of=state_of)
    lane.start()
    yield lane
    lane.stop()


def publish(link: KafkaLink, partition: int, at_ms: int, **fields: object) -> None:
    change = DocumentChange.model_validate({"doc_id": KEY.doc_id, "event_time": from_ms(at_ms), **fields})
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(Settings().kafka.topics.documents, b"d", change.to_bytes(), partition), 10)


def write_floor(link: KafkaLink, key: FloorKey, floor: Floor, partition: int = 0) -> None:
    """As another release or another process does."""
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(Settings().kafka.topics.floors, key.to_bytes(), floor.to_bytes(), partition), 10)


def standing(link: KafkaLink, generation: str = "g1") -> Floor:
    """What a view of the generation that begins now holds over the document, the topic having been compacted."""
    topic = Settings().kafka.topics.floors
    last: dict[tuple[bytes | None, int], bytes | None] = {}
    for partition in partitions_of(link, topic):
        last |= {(record.key, partition): record.value for record in read_to_end(link, topic, partition)}
    floor = NO_FLOOR
    for (key, _), value in last.items():
        if value is not None and FloorKey.from_bytes(key or b"").is_heeded_by(generation):
            floor = join_floors(floor, Floor.from_bytes(value))
    return floor


def cleared(link: KafkaLink) -> int:
    """How many floors were cleared."""
    topic = Settings().kafka.topics.floors
    return sum(record.value is None for partition in partitions_of(link, topic) for record in read_to_end(link, topic, partition))


def test_a_revocation_and_a_delete_stand_until_the_write_path_has_passed_them(link: KafkaLink) -> None:
    """Joined while they wait; gone afterwards."""
    positions = {0: 0}
    with express(link, positions):
        publish(link, 0, 5, op="access", acl=["group:hr"])
        publish(link, 0, 6, op="delete")
        wait_until(lambda: standing(link).delete and standing(link).access, within_s=WITHIN_S, what="the floors")
        positions[0] = 1
        publish(link, 0, 7, op="access", acl=[])
        wait_until(lambda: 7 in _lists(link), within_s=WITHIN_S, what="the newer floor")
        assert 5 not in _lists(link), "the write path has passed it"
        assert standing(link).delete
        positions[0] = 3
        wait_until(lambda: standing(link) == NO_FLOOR, within_s=WITHIN_S, what="the floors to be cleared")


def test_a_grant_beside_a_revocation_leaves_it_standing(link: KafkaLink) -> None:
    """Revoked, then opened to others for a new text: readers are held to both lists until the write path has passed them."""
    positions = {0: 0}
    with express(link, positions):
        publish(link, 0, 5, op="access", acl=["group:hr"])
        publish(link, 0, 6, op="upsert", acl=["group:hr", "user:ann"], content={"text": "redacted"})
        wait_until(lambda: _lists(link) == [5, 6], within_s=WITHIN_S, what="both lists")
        publish(link, 0, 7, op="access", acl=["*"])
        publish(link, 0, 8, op="access", acl=[])
        wait_until(lambda: _lists(link) == [5, 6, 8], within_s=WITHIN_S, what="the last; an open one takes nothing")
        positions[0] = 4
        wait_until(lambda: standing(link) == NO_FLOOR, within_s=WITHIN_S, what="the floor to be cleared")


def test_a_process_that_clears_its_floor_leaves_that_of_another_over_the_same_document(link: KafkaLink) -> None:
    """One doc_id in two partitions: the first process is past its access change, the second has a delete to do yet."""
    first, second = {0: 0}, {1: 0}
    with express(link, first), express(link, second):
        publish(link, 0, 5, op="access", acl=["group:hr"])
        wait_until(lambda: standing(link).access, within_s=WITHIN_S, what="the first floor")
        publish(link, 1, 6, op="delete")
        wait_until(lambda: standing(link).delete, within_s=WITHIN_S, what="the second floor")
        assert standing(link).access, "the first's floor still stands"
        first[0] = 1
        wait_until(lambda: cleared(link) == 1, within_s=WITHIN_S, what="the first floor to be cleared")
        assert standing(link).delete, "the second's floor still stands"
        second[1] = 1
        wait_until(lambda: standing(link) == NO_FLOOR, within_s=WITHIN_S, what="everything to be cleared")


@pytest.mark.parametrize(("ahead", "behind"), [("g1", "g2"), ("g2", "g1")])
def test_a_generation_that_is_ahead_leaves_the_floors_of_one_that_is_behind(link: KafkaLink, ahead: str, behind: str) -> None:
    """A rebuild beside the live generation, whichever of them is the slower one: each clears its own."""
    fast, slow = {0: 0}, {0: 0}
    with express(link, fast, ahead), express(link, slow, behind):
        publish(link, 0, 5, op="access", acl=["group:hr"])
        publish(link, 0, 6, op="delete")
        for generation in (ahead, behind):
            wait_until(partial(_hides_and_revokes, link, generation), within_s=WITHIN_S, what=f"the floors of {generation}")
        fast[0] = 2
        wait_until(lambda: standing(link, ahead) == NO_FLOOR, within_s=WITHIN_S, what="the first to clear its own")
        assert _hides_and_revokes(link, behind), "the slower one's readers still heed them"
        publish(link, 0, 7, op="access", acl=[])
        fast[0] = 3
        wait_until(lambda: 7 in _lists(link, behind), within_s=WITHIN_S, what="the third")
        slow[0] = 2
        assert standing(link, behind).access
        slow[0] = 3
        wait_until(lambda: standing(link, behind) == NO_FLOOR, within_s=WITHIN_S, what="the second to clear its own")


def _lists(link: KafkaLink, generation: str = "g1") -> list[int]:
    """Versions of the lists that stand."""
    return [entry.version for entry in standing(link, generation).access]


def _hides_and_revokes(link: KafkaLink, generation: str) -> bool:
    found = standing(link, generation)
    return found.delete is not None and found.access != ()


def test_floors_of_older_releases_stand_until_they_are_passed_and_are_cleared_then(link: KafkaLink) -> None:
    """Their keys name no lane: every generation heeds them, and whoever clears them leaves the others' own."""
    publish(link, 0, 5, op="delete")
    write_floor(link, OLD, Floor(DeleteFloor(5, SourcePosition(0, 0))))
    fast, slow = {0: 0}, {0: 0}
    with express(link, fast, "g1"), express(link, slow, "g2"):
        assert standing(link, "g1").delete and standing(link, "g2").delete
        wait_until(lambda: _own(link) == 2, within_s=WITHIN_S, what="floors of both generations' own")
        fast[0] = 1
        wait_until(lambda: standing(link, "g1") == NO_FLOOR, within_s=WITHIN_S, what="the old one and g1's to be cleared")
        assert standing(link, "g2").delete, "g2 has its own"
        slow[0] = 1
        wait_until(lambda: standing(link, "g2") == NO_FLOOR, within_s=WITHIN_S, what="everything to be cleared")


def _own(link: KafkaLink) -> int:
    """Floors that name their lane."""
    topic = Settings().kafka.topics.floors
    records = (record for partition in partitions_of(link, topic) for record in read_to_end(link, topic, partition))
    return sum(record.value is not None and FloorKey.from_bytes(record.key or b"").lane is not None for record in records)


def test_a_floor_of_an_earlier_life_is_cleared_by_the_next(link: KafkaLink) -> None:
    """Also in the partition in which it once was put, when floors had another number of partitions."""
    publish(link, 0, 5, op="delete")
    key = FloorKey.from_bytes(b"@g1/0/docs/d")
    write_floor(link, key, Floor(DeleteFloor(5, SourcePosition(0, 0))), partition=1)
    another = Floor(access=(AccessFloor(5, (), SourcePosition(1, 0)),))
    write_floor(link, FloorKey.from_bytes(b"@g1/1/docs/d"), another, partition=1)
    with express(link, {0: 1}):
        wait_until(lambda: standing(link).delete is None, within_s=WITHIN_S, what="the floor to be cleared")
        assert standing(link).access, "another lane's"
