"""The floors of an ingest process as records of `rag.floors`: read back, raised, cleared. Knows nothing of events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

import structlog

from connectors.kafka import KafkaLink, OutRecord, Producer, Record, partitions_of, read_to_end
from flows.express.floors import FloorBook, Place
from schemas.errors import Fatal, RagError, Retryable
from schemas.floors import Floor, FloorKey, LaneName
from schemas.index import DocKey
from schemas.settings import Settings

SEND_TIMEOUT_S: Final = 10.0

log = structlog.get_logger(__name__)


class Raised(NamedTuple):
    """A floor over a document, found in a partition of `rag.documents`."""

    partition: int
    document: DocKey
    floor: Floor


class FloorLog:
    """Used by one thread, over one reading of `rag.documents`; after a failure a new one reads back what really stands.

    `raise_floors` and `clear` return when Kafka has acknowledged, or when `stop` is set.

    Args:
        partitions: of `rag.documents`, that this process works on.
        wait: told what is waited for while Kafka doesn't acknowledge.

    Raises, from any method: Fatal, Misconfigured; Retryable from `restore` alone.
    """

    def __init__(
        self,
        settings: Settings,
        link: KafkaLink,
        producer: Producer,
        partitions: Collection[int],
        *,
        stop: threading.Event,
        wait: Callable[[str], None],
    ) -> None:
        self._topic = settings.kafka.topics.floors
        self._generation = settings.generation
        self._link = link
        self._producer = producer
        self._partitions = frozenset(partitions)
        self._stop = stop
        self._wait = wait
        self._book = FloorBook()
        self._floor_partitions = 1

    def restore(self) -> None:
        """Read back the floors of an earlier life."""
        found = partitions_of(self._link, self._topic)
        self._floor_partitions = len(found)
        for partition in found:
            for record in read_to_end(self._link, self._topic, partition):
                self._take_in(record)

    def raise_floors(self, raised: Iterable[Raised], progress: Mapping[int, int]) -> int:
        """Publish what doesn't stand yet, also where `raised` fails: what came before that is published. Returns how many.

        Args:
            progress: the write path's, which what it has passed of a floor is left out by.
        """
        records: list[OutRecord] = []
        try:
            for partition, document, floor in raised:
                place = Place(FloorKey(document, LaneName(self._generation, partition)), partition % self._floor_partitions)
                joined = self._book.raise_floor(place, floor, progress)
                if joined is not None:
                    records.append(self._record(place, joined))
        finally:
            self._publish(records)
        return len(records)

    def clear(self, progress: Mapping[int, int]) -> None:
        """Clear the floors that the write path has passed."""
        self._publish([self._record(place, None) for place in self._book.passed(progress)])

    def _take_in(self, record: Record) -> None:
        try:
            key = FloorKey.from_bytes(record.key or b"")
            floor = Floor.from_bytes(record.value) if record.value is not None else None
        except (ValueError, KeyError, TypeError, IndexError, RagError) as exc:
            place = f"{record.topic}[{record.partition}] at {record.offset}"
            msg = f"{place} is no floor of this release ({exc}): something else writes to this topic, or a newer release does"
            raise Fatal(msg) from exc
        if key.is_heeded_by(self._generation) and self._is_ours(key, floor):
            self._book.restore(Place(key, record.partition), floor)

    def _is_ours(self, key: FloorKey, floor: Floor | None) -> bool:
        if key.lane is not None:
            return key.lane.partition in self._partitions
        return floor is None or any(source.partition in self._partitions for source in floor.sources)

    def _record(self, place: Place, floor: Floor | None) -> OutRecord:
        value = floor.to_bytes() if floor is not None else None
        return OutRecord(self._topic, place.key.to_bytes(), value, partition=place.partition)

    def _publish(self, records: list[OutRecord]) -> None:
        while records and not self._stop.is_set():
            try:
                self._producer.send_all(records, SEND_TIMEOUT_S)
            except Retryable as exc:
                # Sent again behind what may still be on its way: the last word in the log is the newest.
                self._wait(f"waiting for Kafka to take floors: {exc}")
                log.warning("waiting", server="Kafka", error=str(exc))
            else:
                return
