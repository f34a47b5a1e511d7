"""What `doctor` says of topics, from what a cluster of any size would tell."""

from __future__ import annotations

import pytest

from connectors.kafka.metadata import Layout, TopicLayout
from connectors.kafka.topic_check import partition_problems, replica_problems
from connectors.kafka.topic_settings import setting_problems
from connectors.kafka.topic_specs import DELETE_RETENTION_MS, topic_specs
from schemas.settings import Settings

SPECS = {spec.name: spec for spec in topic_specs(Settings())}
DOCUMENTS, INDEX, FLOORS = (SPECS[name] for name in ("rag.documents", "rag.index.g1", "rag.floors"))
KAFKA = "kafka:9092"


def replicas(brokers: int, replicas: int, in_sync: int) -> list[str]:
    """What is said of a topic with as many."""
    layout = Layout(brokers, {"t": TopicLayout(4, replicas)})
    return [
        f"{found.problem} -> {found.remedy}"
        for found in replica_problems("t", layout, {"min.insync.replicas": str(in_sync)}, KAFKA)
    ]


@pytest.mark.parametrize(("brokers", "count", "in_sync"), [(1, 1, 1), (2, 2, 1), (2, 2, 2), (3, 3, 2), (5, 3, 2), (5, 5, 3)])
def test_replicas_that_are_as_safe_as_the_cluster_allows(brokers: int, count: int, in_sync: int) -> None:
    """One broker alone is somebody's first try, and has no remedy."""
    assert replicas(brokers, count, in_sync) == []


@pytest.mark.parametrize(
    ("brokers", "count", "in_sync", "problem", "remedy"),
    [
        pytest.param(3, 1, 1, "has one replica on 3 brokers", "RAG_KAFKA__REPLICATION_FACTOR=3", id="one-of-three"),
        pytest.param(2, 1, 1, "has one replica on 2 brokers", "RAG_KAFKA__REPLICATION_FACTOR=2", id="one-of-two"),
        pytest.param(3, 2, 2, "has 2 replicas on 3 brokers", "kafka-reassign-partitions.sh", id="two-of-three"),
        pytest.param(3, 3, 1, "may be on one broker only", "--add-config min.insync.replicas=2", id="one-acknowledges"),
        pytest.param(3, 3, 3, "nothing can be written while one broker is away", "=2", id="all-must"),
        pytest.param(1, 1, 2, "with one replica: every write is refused", "=1", id="more-than-there-are"),
    ],
)
def test_replicas_that_lose_or_stop(brokers: int, count: int, in_sync: int, problem: str, remedy: str) -> None:
    """Each once, with what to do."""
    [found] = replicas(brokers, count, in_sync)
    said, _, told = found.partition(" -> ")
    assert problem in said
    assert remedy in told


def test_three_replicas_are_made_so_that_two_must_have_a_message() -> None:
    """With fewer, a broker that is away would stop every write."""
    for factor, wanted in ((1, None), (2, None), (3, "2"), (5, "2")):
        made = topic_specs(Settings.model_validate({"kafka": {"replication_factor": factor}}))
        assert {spec.config.get("min.insync.replicas") for spec in made} == {wanted}


def test_only_the_index_and_the_documents_must_agree() -> None:
    """Whatever the setting says, which is for topics that are made."""
    layout = Layout(1, {"rag.documents": TopicLayout(9, 1), "rag.index.g1": TopicLayout(9, 1), "rag.floors": TopicLayout(1, 1)})
    assert [list(partition_problems(spec, layout, KAFKA)) for spec in (DOCUMENTS, INDEX, FLOORS)] == [[], [], []]
    larger = Layout(1, {"rag.documents": TopicLayout(3, 1), "rag.index.g1": TopicLayout(9, 1)})
    [found] = partition_problems(INDEX, larger, KAFKA)
    assert "--topic rag.documents --partitions 9" in found.remedy


def test_deletes_are_kept_for_as_long_as_a_view_may_be_away() -> None:
    """In what views follow; a day is what Kafka does by itself. Longer is nobody's fault."""
    for spec in (INDEX, FLOORS):
        assert setting_problems(spec, spec.config | {"delete.retention.ms": str(2 * DELETE_RETENTION_MS)}, KAFKA) == []
        [found] = setting_problems(spec, spec.config | {"delete.retention.ms": "86400000"}, KAFKA)
        assert "after 1 days" in found.problem
        assert found.remedy.endswith(f"--topic {spec.name} --add-config delete.retention.ms=604800000")


def test_what_no_view_follows_may_forget_its_deletes() -> None:
    """Dead letters have keys of their own each; nobody has read what is cleared."""
    letters = SPECS["rag.dead-letters"]
    assert setting_problems(letters, letters.config | {"delete.retention.ms": "1", "min.compaction.lag.ms": "0"}, KAFKA) == []


def test_changes_may_be_dated_as_far_ahead_as_the_most_lenient_index_takes_them() -> None:
    """Stricter is nobody's fault; an old broker doesn't tell."""
    indexes = {"news": {"max_future_skew_s": 3600}, "docs": {}}
    [lenient, *_] = topic_specs(Settings.model_validate({"indexes": indexes}))
    name = "message.timestamp.after.max.ms"
    assert (DOCUMENTS.config[name], lenient.config[name]) == ("300000", "3600000")
    assert setting_problems(lenient, lenient.config | {name: "300000"}, KAFKA) == []
    [found] = setting_problems(DOCUMENTS, lenient.config, KAFKA)
    assert "up to 60 minutes fast" in found.problem
    assert found.remedy.startswith("kafka-configs.sh")
    assert "=300000 (or raise RAG_INDEXES__<name>__MAX_FUTURE_SKEW_S)" in found.remedy
    untold = {setting: value for setting, value in DOCUMENTS.config.items() if not setting.startswith("message.timestamp")}
    assert setting_problems(DOCUMENTS, untold, KAFKA) == []


def test_a_broker_that_does_not_tell_a_setting_is_not_guessed_at() -> None:
    """Not everything that speaks Kafka's protocol has all of them."""
    names = ("delete.retention.ms", "min.compaction.lag.ms", "max.compaction.lag.ms")
    told = {name: value for name, value in INDEX.config.items() if name not in names}
    assert setting_problems(INDEX, told, KAFKA) == []
    assert setting_problems(INDEX, told | dict.fromkeys(names, "None"), KAFKA) == []
    assert list(replica_problems("t", Layout(3, {"t": TopicLayout(1, 3)}), {}, KAFKA)) == []
