"""An ingest process is ready only while its express lane runs, and alive all the time."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

from connectors.embedding import HashingEmbedder
from connectors.kafka import KafkaLink
from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.topics import topic_specs
from connectors.milvus import LiteServer
from ragstream.services import IngestService, Where
from tests.stacks import stack_settings
from tests.waiting import wait_until


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status), response.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def test_ready_while_the_express_lane_runs(tmp_path: Path) -> None:
    """`rag.floors` is missing at first: the lane says so, and runs as soon as somebody has made it."""
    settings = stack_settings(tmp_path, observability={"ingest_port": 0}, embedding={"cache": "off"})
    settings.data_dir.mkdir(parents=True)
    floors = settings.kafka.topics.floors
    with closing(EmbeddedBroker()) as broker, closing(LiteServer(tmp_path / "milvus.db")) as lite:
        topics = {spec.name: spec.partitions for spec in topic_specs(settings) if spec.name != floors}
        link = KafkaLink(settings.kafka, broker.start(topics), embedded=True, lock_dir=tmp_path / "locks")
        with closing(IngestService(settings, Where(link, lite.start()), embedder=HashingEmbedder(64))) as service:
            service.start()

            def waits_for() -> dict[str, str]:
                status, body = get(f"{service.health_url}/readyz")
                waiting = json.loads(body)["waiting_for"]
                assert (status == 200) == (not waiting)
                return dict(waiting)

            wait_until(lambda: floors in waits_for().get("express", ""), within_s=20, what="the missing topic to be said")
            assert get(f"{service.health_url}/healthz")[0] == 200
            assert "rag_ingest_express_lane_up 0.0" in get(f"{service.health_url}/metrics")[1]
            broker.create_topic(floors, 4)
            wait_until(lambda: not waits_for(), within_s=20, what="the process to be ready")
            assert "rag_ingest_express_lane_up 1.0" in get(f"{service.health_url}/metrics")[1]
