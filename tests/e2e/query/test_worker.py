"""The query worker on brokers: the embedded one and Apache Kafka, stopped and killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # reason: documented there
from prometheus_client import CollectorRegistry

from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.link import KafkaLink
from query_api.metrics import QueryMetrics
from query_api.serving import run
from query_api.stopping import StopSignal
from schemas.dead_letters import DeadLetter
from schemas.errors import Retryable
from schemas.queries import AnswerEvent
from schemas.settings import Settings
from tests.e2e.query.worker_process import NamedPipeline, settings_for
from tests.raw_producer import send_with_header
from tests.servers.kafka import KafkaAddress
from tests.waiting import wait_until

PARTITIONS = 2
SESSION_TIMEOUT_S = 10.0
pytestmark = pytest.mark.timeout(120)


@dataclass
class Broker:
    """A broker with a test's own topics, and what has come out of them."""

    bootstrap: str
    prefix: str
    data_dir: Path
    is_embedded: bool
    events: dict[str, list[AnswerEvent]] = field(default_factory=dict)
    answers: dict[str, list[AnswerEvent]] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    server: EmbeddedBroker | None = None

    def __post_init__(self) -> None:
        self.producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 0, "partitioner": "murmur2_random"})
        self.consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": f"{self.prefix}.test", "fetch.wait.max.ms": 10}
        )
        topics = ("answers", "dead-letters")
        self.consumer.assign([TopicPartition(f"{self.prefix}.{t}", p, 0) for t in topics for p in range(PARTITIONS)])

    def settings(self, **query: Any) -> Settings:
        return settings_for(self.prefix, self.bootstrap, self.data_dir, **query)

    def ask(self, query_id: str, question: str = "why?", partition: int | None = None) -> None:
        self.send(json.dumps({"query_id": query_id, "question": question}).encode(), query_id, partition)

    def send(self, value: bytes, key: str, partition: int | None = None) -> None:
        # -1: wherever the key belongs
        self.producer.produce(f"{self.prefix}.queries", value, key=key, partition=-1 if partition is None else partition)
        self.producer.flush(10)

    def read(self) -> None:
        while (message := self.consumer.poll(0.02)) is not None:
            if message.error() is None:
                self._sort(message)

    def _sort(self, message: Message) -> None:
        if str(message.topic()).endswith(".answers"):
            event = AnswerEvent.from_bytes(message.value() or b"")
            assert message.key() == event.query_id.encode()
            self.events.setdefault(event.query_id, []).append(event)
            if event.kind == "final":
                self.answers.setdefault(event.query_id, []).append(event)
        else:
            self.letters.append(DeadLetter.from_wire(message.value(), _pairs(message.headers())))

    def has_answers(self, query_ids: set[str]) -> Callable[[], bool]:
        def has() -> bool:
            self.read()
            return query_ids <= self.answers.keys()

        return has

    def committed(self) -> dict[int, int]:
        group = Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"{self.prefix}.group"})
        found = group.committed([TopicPartition(f"{self.prefix}.queries", p) for p in range(PARTITIONS)], timeout=10)
        group.close()
        return {place.partition: place.offset for place in found if place.offset >= 0}

    def close(self) -> None:
        self.consumer.close()


def _pairs(headers: Any) -> list[tuple[str, bytes]]:
    return [(name, value or b"") for name, value in headers or []]


@pytest.fixture
def kafka(kafka_server: KafkaAddress, topic_prefix: str, tmp_path: Path) -> Iterator[Broker]:
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap_servers})
    names = [f"{topic_prefix}.{name}" for name in ("queries", "answers", "dead-letters")]
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        made.result(30)
    broker = Broker(kafka_server.bootstrap_servers, topic_prefix, tmp_path, is_embedded=False)
    yield broker
    broker.close()


@pytest.fixture
def embedded(topic_prefix: str, tmp_path: Path) -> Iterator[Broker]:
    server = EmbeddedBroker()
    names = [f"{topic_prefix}.{name}" for name in ("queries", "answers", "dead-letters")]
    broker = Broker(server.start(dict.fromkeys(names, PARTITIONS)), topic_prefix, tmp_path, is_embedded=True)
    broker.server = server
    yield broker
    server.set_down(is_down=False)
    broker.close()
    server.close()


@pytest.fixture(params=["embedded", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Broker)
    return found


class ThreadedWorker:
    """`run` in a thread, as the all-in-one process runs it."""

    def __init__(self, broker: Broker, pipeline: NamedPipeline, **query: Any) -> None:
        self._stop = StopSignal()
        self._failure: BaseException | None = None
        settings = broker.settings(**query)
        link = KafkaLink(settings.kafka, broker.bootstrap, embedded=broker.is_embedded)

        def serve() -> None:
            try:
                run(settings, link, pipeline, QueryMetrics(CollectorRegistry()), self._stop)
            except BaseException as failure:
                self._failure = failure

        self._thread = threading.Thread(target=serve)
        self._thread.start()

    def __enter__(self) -> ThreadedWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the worker did not stop"
        if self._failure is not None:
            raise self._failure


def test_every_query_is_answered_under_its_id(broker: Broker) -> None:
    """Many queries over partitions: one answer each, with the id as key, all committed at the end."""
    ids = {f"q{number}" for number in range(60)}
    with ThreadedWorker(broker, NamedPipeline("one")):
        for query_id in sorted(ids):
            broker.ask(query_id)
        wait_until(broker.has_answers(ids), within_s=30, what="60 answers")
    assert all(len(events) == 1 for events in broker.answers.values())
    assert sum(broker.committed().values()) == 60


def test_garbage_between_queries(broker: Broker) -> None:
    """A message that is no query is a dead letter with its bytes; its neighbours are answered, and so is its key."""
    with ThreadedWorker(broker, NamedPipeline("one")):
        broker.ask("before", partition=0)
        broker.send(b"\x00\xffnot json", "lost", partition=0)
        broker.ask("after", partition=0)
        wait_until(broker.has_answers({"before", "after", "lost"}), within_s=30, what="answers around the garbage")
    (letter,) = broker.letters
    assert (letter.raw, letter.reason, letter.source, letter.key) == (b"\x00\xffnot json", "not_json", (0, 1), b"lost")
    assert broker.answers["lost"][0].outcome == "rejected"


def test_a_header_whose_name_is_no_text_stops_nobody(broker: Broker) -> None:
    """Kafka takes any bytes for it, and clients in other languages send them."""
    topic, query = f"{broker.prefix}.queries", json.dumps({"query_id": "odd", "question": "why?"}).encode()
    broker.ask("before", partition=0)
    send_with_header(broker.bootstrap, topic, 0, b"odd", query, b"na\xffme")
    broker.ask("after", partition=0)
    with ThreadedWorker(broker, NamedPipeline("one")):
        wait_until(broker.has_answers({"before", "odd", "after"}), within_s=30, what="all answers")
        wait_until(lambda: broker.committed().get(0) == 3, within_s=20, what="all of them to be acknowledged")


def test_stopping_finishes_what_is_in_flight(broker: Broker) -> None:
    """A stop lets queries in flight end and commits them: the next worker answers nothing again."""
    ids = {f"q{number}" for number in range(8)}
    for query_id in ids:
        broker.ask(query_id)
    with ThreadedWorker(broker, NamedPipeline("first", delay_s=0.5)):
        wait_until(broker.has_answers({"q0"}), within_s=30, what="the first answer")
    broker.ask("last")
    with ThreadedWorker(broker, NamedPipeline("second")):
        wait_until(broker.has_answers({*ids, "last"}), within_s=30, what="all answers")
    assert all(len(events) == 1 for events in broker.answers.values())


def test_a_slow_query_holds_up_nobody(broker: Broker) -> None:
    """Queries behind it in the same partition are answered, and nothing is committed past it."""
    pipeline = NamedPipeline("one", hangs=True)
    with ThreadedWorker(broker, pipeline, deadline_s=0.1):
        broker.ask("slow", "hang", partition=0)
        for number in range(10):
            broker.ask(f"q{number}", partition=0)
        wait_until(broker.has_answers({f"q{number}" for number in range(10)}), within_s=30, what="the others' answers")
        assert "slow" not in broker.answers
        assert broker.committed().get(0, 0) == 0
    assert broker.committed().get(0, 0) == 0


class WorkerProcess:
    """A worker to kill."""

    def __init__(self, broker: Broker, name: str, delay_s: float = 0.0, *, hangs: bool = False, deadline_s: float = 10.0) -> None:
        given = {
            "embedded": broker.is_embedded,
            "deadline_s": deadline_s,
            "prefix": broker.prefix,
            "bootstrap": broker.bootstrap,
            "data_dir": str(broker.data_dir / name),
            "name": name,
            "delay_s": delay_s,
            "hangs": hangs,
        }
        command = [sys.executable, "-m", "tests.e2e.query.worker_process", json.dumps(given)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"started\n"

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def terminate(self) -> int:
        self._process.terminate()
        return self._process.wait(30)


def test_a_broker_that_is_not_there_is_no_defect(tmp_path: Path) -> None:
    """Whoever runs the worker is told to start it again."""
    settings = settings_for("nowhere", "127.0.0.1:1", tmp_path)
    link = KafkaLink(settings.kafka, "127.0.0.1:1")
    with pytest.raises(Retryable, match="could not start"):
        run(settings, link, NamedPipeline("one"), QueryMetrics(CollectorRegistry()), StopSignal())


@pytest.mark.slow
def test_a_stop_ends_while_the_broker_is_away(embedded: Broker) -> None:
    """A broker that is gone holds no process: the worker leaves without goodbye, in bounded time."""
    with WorkerProcess(embedded, "one", deadline_s=0.1) as worker:
        embedded.ask("q")
        wait_until(embedded.has_answers({"q"}), within_s=30, what="an answer")
        assert embedded.server is not None
        embedded.server.set_down(is_down=True)
        assert worker.terminate() == 0


@pytest.mark.slow
def test_a_kill_loses_no_query(kafka: Broker) -> None:
    """kill -9 among 200 queries, one of them slow: the next worker answers everything that was not, the slow one too."""
    ids = {f"q{number}" for number in range(200)} | {"slow"}
    kafka.ask("slow", "hang")
    for query_id in sorted(ids - {"slow"}):
        kafka.ask(query_id)

    def has_some() -> bool:
        kafka.read()
        return len(kafka.answers) >= 60

    with WorkerProcess(kafka, "killed", delay_s=0.05, hangs=True) as first:
        wait_until(has_some, within_s=40, what="60 answers")
        first.kill()
    kafka.read()
    assert "slow" not in kafka.answers
    with WorkerProcess(kafka, "second") as second:
        wait_until(kafka.has_answers(ids), within_s=SESSION_TIMEOUT_S + 30, what="all answers")
        assert second.terminate() == 0
    assert {event.text for event in kafka.answers["slow"]} == {"second"}
    assert {event.delta[:1] for event in kafka.events["slow"]} >= {"k", "s"}, "both workers began to tell"
    assert told(kafka.events["slow"]) == "second"
    # Whoever was answered twice can tell which came later; a single attempt is never numbered like another one.
    for events in kafka.answers.values():
        assert [event.attempt for event in events] == sorted({event.attempt for event in events})


def told(events: list[AnswerEvent]) -> str:
    """What a reader has in hand: the deltas of the highest attempt, in order."""
    newest = max(event.attempt for event in events)
    deltas = sorted((event.seq, event.delta) for event in events if event.kind == "delta" and event.attempt == newest)
    assert [seq for seq, _ in deltas] == list(range(len(deltas)))
    return "".join(delta for _, delta in deltas)


def test_deltas_come_before_the_final_event(broker: Broker) -> None:
    """In order, numbered from 0; joined they are the text of the final event, which is numbered after them."""
    with ThreadedWorker(broker, NamedPipeline("piecemeal")):
        broker.ask("q", "spell")
        wait_until(broker.has_answers({"q"}), within_s=30, what="the answer")
    events = broker.events["q"]
    *deltas, final = events
    assert [event.kind for event in deltas] == ["delta"] * len(deltas)
    assert told(events) == final.text == "piecemeal"
    assert (final.kind, final.seq, {event.attempt for event in events}) == ("final", len(deltas), {final.attempt})


def test_through_faust_costs_milliseconds(kafka: Broker) -> None:
    """Round trip through Kafka, worker and back, one at a time: the median is far below a person's notice."""
    with ThreadedWorker(kafka, NamedPipeline("one")):
        kafka.ask("warm")
        wait_until(kafka.has_answers({"warm"}), within_s=30, what="the first answer")
        took = []
        for number in range(50):
            began = time.perf_counter()
            kafka.ask(f"q{number}")
            while f"q{number}" not in kafka.answers:
                message = kafka.consumer.poll(1.0)
                if message is not None and message.error() is None:
                    kafka._sort(message)
            took.append(time.perf_counter() - began)
    assert sorted(took)[25] < 0.05, f"median {sorted(took)[25] * 1000:.1f} ms"
