"""Where a command finds the servers: named by settings, else the `ragstream up` that runs on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from connectors.kafka import KafkaLink
from ragstream.embedded.running import Running, find
from schemas.errors import Misconfigured
from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class Reach:
    """Settings to work with, and the way to Kafka. `running` is set where a local `up` is used."""

    settings: Settings
    link: KafkaLink
    running: Running | None = None


def kafka_link(settings: Settings) -> KafkaLink:
    """The link to the Kafka that settings name. Raises: Misconfigured, where they name none."""
    if settings.kafka.bootstrap_servers is None:
        msg = "no Kafka is named: set RAG_KAFKA__BOOTSTRAP_SERVERS, or run everything embedded with `ragstream up`"
        raise Misconfigured(msg)
    return KafkaLink(settings.kafka, settings.kafka.bootstrap_servers)


def reach(settings: Settings) -> Reach:
    """For commands that talk to a system that runs. Raises: Misconfigured, saying what to start or to set."""
    if settings.kafka.bootstrap_servers is not None:
        return Reach(settings, kafka_link(settings))
    running = find(settings.data_dir)
    if running is None:
        msg = (
            "no Kafka is named and no `ragstream up` runs for this user: start `ragstream up` in another terminal, "
            "or set RAG_KAFKA__BOOTSTRAP_SERVERS"
        )
        raise Misconfigured(msg)
    milvus = settings.milvus.model_copy(update={"uri": settings.milvus.uri or running.milvus_uri})
    adapted = settings.model_copy(update={"data_dir": running.data_dir, "milvus": milvus, "generation": running.generation})
    link = KafkaLink(settings.kafka, running.bootstrap, embedded=running.is_embedded_kafka, lock_dir=lock_dir(running.data_dir))
    return Reach(adapted, link, running)


def lock_dir(data_dir: Path) -> Path:
    """Where embedded writers lock their partitions."""
    return data_dir / "locks"
