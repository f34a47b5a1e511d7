"""Whatever the servers, the workers and the order: the index holds exactly what the fold of the events says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.convergence import assert_every_offset_has_one_outcome, assert_index_is_the_fold
from tests.histories import disturbed, history
from tests.ingest_processes import ingest_process
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
    assert_every_offset_has_one_outcome(stack, published)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_make_the_same_index(
    tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str
) -> None:
    """The hardest cell as an operator runs it: `--workers 2`, shuffled with duplicates, on servers; both have had their share."""
    settings = stack_settings(tmp_path, f"{unique_name}.")
    now_ms = time.time_ns() // 1_000_000
    changes = history(7, documents=300, now_ms=now_ms)
    log = tmp_path / "ingest.log"
    with real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as stack:
        published = stack.publish(disturbed(changes, 7))
        process = ingest_process(stack, log, "--workers", "2", "--until-caught-up")
        assert process.wait(200) == 0, log.read_text()[-4000:]
        owners = stack.log().owners
        stack.collect_garbage()
        assert_index_is_the_fold(stack, now_ms, changes)
        assert_every_offset_has_one_outcome(stack, published)
    assert sorted(owners) == list(range(settings.kafka.partitions))
    assert all(len(in_turn) == 1 for in_turn in owners.values())
    assert len({owner.pid for in_turn in owners.values() for owner in in_turn}) == 2


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
    assert_every_offset_has_one_outcome(stack, published)
