"""Positions are there for Kafka's own tools, under the group's name."""

from __future__ import annotations

from confluent_kafka import ConsumerGroupTopicPartitions

from connectors.kafka import GroupCopy, KafkaLink
from connectors.kafka.metadata import Metadata
from connectors.kafka.topics import TopicSpec, create_topics
from schemas.settings import KafkaSettings
from tests.servers.kafka import KafkaAddress
from tests.waiting import wait_until


def test_positions_are_committed_under_the_group(kafka_server: KafkaAddress, topic_prefix: str) -> None:
    """What kafka-consumer-groups would print."""
    link = KafkaLink(KafkaSettings(), kafka_server.bootstrap_servers)
    topic, group = f"{topic_prefix}documents", f"{topic_prefix}ingest"
    create_topics(link, [TopicSpec(topic, "documents", 2, 1, {})])
    copy = GroupCopy(link, group, topic)
    metadata = Metadata(link)

    def committed() -> dict[int, int]:
        copy.update({0: 7, 1: 3})
        asked = metadata.client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        return {place.partition: place.offset for place in asked[group].result(10).topic_partitions}

    wait_until(lambda: committed() == {0: 7, 1: 3}, within_s=20, what="the copy to arrive")
    copy.close()
    metadata.close()
