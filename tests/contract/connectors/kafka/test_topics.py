"""Topics are made once, and what breaks a promise is found with its remedy."""

import time
from contextlib import closing

import pytest

from connectors.kafka.link import KafkaLink
from connectors.kafka.producer import Producer
from connectors.kafka.records import OutRecord
from connectors.kafka.topics import TopicFinding, TopicSpec, check_topics, create_topics, topic_specs
from schemas.errors import RagError, Rejected
from schemas.settings import KafkaSettings, Settings
from tests.contract.connectors.kafka.conftest import Broker, create_topic


def make_settings(prefix: str, **kafka: int) -> Settings:
    """With topics of this test's alone."""
    fields = ("documents", "floors", "control", "queries", "answers", "feedback", "dead_letters")
    names = {field: f"{prefix}.{field}" for field in fields} | {"index_prefix": f"{prefix}.index"}
    return Settings(kafka=KafkaSettings.model_validate({"topics": names, "partitions": 2, **kafka}))


def problems(findings: list[TopicFinding]) -> list[str]:
    """Everything that is wrong, in order."""
    return [f"{finding.problem} -> {finding.remedy}" for finding in findings if not finding.ok]


def test_topics_are_created_once_and_pass_the_check(real_broker: Broker) -> None:
    """Repeating changes nothing."""
    settings = make_settings(real_broker.prefix)
    specs = topic_specs(settings)
    before = problems(check_topics(real_broker.link, specs))
    assert len(before) == len(specs)
    assert all(problem.startswith("does not exist") for problem in before)
    assert {made.outcome for made in create_topics(real_broker.link, specs)} == {"created"}
    assert {made.outcome for made in create_topics(real_broker.link, specs)} == {"exists"}
    assert problems(check_topics(real_broker.link, specs)) == []


@pytest.mark.parametrize(
    ("config", "problem", "remedy"),
    [
        pytest.param({"retention_ms": "604800000"}, "forgets after 7 days", "--add-config retention.ms=-1", id="forgets-by-age"),
        pytest.param(
            {"retention_ms": "-1", "retention_bytes": "1000000"},
            "forgets beyond 1000000 bytes",
            "--add-config retention.bytes=-1",
            id="forgets-by-size",
        ),
        pytest.param(
            {"cleanup_policy": "compact", "retention_ms": "-1"},
            "cleanup.policy=compact: older messages of a key vanish",
            "--add-config cleanup.policy=delete",
            id="compacts",
        ),
        pytest.param(
            {"retention_ms": "-1", "max_message_bytes": "1000000"},
            "max.message.bytes=1000000",
            "or lower RAG_KAFKA__MAX_MESSAGE_BYTES",
            id="takes-too-little",
        ),
        pytest.param(
            {"retention_ms": "-1", "message_timestamp_after_max_ms": "3600000"},
            "whose clock is up to 60 minutes fast",
            "--add-config message.timestamp.after.max.ms=300000",
            id="believes-fast-clocks",
        ),
        pytest.param(
            {"retention_ms": "-1", "message_timestamp_type": "LogAppendTime"},
            "counts as a new one",
            "--add-config message.timestamp.type=CreateTime",
            id="dates-anew",
        ),
    ],
)
def test_a_documents_topic_that_breaks_rebuilds_is_found(
    real_broker: Broker, config: dict[str, str], problem: str, remedy: str
) -> None:
    """By the setting that does it, with the command that mends it."""
    settings = make_settings(real_broker.prefix)
    documents = topic_specs(settings)[0]
    sound = {"max_message_bytes": "9000000", "message_timestamp_after_max_ms": "300000"}
    create_topic(real_broker.link.bootstrap, documents.name, 2, **{**sound, **config})
    [found] = problems(check_topics(real_broker.link, [documents]))
    assert problem in found
    assert remedy in found


def test_a_change_from_the_future_is_refused(real_broker: Broker) -> None:
    """By Kafka, as soon as it is sent: from what it takes, everybody at any time tells alike what is too far ahead."""
    documents = topic_specs(make_settings(real_broker.prefix))[0]
    create_topics(real_broker.link, [documents])
    now_ms = time.time_ns() // 1_000_000
    with closing(Producer(real_broker.link)) as producer:
        for timestamp_ms in (now_ms + 100_000, 1_000):
            producer.send(OutRecord(documents.name, b"a", b"1", timestamp_ms=timestamp_ms))
        producer.flush(30)
    with closing(Producer(real_broker.link)) as producer, pytest.raises(Rejected, match="timestamp"):
        producer.send(OutRecord(documents.name, b"a", b"1", timestamp_ms=now_ms + 1_000_000))
        producer.flush(30)


def test_an_index_that_does_not_compact_is_found(real_broker: Broker) -> None:
    """It would forget what is current."""
    index = topic_specs(make_settings(real_broker.prefix))[1]
    followed = {name.replace(".", "_"): value for name, value in index.config.items()}
    create_topic(real_broker.link.bootstrap, index.name, 2, **{**followed, "cleanup_policy": "delete"})
    [found] = problems(check_topics(real_broker.link, [index]))
    assert "cleanup.policy=delete" in found


def test_what_kafka_does_by_itself_is_not_what_views_rest_on(real_broker: Broker) -> None:
    """A compacted index with a broker's defaults: deletes kept for a day, compaction at once, and perhaps never."""
    index = topic_specs(make_settings(real_broker.prefix))[1]
    create_topic(real_broker.link.bootstrap, index.name, 2, max_message_bytes="9000000", cleanup_policy="compact")
    found = problems(check_topics(real_broker.link, [index]))
    names = ("delete.retention.ms=86400000", "min.compaction.lag.ms=0", "max.compaction.lag.ms=9223372036854775807")
    assert [name in problem for name, problem in zip(names, found, strict=True)] == [True] * 3
    mended = ("delete.retention.ms=604800000", "min.compaction.lag.ms=600000", "max.compaction.lag.ms=86400000")
    assert [f"--add-config {name}" in problem for name, problem in zip(mended, found, strict=True)] == [True] * 3


def test_an_index_with_other_partitions_than_the_documents_is_found(broker: Broker) -> None:
    """A lane writes the partition that it reads. Found also where topics have no settings."""
    documents, index = topic_specs(make_settings(broker.prefix))[:2]
    _create(broker, documents, 3)
    _create(broker, index, 2)
    [found] = problems(check_topics(broker.link, [documents, index]))
    assert f"has 2 partitions, {documents.name} has 3" in found
    assert f"--alter --topic {index.name} --partitions 3" in found


def test_added_partitions_are_nobody_s_fault(broker: Broker) -> None:
    """Documents and index got more, together, and the questions more than anything else: nothing to mend."""
    specs = topic_specs(make_settings(broker.prefix))
    counts = {0: 5, 1: 5, 4: 7}
    for number, spec in enumerate(specs):
        _create(broker, spec, counts.get(number, spec.partitions))
    assert problems(check_topics(broker.link, specs)) == []


def test_a_new_generation_has_as_many_partitions_as_the_documents(real_broker: Broker) -> None:
    """Not as many as the setting says: partitions may have been added since."""
    documents, index = topic_specs(make_settings(real_broker.prefix))[:2]
    _create(real_broker, documents, 3)
    assert [made.outcome for made in create_topics(real_broker.link, [documents, index])] == ["exists", "created"]
    assert problems(check_topics(real_broker.link, [documents, index])) == []


def _create(broker: Broker, spec: TopicSpec, partitions: int) -> None:
    """As it should be, but for the number of partitions."""
    if broker.embedded is not None:
        broker.embedded.create_topic(spec.name, partitions)
    else:
        create_topic(
            broker.link.bootstrap, spec.name, partitions, **{name.replace(".", "_"): value for name, value in spec.config.items()}
        )


def test_embedded_topics_are_made_at_its_start_only(embedded_broker: Broker) -> None:
    """Said, not pretended."""
    [made] = create_topics(embedded_broker.link, topic_specs(make_settings(embedded_broker.prefix))[:1])
    assert made.outcome == "failed"
    assert "at its start" in made.problem


def test_more_replicas_than_brokers_is_said(real_broker: Broker) -> None:
    """The cluster's own words come along."""
    specs = topic_specs(make_settings(real_broker.prefix, replication_factor=3))[:1]
    [made] = create_topics(real_broker.link, specs)
    assert made.outcome == "failed"
    assert "replication" in made.problem.lower()


def test_a_cluster_that_is_away_is_said_in_time() -> None:
    """Bounded by the request timeout."""
    link = KafkaLink(KafkaSettings(request_timeout_s=0.5), "127.0.0.1:1")
    with pytest.raises(RagError, match=r"127\.0\.0\.1:1"):
        check_topics(link, topic_specs(Settings()))


def test_a_setting_that_an_older_kafka_does_not_know_is_left_out(real_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is known to be newer; any other that isn't known is a failure."""
    spec = TopicSpec(f"{real_broker.prefix}.newer", "", 1, 1, {"no.such.setting": "1", "retention.ms": "7000000"})
    (refused,) = create_topics(real_broker.link, [spec])
    assert (refused.outcome, "no.such.setting" in refused.problem) == ("failed", True)
    monkeypatch.setattr("connectors.kafka.topics.NEWER_SETTINGS", frozenset({"no.such.setting"}))
    assert [made.outcome for made in create_topics(real_broker.link, [spec])] == ["created"]
    assert [made.outcome for made in create_topics(real_broker.link, [spec])] == ["exists"]
