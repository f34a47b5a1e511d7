"""Restoring as docs/operations.md says: an embedded log from its journal, Kafka's documents from copies of their messages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from confluent_kafka import Producer

from connectors.kafka import KafkaLink, partitions_of, read_to_end
from schemas.settings import KafkaSettings, TopicSettings
from tests.e2e.cli.commands import Shell, new_shell, up
from tests.servers.kafka import KafkaAddress
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

OPEN: dict[str, object] = {"op": "upsert", "acl": ["*"]}
KEPT: dict[str, object] = {**OPEN, "doc_id": "vault", "content": {"text": "# Vault\n\nThe vault opens at nine o'clock.\n"}}
GONE: dict[str, object] = {**OPEN, "doc_id": "attic", "content": {"text": "# Attic\n\nThe attic is haunted by a heron.\n"}}
DELETED: dict[str, object] = {"op": "delete", "doc_id": "attic"}
WITHIN_S = 60


def publish(shell: Shell, *changes: dict[str, object]) -> None:
    shell.run("publish", "-", stdin=b"".join(json.dumps(change).encode() + b"\n" for change in changes))


def is_as_before(shell: Shell) -> bool:
    """What stood is answered from, what was deleted is not."""
    vault = shell.run("ask", "When does the vault open?", "--no-cache", expect=None).out
    return "nine o'clock" in vault and "heron" not in shell.run("ask", "Who haunts the attic?", "--no-cache", expect=None).out


def test_an_up_is_restored_from_its_journal(tmp_path: Path) -> None:
    """Nothing else of its directory; with the embedding cache beside it nothing is embedded."""
    shell = new_shell(tmp_path)
    with up(shell, tmp_path / "up.log") as whole:
        publish(shell, {**KEPT, "event_time": "2026-11-01T10:00:00Z"}, {**GONE, "event_time": "2026-11-01T10:00:00Z"})
        publish(shell, {**DELETED, "event_time": "2026-11-02T10:00:00Z"})
        before = whole.caught_up()
        assert whole.stop() == 0
    restored = new_shell(tmp_path / "restored")
    for part in ("journal", "embedding-cache"):
        shutil.copytree(shell.cwd / ".ragstream" / part, restored.cwd / ".ragstream" / part)
    with up(restored, tmp_path / "restored.log") as whole:
        after = whole.caught_up()
        assert (after["documents"], after["outcomes"]) == (before["documents"], before["outcomes"])
        assert whole.encoded() == 0
        assert is_as_before(restored)


def on_kafka(folder: Path, servers: str, prefix: str, **more: str) -> Shell:
    topics = {f"KAFKA__TOPICS__{field.upper()}": f"{prefix}.{name}" for field, name in TopicSettings().model_dump().items()}
    groups = {"KAFKA__QUERY_GROUP": f"{prefix}.query", "KAFKA__INGEST_GROUP": f"{prefix}.ingest"}
    return new_shell(folder, KAFKA__BOOTSTRAP_SERVERS=servers, KAFKA__PARTITIONS="2", **topics, **groups, **more)


def wait_for(shell: Shell) -> None:
    """All is published, and answers come from it."""
    wait_until(lambda: shell.run("status", "--json").json["lag"] == 0, within_s=WITHIN_S, what="everything to be published")
    wait_until(lambda: is_as_before(shell), within_s=WITHIN_S, what="everything to be reflected")


def copy(servers: str, source: str, target: str) -> int:
    """Every message of `source` into `target`: key, value, headers, timestamp; twice, the last ones first."""
    link = KafkaLink(KafkaSettings(), servers)
    records = [record for partition in partitions_of(link, source) for record in read_to_end(link, source, partition)]
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "enable.idempotence": True})
    for record in [*reversed(records), *records]:
        headers: list[tuple[str, str | bytes | None]] = list(record.headers)
        producer.produce(target, key=record.key, value=record.value, headers=headers, timestamp=record.timestamp_ms)
    assert producer.flush(30) == 0
    return len(records)


def test_documents_on_kafka_are_restored_from_copies_of_their_messages(
    tmp_path: Path, kafka_server: KafkaAddress, topic_prefix: str
) -> None:
    """In another log, in any order, into a new generation; changes without event_time are as new as they were."""
    servers = kafka_server.bootstrap_servers
    lost = on_kafka(tmp_path / "lost", servers, f"{topic_prefix}.lost")
    lost.run("topics", "create")
    with up(lost, tmp_path / "lost.log"):
        publish(lost, KEPT, GONE)
        publish(lost, DELETED)
        wait_for(lost)
        before = lost.run("inspect", "vault", "--json").json
    found = on_kafka(tmp_path / "found", servers, f"{topic_prefix}.found", GENERATION="g2")
    found.run("topics", "create")
    assert copy(servers, f"{topic_prefix}.lost.rag.documents", f"{topic_prefix}.found.rag.documents") == 3
    with up(found, tmp_path / "found.log"):
        wait_for(found)
        after = found.run("inspect", "vault", "--json").json
        for field in ("version", "content_hash", "acl"):
            assert after[field] == before[field]
        assert found.run("inspect", "attic", "--json").json["status"] == "deleted"
