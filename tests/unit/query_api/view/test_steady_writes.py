"""A view whose log never rests: it becomes ready, states how fresh it is, and tells those who wait for their writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from connectors.kafka import Record
from connectors.keyword.memory import MemoryKeywordIndex
from query_api.view import IndexView
from query_api.view.log import LogReader
from schemas.acl import principals_of
from schemas.settings import Settings
from schemas.tokens import WriteToken
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.unit.query_api.view.writing import Writer, key_of
from tests.waiting import wait_until

DOCUMENTS, INDEX, FLOORS = "rag.documents", "rag.index.g1", "rag.floors"
KEYS = [key_of(f"d{number}") for number in range(10)]
WITHIN_S = 10.0


class BusyLog(MemoryLog):
    """Another edit is published before each read of the index: no turn of the view finds nothing."""

    def __init__(self) -> None:
        super().__init__({DOCUMENTS: 1, INDEX: 1, FLOORS: 1})
        self.writer = Writer(0)

    def publish(self) -> None:
        """The next document's next version."""
        number = self.log_end()
        pairs = self.writer.upsert(KEYS[number % len(KEYS)], number + 1, f"edit number{number}")
        with self.lock:
            self.append(DOCUMENTS, 0, b"k", b"v")
            for key, value in pairs:
                self.append(INDEX, 0, key, value)

    def log_end(self) -> int:
        """How many were published."""
        return self.next.get((DOCUMENTS, 0), 0)

    def read(self, topic: str, positions: Mapping[int, int], partitions: tuple[int, ...]) -> LogReader:
        reader = super().read(topic, positions, partitions)
        return BusyReader(self, reader) if topic == INDEX else reader


class BusyReader:
    """Implements `LogReader`."""

    def __init__(self, log: BusyLog, reader: LogReader) -> None:
        self._log = log
        self._reader = reader

    def poll(self, timeout_s: float) -> list[Record]:
        self._log.publish()
        return self._reader.poll(timeout_s)

    def positions(self) -> dict[int, int]:
        return self._reader.positions()

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def log() -> BusyLog:
    """One partition of everything."""
    return BusyLog()


@pytest.fixture
def view(log: BusyLog, tmp_path: Path) -> Iterator[IndexView]:
    """Ready, while edits go on."""
    made = IndexView(Settings(data_dir=tmp_path), log, open_keyword=lambda _folder, _stamp: MemoryKeywordIndex())
    made.start()
    wait_until(lambda: made.ready().is_ready, within_s=WITHIN_S, what="readiness under steady writes")
    yield made
    made.stop()


def test_the_stated_moment_advances(view: IndexView) -> None:
    """However busy the log is, the lag stays a matter of the commit interval."""
    for _ in range(3):
        wait_until(lambda: view.as_of().reflected_until, within_s=WITHIN_S, what="as_of")
        before = view.as_of().reflected_until
        wait_until(lambda: view.as_of().reflected_until != before, within_s=WITHIN_S, what="a newer moment")  # noqa: B023
    assert view.failure is None


def test_writes_are_reflected_while_others_go_on(view: IndexView, log: BusyLog) -> None:
    """Not after the last one of all: each within its time, and then words find it."""
    for _ in range(3):
        offset = log.log_end()
        wait_until(lambda: log.log_end() > offset, within_s=WITHIN_S, what="the next event")  # noqa: B023
        token = WriteToken(log.identity(DOCUMENTS), 0, offset, KEYS[offset % len(KEYS)])
        statuses = asyncio.run(view.wait_for([token], principals_of(()), WITHIN_S))
        assert statuses == ["reflected"]


def test_what_is_stated_is_to_be_found(view: IndexView, log: BusyLog) -> None:
    """Progress is never ahead of the keyword index: words find the last edit below it, or a later one of that document."""
    for _ in range(50):
        position = view.as_of().partitions[0].position
        edits = " ".join(f"number{number}" for number in range(position - 1, log.log_end()))
        assert view.keyword.search(edits, 1)
