"""How to reach Kafka: what every reader and writer of this package takes first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from connectors.kafka.flow_control import Backlog
from schemas.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class KafkaLink:
    """Settings, and where the broker is; `bootstrap` is explicit because embedded mode chooses it at run time.

    Attributes:
        embedded: the broker is librdkafka's in-process one, of this process or of another.
        backlog: embedded only, and only in the broker's own process: holds producers back for consumers' sake.
        lock_dir: embedded only: where writers lock their transactional ids, since that broker doesn't fence. None when
            nothing else can open the same writer.
    """

    kafka: KafkaSettings
    bootstrap: str
    embedded: bool = False
    backlog: Backlog | None = None
    lock_dir: Path | None = None
