"""The view on the in-process broker and on Apache Kafka: transactions, restarts, truncated logs, outages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.kafka import Backlog, KafkaLink, OutRecord, Producer, TransactionalWriter, cluster_identity
from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.topics import create_topics, topic_specs
from query_api.view import IndexView, KafkaViewLog
from schemas.acl import principals_of
from schemas.floors import AccessFloor, Floor, FloorKey, LaneName
from schemas.index import DocKey, SourcePosition
from schemas.settings import KafkaSettings, Settings, TopicSettings
from schemas.tokens import WriteToken
from tests.servers.plugin import KafkaFactory
from tests.unit.query_api.view.writing import Writer, key_of
from tests.waiting import wait_until

WITHIN_S = 20.0
ANN = principals_of(["user:ann"])
A = key_of("a")


@dataclass
class Ingest:
    """Publishes events and does what the lanes of two partitions do with them."""

    settings: Settings
    link: KafkaLink

    def __post_init__(self) -> None:
        self.producer = Producer(self.link)
        self.lanes = [Writer(partition) for partition in range(2)]
        topic = self.settings.index_topic
        self.writers = [TransactionalWriter(self.link, f"{topic}.{partition}") for partition in range(2)]
        for writer in self.writers:
            writer.open()

    def event(self, partition: int = 0) -> int:
        """An event that nobody has processed yet; returns its offset."""
        record = OutRecord(self.settings.kafka.topics.documents, b"k", b"v", partition=partition)
        return self.producer.send_and_wait(record, 10)[1]

    def upsert(self, key: DocKey, version: int, text: str, partition: int = 0) -> WriteToken:
        """An event and its manifest, marker last, in one transaction."""
        offset = self.event(partition)
        lane = self.lanes[partition]
        lane.offset = offset
        pairs = lane.upsert(key, version, text)
        topic = self.settings.index_topic
        self.writers[partition].commit([OutRecord(topic, name, value, partition=partition) for name, value in pairs])
        return WriteToken(cluster_identity(self.link, self.settings.kafka.topics.documents), partition, offset, key)

    def floor(self, key: DocKey, floor: Floor | None) -> None:
        """What the express lane publishes."""
        value = floor.to_bytes() if floor else None
        name = FloorKey(key, LaneName(self.settings.generation, 0)).to_bytes()
        self.producer.send_and_wait(OutRecord(self.settings.kafka.topics.floors, name, value, partition=0), 10)

    def close(self) -> None:
        """Release connections."""
        self.producer.close()
        for writer in self.writers:
            writer.close()


def settings_of(tmp_path: Path, prefix: str) -> Settings:
    """Topics of the test's own, two partitions each."""
    names = TopicSettings()
    topics = TopicSettings(**{field: f"{prefix}.{getattr(names, field)}" for field in TopicSettings.model_fields})
    return Settings(data_dir=tmp_path, kafka=KafkaSettings(partitions=2, topics=topics))


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def ingest(request: pytest.FixtureRequest, tmp_path: Path, topic_prefix: str) -> Iterator[Ingest]:
    """On either broker."""
    settings = settings_of(tmp_path, topic_prefix)
    broker = EmbeddedBroker()
    if request.param == "embedded":
        bootstrap = broker.start({spec.name: spec.partitions for spec in topic_specs(settings)})
        link = KafkaLink(settings.kafka, bootstrap, embedded=True, backlog=Backlog(), lock_dir=tmp_path / "locks")
    else:
        link = KafkaLink(settings.kafka, request.getfixturevalue("kafka_server").bootstrap_servers)
        assert all(made.outcome == "created" for made in create_topics(link, topic_specs(settings)))
    made = Ingest(settings, link)
    yield made
    made.close()
    broker.close()


StartView = Callable[..., IndexView]
WEEK_MS = 7 * 24 * 3600 * 1000


@pytest.fixture
def started(ingest: Ingest) -> Iterator[StartView]:
    """Starts views over the same folder; stops them."""
    views: list[IndexView] = []

    def start(later_ms: int = 0) -> IndexView:
        view = IndexView(ingest.settings, KafkaViewLog(ingest.link), now_ms=lambda: time.time_ns() // 1_000_000 + later_ms)
        views.append(view)
        view.start()
        return view

    yield start
    for view in views:
        view.stop()


def ready(view: IndexView) -> IndexView:
    """Wait until it is."""
    wait_until(lambda: view.ready().is_ready, within_s=WITHIN_S, what="a view that is ready")
    return view


def text_of(view: IndexView, key: DocKey) -> str | None:
    """What the view shows."""
    with view.snapshot() as snapshot:
        document = snapshot.document(key)
        return document.entry.text if document else None


def is_readable(view: IndexView, key: DocKey) -> bool:
    """Whether Ann may be shown it."""
    with view.snapshot() as snapshot:
        document = snapshot.document(key)
        return document is not None and snapshot.is_readable(document, ANN, 0)


def waited(view: IndexView, token: WriteToken) -> list[str]:
    """`wait_for`, from an event loop of its own."""
    return list(asyncio.run(view.wait_for([token], ANN, WITHIN_S)))


def test_follows_transactions_and_states_how_fresh_it_is(ingest: Ingest, started: StartView) -> None:
    """Manifests of both partitions, read-your-writes, keyword search, and an `as_of` that covers what was published."""
    ingest.upsert(A, 1, "written before the view")
    view = ready(started())
    assert text_of(view, A) == "written before the view"
    token = ingest.upsert(key_of("b"), 1, "written after", 1)
    assert waited(view, token) == ["reflected"]
    assert [hit.key for hit in view.keyword.search("after", 5)] == [key_of("b")]
    published = view.as_of().reflected_until
    wait_until(lambda: view.as_of().reflected_until not in (None, published), within_s=WITHIN_S, what="a newer moment")
    assert {(p.partition, p.position, p.end) for p in view.as_of().partitions} == {(0, 1, 1), (1, 1, 1)}
    held_back = ingest.event()
    wait_until(lambda: view.as_of().partitions[0].end == held_back + 1, within_s=WITHIN_S, what="the end to be seen")
    before = view.as_of()
    wait_until(lambda: (view.as_of().lag_ms or 0) > (before.lag_ms or 0) + 500, within_s=WITHIN_S, what="a growing lag")
    assert view.as_of().reflected_until == before.reflected_until


def test_floors_and_their_end(ingest: Ingest, started: StartView) -> None:
    """A floor narrows at once; the manifest's progress ends it, before it is cleared."""
    view = ready(started())
    waited(view, ingest.upsert(A, 1, "text"))
    assert is_readable(view, A)
    ingest.floor(A, Floor(access=(AccessFloor(2, ("group:hr",), SourcePosition(0, 1)),)))
    wait_until(lambda: not is_readable(view, A), within_s=WITHIN_S, what="the floor")
    waited(view, ingest.upsert(A, 3, "opened again"))
    assert is_readable(view, A)
    ingest.floor(A, None)


def test_a_restart_resumes(ingest: Ingest, started: StartView) -> None:
    """The second life goes on from its own files, and has what it missed."""
    first = ready(started())
    waited(first, ingest.upsert(A, 1, "kept"))
    first.stop()
    token = ingest.upsert(key_of("b"), 1, "missed")
    second = ready(started())
    assert (text_of(second, A), text_of(second, key_of("b"))) == ("kept", "missed")
    assert waited(second, token) == ["reflected"]


def test_a_life_after_a_week_begins_anew(ingest: Ingest, started: StartView) -> None:
    """What was deleted meanwhile may have left the log without a trace: nothing of the view's own files is believed."""
    first = ready(started())
    waited(first, ingest.upsert(A, 1, "text"))
    stamp = _stamp(first)
    first.stop()
    resumed = ready(started(later_ms=WEEK_MS // 2))
    assert _stamp(resumed) == stamp
    resumed.stop()
    anew = ready(started(later_ms=2 * WEEK_MS))
    assert (text_of(anew, A), _stamp(anew) == stamp) == ("text", False)


def _stamp(view: IndexView) -> str:
    return view._opened().store.stamp


def test_the_embedded_broker_never_drops_what_the_view_has_yet_to_read(tmp_path: Path, topic_prefix: str) -> None:
    """Twice as much as the broker keeps goes through: writers wait for the view."""
    settings = settings_of(tmp_path, topic_prefix)
    broker = EmbeddedBroker()
    bootstrap = broker.start({spec.name: spec.partitions for spec in topic_specs(settings)})
    link = KafkaLink(settings.kafka, bootstrap, embedded=True, backlog=Backlog(), lock_dir=tmp_path / "locks")
    view = IndexView(settings, KafkaViewLog(link))
    view.start()
    ingest = Ingest(settings, link)
    for n in range(50):
        token = ingest.upsert(key_of(f"d{n}"), 1, f"number{n} " + "x" * 200_000)
    assert waited(view, token) == ["reflected"]
    with view.snapshot() as snapshot:
        assert len(list(snapshot.keys())) == 50
    view.stop()
    ingest.close()
    broker.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_kafka_away_shows_as_lag_and_passes(kafka_factory: KafkaFactory, tmp_path: Path, topic_prefix: str) -> None:
    """A killed broker: the view goes on, ever older, and says how old; back again it catches up."""
    server = kafka_factory()
    settings = settings_of(tmp_path, topic_prefix)
    link = KafkaLink(settings.kafka, server.address.bootstrap_servers)
    create_topics(link, topic_specs(settings))
    ingest = Ingest(settings, link)
    view = IndexView(settings, KafkaViewLog(link))
    view.start()
    ready(view)
    waited(view, ingest.upsert(A, 1, "before"))
    server.kill()
    wait_until(lambda: (view.access_lag_s() or 0) > 3, within_s=30, what="access to grow old")
    assert view.ready().is_ready and text_of(view, A) == "before"
    assert (view.as_of().lag_ms or 0) > 2_000
    server.start()
    wait_until(lambda: (view.access_lag_s() or 99) < 2, within_s=60, what="access to be fresh again")
    assert waited(view, ingest.upsert(A, 2, "after")) == ["reflected"]
    assert text_of(view, A) == "after"
    view.stop()
    ingest.close()
