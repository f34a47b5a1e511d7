"""What the topics must be like: sizes, retention and compaction that the promises rest on. No I/O."""

from __future__ import annotations

from typing import Final, NamedTuple

from connectors.kafka.config import MESSAGE_HEADROOM_BYTES
from schemas.settings import KafkaSettings, Settings

FOREVER: Final = "-1"
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
QUERY_RETENTION_MS: Final = HOUR_MS
# A view that was away for longer than its deletes are kept starts anew.
DELETE_RETENTION_MS: Final = 7 * DAY_MS
# Superseded text of documents leaves the log within a day, also where little is written.
MIN_COMPACTION_LAG_MS: Final = 10 * 60 * 1000
MAX_COMPACTION_LAG_MS: Final = DAY_MS
COMPACTED_SEGMENT_BYTES: Final = 128 * 1024 * 1024
DEAD_RATIO: Final = "0.2"

MAX_MESSAGE_BYTES: Final = "max.message.bytes"
CLEANUP: Final = "cleanup.policy"
RETENTION_MS: Final = "retention.ms"
RETENTION_BYTES: Final = "retention.bytes"
DELETE_RETENTION: Final = "delete.retention.ms"
MIN_COMPACTION_LAG: Final = "min.compaction.lag.ms"
MAX_COMPACTION_LAG: Final = "max.compaction.lag.ms"
MIN_IN_SYNC: Final = "min.insync.replicas"
TIMESTAMP_TYPE: Final = "message.timestamp.type"
TIMESTAMP_AHEAD: Final = "message.timestamp.after.max.ms"

SAFE_REPLICAS: Final = 3
"""With as many, one broker may be away while everything that is acknowledged is on two."""
SAFE_IN_SYNC: Final = 2


class TopicSpec(NamedTuple):
    """A topic as it should be.

    Attributes:
        holds: what it is for, in a few words.
        partitions: of a new one. How many there are is an operator's choice, but for topics that are `like` another.
        config: the settings that matter; the broker's defaults do for the rest.
        like: the topic that it must have as many partitions as; empty: none.
    """

    name: str
    holds: str
    partitions: int
    replication_factor: int
    config: dict[str, str]
    like: str = ""


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Every topic of the live generation, in the order of the design's table."""
    kafka = settings.kafka
    names = kafka.topics
    keep, compact, follow = _kept_forever(kafka), _compacted(kafka), _followed(kafka)
    brief = _common(kafka) | {CLEANUP: "delete", RETENTION_MS: str(QUERY_RETENTION_MS)}
    everywhere = kafka.partitions
    rows = [
        (names.documents, "document changes, replayable", everywhere, keep | _dated(settings)),
        (settings.index_topic, f"manifests of generation {settings.generation}", everywhere, follow),
        (names.floors, "access floors", everywhere, follow),
        (names.control, "the live generation", 1, compact),
        (names.queries, "questions", everywhere, brief),
        (names.answers, "answers", everywhere, brief),
        (names.feedback, "feedback on answers", everywhere, keep),
        (names.dead_letters, "what could not be processed", everywhere, compact),
    ]
    like = {settings.index_topic: names.documents}
    return [
        TopicSpec(name, holds, count, kafka.replication_factor, config, like.get(name, "")) for name, holds, count, config in rows
    ]


def _common(kafka: KafkaSettings) -> dict[str, str]:
    config = {MAX_MESSAGE_BYTES: str(kafka.max_message_bytes + MESSAGE_HEADROOM_BYTES)}
    if kafka.replication_factor >= SAFE_REPLICAS:
        config[MIN_IN_SYNC] = str(SAFE_IN_SYNC)
    return config


def _dated(settings: Settings) -> dict[str, str]:
    """A change is as new as its producer says: to send it again makes it no newer, and nobody wins from the future."""
    return {TIMESTAMP_TYPE: "CreateTime", TIMESTAMP_AHEAD: str(settings.max_ahead_ms)}


def _kept_forever(kafka: KafkaSettings) -> dict[str, str]:
    return _common(kafka) | {CLEANUP: "delete", RETENTION_MS: FOREVER, RETENTION_BYTES: FOREVER}


def _compacted(kafka: KafkaSettings) -> dict[str, str]:
    return _common(kafka) | {
        CLEANUP: "compact",
        "min.cleanable.dirty.ratio": DEAD_RATIO,
        "segment.bytes": str(COMPACTED_SEGMENT_BYTES),
    }


def _followed(kafka: KafkaSettings) -> dict[str, str]:
    """Compacted, and read by views: what is cleared must be there for as long as a view may be away."""
    return _compacted(kafka) | {
        # A view this far behind may still see a marker before the surviving copy of a record that came earlier.
        MIN_COMPACTION_LAG: str(MIN_COMPACTION_LAG_MS),
        MAX_COMPACTION_LAG: str(MAX_COMPACTION_LAG_MS),
        DELETE_RETENTION: str(DELETE_RETENTION_MS),
    }
