"""A log that lost what was to be read next: until the view has read it anew nothing is stated and nothing answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.keyword.memory import MemoryKeywordIndex
from query_api.view import IndexView
from schemas.errors import Retryable
from schemas.index import DocKey
from schemas.settings import Settings
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.unit.query_api.view.writing import Writer, key_of
from tests.unit.query_api.world import World
from tests.waiting import wait_until

DOCUMENTS, INDEX, FLOORS = "rag.documents", "rag.index.g1", "rag.floors"
A, B = key_of("a"), key_of("b")
WITHIN_S = 10.0


class HeldLog(MemoryLog):
    """Its partitions are told when the test lets it, or not at all."""

    def __init__(self) -> None:
        super().__init__({DOCUMENTS: 1, INDEX: 1, FLOORS: 1})
        self.writer = Writer(0)
        self.tells = threading.Event()
        self.tells.set()
        self.refused = 0
        self.refuses = False

    def partitions_of(self, topic: str) -> tuple[int, ...]:
        self.tells.wait(WITHIN_S)
        if self.refuses:
            self.refused += 1
            raise Retryable("nobody knows the partitions")
        return super().partitions_of(topic)

    def upsert(self, key: DocKey, version: int, text: str) -> None:
        """An event and what the lane makes of it."""
        with self.lock:
            self.append(DOCUMENTS, 0, b"k", b"v")
            for name, value in self.writer.upsert(key, version, text):
                self.append(INDEX, 0, name, value)


@pytest.fixture
def log() -> HeldLog:
    """With one document."""
    made = HeldLog()
    made.upsert(A, 1, "gone text")
    return made


@pytest.fixture
def view(log: HeldLog, tmp_path: Path) -> Iterator[IndexView]:
    """Ready, and stating how fresh it is."""
    made = IndexView(Settings(data_dir=tmp_path), log, open_keyword=lambda _folder, _stamp: MemoryKeywordIndex())
    made.start()
    wait_until(lambda: made.ready().is_ready and made.as_of().reflected_until, within_s=WITHIN_S, what="the view")
    yield made
    log.tells.set()
    made.stop()


def lose(log: MemoryLog, topic: str, publish: Callable[[], None]) -> None:
    """Records are published and dropped again before anybody read them, with all before; the log goes on after them."""
    with log.lock:
        publish()
        log.drop_before(topic, 0, log.next[topic, 0])


def text_of(view: IndexView, key: DocKey) -> str | None:
    with view.snapshot() as snapshot:
        document = snapshot.document(key)
    return document.entry.text if document is not None else None


def test_an_emptied_view_states_nothing_and_is_not_ready(view: IndexView, log: HeldLog) -> None:
    """From before it is emptied until all of the log is in it again."""
    assert view.reading == 1
    log.tells.clear()
    lose(log, INDEX, lambda: log.upsert(B, 1, "lost"))
    wait_until(lambda: text_of(view, A) is None, within_s=WITHIN_S, what="the view to be emptied")
    assert not view.ready().is_ready
    assert view.as_of().reflected_until is None and view.as_of().lag_ms is None
    assert view.access_lag_s() is None
    assert view.reading is None
    log.upsert(B, 2, "kept text")
    log.tells.set()
    wait_until(lambda: view.ready().is_ready, within_s=WITHIN_S, what="the view to be read anew")
    assert (text_of(view, A), text_of(view, B)) == (None, "kept text")
    assert view.reading == 2


def test_kafka_may_be_silent_while_it_starts_over(view: IndexView, log: HeldLog) -> None:
    """The view waits for it, as it does at its start: it does not end."""
    log.refuses = True
    lose(log, INDEX, lambda: log.upsert(B, 1, "lost"))
    wait_until(lambda: log.refused, within_s=WITHIN_S, what="the view to ask")
    log.upsert(B, 2, "kept text")
    log.refuses = False
    wait_until(lambda: view.ready().is_ready and text_of(view, B), within_s=WITHIN_S, what="the view to be read anew")
    assert view.failure is None


def test_a_question_under_way_is_not_answered_from_the_emptied_view(tmp_path: Path) -> None:
    """It took `as_of` before and the snapshot after: not found says nothing then, and it is told to ask again."""
    world = World(tmp_path)
    world.upsert("pin", 1, "You can change your card PIN at any machine.")
    assert world.ask("How do I change my card PIN?").outcome == "answered"
    topic = world.settings.index_topic

    def emptied() -> None:
        world.vectors.before_search = lambda: None
        lose(world.log, topic, lambda: world.publish(world.writer.upsert(DocKey("docs", "b"), 1, "lost"), is_awaited=False))
        wait_until(lambda: text_of(world.view, DocKey("docs", "pin")) is None, within_s=WITHIN_S, what="the view to be emptied")

    world.vectors.before_search = emptied
    event = world.ask("How do I change my card PIN?")
    assert (event.outcome, event.reason, event.text) == ("failed", "view_not_ready", "")
    assert event.error is not None and "ask again" in event.error
    wait_until(lambda: world.view.ready().is_ready, within_s=WITHIN_S, what="the view to be read anew")
    assert world.ask("How do I change my card PIN?").outcome == "unknown", "the new reading's log holds nothing of it"
    world.close()
