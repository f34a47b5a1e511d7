"""A real history (4,547 events of a documentation site) through the real encoder on real servers: the index is its fold."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from connectors.embedding import create_embedder
from ragstream.publishing import changes_from
from ragstream.publishing.options import PublishOptions
from schemas.acl import PUBLIC
from schemas.documents import DocumentChange
from tests.convergence import assert_every_offset_has_one_outcome, assert_index_is_the_fold
from tests.data import data_set
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.stacks import real_stack, stack_settings

HISTORY = "milvus-docs-history.jsonl.xz"


@pytest.fixture
def history() -> Path:
    return data_set(HISTORY)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_history_through_the_real_encoder(
    tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str, history: Path
) -> None:
    """In order; live documents, manifests, rows and outcomes as the fold says."""
    changes = [change for change in changes_from(history, PublishOptions(acl=PUBLIC)) if isinstance(change, DocumentChange)]
    assert len(changes) > 4_000
    settings = stack_settings(tmp_path, f"{unique_name}.")
    with real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as stack:
        stack.embedder = create_embedder(settings.embedding, tmp_path)
        try:
            published = stack.publish(changes)
            stack.ingest()
            stack.collect_garbage()
        finally:
            stack.embedder.close()
        assert_index_is_the_fold(stack, time.time_ns() // 1_000_000, changes)
        assert_every_offset_has_one_outcome(stack, published)
