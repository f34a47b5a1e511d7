"""The pipeline keeps order, bounds what is in flight, and never hides an error."""

from __future__ import annotations

import threading

import pytest

from flows.ingest.lane import RowScalars, RowWrite, Work
from flows.ingest.pipeline import MAX_BYTES_IN_FLIGHT, ROW_BYTES, WritePipeline
from schemas.errors import Fenced
from schemas.index import DocKey

SCALARS = RowScalars((), None)


def work(number: int, chunks: int = 1, partition: int = 0) -> Work:
    rows = [RowWrite(f"{number}-{i}", "d", DocKey("docs", "x"), SCALARS, text="t") for i in range(chunks)]
    return Work(partition, None, None, rows=rows, position=number)


class Stage:
    """Records what it is given; waits for `gate`; raises `error` when set."""

    def __init__(self) -> None:
        self.seen: list[Work] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def process(self, works: list[Work]) -> None:
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        with self.changed:
            self.seen += works
            self.changed.notify_all()

    def idle(self) -> float:
        return 0.05

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, timeout=10)


@pytest.fixture
def stages() -> tuple[Stage, Stage]:
    return Stage(), Stage()


def started(stages: tuple[Stage, Stage], limit: int = 10) -> WritePipeline:
    pipeline = WritePipeline(*stages, in_flight_chunks=limit, window=max(1, limit // 3))
    pipeline.start()
    return pipeline


def test_works_come_out_in_the_order_they_went_in(stages: tuple[Stage, Stage]) -> None:
    """Both stages see every work once, in order."""
    pipeline = started(stages)
    works = [work(n, chunks=n % 4) for n in range(200)]
    for start in range(0, 200, 7):
        pipeline.submit(works[start : start + 7])
    stages[1].wait_for(200)
    assert [w.position for w in stages[1].seen] == list(range(200))
    pipeline.close()


def test_chunks_in_flight_never_exceed_the_limit(stages: tuple[Stage, Stage]) -> None:
    """With the second stage stopped, admission stops at the limit."""
    pipeline = started(stages, limit=10)
    stages[1].gate.clear()
    submitter = threading.Thread(target=pipeline.submit, args=([work(n, chunks=3) for n in range(8)],), daemon=True)
    submitter.start()
    submitter.join(0.3)
    assert submitter.is_alive()
    assert pipeline.in_flight[0] == 9
    stages[1].gate.set()
    submitter.join(10)
    assert not submitter.is_alive()
    stages[1].wait_for(8)
    pipeline.close()


def test_changes_of_access_to_large_documents_are_bounded_by_the_rows_they_touch(stages: tuple[Stage, Stage]) -> None:
    """They bring no chunk to embed, but each holds a vector for every row on its way."""
    pipeline = started(stages)
    stages[0].gate.clear()
    rows = MAX_BYTES_IN_FLIGHT // ROW_BYTES // 3
    scalars = [RowWrite(str(n), "d", DocKey("docs", "x"), SCALARS) for n in range(rows)]
    changes = [Work(0, None, None, rows=scalars, position=n) for n in range(5)]
    submitter = threading.Thread(target=pipeline.submit, args=(changes,), daemon=True)
    submitter.start()
    submitter.join(0.3)
    assert submitter.is_alive()
    assert pipeline.in_flight == (0, 3)
    stages[0].gate.set()
    submitter.join(10)
    stages[1].wait_for(5)
    pipeline.close()


def test_a_document_larger_than_the_limit_is_let_through_alone(stages: tuple[Stage, Stage]) -> None:
    """It can't wait for room that never comes."""
    pipeline = started(stages, limit=10)
    pipeline.submit([work(0), work(1, chunks=50), work(2)])
    stages[1].wait_for(3)
    pipeline.close()


def test_an_error_in_a_stage_surfaces_at_the_next_call(stages: tuple[Stage, Stage]) -> None:
    """A flow must stop with it, also one that is only waiting to be idle."""
    pipeline = started(stages)
    stages[1].error = Fenced("another writer")
    pipeline.submit([work(0)])
    with pytest.raises(Fenced):
        while True:
            pipeline.is_idle(0)
    with pytest.raises(Fenced):
        pipeline.submit([work(1)])
    pipeline.close()


def test_a_partition_is_idle_once_all_of_its_works_are_published(stages: tuple[Stage, Stage]) -> None:
    """Another partition's work does not count."""
    pipeline = started(stages)
    stages[1].gate.clear()
    pipeline.submit([work(0, partition=1)])
    assert pipeline.is_idle(0)
    assert not pipeline.is_idle(1)
    stages[1].gate.set()
    stages[1].wait_for(1)
    while not pipeline.is_idle(1):
        pass
    pipeline.close()
