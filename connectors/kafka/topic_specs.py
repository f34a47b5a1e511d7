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


class TopicSpec(NamedTuple):
    """A topic as it should be.

    Attributes:
        holds: what it is for, in a few words.
        config: the settings that matter; the broker's defaults do for the rest.
    """

    name: str
    holds: str
    partitions: int
    replication_factor: int
    config: dict[str, str]


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Every topic of the live generation, in the order of the design's table."""
    kafka = settings.kafka
    names = kafka.topics
    keep, compact = _kept_forever(kafka), _compacted(kafka)
    brief = _size(kafka) | {CLEANUP: "delete", RETENTION_MS: str(QUERY_RETENTION_MS)}
    everywhere = kafka.partitions
    rows = [
        (names.documents, "document changes, replayable", everywhere, keep),
        (settings.index_topic, f"manifests of generation {settings.generation}", everywhere, compact),
        (names.floors, "access floors", everywhere, compact),
        (names.control, "the live generation", 1, compact),
        (names.queries, "questions", everywhere, brief),
        (names.answers, "answers", everywhere, brief),
        (names.feedback, "feedback on answers", everywhere, keep),
        (names.dead_letters, "what could not be processed", everywhere, compact),
    ]
    return [TopicSpec(name, holds, count, kafka.replication_factor, config) for name, holds, count, config in rows]


def index_topic_spec(settings: Settings, topic: str, partitions: int) -> TopicSpec:
    """The topic of another generation: as many partitions as the documents have."""
    kafka = settings.kafka
    return TopicSpec(topic, "manifests", partitions, kafka.replication_factor, _compacted(kafka))


def _size(kafka: KafkaSettings) -> dict[str, str]:
    return {MAX_MESSAGE_BYTES: str(kafka.max_message_bytes + MESSAGE_HEADROOM_BYTES)}


def _kept_forever(kafka: KafkaSettings) -> dict[str, str]:
    return _size(kafka) | {CLEANUP: "delete", RETENTION_MS: FOREVER, RETENTION_BYTES: FOREVER}


def _compacted(kafka: KafkaSettings) -> dict[str, str]:
    return _size(kafka) | {
        CLEANUP: "compact",
        "min.cleanable.dirty.ratio": DEAD_RATIO,
        # A view this far behind may still see a marker before the surviving copy of a record that came earlier.
        "min.compaction.lag.ms": str(MIN_COMPACTION_LAG_MS),
        "max.compaction.lag.ms": str(MAX_COMPACTION_LAG_MS),
        "delete.retention.ms": str(DELETE_RETENTION_MS),
        "segment.bytes": str(COMPACTED_SEGMENT_BYTES),
    }
