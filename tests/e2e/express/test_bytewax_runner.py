"""The express lane beside the flow under Bytewax's own runner."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.kafka import partitions_of, read_to_end
from schemas.documents import DocumentChange, InlineText
from schemas.floors import Floor, FloorKey, LaneName
from schemas.index import DocKey
from schemas.wire import from_ms
from tests.ingest_processes import environment, wait_for_lanes
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.servers.proxy import Proxy
from tests.stacks import IngestStack, real_stack, stack_settings
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

KEY = DocKey("docs", "cards")


def change(op: str, at_ms: int, text: str | None = None) -> DocumentChange:
    content = InlineText(text=text) if text is not None else None
    fields = {"content": content, "acl": ("*",)} if content is not None else {}
    return DocumentChange.model_validate({"op": op, "doc_id": KEY.doc_id, "event_time": from_ms(at_ms), **fields})


def floors(stack: IngestStack) -> dict[FloorKey, Floor | None]:
    """The last word of each lane over the document."""
    topic = stack.settings.kafka.topics.floors
    records = (record for partition in partitions_of(stack.link, topic) for record in read_to_end(stack.link, topic, partition))
    return {FloorKey.from_bytes(one.key or b""): Floor.from_bytes(one.value) if one.value else None for one in records}


@pytest.mark.timeout(180)
def test_a_delete_behind_a_write_path_that_stands_still_takes_effect(
    tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str
) -> None:
    """Milvus is silent, so nothing is published any more: the floor is there all the same, and goes when the delete has come."""
    settings = stack_settings(tmp_path, f"{unique_name}.")
    log = tmp_path / "run.log"
    with (
        real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as stack,
        Proxy(int(milvus_server.uri.rpartition(":")[2])) as to_milvus,
    ):
        behind = dataclasses.replace(stack, milvus_uri=f"http://127.0.0.1:{to_milvus.port}")
        command = [sys.executable, "-m", "bytewax.run", "flows.ingest.main:flow", "-w", "2"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment(behind), stdout=output, stderr=output)
        try:
            wait_for_lanes(log, 4, process)
            stack.publish([change("upsert", 1_000, "Freeze a card in the app.")])
            wait_until(lambda: KEY in stack.log().live(2_000), within_s=30, what="the document to be indexed")
            to_milvus.swallow()
            stack.publish([change("upsert", 2_000, "Cards can't be frozen any more."), change("delete", 3_000)])
            found = wait_until(lambda: floors(stack), within_s=30, what="the floor")
            [(key, floor)] = found.items()
            assert key.document == KEY and key.lane is not None
            assert key.lane == LaneName("g1", key.lane.partition)
            assert floor is not None and floor.delete is not None and floor.delete.version == 3_000
            to_milvus.heal()
            wait_until(lambda: floors(stack) == {key: None}, within_s=60, what="the floor to be cleared")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()[-3000:]
        finally:
            process.kill()
            process.wait()
