"""The same tests on the in-process broker and on Apache Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # reason: documented there

from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.link import KafkaLink
from schemas.settings import KafkaSettings
from tests.waiting import wait_until


@dataclass
class Broker:
    """A broker and how to make topics on it."""

    link: KafkaLink
    prefix: str
    embedded: EmbeddedBroker | None = None

    def topic(self, partitions: int = 1, **config: str) -> str:
        """A new topic; `config` takes Kafka's names with underscores and is for the real one only."""
        self._count = getattr(self, "_count", 0) + 1
        name = f"{self.prefix}.{self._count}"
        if self.embedded is not None:
            self.embedded.create_topic(name, partitions)
        else:
            create_topic(self.link.bootstrap, name, partitions, **config)
        return name


def create_topic(bootstrap: str, name: str, partitions: int = 1, **config: str) -> None:
    """On a real broker."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    settings = {option.replace("_", "."): value for option, value in config.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)
    # The controller has it; the broker that is asked hears of it a moment later.
    wait_until(lambda: name in admin.list_topics(timeout=10).topics, within_s=20, what=f"{name} to be known")


@pytest.fixture
def embedded_broker(tmp_path: Path, topic_prefix: str) -> Iterator[Broker]:
    """An in-process broker of the test's own."""
    broker = EmbeddedBroker()
    bootstrap = broker.start({})
    link = KafkaLink(KafkaSettings(), bootstrap, embedded=True, lock_dir=tmp_path / "locks")
    yield Broker(link, topic_prefix, broker)
    broker.close()


@pytest.fixture
def real_broker(request: pytest.FixtureRequest, topic_prefix: str) -> Broker:
    """The run's shared Kafka."""
    address = request.getfixturevalue("kafka_server")
    return Broker(KafkaLink(KafkaSettings(), address.bootstrap_servers), topic_prefix)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Either."""
    name = "embedded_broker" if request.param == "embedded" else "real_broker"
    found: Broker = request.getfixturevalue(name)
    return found


@pytest.fixture
def link(broker: Broker) -> KafkaLink:
    """To either."""
    return broker.link


MakeTopic = Callable[..., str]


@pytest.fixture
def make_topic(broker: Broker) -> MakeTopic:
    """Makes a topic on either."""
    return broker.topic
