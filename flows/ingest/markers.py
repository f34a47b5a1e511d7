"""The newest progress marker of a partition of the index log, found from the log's end."""

from __future__ import annotations

import time
from typing import Final, Literal

from connectors.kafka import KafkaLink, PartitionReader, watermarks_of
from schemas.errors import Retryable
from schemas.index import PROGRESS, LogKey, Progress

WINDOWS: Final = (32, 1_024, 32_768)
"""How many offsets from the end are read at first, then, then; after that everything. A marker ends every batch."""
POLL_S: Final = 0.1
BATCH: Final = 1_000
STALL_TIMEOUT_S: Final = 20.0


def last_marker(link: KafkaLink, topic: str, partition: int) -> Progress | None:
    """How far a partition is published; None where nothing was ever. Raises: Retryable, Misconfigured."""
    low, high = watermarks_of(link, topic, partition)
    for window in WINDOWS:
        if high - low <= window:
            break
        found = _newest(link, topic, partition, high - window, high)
        if found is not None:
            return found
    return _newest(link, topic, partition, "start", high) if high > low else None


def _newest(link: KafkaLink, topic: str, partition: int, begin: int | Literal["start"], end: int) -> Progress | None:
    found: Progress | None = None
    give_up = time.monotonic() + STALL_TIMEOUT_S
    reader = PartitionReader(link, topic, partition, begin)
    try:
        while (position := reader.position()) == "start" or position < end:
            records = reader.poll(BATCH) or reader.poll_blocking(POLL_S)
            if records:
                give_up = time.monotonic() + STALL_TIMEOUT_S
            elif time.monotonic() > give_up:
                msg = f"reading {topic}[{partition}] stands at {position}, short of {end}: is Kafka well?"
                raise Retryable(msg)
            for record in records:
                if record.value is not None and LogKey.from_bytes(record.key or b"").kind == PROGRESS:
                    found = Progress.from_bytes(record.value)
    finally:
        reader.close()
    return found
