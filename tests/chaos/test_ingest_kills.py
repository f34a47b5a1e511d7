"""kill -9 of the ingest process, at fail points and at random, on real servers: the same index, little embedded again."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path

import pytest

from flows.ingest.failpoints import POINTS
from tests.convergence import assert_every_offset_has_one_outcome
from tests.histories import expected_documents, history
from tests.ingest_processes import encoded_chunks, ingest_process, opened_lanes, wait_for_lanes
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.servers.plugin import KafkaFactory, MilvusFactory
from tests.stacks import IngestStack, real_stack, stack_settings
from tests.waiting import wait_until

IN_FLIGHT = 32
KILLS = 24
UNCACHED = {"EMBEDDING__CACHE": "off", "INGEST__IN_FLIGHT_CHUNKS": str(IN_FLIGHT)}
"""Nothing survives but what is published, in small steps: the most that a kill can cost, and the most places to strike."""


@pytest.fixture
def stack(tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str):  # type: ignore[no-untyped-def]
    settings = stack_settings(tmp_path, f"{unique_name}.")
    with real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as real:
        yield real


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_change_nothing_but_the_time(stack: IngestStack, tmp_path: Path) -> None:
    """Half at fail points between embed, upsert, publish and commit, half at random moments; seeded."""
    rng = random.Random(42)
    now_ms = time.time_ns() // 1_000_000
    changes = history(5, documents=300, now_ms=now_ms)
    published = stack.publish(changes)
    log = tmp_path / "ingest.log"
    killed = 0
    for n in range(KILLS):
        if n % 2:
            plan = f"{POINTS[n // 2 % len(POINTS)]}:{rng.randint(1, 3)}"
            process = ingest_process(stack, log, INGEST__KILL_AT=plan, **UNCACHED)
            code = process.wait(120)
        else:
            opened = opened_lanes(log)
            process = ingest_process(stack, log, **UNCACHED)
            wait_for_lanes(log, opened + 1, process)
            time.sleep(rng.random() * 0.8)  # the moment of the kill is the point of the test, not a wait
            process.send_signal(signal.SIGKILL)
            code = process.wait(30)
        killed += code == -signal.SIGKILL
        if code != -signal.SIGKILL:
            break
    assert killed >= 20, log.read_text()[-4000:]
    final = ingest_process(stack, log, "--until-caught-up", **UNCACHED)
    assert final.wait(120) == 0, log.read_text()[-4000:]
    stack.collect_garbage()
    found = stack.log()
    expected = expected_documents(changes, now_ms)
    live = found.live(now_ms)
    assert set(live) == set(expected)
    assert all(manifest.text == expected[key].text for key, manifest in live.items())
    assert stack.rows() == found.live_rows(now_ms)
    assert_every_offset_has_one_outcome(stack, published)
    minted = {span.row_id for manifest in found.history for span in manifest.chunks}
    assert encoded_chunks(log) <= len(minted) + killed * IN_FLIGHT


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_ingest_takes_over_and_the_first_says_so(stack: IngestStack, tmp_path: Path) -> None:
    """The fenced one ends with its own exit code; the index is the fold's."""
    now_ms = time.time_ns() // 1_000_000
    changes = history(6, documents=60, now_ms=now_ms)
    first_log, second_log = tmp_path / "first.log", tmp_path / "second.log"
    first = ingest_process(stack, first_log, **UNCACHED)
    wait_until(lambda: first_log.read_bytes().count(b"lane opened") >= 4, within_s=60, what="the first to open its lanes")
    second = ingest_process(stack, second_log, **UNCACHED)
    wait_until(lambda: second_log.read_bytes().count(b"lane opened") >= 4, within_s=60, what="the second to open its lanes")
    stack.publish(changes)
    assert first.wait(120) == 17
    assert re.search(r"written by another ingest process", first_log.read_text())
    wait_until(lambda: sum(len(stack.log().outcomes(p)) for p in range(4)) == len(changes), within_s=90, what="all to be indexed")
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0, second_log.read_text()[-3000:]
    stack.collect_garbage()
    expected = expected_documents(changes, now_ms)
    assert set(stack.log().live(now_ms)) == set(expected)
    assert stack.rows() == stack.log().live_rows(now_ms)


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("victim", ["kafka", "milvus"])
def test_a_server_that_dies_is_waited_for(
    tmp_path: Path, kafka_factory: KafkaFactory, milvus_factory: MilvusFactory, victim: str
) -> None:
    """Killed and started again mid-run: the flow says so and goes on by itself."""
    kafka, milvus = kafka_factory(), milvus_factory()
    now_ms = time.time_ns() // 1_000_000
    changes = history(8, documents=200, now_ms=now_ms)
    log = tmp_path / "ingest.log"
    settings = stack_settings(tmp_path, "mid.")
    with real_stack(tmp_path, settings, kafka.address.bootstrap_servers, milvus.address.uri) as stack:
        stack.publish(changes[: len(changes) // 2])
        process = ingest_process(stack, log, **UNCACHED)
        wait_until(lambda: log.read_bytes().count(b"lane opened") >= 4, within_s=60, what="lanes to open")
        if victim == "milvus":
            milvus.kill()
            stack.publish(changes[len(changes) // 2 :])
            wait_until(lambda: b"Milvus" in log.read_bytes(), within_s=60, what="the flow to say that it waits")
            milvus.restart()
        else:
            kafka.kill()
            wait_until(lambda: b"Kafka" in log.read_bytes(), within_s=60, what="the flow to say that it waits")
            kafka.restart()
            stack.publish(changes[len(changes) // 2 :])
        wait_until(
            lambda: process.poll() is not None or sum(len(stack.log().outcomes(p)) for p in range(4)) == len(changes),
            within_s=180,
            what="everything to be indexed",
        )
        assert process.poll() is None, log.read_text()[-4000:]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()[-4000:]
        stack.collect_garbage()
        expected = expected_documents(changes, now_ms)
        assert set(stack.log().live(now_ms)) == set(expected)
        assert stack.rows() == stack.log().live_rows(now_ms)
