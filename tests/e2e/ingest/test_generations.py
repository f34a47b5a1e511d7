"""A new generation beside the live one, back to the old one, and its removal as docs/operations.md tells it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from connectors.kafka.topics import create_topics, topic_specs
from schemas.documents import DocumentChange
from schemas.errors import Misconfigured
from schemas.index import DocKey
from schemas.wire import from_ms
from tests.histories import expected_documents, history
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.stacks import IngestStack, real_stack, stack_settings

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
GONE = DocKey("docs", "doc/0000")


def beside(stack: IngestStack, generation: str) -> IngestStack:
    """Another generation on the same servers and topics, with another chunker and a data directory of its own."""
    settings = stack.settings.model_copy(
        update={
            "generation": generation,
            "data_dir": stack.settings.data_dir / generation,
            "chunking": stack.settings.chunking.model_copy(update={"target_tokens": 60, "min_tokens": 20}),
        }
    )
    settings.data_dir.mkdir()
    create_topics(stack.link, topic_specs(settings))
    return dataclasses.replace(stack, settings=settings)


def shown(stack: IngestStack) -> set[DocKey]:
    return set(stack.log().live(time.time_ns() // 1_000_000))


def remove_collections(stack: IngestStack) -> None:
    """The program on the page, with the test's server and prefix in it."""
    [program] = re.findall(r"^python - <<'END'\n(.*?)^END$", PAGE, re.MULTILINE | re.DOTALL)
    for told, real in (("http://milvus:19530", stack.milvus_uri), ("rag__", f"{stack.settings.milvus.collection_prefix}__")):
        assert program.count(told) == 1
        program = program.replace(told, real)
    subprocess.run([sys.executable, "-"], input=program, text=True, check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_generation_is_built_beside_the_live_one_left_again_and_the_old_one_removed(
    tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str
) -> None:
    """Neither changes anything of the other's; the one that stood still catches up; what is removed is missed by nobody."""
    settings = stack_settings(tmp_path, f"{unique_name}.")
    now_ms = time.time_ns() // 1_000_000
    changes = history(3, documents=20, now_ms=now_ms)
    with real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as old:
        old.publish(changes)
        old.ingest()
        before, rows = old.log(), old.rows()

        new = beside(old, "g2")
        with pytest.raises(Misconfigured, match="chunker"):
            dataclasses.replace(new, settings=new.settings.model_copy(update={"generation": "g1"})).ingest()
        new.ingest()
        assert shown(new) == shown(old) == set(expected_documents(changes, now_ms))
        assert len(new.rows()) > len(rows), "smaller passages"
        assert (old.log().manifests, old.rows()) == (before.manifests, rows), "the live one is as it was"

        old.publish([DocumentChange(op="delete", doc_id=GONE.doc_id, event_time=from_ms(now_ms))])
        new.ingest()
        assert GONE not in shown(new)
        old.ingest()  # back to it: it goes on behind its last marker
        assert shown(old) == shown(new)

        remove_collections(old)
        admin = AdminClient({"bootstrap.servers": old.link.bootstrap})
        admin.delete_topics([old.settings.index_topic])[old.settings.index_topic].result(30)
        assert [name for name in old.store.collections() if name.startswith(settings.milvus.collection_prefix)] == [
            new.settings.collection("docs")
        ]
        old.publish([DocumentChange(op="delete", doc_id="doc/0001", event_time=from_ms(now_ms))])
        new.ingest()
        assert shown(new) == set(expected_documents(changes, now_ms)) - {GONE, DocKey("docs", "doc/0001")}
