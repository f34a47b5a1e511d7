"""Reads `rag.documents` ahead of the write path, embeds nothing, and raises floors for whatever narrows.

It runs beside the lanes of an ingest process and reads the partitions that the process has opened, from their published positions
on: what lies before is in manifests already. Its own progress is not kept: it starts at the lanes' positions again, after a
restart of the process as after a failure of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Final

import structlog

from connectors.kafka import KafkaLink, Producer, Record, TopicFollower
from flows.express.floor_log import SEND_TIMEOUT_S, FloorLog, Raised
from flows.express.floors import Sightings, narrows
from flows.ingest.events import Event, Rejection, decode
from flows.ingest.metrics import EXPRESS_FLOORS, EXPRESS_UP
from schemas.errors import RagError
from schemas.index import DocKey
from schemas.join import DocumentState
from schemas.settings import Settings

POLL_S: Final = 0.2
CLEAR_EVERY_S: Final = 2.0
FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 30.0
STEADY_AFTER_S: Final = 60.0
"""Who has run for so long begins with the first pause again."""
CONSUMER: Final = "express"

log = structlog.get_logger(__name__)


class ExpressLane:
    """A thread. What it fails of it says, and starts again after a pause that grows: without it, revocations take as long as the
    write path's lag.

    Args:
        positions: the lanes' published positions by partition, as they stand now.
        state_of: what the lane of a partition knows of a document, None if nothing.
    """

    def __init__(
        self,
        settings: Settings,
        link: KafkaLink,
        *,
        positions: Callable[[], Mapping[int, int]],
        state_of: Callable[[int, DocKey], DocumentState | None],
    ) -> None:
        self._settings = settings
        self._link = link
        self._positions = positions
        self._state_of = state_of
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="express", daemon=True)
        self._problem: str | None = "the express lane has not started"
        self._has_failed = False

    @property
    def problem(self) -> str | None:
        """Why revocations and deletes don't go ahead of the write path right now; None while they do."""
        return self._problem

    def start(self) -> None:
        """Begin to read whatever lanes are open, and those that open later."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; never raises."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=SEND_TIMEOUT_S + 5)

    # -- life

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    self._live()
                except Exception as exc:
                    if time.monotonic() - began >= STEADY_AFTER_S:
                        pause = FIRST_PAUSE_S
                    self._failed(exc, pause)
                    self._stop.wait(pause)
                    pause = min(2 * pause, MAX_PAUSE_S)
        finally:
            self._say_held_up("the express lane has ended")

    def _live(self) -> None:
        # Nothing of an earlier life is used: its book may hold floors that never reached the log.
        with closing(Producer(self._link)) as producer:
            while not self._stop.is_set():
                positions = dict(self._positions())
                if positions:
                    self._follow(positions, producer)
                else:
                    self._say_well()
                    self._stop.wait(POLL_S)

    def _follow(self, positions: dict[int, int], producer: Producer) -> None:
        """Until the process opens or closes a lane: then it starts over with those that are open."""
        floors = FloorLog(self._settings, self._link, producer, positions, stop=self._stop, wait=self._say_held_up)
        floors.restore()
        sightings = Sightings()
        next_clear = time.monotonic() + CLEAR_EVERY_S
        with closing(TopicFollower(self._link, self._settings.kafka.topics.documents, positions)) as follower:
            while not self._stop.is_set() and positions.keys() == self._positions().keys():
                records, published = follower.poll(POLL_S), self._positions()
                EXPRESS_FLOORS.inc(floors.raise_floors(self._narrowing(records, published, sightings), published))
                self._report(follower)
                if time.monotonic() >= next_clear:
                    next_clear = time.monotonic() + CLEAR_EVERY_S
                    floors.clear(self._positions())
                self._say_well()

    # -- reading ahead

    def _narrowing(self, records: list[Record], published: Mapping[int, int], sightings: Sightings) -> Iterator[Raised]:
        """Floors of what the write path has yet to publish."""
        for record in records:
            item = decode(record, self._settings.indexes)
            found = narrows(item, self._known(item), sightings)
            if found is not None and published.get(record.partition, 0) <= record.offset:
                yield Raised(record.partition, *found)

    def _known(self, item: Event | Rejection) -> DocumentState | None:
        return self._state_of(item.record.partition, item.key) if item.key is not None else None

    def _report(self, follower: TopicFollower) -> None:
        if self._link.backlog is not None:
            for partition, position in follower.positions().items():
                if isinstance(position, int):
                    self._link.backlog.progressed(follower.topic, CONSUMER, partition, position)

    # -- saying how it is

    def _failed(self, exc: Exception, pause_s: float) -> None:
        self._has_failed = True
        self._say_held_up(f"the express lane starts again in {pause_s:g} s: {exc}")
        if isinstance(exc, RagError):
            log.warning("express lane starts again", in_s=pause_s, error=str(exc))
        else:
            log.exception("express lane starts again", in_s=pause_s)

    def _say_held_up(self, problem: str) -> None:
        self._problem = problem
        EXPRESS_UP.set(0)

    def _say_well(self) -> None:
        self._problem = None
        EXPRESS_UP.set(1)
        if self._has_failed:
            self._has_failed = False
            log.info("express lane runs again")
