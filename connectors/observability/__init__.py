"""What operators see of a process: structured logs, and an HTTP endpoint with metrics and health."""

from connectors.observability._health import Check, HealthServer, start_health_server
from connectors.observability._logging import configure_logging

__all__ = ["Check", "HealthServer", "configure_logging", "start_health_server"]
