"""Commands through a real log: the in-process broker with its journal and door, and Apache Kafka."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # reason: documented there
from typer.testing import CliRunner

from connectors.kafka import (
    Backlog,
    Backpressure,
    KafkaLink,
    OutRecord,
    PartitionReader,
    Producer,
    Record,
    TopicFollower,
    partition_for_key,
)
from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.topics import topic_specs
from flows.ingest.markers import last_marker
from ragstream.asking import ask, new_query_id
from ragstream.cli.app import app
from ragstream.doctor.servers import check_kafka
from ragstream.embedded.door import Door
from ragstream.embedded.intake import Intake
from ragstream.embedded.journal import Journal
from ragstream.publishing import PublishOptions, changes_from
from ragstream.publishing.run import Publisher
from ragstream.publishing.sink import DoorSink
from ragstream.reach import reach
from schemas.errors import Rejected, Retryable
from schemas.index import PROGRESS, LogKey, Progress
from schemas.queries import AnswerEvent, QueryRequest
from schemas.settings import KafkaSettings, Settings, load_settings
from schemas.wire import parse
from tests.servers.kafka import KafkaAddress
from tests.waiting import wait_until

WITHIN_S = 15.0
SETTINGS = Settings()
TOPICS = SETTINGS.kafka.topics


@pytest.fixture
def link(tmp_path: Path) -> Iterator[KafkaLink]:
    """An in-process broker with every topic."""
    with closing(EmbeddedBroker()) as broker:
        bootstrap = broker.start({spec.name: spec.partitions for spec in topic_specs(SETTINGS)})
        yield KafkaLink(KafkaSettings(), bootstrap, embedded=True, lock_dir=tmp_path / "locks")


def read_all(link: KafkaLink, topic: str, count: int) -> list[Record]:
    """The first `count` records, of all partitions."""
    with closing(TopicFollower(link, topic, dict.fromkeys(range(4), 0))) as follower:
        found: list[Record] = []

        def has_all() -> bool:
            found.extend(follower.poll(0.05))
            return len(found) >= count

        wait_until(has_all, within_s=WITHIN_S, what=f"{count} records of {topic}")
        return found


def test_a_folder_published_through_the_door_is_in_the_log_and_the_journal(link: KafkaLink, tmp_path: Path) -> None:
    """Whatever its size in one request; keys are the names."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.md").write_text(f"text {number}")
    with closing(Journal(tmp_path / "events.log", 4)) as journal:
        journal.open()
        with (
            closing(Intake(link, TOPICS.documents, 4, journal, max_ahead_ms=0)) as intake,
            closing(Door(intake, "token")) as door,
        ):
            door.open()
            summary = Publisher(DoorSink(door.url, "token"), TOPICS.documents).publish(changes_from(folder, PublishOptions()))
        assert (summary.published, summary.problem_count, journal.records) == (20, 0, 20)
    assert {record.key for record in read_all(link, TOPICS.documents, 20)} == {f"{n}.md".encode() for n in range(20)}


@pytest.fixture
def held_back(link: KafkaLink) -> KafkaLink:
    """The same broker, whose producers wait for a consumer that has read nothing yet."""
    backlog = Backlog(max_bytes=2_000)
    backlog.register(TOPICS.documents, "slow")
    return replace(link, backlog=backlog)


def changes(count: int) -> list[OutRecord]:
    return [OutRecord(TOPICS.documents, b"a", f"{n}".encode().ljust(400), 0, timestamp_ms=n + 1) for n in range(count)]


def read_slowly(link: KafkaLink, count: int) -> None:
    """As the write path does: position by position."""
    assert link.backlog is not None
    with closing(TopicFollower(link, TOPICS.documents, {0: 0})) as follower:
        position = 0
        while position < count:
            for record in follower.poll(0.05):
                position = record.offset + 1
                link.backlog.progressed(TOPICS.documents, "slow", 0, position)


def test_a_replay_waits_for_slow_consumers_for_as_long_as_they_need(
    held_back: KafkaLink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns of waiting pass without an error; then everything arrives, in order."""
    monkeypatch.setattr("ragstream.embedded.intake.REPLAY_TURN_S", 0.01)
    with closing(Journal(tmp_path / "events.log", 4)) as journal:
        journal.open()
        journal.append(changes(20))
        with closing(Intake(held_back, TOPICS.documents, 4, journal, max_ahead_ms=0)) as intake:
            replay = threading.Thread(target=intake.replay)
            replay.start()
            wait_until(lambda: intake.replayed > 0, within_s=WITHIN_S, what="the replay to begin")
            replay.join(0.5)
            assert replay.is_alive()
            read_slowly(held_back, 20)
            replay.join(WITHIN_S)
            assert intake.replayed == 20
    assert [record.value for record in read_all(held_back, TOPICS.documents, 20)] == [r.value for r in changes(20)]


def test_a_replay_that_waits_ends_with_the_process(held_back: KafkaLink, tmp_path: Path) -> None:
    """Without an error: what is journaled is replayed at the next start."""
    with closing(Journal(tmp_path / "events.log", 4)) as journal:
        journal.open()
        journal.append(changes(20))
        intake = Intake(held_back, TOPICS.documents, 4, journal, max_ahead_ms=0)
        replay = threading.Thread(target=intake.replay)
        replay.start()
        wait_until(lambda: intake.replayed > 0, within_s=WITHIN_S, what="the replay to begin")
        intake.close()
        replay.join(WITHIN_S)
        assert not replay.is_alive()
        assert intake.replayed < 20


def test_an_event_is_as_new_after_a_restart_as_before(link: KafkaLink, tmp_path: Path) -> None:
    """Its timestamp is journaled, the intake's as the sender's; one from the future is refused, and nothing with it."""
    sender_ms = time.time_ns() // 1_000_000 + 50_000
    sent = [OutRecord("", b"a", b"1", timestamp_ms=timestamp_ms) for timestamp_ms in (None, sender_ms, 5)]
    with closing(Journal(tmp_path / "events.log", 4)) as journal:
        journal.open()
        with closing(Intake(link, TOPICS.documents, 4, journal, max_ahead_ms=60_000)) as intake:
            intake.accept(sent)
            before = [record.timestamp_ms for record in read_all(link, TOPICS.documents, 3)]
            with pytest.raises(Rejected, match="ahead of the clock"):
                intake.accept([*sent, OutRecord("", b"a", b"4", timestamp_ms=sender_ms + 60_000)])
    with closing(Journal(tmp_path / "events.log", 4)) as journal:
        journal.open()
        with closing(Intake(link, TOPICS.documents, 4, journal, max_ahead_ms=0)) as intake:
            intake.replay()
    again = [record.timestamp_ms for record in read_all(link, TOPICS.documents, 6)]
    assert again == before * 2
    assert before[1:] == [sender_ms, 5]
    assert abs(before[0] - sender_ms) < 60_000


def test_what_finds_no_room_is_not_journaled(held_back: KafkaLink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would come out of the journal at the next start, though nobody was told that it was accepted."""
    monkeypatch.setattr("ragstream.embedded.intake.ROOM_TIMEOUT_S", 0.1)
    monkeypatch.setattr("ragstream.embedded.intake.BATCH", 1)
    with closing(Journal(tmp_path / "events.log", 4)) as journal:
        journal.open()
        with closing(Intake(held_back, TOPICS.documents, 4, journal, max_ahead_ms=0)) as intake:
            with pytest.raises(Backpressure, match="slow has yet to read"):
                intake.accept(changes(20))
            in_log = held_back.backlog.unread(TOPICS.documents, partition_for_key(b"a", 4))[1]  # type: ignore[union-attr]
            assert 0 < journal.records < 20
            assert journal.records == in_log


def test_the_answer_to_this_very_question_is_returned(link: KafkaLink) -> None:
    """Others' answers, deltas and what is no answer are passed over."""
    request = QueryRequest(query_id=new_query_id(), question="who?")

    def answer() -> None:
        [record] = read_all(link, TOPICS.queries, 1)
        asked = parse(QueryRequest, record.value or b"")
        key = asked.query_id.encode()
        events = [
            (b"other", AnswerEvent(query_id="other", outcome="answered", text="no").to_bytes()),
            (key, b"no json"),
            (key, AnswerEvent(query_id=asked.query_id, kind="delta", delta="ye").to_bytes()),
            (key, AnswerEvent(query_id=asked.query_id, seq=1, outcome="answered", text="yes").to_bytes()),
        ]
        with closing(Producer(link)) as producer:
            for name, value in events:
                producer.send(OutRecord(TOPICS.answers, name, value))
            producer.flush(WITHIN_S)

    worker = threading.Thread(target=answer)
    worker.start()
    found = ask(SETTINGS, link, request, WITHIN_S)
    worker.join()
    assert (found.text, found.outcome) == ("yes", "answered")


def test_no_answer_in_time_is_said(link: KafkaLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again: nobody is wrong."""
    monkeypatch.setattr("ragstream.asking.GRACE_S", 0.0)
    with pytest.raises(Retryable, match="query worker"):
        ask(SETTINGS, link, QueryRequest(query_id="q", question="who?"), 2.0)


@pytest.mark.parametrize("behind", [0, 5, 200])
def test_the_newest_marker_is_found_from_the_end(link: KafkaLink, behind: int) -> None:
    """Also when other records follow it."""
    topic = SETTINGS.index_topic
    marker = Progress(partition=0, start=0, next=7, model="m", chunker="c")
    records = [
        OutRecord(topic, LogKey(PROGRESS, "0").to_bytes(), marker.model_copy(update={"next": 3}).to_bytes(), partition=0),
        OutRecord(topic, LogKey(PROGRESS, "0").to_bytes(), marker.to_bytes(), partition=0),
        *(OutRecord(topic, b"owner/0", b"{}", partition=0) for _ in range(behind)),
    ]
    with closing(Producer(link)) as producer:
        for record in records:
            producer.send(record)
        producer.flush(WITHIN_S)
    assert last_marker(link, topic, 0) == marker
    assert last_marker(link, topic, 1) is None


@pytest.fixture
def on_kafka(kafka_server: KafkaAddress, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaLink:
    """Settings that name Kafka, with topics of this test's alone."""
    monkeypatch.setenv("RAG_KAFKA__BOOTSTRAP_SERVERS", kafka_server.bootstrap_servers)
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RAG_KAFKA__PARTITIONS", "2")
    monkeypatch.setenv("RAG_EMBEDDING__KIND", "hashing")
    for field in ("documents", "floors", "control", "queries", "answers", "feedback", "dead_letters"):
        monkeypatch.setenv(f"RAG_KAFKA__TOPICS__{field.upper()}", f"{topic_prefix}.{field}")
    monkeypatch.setenv("RAG_KAFKA__TOPICS__INDEX_PREFIX", f"{topic_prefix}.index")
    return KafkaLink(KafkaSettings(), kafka_server.bootstrap_servers)


def test_topics_are_made_once_and_status_and_publish_work_on_them(on_kafka: KafkaLink, topic_prefix: str, tmp_path: Path) -> None:
    """Repeating `topics create` changes nothing; what is published waits, and status says so."""
    runner = CliRunner()
    first = json.loads(runner.invoke(app, ["topics", "create", "--json"]).stdout)
    assert {topic["outcome"] for topic in first["topics"]} == {"created"}
    again = runner.invoke(app, ["topics", "create", "--json"])
    assert (again.exit_code, {topic["outcome"] for topic in json.loads(again.stdout)["topics"]}) == (0, {"exists"})
    (tmp_path / "rows.jsonl").write_text('{"op": "upsert", "doc_id": "a", "content": {"text": "x"}}\nnope\n')
    published = runner.invoke(app, ["publish", str(tmp_path / "rows.jsonl"), "--acl", "*", "--json"])
    assert published.exit_code == 65
    assert (json.loads(published.stdout)["published"], json.loads(published.stdout)["problem_count"]) == (1, 1)
    with closing(PartitionReader(on_kafka, f"{topic_prefix}.documents", 0, 0)) as reader:
        assert reader.watermarks()[1] in (0, 1)
    status = runner.invoke(app, ["status", "--json"])
    assert status.exit_code == 0, status.output
    shown = json.loads(status.stdout)
    assert (shown["lag"], shown["documents"], shown["dead_letters"], shown["indexes"]) == (1, 0, 0, {})
    assert runner.invoke(app, ["inspect", "a"]).exit_code == 1
    assert json.loads(runner.invoke(app, ["inspect", "--json"]).stdout) == []


def forgetful_topic(link: KafkaLink, prefix: str) -> str:
    """Make a documents topic with Kafka's default retention, and the others as they must be."""
    admin = AdminClient({"bootstrap.servers": link.bootstrap})
    topic = f"{prefix}.documents"
    admin.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "604800000"})])[topic].result(20)
    assert CliRunner().invoke(app, ["topics", "create"]).exit_code == 0
    return topic


def test_a_log_that_forgets_is_found(on_kafka: KafkaLink, topic_prefix: str) -> None:
    """With the command that mends it."""
    topic = forgetful_topic(on_kafka, topic_prefix)
    findings = [finding for finding in check_kafka(reach(load_settings())) if not finding.ok]
    assert {finding.part for finding in findings} == {f"topic {topic}"}
    [found] = [finding for finding in findings if "forgets after 7 days" in finding.detail]
    assert f"--alter --topic {topic} --add-config retention.ms=-1" in found.remedy


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_doctor_ends_with_1_for_a_log_that_forgets(on_kafka: KafkaLink, topic_prefix: str) -> None:
    """Everything else of this installation is well: every package is imported, the encoder loaded."""
    topic = forgetful_topic(on_kafka, topic_prefix)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert {found["part"] for found in json.loads(result.stdout)["findings"] if not found["ok"]} == {f"topic {topic}"}
