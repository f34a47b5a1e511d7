"""The query process's metrics and health endpoint: ready means that the view may answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge

from connectors.observability import Check, HealthServer, start_health_server
from query_api.view import IndexView
from schemas.settings import Settings


def start_health(
    settings: Settings, registry: CollectorRegistry, view: IndexView, more_checks: Mapping[str, Check] | None = None
) -> HealthServer:
    """Serve `/metrics`, `/healthz` and `/readyz`; close it when the process ends. Raises: Misconfigured."""
    _watch(registry, "rag_view_lag_seconds", "Age of what the view reflects, as it states it; NaN: unknown.", _lag_of(view))
    access_help = "Age of what the view knows of access; NaN: unknown."
    _watch(registry, "rag_view_access_lag_seconds", access_help, view.access_lag_s)
    observability = settings.observability
    checks: dict[str, Check] = {"view": lambda: _waiting_for(view), **(more_checks or {})}
    return start_health_server(observability.host, observability.query_port, registry, checks)


def _waiting_for(view: IndexView) -> str | None:
    ready = view.ready()
    return None if ready.is_ready else ready.reason


def _lag_of(view: IndexView) -> Callable[[], float | None]:
    def lag_s() -> float | None:
        lag_ms = view.as_of().lag_ms
        return lag_ms / 1000 if lag_ms is not None else None

    return lag_s


def _watch(registry: CollectorRegistry, name: str, description: str, read: Callable[[], float | None]) -> None:
    def value() -> float:
        current = read()
        return math.nan if current is None else current

    Gauge(name, description, registry=registry).set_function(value)
