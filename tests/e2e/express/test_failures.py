"""An express lane that fails goes on by itself: nothing is skipped, no floor is lifted early, and it says how it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from connectors.kafka import KafkaLink, OutRecord, Producer, read_to_end
from connectors.kafka.embedded import EmbeddedBroker
from flows.express import ExpressLane, lane
from flows.express.floor_log import FloorLog, Raised
from schemas.documents import DocumentChange, InlineText
from schemas.floors import DeleteFloor, Floor, FloorKey
from schemas.index import DocKey, SourcePosition
from schemas.join import DocumentState, effect_of
from schemas.settings import Settings
from schemas.wire import from_ms
from tests.waiting import wait_until

TOPICS = Settings().kafka.topics
SHOWN = effect_of(version=1, digest="d", allow=("*",))
WITHIN_S = 20.0


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker()
    yield broker
    broker.close()


def link_to(broker: EmbeddedBroker, folder: Path, topics: dict[str, int]) -> KafkaLink:
    return KafkaLink(Settings().kafka, broker.start(topics), embedded=True, lock_dir=folder)


class WritePath:
    """Stands still at a position, and can't say what it knows of a document as often as the test wants."""

    def __init__(self) -> None:
        self.positions = {0: 0}
        self.failures = 0
        self.asked = 0

    def state_of(self, _partition: int, key: DocKey) -> DocumentState | None:
        self.asked += 1
        if self.failures and key.doc_id == "revoked":
            self.failures -= 1
            msg = "the test wants it so"
            raise RuntimeError(msg)
        return SHOWN


@contextmanager
def express(link: KafkaLink, path: WritePath) -> Iterator[ExpressLane]:
    found = ExpressLane(Settings(), link, positions=lambda: dict(path.positions), state_of=path.state_of)
    found.start()
    yield found
    found.stop()


def publish(link: KafkaLink, *changes: DocumentChange) -> None:
    records = [OutRecord(TOPICS.documents, change.doc_id.encode(), change.to_bytes(), 0) for change in changes]
    with closing(Producer(link)) as producer:
        producer.send_all(records, 10)


def backlog_of(count: int) -> list[DocumentChange]:
    """Contents that the write path has yet to come to: none of them takes anything from anybody."""
    content = InlineText(text="text")
    return [
        DocumentChange(op="upsert", doc_id=f"d{n}", event_time=from_ms(10 + n), content=content, acl=("*",)) for n in range(count)
    ]


def floors(link: KafkaLink) -> dict[str, Floor | None]:
    """The last word over each document."""
    records = read_to_end(link, TOPICS.floors, 0)
    return {
        FloorKey.from_bytes(record.key or b"").document.doc_id: Floor.from_bytes(record.value) if record.value else None
        for record in records
    }


def is_up() -> bool:
    return REGISTRY.get_sample_value("rag_ingest_express_lane_up") == 1


@pytest.mark.parametrize("failures", [1, 4])
def test_after_a_failure_a_revocation_behind_a_backlog_takes_effect(
    broker: EmbeddedBroker, tmp_path: Path, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read again from where the write path stands: also the delete that was read just before it failed, in the same batch."""
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(lane, "MAX_PAUSE_S", 0.3)
    link = link_to(broker, tmp_path, {TOPICS.documents: 1, TOPICS.floors: 1})
    path = WritePath()
    path.failures = failures
    publish(
        link,
        *backlog_of(50),
        DocumentChange(op="delete", doc_id="deleted", event_time=from_ms(100)),
        DocumentChange(op="access", doc_id="revoked", event_time=from_ms(101), acl=("group:hr",)),
    )
    with capture_logs() as logs, express(link, path) as found:
        wait_until(lambda: found.problem is None, within_s=WITHIN_S, what="the lane to run again")
        wait_until(lambda: floors(link).get("revoked"), within_s=WITHIN_S, what="the revocation")
        assert set(floors(link)) == {"deleted", "revoked"}
        assert is_up()
        path.positions[0] = 52
        wait_until(lambda: not any(floors(link).values()), within_s=WITHIN_S, what="both to be cleared")
    said = [entry for entry in logs if entry["event"].startswith("express lane")]
    assert [entry["event"] for entry in said] == ["express lane starts again"] * failures + ["express lane runs again"]
    assert [entry["in_s"] for entry in said[:-1]] == [0.1, 0.2, 0.3, 0.3][:failures]
    assert not is_up() and found.problem == "the express lane has ended"


def test_while_it_fails_it_is_not_up_and_says_why(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A floor that stood before stays; what is on its way narrows as soon as it runs again."""
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(lane, "MAX_PAUSE_S", 0.2)
    link = link_to(broker, tmp_path, {TOPICS.documents: 1, TOPICS.floors: 1})
    path = WritePath()
    with express(link, path) as found:
        wait_until(lambda: found.problem is None, within_s=WITHIN_S, what="the lane to run")
        publish(link, DocumentChange(op="delete", doc_id="deleted", event_time=from_ms(100)))
        wait_until(lambda: floors(link).get("deleted"), within_s=WITHIN_S, what="the delete")
        path.failures = 1_000_000
        publish(link, DocumentChange(op="access", doc_id="revoked", event_time=from_ms(101), acl=()))
        wait_until(lambda: path.failures < 1_000_000 - 3, within_s=WITHIN_S, what="the lane to fail a few times")
        wait_until(lambda: not is_up(), within_s=WITHIN_S, what="the gauge")
        problem = wait_until(lambda: found.problem, within_s=WITHIN_S, what="the reason")
        assert problem is not None and "the test wants it so" in problem
        assert floors(link)["deleted"], "nothing was lifted"
        path.failures = 0
        wait_until(lambda: floors(link).get("revoked") and is_up(), within_s=WITHIN_S, what="the revocation")


def test_who_has_run_for_a_while_begins_with_the_first_pause_again(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure now and then is none that repeats."""
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(lane, "STEADY_AFTER_S", 0.0)
    link = link_to(broker, tmp_path, {TOPICS.documents: 1, TOPICS.floors: 1})
    path = WritePath()
    path.failures = 3
    publish(link, DocumentChange(op="access", doc_id="revoked", event_time=from_ms(101), acl=()))
    with capture_logs() as logs, express(link, path):
        wait_until(lambda: floors(link).get("revoked"), within_s=WITHIN_S, what="the revocation")
    assert [entry["in_s"] for entry in logs if entry["event"] == "express lane starts again"] == [0.1] * 3


def test_a_topic_that_comes_later_is_found(broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator can mend needs no restart of the process."""
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 0.1)
    link = link_to(broker, tmp_path, {TOPICS.documents: 1})
    path = WritePath()
    with express(link, path) as found:
        wait_until(lambda: "starts again" in (found.problem or ""), within_s=60, what="the missing topic to be said")
        broker.create_topic(TOPICS.floors, 1)
        publish(link, DocumentChange(op="delete", doc_id="deleted", event_time=from_ms(100)))
        wait_until(lambda: floors(link).get("deleted"), within_s=60, what="the delete")


def test_floors_that_are_not_acknowledged_are_sent_again_and_in_order(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka is away for a while: it waits, says so, and the last word in the log is the newest."""
    monkeypatch.setattr("flows.express.floor_log.SEND_TIMEOUT_S", 0.2)
    link = link_to(broker, tmp_path, {TOPICS.floors: 1})
    said: list[str] = []
    with closing(Producer(link)) as producer:
        log = FloorLog(Settings(), link, producer, [0], stop=threading.Event(), wait=said.append)
        log.restore()
        log.raise_floors([deletion(1)], {})
        broker.set_down(is_down=True)
        raising = threading.Thread(target=lambda: [log.raise_floors([deletion(n)], {}) for n in (2, 3)], daemon=True)
        raising.start()
        wait_until(lambda: len(said) > 2, within_s=WITHIN_S, what="the lane to wait")
        assert "Kafka" in said[0]
        broker.set_down(is_down=False)
        wait_until(lambda: not raising.is_alive(), within_s=WITHIN_S, what="the floors to be taken")
    assert floors(link) == {"d": deletion(3).floor}


def deletion(version: int) -> Raised:
    """A floor over one and the same document."""
    return Raised(0, DocKey("docs", "d"), Floor(DeleteFloor(version, SourcePosition(0, version))))
