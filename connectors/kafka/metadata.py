"""Questions to the cluster, each bounded in time: partitions, ends, identity."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # reason: documented there
    AdminClient,
    ClusterMetadata,
    OffsetSpec,
    TopicMetadata,
)

from connectors.kafka.config import admin_config
from connectors.kafka.errors import error_of, is_refusal, translate
from connectors.kafka.link import KafkaLink
from schemas.errors import Misconfigured, RagError, Retryable


class TopicLayout(NamedTuple):
    """How a topic lies on the brokers. `replicas` is that of the partition with the fewest."""

    partitions: int
    replicas: int


class Layout(NamedTuple):
    """The cluster as a client sees it: its brokers, and every topic this user may see."""

    brokers: int
    topics: dict[str, TopicLayout]


class Metadata:
    """A lazily connected client for questions. Thread-safe."""

    def __init__(self, link: KafkaLink) -> None:
        self._link = link
        self._timeout_s = link.kafka.request_timeout_s
        self._lock = threading.Lock()
        self._client: AdminClient | None = None
        self._refused: KafkaError | None = None
        self._has_answered = False

    @property
    def client(self) -> AdminClient:
        """The client itself, for what this class doesn't ask."""
        with self._lock:
            if self._client is None:
                config = admin_config(self._link)
                config["error_cb"] = self._on_error
                self._client = AdminClient(config)
            return self._client

    def partitions_of(self, topic: str, timeout_s: float | None = None) -> tuple[int, ...]:
        """Partitions of a topic, ascending. Raises: Misconfigured when there is no such topic; Retryable."""
        doing = f"asking for the partitions of {topic}"
        found = self._listed(timeout_s or self._timeout_s, doing).get(topic)
        if found is None:
            msg = f"{doing}: no such topic on {self._link.bootstrap}; `ragstream topics create` makes it"
            raise Misconfigured(msg)
        if found.error is not None:
            raise translate(found.error, doing)
        return tuple(sorted(found.partitions))

    def partitions_now(self, topic: str, timeout_s: float) -> tuple[int, ...]:
        """As `partitions_of`, asked of this topic alone: several times a second, that must not cost what all topics do."""
        if self._link.embedded:
            return self.partitions_of(topic, timeout_s)  # it describes none, and holds few
        with self._asking(f"asking for the partitions of {topic}", timeout_s):
            asked = self.client.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
            return tuple(sorted(partition.id for partition in asked[topic].result(timeout_s).partitions))

    def topics(self, timeout_s: float | None = None) -> dict[str, int]:
        """Every topic this user may see, with its number of partitions. Raises: Retryable, Misconfigured."""
        listed = self._listed(timeout_s or self._timeout_s, "listing the topics")
        return {name: len(topic.partitions) for name, topic in listed.items()}

    def layout(self, timeout_s: float | None = None) -> Layout:
        """Brokers, and partitions and replicas of every topic. Raises: Retryable, Misconfigured."""
        cluster = self._cluster(timeout_s or self._timeout_s, "asking how the topics lie on the brokers")
        topics = {
            name: TopicLayout(len(topic.partitions), min((len(one.replicas) for one in topic.partitions.values()), default=0))
            for name, topic in cluster.topics.items()
        }
        return Layout(len(cluster.brokers), topics)

    def _listed(self, timeout_s: float, doing: str) -> dict[str, TopicMetadata]:
        return self._cluster(timeout_s, doing).topics

    def _cluster(self, timeout_s: float, doing: str) -> ClusterMetadata:
        try:
            # All topics: asked for one by name, a broker may create it.
            return self.client.list_topics(timeout=timeout_s)
        except KafkaException as exc:
            raise self.failed(exc, doing) from exc

    def ends(self, topic: str, partitions: Sequence[int], timeout_s: float) -> dict[int, int]:
        """End of what is committed, by partition. Raises: Retryable after `timeout_s`."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # reason: the client's oversight
        ends = self._offsets(topic, partitions, latest, "ends", timeout_s)
        self._answered()
        return known_ends(topic, ends)

    def starts(self, topic: str, partitions: Sequence[int], timeout_s: float) -> dict[int, int]:
        """First offset that is held, by partition: what retention has cut off lies before it. Raises: as `ends`."""
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # reason: the client's oversight
        return known_ends(topic, self._offsets(topic, partitions, earliest, "starts", timeout_s))

    def _offsets(self, topic: str, partitions: Sequence[int], which: OffsetSpec, what: str, timeout_s: float) -> dict[int, int]:
        doing = f"asking where {topic} {what}"
        wanted = {TopicPartition(topic, partition): which for partition in partitions}
        level = IsolationLevel.READ_COMMITTED
        with self._asking(doing, timeout_s):
            try:
                asked = self.client.list_offsets(wanted, isolation_level=level, request_timeout=timeout_s)
                return {place.partition: future.result(timeout_s).offset for place, future in asked.items()}
            except KafkaException as exc:
                if error_of(exc).code() != KafkaError._NOENT:
                    raise
                # What the client says when no partition has a leader that it can reach: the brokers are away.
                msg = f"{doing}: {error_of(exc).str()}"
                raise Retryable(msg) from exc

    def identity(self, topic: str) -> str:
        """Names this very log: another cluster, or the topic made anew, has another identity."""
        with self._asking(f"asking for the identity of {topic}", self._timeout_s):
            cluster = self.client.list_topics(timeout=self._timeout_s).cluster_id
            if self._link.embedded:
                # It knows no topic ids, but every one of its topics is new when it is.
                return f"{cluster}@{self._link.bootstrap}/{topic}"
            asked = self.client.describe_topics(TopicCollection([topic]), request_timeout=self._timeout_s)
            return f"{cluster}/{topic}/{asked[topic].result(self._timeout_s).topic_id}"

    @contextmanager
    def _asking(self, doing: str, timeout_s: float) -> Iterator[None]:
        try:
            yield
        except KafkaException as exc:
            raise self.failed(exc, doing) from exc
        except TimeoutError as exc:
            msg = f"{doing}: no answer from Kafka in {timeout_s:g} s"
            raise Retryable(msg) from exc

    def failed(self, exc: KafkaException, doing: str) -> RagError:
        """What to raise for a question that failed: a refused login, which the client hears of apart, explains it.

        A login that worked before and is refused now is a broker that is starting, as far as anyone can tell; and so is a topic
        that was there and isn't.
        """
        self.client.poll(0)
        error = self._refused or error_of(exc)
        self._refused = None
        problem = translate(error, f"{doing} at {self._link.bootstrap}")
        return Retryable(str(problem)) if self._has_answered and isinstance(problem, Misconfigured) else problem

    def _answered(self) -> None:
        """What was refused before has been accepted since."""
        self._has_answered = True
        self.client.poll(0)
        self._refused = None

    def _on_error(self, error: KafkaError) -> None:
        if is_refusal(error):
            self._refused = error

    def close(self) -> None:
        """Release the connections. Never raises."""
        with self._lock:
            self._client = None


def known_ends(topic: str, ends: dict[int, int]) -> dict[int, int]:
    """`ends`, all of which are offsets. Raises: Retryable, where the client had none to tell.

    It then gives -1001 without an error (seen with a broker that hangs). Taken for an end, everything would lie beyond it, and a
    view would state that it reflects what it has never seen.
    """
    missing = sorted(partition for partition, offset in ends.items() if offset < 0)
    if missing:
        msg = f"asking where {topic} ends: Kafka told no offset of partitions {missing}"
        raise Retryable(msg)
    return ends


def partitions_of(link: KafkaLink, topic: str, timeout_s: float | None = None) -> tuple[int, ...]:
    """Partitions of a topic, ascending. Raises: Misconfigured when there is no such topic; Retryable."""
    return Metadata(link).partitions_of(topic, timeout_s)


def cluster_identity(link: KafkaLink, topic: str) -> str:
    """Cluster and topic as one string, for tokens and stored views: it changes when the log is another one."""
    return Metadata(link).identity(topic)
