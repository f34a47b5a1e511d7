"""Where a key lives: the murmur2 of the Java client, Faust and librdkafka's `murmur2_random`."""

from __future__ import annotations

from confluent_kafka import murmur2


def partition_for_key(key: bytes, n: int) -> int:
    """The partition among `n` that Kafka clients with the default partitioner choose for `key`."""
    return murmur2(key, n)
