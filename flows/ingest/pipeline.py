"""Embed → upsert → publish, pipelined: while one batch waits for its rows to be visible, the next is embedded.

Two threads and two queues, in order. What is admitted but not yet published is bounded in chunks, so a kill embeds little again;
a full pipeline blocks `submit`, which holds the source back. An error in a thread surfaces at the next `submit`.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from flows.ingest.lane import Work
from schemas.errors import RagError

MAX_WORKS_PER_BATCH = 4_000
MAX_WORKS_IN_FLIGHT = 16_000
"""Events without chunks are bounded too: each holds a record of a few hundred bytes."""
MAX_BYTES_IN_FLIGHT = 64 * 1024 * 1024
"""Manifests carry whole texts, and a change of access touches every row of its document."""
ROW_BYTES = 2_048
"""What a row on its way takes, about: its vector, mostly."""


class Stage(Protocol):
    """One step of the pipeline; called from one thread, with works in order."""

    def process(self, works: list[Work]) -> None:
        """Do the step for all of `works`. Blocks while a server is away. Raises only what must stop the process."""

    def idle(self) -> float:
        """Nothing to process: do what is due and return the seconds until something will be."""


class Admitted(NamedTuple):
    """A work on its way, and what it takes of the limits."""

    work: Work
    chunks: int
    size: int

    @classmethod
    def of(cls, work: Work) -> Admitted:
        held = sum([len(record.value or b"") for record in work.records])
        return cls(work, work.new_chunks, held + ROW_BYTES * len(work.rows)) if work.rows else cls(work, 0, held)


class WritePipeline:
    """Runs the stages.

    Args:
        embed, publish: the two stages.
        in_flight_chunks: chunks admitted but not yet published, at most (a single larger document is let through alone).
        window: chunks that one round of embedding takes, at most (the same).
    """

    def __init__(self, embed: Stage, publish: Stage, *, in_flight_chunks: int, window: int) -> None:
        self._stages = (embed, publish)
        self._queues: tuple[deque[Admitted], deque[Admitted]] = (deque(), deque())
        self._limit = in_flight_chunks
        # What waits to be published goes at once: a round there costs its waits for visibility, however much it holds.
        self._windows = (window, in_flight_chunks)
        self._changed = threading.Condition()
        self._chunks = 0
        self._bytes = 0
        self._works = 0
        self._pending: Counter[int] = Counter()
        self._error: BaseException | None = None
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, args=(i,), name=f"ingest-{name}", daemon=True)
            for i, name in enumerate(("embed", "publish"))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, works: Sequence[Work]) -> None:
        """Admit `works` in order; blocks while the pipeline is full. Raises what a stage died of."""
        waiting = deque(map(Admitted.of, works))
        while waiting:
            with self._changed:
                while self._error is None and self._is_full(waiting[0]):
                    self._changed.wait()
                self._raise_error()
                # As many as fit at a time: a lock and a wake-up for each of 20,000 events a second would be felt.
                while waiting and not self._is_full(waiting[0]):
                    self._admit(waiting.popleft())
                self._changed.notify_all()

    def is_idle(self, partition: int) -> bool:
        """Whether nothing of `partition` is on its way. Raises what a stage died of."""
        with self._changed:
            self._raise_error()
            return self._pending[partition] == 0

    @property
    def in_flight(self) -> tuple[int, int]:
        """Chunks and works that are admitted and not yet published."""
        with self._changed:
            return self._chunks, self._works

    def fail(self, error: BaseException) -> None:
        """Stop at once: nothing more is admitted or published."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the threads; what is still queued is dropped (it will be read again). Never raises."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(timeout=30)

    def _is_full(self, load: Admitted) -> bool:
        if not self._works:
            return False
        no_room_for_chunks = load.chunks > 0 and self._chunks + load.chunks > self._limit
        return no_room_for_chunks or self._bytes + load.size > MAX_BYTES_IN_FLIGHT or self._works >= MAX_WORKS_IN_FLIGHT

    def _admit(self, load: Admitted) -> None:
        self._works += 1
        self._chunks += load.chunks
        self._bytes += load.size
        self._pending[load.work.partition] += 1
        self._queues[0].append(load)

    def _raise_error(self) -> None:
        error = self._error
        if error is not None:
            raise error

    def _run(self, stage: int) -> None:
        try:
            while (taken := self._take(stage)) is not None:
                if taken:
                    self._stages[stage].process([load.work for load in taken])
                    self._pass_on(stage, taken)
        except BaseException as exc:
            self.fail(exc)

    def _take(self, stage: int) -> list[Admitted] | None:
        """The next works for a stage; [] after an idle round, None to end."""
        queue = self._queues[stage]
        with self._changed:
            if self._must_end():
                return None
            if queue:
                return self._slice(queue, self._windows[stage])
        pause = self._stages[stage].idle()
        with self._changed:
            if not queue and not self._must_end():
                self._changed.wait(timeout=pause)
        return []

    def _must_end(self) -> bool:
        return self._closing or self._error is not None

    @staticmethod
    def _slice(queue: deque[Admitted], window: int) -> list[Admitted]:
        taken: list[Admitted] = []
        chunks = 0
        while queue and len(taken) < MAX_WORKS_PER_BATCH:
            if taken and chunks + queue[0].chunks > window:
                break
            chunks += queue[0].chunks
            taken.append(queue.popleft())
        return taken

    def _pass_on(self, stage: int, taken: list[Admitted]) -> None:
        with self._changed:
            if stage == 0:
                self._queues[1].extend(taken)
            else:
                self._works -= len(taken)
                self._chunks -= sum(load.chunks for load in taken)
                self._bytes -= sum(load.size for load in taken)
                self._pending.subtract(load.work.partition for load in taken)
            self._changed.notify_all()


def describe_error(error: BaseException) -> str:
    """One line for a log: ours say all that is needed, anything else is named by its type too."""
    return str(error) if isinstance(error, RagError) else f"{type(error).__name__}: {error}"


Clock = Callable[[], int]
"""Milliseconds since the epoch."""
