"""The express lane on a log that runs: floors go up ahead of the write path, and nobody clears another process's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from connectors.kafka import KafkaLink, OutRecord, Producer, partitions_of, read_to_end
from connectors.kafka.embedded import EmbeddedBroker
from flows.express import ExpressLane
from schemas.documents import DocumentChange
from schemas.floors import NO_FLOOR, Floor, join_floors
from schemas.index import DocKey
from schemas.join import DocumentState, effect_of
from schemas.settings import Settings
from schemas.wire import from_ms
from tests.waiting import wait_until

PARTITIONS = 2
SHOWN = effect_of(version=1, digest="d", allow=("*",))
KEY = DocKey("docs", "d")


@pytest.fixture
def link(tmp_path: Path) -> Iterator[KafkaLink]:
    topics = Settings().kafka.topics
    broker = EmbeddedBroker()
    bootstrap = broker.start({topics.documents: PARTITIONS, topics.floors: PARTITIONS})
    yield KafkaLink(Settings().kafka, bootstrap, embedded=True, lock_dir=tmp_path / "locks")
    broker.close()


@contextmanager
def express(link: KafkaLink, positions: dict[int, int]) -> Iterator[ExpressLane]:
    """A process's lane over the partitions of `positions`, which the test moves as the write path would."""

    def state_of(_partition: int, _key: DocKey) -> DocumentState:
        return SHOWN

    lane = ExpressLane(Settings(), link, positions=lambda: dict(positions), state_of=state_of)
    lane.start()
    yield lane
    lane.stop()
    assert lane.error is None


def publish(link: KafkaLink, partition: int, at_ms: int, **fields: object) -> None:
    change = DocumentChange.model_validate({"doc_id": KEY.doc_id, "event_time": from_ms(at_ms), **fields})
    with closing(Producer(link)) as producer:
        producer.send_and_wait(OutRecord(Settings().kafka.topics.documents, b"d", change.to_bytes(), partition), 10)


def standing(link: KafkaLink) -> Floor:
    """What a view that reads the topic from its start holds over the document."""
    topic = Settings().kafka.topics.floors
    floor = NO_FLOOR
    for partition in partitions_of(link, topic):
        last = [record.value for record in read_to_end(link, topic, partition) if record.key == str(KEY).encode()][-1:]
        floor = join_floors(floor, Floor.from_bytes(last[0]) if last and last[0] is not None else NO_FLOOR)
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
        wait_until(lambda: standing(link).delete and standing(link).access, within_s=10, what="the floors")
        positions[0] = 1
        publish(link, 0, 7, op="access", acl=[])
        wait_until(lambda: (access := standing(link).access) and access.version == 7, within_s=10, what="the newer floor")
        assert standing(link).delete
        positions[0] = 3
        wait_until(lambda: standing(link) == NO_FLOOR, within_s=10, what="the floors to be cleared")


def test_a_process_that_clears_its_floor_leaves_that_of_another_over_the_same_document(link: KafkaLink) -> None:
    """One doc_id in two partitions: the first process is past its access change, the second has a delete to do yet."""
    first, second = {0: 0}, {1: 0}
    with express(link, first), express(link, second):
        publish(link, 0, 5, op="access", acl=["group:hr"])
        wait_until(lambda: standing(link).access, within_s=10, what="the first floor")
        publish(link, 1, 6, op="delete")
        wait_until(lambda: standing(link).delete, within_s=10, what="the second floor")
        assert standing(link).access, "the first's floor still stands"
        first[0] = 1
        wait_until(lambda: cleared(link) == 1, within_s=10, what="the first floor to be cleared")
        assert standing(link).delete, "the second's floor still stands"
        second[1] = 1
        wait_until(lambda: standing(link) == NO_FLOOR, within_s=10, what="everything to be cleared")
