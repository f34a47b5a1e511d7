"""Retention and compaction that the promises rest on."""

from connectors.kafka.topics import topic_specs
from schemas.settings import Settings


def test_what_is_truth_is_kept_and_what_is_state_is_compacted() -> None:
    """As the design's table has it."""
    specs = {spec.name: spec for spec in topic_specs(Settings())}
    cleanup = {name: spec.config["cleanup.policy"] for name, spec in specs.items()}
    assert cleanup == {
        "rag.documents": "delete",
        "rag.index.g1": "compact",
        "rag.floors": "compact",
        "rag.control": "compact",
        "rag.queries": "delete",
        "rag.answers": "delete",
        "rag.feedback": "delete",
        "rag.dead-letters": "compact",
    }
    assert specs["rag.documents"].config["retention.ms"] == "-1"
    assert specs["rag.documents"].config["retention.bytes"] == "-1"
    assert specs["rag.queries"].config["retention.ms"] == "3600000"


def test_the_index_has_as_many_partitions_as_the_documents() -> None:
    """A lane writes the partition it reads."""
    settings = Settings()
    specs = {spec.name: spec for spec in topic_specs(settings)}
    assert specs["rag.index.g1"].partitions == specs["rag.documents"].partitions == settings.kafka.partitions
    assert specs["rag.control"].partitions == 1


def test_every_topic_takes_the_largest_message() -> None:
    """With room for key and headers."""
    settings = Settings()
    for spec in topic_specs(settings):
        assert int(spec.config["max.message.bytes"]) > settings.kafka.max_message_bytes
