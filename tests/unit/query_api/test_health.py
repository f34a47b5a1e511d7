"""The query process's endpoint over a real view."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from query_api.health import start_health
from schemas.settings import ObservabilitySettings
from tests.unit.query_api.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_ready_with_its_lag_in_the_metrics(world: World) -> None:
    """A view that has caught up is ready, and its stated lag is a metric."""
    settings = world.settings.model_copy(update={"observability": ObservabilitySettings(query_port=0)})
    server = start_health(settings, CollectorRegistry(), world.view)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=5) as response:
        assert response.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as response:
        metrics = response.read().decode()
    server.close()
    (line,) = [line for line in metrics.splitlines() if line.startswith("rag_view_access_lag_seconds ")]
    assert 0 <= float(line.split()[1]) < 60
