"""kill -9 with cache and limits as they are by default; also of one worker process of two, and of their parent.

The history comes in portions, one before each life, so that every life has something to be killed over.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.ingest.failpoints import POINTS
from schemas.settings import IngestSettings
from tests.convergence import assert_every_offset_has_one_outcome, assert_index_is_the_fold
from tests.histories import disturbed, history
from tests.ingest_processes import children_of, encoded_chunks, ingest_process, opened_lanes, runs, wait_for_lanes
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.stacks import IngestStack, real_stack, stack_settings
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLED = 128 + signal.SIGKILL
"""What a parent ends with when a worker of its was killed, as a shell would."""
IN_FLIGHT = IngestSettings().in_flight_chunks
STOPPED_WITHIN_S = 30
"""Less than what workers get before they are killed too: a stop that works needs no force."""


@pytest.fixture
def stack(tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str) -> Iterator[IngestStack]:
    settings = stack_settings(tmp_path, f"{unique_name}.")
    with real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as real:
        yield real


class Lives:
    """A history in portions, and the log of all processes that were there to ingest it."""

    def __init__(self, stack: IngestStack, log: Path, seed: int, portions: int) -> None:
        self.now_ms = time.time_ns() // 1_000_000
        self.rng = random.Random(seed)
        self.log = log
        self.published = 0
        self._stack = stack
        self._changes = history(seed, documents=300, now_ms=self.now_ms)
        shuffled = disturbed(self._changes, seed)
        self._portions = [shuffled[n::portions] for n in range(portions)]

    def publish(self) -> None:
        """The next portion."""
        self.published += self._stack.publish(self._portions.pop())

    def begin(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """A life with something to do, once its lanes are open (or it has been killed before)."""
        self.publish()
        opened = opened_lanes(self.log)
        process = ingest_process(self._stack, self.log, *arguments, **settings)
        wait_for_lanes(self.log, opened + self._stack.settings.kafka.partitions, process)
        return process

    def a_moment(self) -> None:
        """The moment of a kill is the point of the test, not a wait."""
        time.sleep(self.rng.random() * 0.8)

    def finish(self, *arguments: str) -> None:
        """The last portions, in peace."""
        while self._portions:
            self.publish()
        last = ingest_process(self._stack, self.log, "--until-caught-up", *arguments)
        assert last.wait(120) == 0, self.tail()
        self._stack.collect_garbage()

    def judge(self) -> int:
        """The index is the fold, every offset has one outcome. Returns how many chunks were embedded again."""
        assert_index_is_the_fold(self._stack, self.now_ms, self._changes)
        assert_every_offset_has_one_outcome(self._stack, self.published)
        chunks = {span.digest for manifest in self._stack.log().history for span in manifest.chunks}
        return encoded_chunks(self.log) - len(chunks)

    def tail(self) -> str:
        return self.log.read_text()[-4000:]


def test_with_the_cache_no_finished_vector_is_lost(stack: IngestStack, tmp_path: Path) -> None:
    """Eight kills, half at fail points, half at random: what the encoder has returned once it never computes again."""
    lives = Lives(stack, tmp_path / "ingest.log", 13, portions=9)
    for n in range(8):
        point = {"INGEST__KILL_AT": f"{POINTS[n // 2 % len(POINTS)]}:1"} if n % 2 else {}
        process = lives.begin(**point)
        if not point:
            lives.a_moment()
            process.kill()
        assert process.wait(60) == -signal.SIGKILL, lives.tail()
    lives.finish()
    assert lives.judge() <= 0


def test_when_one_worker_of_two_is_killed_all_end_and_the_next_start_goes_on(stack: IngestStack, tmp_path: Path) -> None:
    """Two kills at fail points, two at random: the parent stops the other one cleanly, says so, and ends with the kill's code."""
    lives = Lives(stack, tmp_path / "ingest.log", 17, portions=5)
    for n in range(4):
        point = {"INGEST__KILL_AT": f"{POINTS[n]}:1"} if n % 2 else {}
        parent = lives.begin("--workers", "2", **point)
        workers = children_of(parent.pid)
        if not point:
            assert len(workers) == 2
            lives.a_moment()
            os.kill(lives.rng.choice(workers), signal.SIGKILL)
        assert parent.wait(STOPPED_WITHIN_S) == KILLED, lives.tail()
        assert not [pid for pid in workers if runs(pid)]
    assert b"\nTraceback" not in lives.log.read_bytes()
    assert lives.log.read_bytes().count(b"was killed (SIGKILL); all are stopped") == 4
    lives.finish("--workers", "2")
    # Two processes may meet the same new text at the same time; nothing else is embedded twice.
    assert lives.judge() <= IN_FLIGHT


def test_workers_whose_parent_is_killed_stop_by_themselves(stack: IngestStack, tmp_path: Path) -> None:
    """Nobody else would: they would go on unseen beside the next start. What they had in flight is published."""
    lives = Lives(stack, tmp_path / "ingest.log", 19, portions=2)
    parent = lives.begin("--workers", "2")
    workers = children_of(parent.pid)
    assert len(workers) == 2
    lives.a_moment()
    parent.kill()
    assert parent.wait(30) == -signal.SIGKILL
    wait_until(lambda: not [pid for pid in workers if runs(pid)], within_s=STOPPED_WITHIN_S, what="the workers to end")
    lives.finish("--workers", "2")
    assert lives.judge() <= IN_FLIGHT
