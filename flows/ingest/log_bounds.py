"""Watches where `rag.documents` begins and ends beside the positions of the lanes, and tells the metrics.

A lane that stands still learns nothing of what arrives: without this its lag would look as it did when it stopped, and nobody
would see retention come near its position before messages are gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from connectors.kafka import KafkaLink
from connectors.kafka.metadata import Metadata
from flows.ingest import metrics
from schemas.errors import RagError

EVERY_S: Final = 10.0
TIMEOUT_S: Final = 5.0

_log = structlog.get_logger(__name__)


class LogBounds:
    """A thread. While Kafka is away the metrics keep what was known last.

    Args:
        positions: the lanes' published positions by partition, as they stand now.
    """

    def __init__(self, link: KafkaLink, topic: str, positions: Callable[[], Mapping[int, int]], every_s: float = EVERY_S) -> None:
        self._topic = topic
        self._positions = positions
        self._every_s = every_s
        self._metadata = Metadata(link)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-bounds", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Never raises; a question under way is not waited for."""
        self._stop.set()

    def look(self) -> None:
        """Ask once. Raises: RagError, when Kafka doesn't answer."""
        positions = dict(self._positions())
        if not positions:
            return
        starts = self._metadata.starts(self._topic, tuple(positions), TIMEOUT_S)
        ends = self._metadata.ends(self._topic, tuple(positions), TIMEOUT_S)
        for partition in positions:
            metrics.LOG_START.labels(str(partition)).set(starts[partition])
        # Looked at anew: what was published while Kafka answered is no lag.
        for partition, position in self._positions().items():
            if partition in ends:
                metrics.POSITION.labels(str(partition)).set(position)
                metrics.LAG.labels(str(partition)).set(max(0, ends[partition] - position))

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.look()
            except RagError as exc:
                _log.info("the log's bounds are not known", cause=str(exc))
        self._metadata.close()
