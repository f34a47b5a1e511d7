"""Makes the topics that are missing. What they must be like is `topic_specs`, whether they are so `topic_check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # reason: documented there

from connectors.kafka.errors import error_of, translate
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata
from connectors.kafka.topic_check import TopicFinding, check_topics
from connectors.kafka.topic_specs import TIMESTAMP_AHEAD, TopicSpec, topic_specs
from schemas.errors import Retryable

__all__ = [
    "CreatedTopic",
    "TopicFinding",
    "TopicSpec",
    "check_topics",
    "create_topics",
    "topic_specs",
]


UNKNOWN_SETTING: Final = "Unknown topic config name: "
"""Kafka's words; it has one code for all that is wrong with a setting."""
NEWER_SETTINGS: Final = frozenset({TIMESTAMP_AHEAD})
"""Added in 3.6: what rests on them is then told by `doctor` and not enforced."""


class CreatedTopic(NamedTuple):
    """What became of one topic: `problem` is empty unless it failed."""

    name: str
    outcome: Literal["created", "exists", "failed"]
    problem: str = ""


def create_topics(link: KafkaLink, specs: Sequence[TopicSpec]) -> list[CreatedTopic]:
    """Create what is missing; touches nothing that exists, so it can be repeated.

    The embedded broker makes its topics at its own start: there this only tells which exist. Raises: Retryable,
    Misconfigured when the cluster can't be asked.
    """
    metadata = Metadata(link)
    try:
        existing = metadata.topics()
        missing = [spec for spec in specs if spec.name not in existing]
        outcomes = {spec.name: CreatedTopic(spec.name, "exists") for spec in specs}
        if link.embedded:
            problem = "the embedded broker makes topics at its start only"
            outcomes |= {spec.name: CreatedTopic(spec.name, "failed", problem) for spec in missing}
        elif missing:
            # A generation made after partitions were added has as many as the documents have now, whatever the setting says.
            sized = [spec._replace(partitions=existing.get(spec.like, spec.partitions)) for spec in missing]
            outcomes |= {made.name: made for made in _create(metadata, sized, link.kafka.request_timeout_s)}
        return [outcomes[spec.name] for spec in specs]
    finally:
        metadata.close()


def _create(metadata: Metadata, specs: Sequence[TopicSpec], timeout_s: float) -> list[CreatedTopic]:
    made = _asked(metadata, specs, timeout_s)
    # An older Kafka refuses a topic for a setting that it doesn't know; `doctor` tells what it lacks.
    plain = [
        spec._replace(config={name: value for name, value in spec.config.items() if name not in NEWER_SETTINGS})
        for spec in specs
        if any(f"{UNKNOWN_SETTING}{name}" in made[spec.name].problem for name in NEWER_SETTINGS)
    ]
    return list((made | _asked(metadata, plain, timeout_s) if plain else made).values())


def _asked(metadata: Metadata, specs: Sequence[TopicSpec], timeout_s: float) -> dict[str, CreatedTopic]:
    wanted = [NewTopic(spec.name, spec.partitions, spec.replication_factor, config=dict(spec.config)) for spec in specs]
    asked = metadata.client.create_topics(wanted, operation_timeout=timeout_s, request_timeout=timeout_s)
    return {name: _outcome(name, future.exception(timeout_s * 2)) for name, future in asked.items()}


def _outcome(name: str, problem: BaseException | None) -> CreatedTopic:
    if problem is None:
        return CreatedTopic(name, "created")
    if not isinstance(problem, KafkaException):
        msg = f"creating {name}: {problem!r}"
        raise Retryable(msg) from problem
    error = error_of(problem)
    if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
        # Someone else was quicker.
        return CreatedTopic(name, "exists")
    return CreatedTopic(name, "failed", str(translate(error, f"creating {name}")))
