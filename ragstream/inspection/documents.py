"""A view of the index to look into: the running `up`'s own, or one that is read from Kafka and kept for the next look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from query_api.view.folder import ClaimedFolder
from query_api.view.log import KafkaViewLog, LogReader, ViewLog
from query_api.view.peek import peek
from query_api.view.snapshot import ViewSnapshot
from query_api.view.store import ManifestStore, ViewIdentity
from ragstream.reach import Reach
from schemas.errors import DataLoss, Retryable
from schemas.settings import Settings

FOLDER: Final = "inspect"
ENDS_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.1
STALL_TIMEOUT_S: Final = 60.0

OnRead = Callable[[int], None]
"""Called with the number of records that are still to be read."""


@contextmanager
def open_snapshot(reach: Reach, on_read: OnRead | None = None) -> Iterator[ViewSnapshot]:
    """The index as it stands now. From Kafka the first look reads the whole index log, later ones what is new.

    Raises: Retryable, when Kafka or the running `up`'s view can't be read; Misconfigured, Fatal.
    """
    settings = reach.settings
    if reach.running is not None and reach.running.is_embedded_kafka:
        # The in-process broker keeps only the log's tail; what was before is in the view.
        with peek(
            settings.data_dir / "views" / settings.generation, settings.generation, settings.missing_allow_lists
        ) as snapshot:
            yield snapshot
        return
    log = KafkaViewLog(reach.link)
    folder = ClaimedFolder.first_free(settings.data_dir / FOLDER / settings.generation)
    try:
        store = _store(settings, log, folder.path)
        try:
            began_ms = time.time_ns() // 1_000_000
            catch_up(store, log, (settings.kafka.topics.floors, settings.index_topic), on_read)
            store.followed(began_ms)
            with store.snapshot() as snapshot:
                yield snapshot
        finally:
            store.close()
    finally:
        folder.release()
        log.close()


def catch_up(store: ManifestStore, log: ViewLog, topics: tuple[str, ...], on_read: OnRead | None = None) -> None:
    """Read each of `topics`, in this order, to where it ends at the time of the call.

    Raises: Retryable, when nothing comes for a minute.
    """
    for topic in topics:
        try:
            _read(store, log, topic, on_read)
        except DataLoss as exc:
            # A compacted log that starts later still tells everything from its start.
            store.wipe(str(exc))
            catch_up(store, log, topics, on_read)
            return


def _store(settings: Settings, log: ViewLog, folder: Path) -> ManifestStore:
    floors = settings.kafka.topics.floors
    identity = ViewIdentity(settings.generation, log.identity(settings.index_topic), log.identity(floors))
    missing = settings.missing_allow_lists
    return ManifestStore(
        folder / "manifests", identity, index_topic=settings.index_topic, floors_topic=floors, missing=missing
    ).open()


def _read(store: ManifestStore, log: ViewLog, topic: str, on_read: OnRead | None) -> None:
    ends = log.ends(topic, ENDS_TIMEOUT_S)
    reader = log.read(topic, store.positions(topic), tuple(sorted(ends)))
    try:
        last_left, last_moved = -1, time.monotonic()
        while left := _left(reader, ends):
            if left != last_left:
                last_left, last_moved = left, time.monotonic()
            elif time.monotonic() - last_moved > STALL_TIMEOUT_S:
                msg = f"reading {topic} stands still, {left:,} records before its end: is Kafka well?"
                raise Retryable(msg)
            if on_read is not None:
                on_read(left)
            store.apply(reader.poll(POLL_S))
    finally:
        reader.close()


def _left(reader: LogReader, ends: dict[int, int]) -> int:
    positions = reader.positions()
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
