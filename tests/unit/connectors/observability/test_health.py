"""The metrics and health endpoint."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from connectors.observability import HealthServer, start_health_server
from schemas.errors import Misconfigured


class Part:
    """A part that is ready when told so."""

    waits_for: str | None = "the log's end"

    def check(self) -> str | None:
        if self.waits_for == "broken":
            raise RuntimeError(self.waits_for)
        return self.waits_for


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def server(part: Part) -> Iterator[HealthServer]:
    registry = CollectorRegistry()
    Counter("questions", "Questions.", registry=registry).inc(3)
    running = start_health_server("127.0.0.1", 0, registry, {"view": part.check})
    yield running
    running.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_prometheus_text(server: HealthServer) -> None:
    """/metrics holds what the registry counts."""
    status, body = get(server, "/metrics")
    assert status == 200
    assert "questions_total 3.0" in body


def test_alive_while_not_ready(server: HealthServer, part: Part) -> None:
    """A process that waits for its view is alive, not ready, and says what it waits for."""
    assert get(server, "/healthz")[0] == 200
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)["waiting_for"]) == (503, {"view": "the log's end"})
    part.waits_for = None
    assert get(server, "/readyz")[0] == 200


def test_a_failing_check_is_not_ready(server: HealthServer, part: Part) -> None:
    """A check that raises counts as not ready."""
    part.waits_for = "broken"
    status, body = get(server, "/readyz")
    assert (status, json.loads(body)["waiting_for"]) == (503, {"view": "the check failed: RuntimeError"})


def test_unknown_path_names_the_known_ones(server: HealthServer) -> None:
    """404 says what there is."""
    status, body = get(server, "/")
    assert (status, json.loads(body)["paths"]) == (404, ["/metrics", "/healthz", "/readyz"])


def test_taken_port_names_the_setting(server: HealthServer) -> None:
    """A port in use is a configuration error with its remedy."""
    with pytest.raises(Misconfigured, match="QUERY_PORT"):
        start_health_server("127.0.0.1", server.port, CollectorRegistry(), {})
