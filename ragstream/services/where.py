"""Where a service finds its servers."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.kafka import KafkaLink


@dataclass(frozen=True, slots=True)
class Where:
    """Where the servers are: named by settings, or embedded ones found or started here."""

    link: KafkaLink
    milvus_uri: str
