"""Whether the topics of a cluster keep what ragstream's promises need; every problem with its remedy. For `doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]  # reason: documented there

from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Layout, Metadata
from connectors.kafka.topic_settings import Configs, Problem, alter, number, setting_problems
from connectors.kafka.topic_specs import MIN_IN_SYNC, SAFE_IN_SYNC, SAFE_REPLICAS, TopicSpec
from schemas.errors import Retryable


class TopicFinding(NamedTuple):
    """One thing looked at. `problem` and `remedy` are empty when it is as it should be."""

    topic: str
    ok: bool
    problem: str = ""
    remedy: str = ""


def check_topics(link: KafkaLink, specs: Sequence[TopicSpec]) -> list[TopicFinding]:
    """At least one finding for each topic. Raises: Retryable, Misconfigured when the cluster can't be asked."""
    metadata = Metadata(link)
    try:
        layout = metadata.layout()
        present = [spec.name for spec in specs if spec.name in layout.topics]
        # The embedded broker has no settings; what it forgets is flow control's business.
        configs = {} if link.embedded or not present else describe(metadata, present, link.kafka.request_timeout_s)
        return [finding for spec in specs for finding in _findings(spec, layout, configs.get(spec.name), link.bootstrap)]
    finally:
        metadata.close()


def describe(metadata: Metadata, topics: Sequence[str], timeout_s: float) -> dict[str, dict[str, str]]:
    """Effective settings of each topic."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    for resource, future in metadata.client.describe_configs(resources, request_timeout=timeout_s).items():
        doing = f"reading the settings of {resource.name}"
        try:
            entries = future.result(timeout_s)
        except KafkaException as exc:
            raise metadata.failed(exc, doing) from exc
        except TimeoutError as exc:
            msg = f"{doing}: no answer from Kafka in {timeout_s:g} s"
            raise Retryable(msg) from exc
        found[resource.name] = {name: str(entry.value) for name, entry in entries.items()}
    return found


def _findings(spec: TopicSpec, layout: Layout, actual: Configs | None, bootstrap: str) -> list[TopicFinding]:
    if spec.name not in layout.topics:
        return [TopicFinding(spec.name, False, f"does not exist ({spec.holds})", "ragstream topics create")]
    problems = list(partition_problems(spec, layout, bootstrap))
    if actual is not None:
        problems += setting_problems(spec, actual, bootstrap)
        problems += replica_problems(spec.name, layout, actual, bootstrap)
    return [TopicFinding(spec.name, False, *problem) for problem in problems] or [TopicFinding(spec.name, True)]


def partition_problems(spec: TopicSpec, layout: Layout, bootstrap: str) -> Iterator[Problem]:
    """A lane writes the partition that it reads. How many the others have is a matter of taste."""
    wanted, found = layout.topics.get(spec.like), layout.topics[spec.name]
    if wanted is None or wanted.partitions == found.partitions:
        return
    fewer, most = (spec.name, wanted.partitions) if found.partitions < wanted.partitions else (spec.like, found.partitions)
    yield Problem(
        f"has {found.partitions} partitions, {spec.like} has {wanted.partitions}: they must agree, or ingest doesn't start",
        f"kafka-topics.sh --bootstrap-server {bootstrap} --alter --topic {fewer} --partitions {most} "
        "(see docs/operations.md, Scaling)",
    )


def replica_problems(topic: str, layout: Layout, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    """Whether what is acknowledged outlives a broker. One broker alone is somebody's first try: that has no remedy."""
    replicas = layout.topics[topic].replicas
    wanted = min(SAFE_REPLICAS, layout.brokers)
    in_sync = number(actual, MIN_IN_SYNC)
    if replicas < wanted:
        yield Problem(
            f"has {_counted(replicas)} on {layout.brokers} brokers: what is acknowledged may be lost with one broker, or nothing "
            "can be written while it is away",
            f"give it {wanted} with kafka-reassign-partitions.sh; topics to come: RAG_KAFKA__REPLICATION_FACTOR={wanted}",
        )
    if in_sync is None:
        return
    if in_sync > replicas:
        remedy = alter(bootstrap, topic, MIN_IN_SYNC, str(max(1, min(SAFE_IN_SYNC, replicas - 1))))
        yield Problem(f"{MIN_IN_SYNC}={in_sync} with {_counted(replicas)}: every write is refused", remedy)
    elif replicas >= SAFE_REPLICAS and in_sync < SAFE_IN_SYNC:
        remedy = alter(bootstrap, topic, MIN_IN_SYNC, str(SAFE_IN_SYNC))
        yield Problem(f"{MIN_IN_SYNC}={in_sync}: what is acknowledged may be on one broker only, and be lost with it", remedy)
    elif replicas >= SAFE_REPLICAS and in_sync == replicas:
        remedy = alter(bootstrap, topic, MIN_IN_SYNC, str(replicas - 1))
        yield Problem(
            f"{MIN_IN_SYNC}={in_sync} with {_counted(replicas)}: nothing can be written while one broker is away", remedy
        )


def _counted(replicas: int) -> str:
    return "one replica" if replicas == 1 else f"{replicas} replicas"
