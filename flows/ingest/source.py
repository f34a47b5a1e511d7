"""Bytewax source over `rag.documents`: one reader a partition, positions from the lane's own log, ticks while idle.

Bytewax's Kafka source loses errors and has no clean stop (bytewax#268, #353): this one raises what happened, and
ends when told to, after everything it has emitted is published.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from connectors.kafka.records import Record
from flows.ingest.events import Tick

if TYPE_CHECKING:
    from flows.ingest.runtime import IngestRuntime, OpenLane

IDLE_POLL = timedelta(milliseconds=5)


class _LanePartition(StatefulSourcePartition[Record | Tick, None]):
    def __init__(self, runtime: IngestRuntime, lane: OpenLane) -> None:
        self._runtime = runtime
        self._lane = lane
        self._next_tick = 0.0
        self._awake: datetime | None = None

    def next_batch(self) -> Iterable[Record | Tick]:
        self._awake = None
        partition = self._lane.partition
        if self._runtime.should_stop(self._lane):
            if self._runtime.is_idle(partition):
                raise StopIteration
            # No ticks: each would be something more to wait for.
            self._awake = datetime.now(UTC) + IDLE_POLL
            return []
        records = self._lane.reader.poll(self._lane.appetite(self._runtime.settings.ingest.fetch_messages))
        if not records:
            return self._tick()
        self._runtime.has_read(partition, records[-1].offset + 1)
        return records

    def _tick(self) -> list[Record | Tick]:
        self._awake = datetime.now(UTC) + IDLE_POLL
        now = time.monotonic()
        if now < self._next_tick:
            return []
        self._next_tick = now + self._runtime.settings.ingest.tick_s
        position = self._lane.reader.position()
        return [Tick(self._lane.partition, self._runtime.now_ms(), position if isinstance(position, int) else 0)]

    def next_awake(self) -> datetime | None:
        return self._awake

    def snapshot(self) -> None:
        """Nothing: the position is in the index log, committed with the work (no second truth)."""

    def close(self) -> None:
        self._runtime.close_lane(self._lane.partition)


class DocumentsSource(FixedPartitionedSource[Record | Tick, None]):
    """Every partition of `rag.documents`; a partition stays on one worker, in order."""

    def __init__(self, runtime: IngestRuntime) -> None:
        self._runtime = runtime

    def list_parts(self) -> list[str]:
        return [str(partition) for partition in self._runtime.partitions()]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _LanePartition:
        return _LanePartition(self._runtime, self._runtime.open_lane(int(for_part)))
