"""Kafka through librdkafka: readers, writers, topics, and the in-process broker of the embedded mode.

Knows nothing of what the records mean.
"""

from connectors.kafka.errors import Backpressure, ProducerFenced
from connectors.kafka.flow_control import Backlog
from connectors.kafka.follower import TopicFollower
from connectors.kafka.group_copy import GroupCopy
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import cluster_identity, partitions_of
from connectors.kafka.partitioner import partition_for_key
from connectors.kafka.producer import Producer
from connectors.kafka.reader import PartitionReader, read_to_end, watermarks_of
from connectors.kafka.records import OutRecord, Record, footprint
from connectors.kafka.writer import TransactionalWriter

__all__ = [
    "Backlog",
    "Backpressure",
    "GroupCopy",
    "KafkaLink",
    "OutRecord",
    "PartitionReader",
    "Producer",
    "ProducerFenced",
    "Record",
    "TopicFollower",
    "TransactionalWriter",
    "cluster_identity",
    "footprint",
    "partition_for_key",
    "partitions_of",
    "read_to_end",
    "watermarks_of",
]
