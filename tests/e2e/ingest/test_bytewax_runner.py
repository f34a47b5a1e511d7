"""The dataflow under Bytewax's own runner, as its users start it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.histories import expected_documents, history
from tests.ingest_processes import environment
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.stacks import real_stack, stack_settings
from tests.waiting import wait_until


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_bytewax_run_indexes_and_stops_cleanly(
    tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str
) -> None:
    """Two worker threads; SIGTERM publishes what is in flight and ends with status 0."""
    settings = stack_settings(tmp_path, f"{unique_name}.")
    now_ms = time.time_ns() // 1_000_000
    changes = history(3, documents=20, now_ms=now_ms)
    with real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as stack:
        command = [sys.executable, "-m", "bytewax.run", "flows.ingest.main:flow", "-w", "2"]
        log = tmp_path / "run.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment(stack), stdout=output, stderr=output)
        stack.publish(changes)
        wait_until(
            lambda: process.poll() is not None or sum(len(stack.log().outcomes(p)) for p in range(4)) == len(changes),
            within_s=60,
            what="everything to be indexed",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()[-3000:]
        assert set(stack.log().live(now_ms)) == set(expected_documents(changes, now_ms))
