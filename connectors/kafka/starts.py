"""Where a topic's partitions begin: what retention, or an operator, has cut off lies before."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # reason: documented there

from connectors.kafka.errors import error_of
from connectors.kafka.metadata import Metadata, known_ends
from schemas.errors import Retryable


def starts_of(metadata: Metadata, topic: str, partitions: Sequence[int], timeout_s: float) -> dict[int, int]:
    """First offset that is still held, by partition. Raises: as `Metadata.ends`."""
    doing = f"asking where {topic} starts"
    earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # reason: the client's oversight
    wanted = {TopicPartition(topic, partition): earliest for partition in partitions}
    try:
        asked = metadata.client.list_offsets(wanted, request_timeout=timeout_s)
        return known_ends(topic, {place.partition: future.result(timeout_s).offset for place, future in asked.items()})
    except KafkaException as exc:
        if error_of(exc).code() == KafkaError._NOENT:  # no partition has a leader that can be reached
            msg = f"{doing}: {error_of(exc).str()}"
            raise Retryable(msg) from exc
        raise metadata.failed(exc, doing) from exc
    except TimeoutError as exc:
        msg = f"{doing}: no answer from Kafka in {timeout_s:g} s"
        raise Retryable(msg) from exc
