"""Whether the topics of a cluster keep what ragstream's promises need; every problem with its remedy. For `doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]  # reason: documented there

from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata
from connectors.kafka.topic_specs import (
    CLEANUP,
    DAY_MS,
    FOREVER,
    MAX_MESSAGE_BYTES,
    RETENTION_BYTES,
    RETENTION_MS,
    TopicSpec,
)
from schemas.errors import Retryable

Configs = Mapping[str, str]


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
        counts = metadata.topics()
        present = [spec.name for spec in specs if spec.name in counts]
        # The embedded broker has no settings; what it forgets is flow control's business.
        configs = {} if link.embedded or not present else describe(metadata, present, link.kafka.request_timeout_s)
        return [finding for spec in specs for finding in _findings(spec, counts, configs, link.bootstrap)]
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


def _findings(spec: TopicSpec, counts: Mapping[str, int], configs: Mapping[str, Configs], bootstrap: str) -> list[TopicFinding]:
    if spec.name not in counts:
        return [TopicFinding(spec.name, False, f"does not exist ({spec.holds})", "ragstream topics create")]
    problems = list(_partition_problems(spec, counts[spec.name]))
    actual = configs.get(spec.name)
    if actual is not None:
        for check in _CHECKS:
            problems.extend(check(spec, actual, bootstrap))
    return [TopicFinding(spec.name, False, *problem) for problem in problems] or [TopicFinding(spec.name, True)]


def _partition_problems(spec: TopicSpec, actual: int) -> Iterator[tuple[str, str]]:
    if actual < spec.partitions:
        remedy = f"set RAG_KAFKA__PARTITIONS={actual}, or make the topic anew and republish (keys move when partitions are added)"
        yield f"has {actual} partitions, {spec.partitions} are expected", remedy
    elif actual > spec.partitions:
        remedy = f"set RAG_KAFKA__PARTITIONS={actual}" if spec.partitions > 1 else "make the topic anew with one partition"
        yield f"has {actual} partitions, {spec.partitions} are expected", remedy


def _cleanup(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[tuple[str, str]]:
    wanted, found = spec.config[CLEANUP], actual.get(CLEANUP, "")
    if found == wanted:
        return
    consequence = {
        "delete": "older messages of a key vanish, so replay and rebuild can't see a document's history",
        "compact": "it grows without end, or forgets what is still current",
    }[wanted]
    yield f"{CLEANUP}={found}: {consequence}", alter(bootstrap, spec.name, CLEANUP, wanted)


def _retention(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[tuple[str, str]]:
    # Compacted topics drop by age only where cleanup.policy says so, which is a problem of its own.
    if spec.config[CLEANUP] != "delete":
        return
    if spec.config[RETENTION_MS] != FOREVER:
        if _is_shorter(actual[RETENTION_MS], spec.config[RETENTION_MS]):
            problem = f"{RETENTION_MS}={actual[RETENTION_MS]}: messages may vanish before they are read"
            yield problem, alter(bootstrap, spec.name, RETENTION_MS, spec.config[RETENTION_MS])
        return
    if actual[RETENTION_MS] != FOREVER:
        problem = f"forgets after {int(actual[RETENTION_MS]) / DAY_MS:g} days: a rebuild can't replay what is older"
        yield problem, alter(bootstrap, spec.name, RETENTION_MS, FOREVER)
    if actual[RETENTION_BYTES] != FOREVER:
        problem = f"forgets beyond {actual[RETENTION_BYTES]} bytes a partition: a rebuild can't replay what is older"
        yield problem, alter(bootstrap, spec.name, RETENTION_BYTES, FOREVER)


def _message_size(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[tuple[str, str]]:
    wanted, found = int(spec.config[MAX_MESSAGE_BYTES]), int(actual[MAX_MESSAGE_BYTES])
    if found < wanted:
        problem = f"{MAX_MESSAGE_BYTES}={found}: messages that RAG_KAFKA__MAX_MESSAGE_BYTES allows are refused"
        remedy = alter(bootstrap, spec.name, MAX_MESSAGE_BYTES, str(wanted))
        yield problem, f"{remedy} (or lower RAG_KAFKA__MAX_MESSAGE_BYTES)"


def _is_shorter(found: str, wanted: str) -> bool:
    return found != FOREVER and int(found) < int(wanted)


def alter(bootstrap: str, topic: str, name: str, value: str) -> str:
    """The command of Kafka's own tools that mends a topic's setting."""
    return f"kafka-configs.sh --bootstrap-server {bootstrap} --alter --topic {topic} --add-config {name}={value}"


_CHECKS: tuple[Callable[[TopicSpec, Configs, str], Iterator[tuple[str, str]]], ...] = (
    _cleanup,
    _retention,
    _message_size,
)
