"""Topics are made once, and what breaks a promise is found with its remedy."""

import pytest

from connectors.kafka.link import KafkaLink
from connectors.kafka.topics import TopicFinding, check_topics, create_topics, topic_specs
from schemas.errors import RagError
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
    ],
)
def test_a_documents_topic_that_breaks_rebuilds_is_found(
    real_broker: Broker, config: dict[str, str], problem: str, remedy: str
) -> None:
    """By the setting that does it, with the command that mends it."""
    settings = make_settings(real_broker.prefix)
    documents = topic_specs(settings)[0]
    create_topic(real_broker.link.bootstrap, documents.name, 2, **{"max_message_bytes": "9000000", **config})
    [found] = problems(check_topics(real_broker.link, [documents]))
    assert problem in found
    assert remedy in found


def test_an_index_that_does_not_compact_is_found(real_broker: Broker) -> None:
    """It would forget what is current."""
    index = topic_specs(make_settings(real_broker.prefix))[1]
    create_topic(real_broker.link.bootstrap, index.name, 2, max_message_bytes="9000000")
    [found] = problems(check_topics(real_broker.link, [index]))
    assert "cleanup.policy=delete" in found


def test_a_wrong_number_of_partitions_is_found(broker: Broker) -> None:
    """Also where topics have no settings."""
    specs = topic_specs(make_settings(broker.prefix))[:1]
    if broker.embedded is not None:
        broker.embedded.create_topic(specs[0].name, 3)
    else:
        create_topic(broker.link.bootstrap, specs[0].name, 3, max_message_bytes="9000000", retention_ms="-1")
    [found] = problems(check_topics(broker.link, specs))
    assert "has 3 partitions, 2 are expected" in found
    assert "RAG_KAFKA__PARTITIONS=3" in found


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
