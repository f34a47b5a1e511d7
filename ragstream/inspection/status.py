"""Puts together what `status` shows: where the write path stands, what the index holds, how the processes are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from connectors.kafka.metadata import Metadata
from flows.ingest.markers import last_marker
from ragstream.inspection.documents import OnRead, open_snapshot
from ragstream.inspection.health import Health, ask_health
from ragstream.inspection.reports import Counts, counts
from ragstream.reach import Reach
from schemas.errors import Retryable
from schemas.index import Outcome, Progress

MARKER_READERS: Final = 8


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition of `rag.documents`.

    Attributes:
        watermark: everything below it is published. lag: messages between it and the end.
        reflected: everything below it is in the view that was looked into; None where that view is not of a query worker.
        outcomes: what became of the events below the watermark. written_at_ms: when the last batch was published.
    """

    partition: int
    end: int
    watermark: int
    lag: int
    reflected: int | None
    outcomes: dict[str, int]
    written_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything `status` shows.

    Attributes:
        model, chunker: fingerprints that the generation was made with; more than one is a fault.
        indexes: None where documents can't be counted at the moment; `note` says why.
        dead_letters: events that ended as one since the generation began.
    """

    bootstrap: str
    is_embedded: bool
    generation: str
    partitions: tuple[PartitionStatus, ...]
    outcomes: dict[str, int]
    dead_letters: int
    indexes: dict[str, Counts] | None
    models: tuple[str, ...]
    chunkers: tuple[str, ...]
    ingest: Health
    query: Health
    note: str = ""

    @property
    def lag(self) -> int:
        return sum(partition.lag for partition in self.partitions)


def read_status(
    reach: Reach, on_read: OnRead | None = None, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> Status:
    """Ask the log, a view and the processes. Raises: Retryable, Misconfigured, when Kafka can't be asked."""
    settings = reach.settings
    ends = _ends(reach)
    with ThreadPoolExecutor(MARKER_READERS) as pool:
        found = pool.map(lambda partition: last_marker(reach.link, settings.index_topic, partition), sorted(ends))
        markers = dict(zip(sorted(ends), found, strict=True))
    indexes: dict[str, Counts] | None = None
    reflected: dict[int, int] = {}
    note = ""
    try:
        with open_snapshot(reach, on_read) as snapshot:
            indexes = counts(snapshot, now_ms())
            if reach.running is not None and reach.running.is_embedded_kafka:
                reflected = snapshot.progress()
    except Retryable as exc:
        note = str(exc)
    known = [marker for marker in markers.values() if marker is not None]
    outcomes: Counter[str] = Counter()
    for marker in known:
        outcomes.update(marker.totals)
    ingest_url, query_url = _health_urls(reach)
    return Status(
        bootstrap=reach.link.bootstrap,
        is_embedded=reach.link.embedded,
        generation=settings.generation,
        partitions=tuple(_partition(p, ends[p], markers[p], reflected.get(p)) for p in sorted(ends)),
        outcomes=dict(outcomes),
        dead_letters=outcomes[Outcome.DEAD_LETTERED],
        indexes=indexes,
        models=tuple(sorted({marker.model for marker in known})),
        chunkers=tuple(sorted({marker.chunker for marker in known})),
        ingest=ask_health(ingest_url),
        query=ask_health(query_url),
        note=note,
    )


def _ends(reach: Reach) -> dict[int, int]:
    topic, timeout_s = reach.settings.kafka.topics.documents, reach.settings.kafka.request_timeout_s
    metadata = Metadata(reach.link)
    with closing(metadata):
        return metadata.ends(topic, metadata.partitions_of(topic), timeout_s)


def _partition(partition: int, end: int, marker: Progress | None, reflected: int | None) -> PartitionStatus:
    watermark = marker.next if marker is not None else 0
    return PartitionStatus(
        partition=partition,
        end=end,
        watermark=watermark,
        # The marker may be newer than the end that was asked for before it.
        lag=max(0, end - watermark),
        reflected=reflected,
        outcomes=dict(marker.totals) if marker is not None else {},
        written_at_ms=marker.written_at_ms if marker is not None else None,
    )


def _health_urls(reach: Reach) -> tuple[str, str]:
    if reach.running is not None:
        return reach.running.ingest_health, reach.running.query_health
    seen = reach.settings.observability
    return f"http://{seen.host}:{seen.ingest_port}", f"http://{seen.host}:{seen.query_port}"
