"""Reads `rag.documents` ahead of the write path, embeds nothing, and raises floors for whatever narrows.

It runs beside the lanes of an ingest process and reads the partitions that the process has opened, from their
positions on: what lies
before is in manifests already. Its own progress is not kept: after a restart it starts at the lanes' positions again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from connectors.kafka import KafkaLink, OutRecord, Producer, Record, TopicFollower, partitions_of, read_to_end
from flows.express.floors import FloorBook, Place, Sightings, narrows
from flows.ingest.events import Event, Rejection, decode
from flows.ingest.metrics import EXPRESS_FLOORS
from schemas.errors import Retryable
from schemas.floors import Floor
from schemas.index import DocKey
from schemas.join import DocumentState
from schemas.settings import Settings

POLL_S: Final = 0.2
CLEAR_EVERY_S: Final = 2.0
FLUSH_TIMEOUT_S: Final = 10.0
CONSUMER: Final = "express"

log = structlog.get_logger(__name__)


class ExpressLane:
    """A thread.

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
        self._book = FloorBook()
        self._floor_partitions = 1
        self._sightings = Sightings()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="express", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin to read. Call once the lanes are open."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; never raises."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=FLUSH_TIMEOUT_S + 5)

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as exc:
            self.error = exc
            log.exception("express lane ended: revocations take as long as the write path's lag now")

    def _follow(self) -> None:
        producer = Producer(self._link)
        try:
            while not self._stop.is_set():
                partitions = frozenset(self._positions())
                if partitions:
                    self._follow_partitions(partitions, producer)
                else:
                    self._stop.wait(POLL_S)
        finally:
            producer.close()

    def _follow_partitions(self, partitions: frozenset[int], producer: Producer) -> None:
        """Until the process opens another lane: then it starts over with all of them."""
        positions = dict(self._positions())
        self._restore(positions)
        follower = TopicFollower(self._link, self._settings.kafka.topics.documents, positions)
        next_clear = time.monotonic() + CLEAR_EVERY_S
        try:
            while not self._stop.is_set() and partitions == frozenset(self._positions()):
                self._raise_floors(follower.poll(POLL_S), producer)
                self._report(follower)
                if time.monotonic() >= next_clear:
                    next_clear = time.monotonic() + CLEAR_EVERY_S
                    self._clear(producer)
        finally:
            follower.close()

    def _restore(self, positions: Mapping[int, int]) -> None:
        """Floors of an earlier life, of this process's partitions."""
        topic = self._settings.kafka.topics.floors
        found = partitions_of(self._link, topic)
        self._floor_partitions = len(found)
        for partition in found:
            for record in read_to_end(self._link, topic, partition):
                floor = Floor.from_bytes(record.value) if record.value is not None else None
                sources = [r.source.partition for r in (floor.delete, floor.access) if r] if floor else []
                if floor is None or any(source in positions for source in sources):
                    self._book.restore(Place(DocKey.parse((record.key or b"").decode()), partition), floor)

    def _raise_floors(self, records: list[Record], producer: Producer) -> None:
        now_ms = time.time_ns() // 1_000_000
        raised = 0
        for record in records:
            item = decode(record, self._settings.indexes, now_ms)
            found = narrows(item, self._known(item), self._sightings)
            if not self._is_ahead(record):
                continue
            if found is None:
                continue
            place = Place(found[0], record.partition % self._floor_partitions)
            floor = self._book.raise_floor(place, found[1])
            if floor is not None:
                self._send(producer, place, floor)
                raised += 1
        if raised:
            EXPRESS_FLOORS.inc(raised)
            self._flush(producer)

    def _known(self, item: Event | Rejection) -> DocumentState | None:
        return self._state_of(item.record.partition, item.key) if item.key is not None else None

    def _is_ahead(self, record: Record) -> bool:
        return self._positions().get(record.partition, 0) <= record.offset

    def _clear(self, producer: Producer) -> None:
        done = self._book.passed(self._positions())
        for place in done:
            self._send(producer, place, None)
        if done:
            self._flush(producer)

    def _send(self, producer: Producer, place: Place, floor: Floor | None) -> None:
        value = floor.to_bytes() if floor is not None else None
        producer.send(OutRecord(self._settings.kafka.topics.floors, str(place.key).encode(), value, partition=place.partition))

    def _flush(self, producer: Producer) -> None:
        """Wait for acknowledgements; while Kafka is away the producer keeps what it was given."""
        while not self._stop.is_set():
            try:
                producer.flush(FLUSH_TIMEOUT_S)
            except Retryable as exc:
                log.warning("waiting", server="Kafka", error=str(exc))
            else:
                return

    def _report(self, follower: TopicFollower) -> None:
        if self._link.backlog is not None:
            for partition, position in follower.positions().items():
                if isinstance(position, int):
                    self._link.backlog.progressed(follower.topic, CONSUMER, partition, position)
