"""Taking a partition over while Kafka is unwell: only who has signed it is a rival."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.kafka import KafkaLink, OutRecord, Record
from connectors.kafka.reader import read_to_end
from connectors.kafka.topics import create_topics, topic_specs
from connectors.kafka.writer import TransactionalWriter
from flows.ingest.failpoints import FailPoints
from flows.ingest.lane import Lane
from flows.ingest.partition_log import Fingerprints, OpenedPartition, PartitionWriter, open_partition
from schemas.errors import Fenced, Misconfigured, Retryable
from schemas.index import OWNER, PROGRESS, DocKey, LogKey, Owner, Progress
from schemas.settings import Settings
from tests.servers.kafka import KafkaAddress
from tests.stacks import stack_settings
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)


MADE_WITH = Fingerprints("model", "chunker", "log")


class BusyLog(Lane):
    """A lane that is read back while something else goes on: `meanwhile`, after the first record."""

    def __init__(self, settings: Settings, meanwhile: Callable[[], None]) -> None:
        super().__init__(0, index_topic=settings.index_topic, dead_letter_topic="", missing_allow={}, max_record_bytes=10**6)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def restore(self, record: Record) -> tuple[DocKey, tuple[str, ...]] | None:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().restore(record)


class Interruptions(FailPoints):
    """What comes between producing a batch and committing it, one after the other."""

    def __init__(self, *interruptions: Callable[[], None]) -> None:
        super().__init__()
        self.left = list(interruptions)

    def reach(self, point: str) -> None:
        if point == "produced" and self.left:
            self.left.pop(0)()


class Ground:
    """A partition of a test's own index log."""

    def __init__(self, settings: Settings, link: KafkaLink) -> None:
        self.settings = settings
        self.link = link

    def writer(self, fail_points: FailPoints | None = None) -> PartitionWriter:
        return PartitionWriter(self.link, self.settings, 0, threading.Event(), fail_points or FailPoints(), lambda: 1)

    def owner(self, fail_points: FailPoints | None = None) -> PartitionWriter:
        """A writer that has taken the partition over."""
        writer = self.writer(fail_points)
        writer.open()
        writer.sign()
        return writer

    def marker(self, position: int) -> OutRecord:
        marker = Progress(partition=0, start=0, next=position, **MADE_WITH._asdict())
        return OutRecord(self.settings.index_topic, LogKey(PROGRESS, "0").to_bytes(), marker.to_bytes(), partition=0)

    def positions(self) -> list[int]:
        """Of all markers in the log."""
        return [Progress.from_bytes(value).next for value in self._values(PROGRESS)]

    def owners(self) -> list[str]:
        return [Owner.from_bytes(value).owner for value in self._values(OWNER)]

    def _values(self, kind: str) -> list[bytes]:
        records = read_to_end(self.link, self.settings.index_topic, 0)
        return [r.value for r in records if r.value is not None and LogKey.from_bytes(r.key or b"").kind == kind]

    def open_partition(self, meanwhile: Callable[[], None], made_with: Fingerprints = MADE_WITH) -> OpenedPartition:
        lane = BusyLog(self.settings, meanwhile)
        return open_partition(self.link, self.settings, lane, made_with, threading.Event(), FailPoints(), lambda: 1)

    def unsigned_rival(self) -> TransactionalWriter:
        """What a transaction that timed out looks like: the epoch has moved on, and nobody has signed."""
        return TransactionalWriter(self.link, f"{self.settings.index_topic}.0")

    def time_out(self) -> None:
        rival = self.unsigned_rival()
        rival.open()
        rival.close()


@pytest.fixture
def ground(kafka_server: KafkaAddress, topic_prefix: str, tmp_path: Path) -> Iterator[Ground]:
    settings = stack_settings(tmp_path, f"{topic_prefix}.")
    link = KafkaLink(settings.kafka, kafka_server.bootstrap_servers)
    create_topics(link, topic_specs(settings))

    def has_leader() -> bool:
        try:
            return not list(read_to_end(link, settings.index_topic, 0))
        except (Retryable, Misconfigured):  # not known everywhere yet
            return False

    wait_until(has_leader, within_s=20, what="the new topic to have a leader")
    yield Ground(settings, link)


def test_a_fencing_that_nobody_signed_is_no_rival(ground: Ground) -> None:
    """The partition is taken over again, and signed."""
    writer = ground.writer()
    writer.open()
    ground.time_out()
    writer.sign()
    writer.close()
    later = ground.owner()
    later.close()
    assert ground.owners() == [writer.owner, later.owner]


def test_whoever_signed_meanwhile_is_a_rival(ground: Ground) -> None:
    """The one that comes to sign later ends as fenced, and the other one goes on."""
    late = ground.writer()
    late.open()
    rival = ground.owner()
    with pytest.raises(Fenced, match="another ingest process"):
        late.sign()
    rival.commit([ground.marker(1)])
    late.close()
    rival.close()


def test_a_predecessor_that_is_busy_while_its_partition_is_read_back_stops(ground: Ground) -> None:
    """It finds the signature: what the successor has read is all that there is."""
    before = ground.owner()
    before.commit([ground.marker(5)])

    def goes_on() -> None:
        with pytest.raises(Fenced, match="another ingest process"):
            before.commit([ground.marker(7)])

    opened = ground.open_partition(goes_on)
    assert opened.ledger.next == 5
    opened.writer.commit([ground.marker(6)])
    opened.writer.close()
    before.close()
    assert ground.positions() == [5, 6]


def test_whoever_is_refused_fences_nobody(ground: Ground) -> None:
    """An ingest with another encoder for a live generation ends, and the healthy one goes on."""
    writer = ground.owner()
    writer.commit([ground.marker(1)])
    with pytest.raises(Misconfigured, match="encoder 'model'"):
        ground.open_partition(lambda: None, MADE_WITH._replace(model="another"))
    writer.commit([ground.marker(2)])
    assert ground.positions() == [1, 2]
    assert ground.owners() == [writer.owner]
    writer.close()


def test_what_a_predecessor_commits_before_its_successor_signs_is_read_back(ground: Ground) -> None:
    """It was fenced, found no signature and opened again: the successor does the same, and reads the log only then."""
    before, after = ground.owner(), ground.writer()
    after.open()
    before.commit([ground.marker(5)])
    after.sign()
    with pytest.raises(Fenced):
        before.commit([ground.marker(7)])
    assert ground.positions() == [5]
    after.commit([ground.marker(6)])
    assert ground.positions() == [5, 6]
    after.close()
    before.close()


def test_a_writer_that_is_fenced_again_and_again_without_a_signature_commits_once(ground: Ground) -> None:
    """Each time it is a transaction that timed out."""
    writer = ground.owner(Interruptions(ground.time_out, ground.time_out))
    writer.commit([ground.marker(5)])
    writer.commit([ground.marker(6)])
    writer.close()
    assert ground.positions() == [5, 6]


def test_a_rival_that_signs_while_a_batch_is_repeated_is_found_out(ground: Ground) -> None:
    """Fenced, not an error that would have the process started again, into a fight."""
    rivals: list[PartitionWriter] = []
    writer = ground.owner(Interruptions(ground.time_out, lambda: rivals.append(ground.owner())))
    with pytest.raises(Fenced, match="another ingest process"):
        writer.commit([ground.marker(5)])
    [rival] = rivals
    rival.commit([ground.marker(6)])
    writer.close()
    rival.close()
    assert ground.positions() == [6]
