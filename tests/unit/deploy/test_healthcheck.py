"""The container's health check, run as Docker runs it, against the endpoint the processes really serve."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from connectors.observability import start_health_server

SCRIPT = Path(__file__).parents[3] / "deploy" / "healthcheck.py"
CLOSED_PORT = "1"


def health_check(ingest_port: str, query_port: str) -> int:
    """The script's exit status with these ports set."""
    ports = {"RAG_OBSERVABILITY__INGEST_PORT": ingest_port, "RAG_OBSERVABILITY__QUERY_PORT": query_port}
    return subprocess.run([sys.executable, SCRIPT], env=ports, check=False, timeout=20).returncode


@pytest.mark.parametrize("part", ["ingest", "query workers"])
def test_a_container_that_runs_one_part_is_healthy(part: str) -> None:
    """The other part's port is closed, as it should be."""
    server = start_health_server("127.0.0.1", 0, CollectorRegistry(), {})
    try:
        port = str(server.port)
        assert health_check(*((port, CLOSED_PORT) if part == "ingest" else (CLOSED_PORT, port))) == 0
    finally:
        server.close()


def test_a_container_where_nothing_answers_is_not_healthy() -> None:
    """A process that hangs or has not started."""
    assert health_check(CLOSED_PORT, CLOSED_PORT) == 1
