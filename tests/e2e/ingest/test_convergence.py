"""Whatever the servers, the workers and the order: the index holds exactly what the fold of the events says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.histories import disturbed, expected_documents, history
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.stacks import IngestStack, embedded_stack, real_stack, stack_settings


@pytest.fixture(params=["embedded", "real"])
def stack(request: pytest.FixtureRequest, tmp_path: Path, unique_name: str) -> Iterator[IngestStack]:
    if request.param == "embedded":
        with embedded_stack(tmp_path) as embedded:
            yield embedded
        return
    kafka: KafkaAddress = request.getfixturevalue("kafka_server")
    milvus: MilvusAddress = request.getfixturevalue("milvus_server")
    settings = stack_settings(tmp_path, f"{unique_name}.")
    with real_stack(tmp_path, settings, kafka.bootstrap_servers, milvus.uri) as real:
        yield real


def assert_index_is_the_fold(stack: IngestStack, now_ms: int, changes: list) -> None:  # type: ignore[type-arg]
    """One manifest a live document, covering its text; rows exactly those of the manifests."""
    expected = expected_documents(changes, now_ms)
    log = stack.log()
    live = log.live(now_ms)
    assert set(live) == set(expected)
    for key, manifest in live.items():
        assert manifest.text.strip() == expected[key].text.strip()
        assert log.states[key] == expected[key].state
        covered = "".join(manifest.passages())
        assert "".join(covered.split()) == "".join(manifest.text.split())
    assert stack.rows() == log.live_rows(now_ms)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("order", ["in-order", "disturbed"])
def test_the_index_is_the_fold_of_the_history(stack: IngestStack, threads: int, order: str) -> None:
    """300 documents with edits, returns, renames, deletes, expiries and access changes."""
    now_ms = time.time_ns() // 1_000_000
    changes = history(7, documents=300, now_ms=now_ms)
    published = stack.publish(changes if order == "in-order" else disturbed(changes, 7))
    stack.ingest(threads)
    stack.collect_garbage()
    assert_index_is_the_fold(stack, now_ms, changes)
    log = stack.log()
    assert sum(len(log.outcomes(partition)) for partition in log.markers) == published


def test_a_small_history_converges_and_every_offset_has_one_outcome(stack: IngestStack) -> None:
    """The quick form of the cell above, in two sittings."""
    now_ms = time.time_ns() // 1_000_000
    changes = history(11, documents=25, now_ms=now_ms)
    half = len(changes) // 2
    published = stack.publish(changes[:half])
    stack.ingest()
    published += stack.publish(disturbed(changes, 3))
    stack.ingest()
    stack.collect_garbage()
    assert_index_is_the_fold(stack, now_ms, changes)
    log = stack.log()
    offsets = [(p, offset) for p in log.markers for offset, _ in log.outcomes(p)]
    assert len(offsets) == len(set(offsets)) == published
