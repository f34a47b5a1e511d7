"""Every metric of both processes, as their registries describe it: what pages, alerts and dashboards may name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple, cast

from prometheus_client import REGISTRY, CollectorRegistry

from flows.ingest import metrics
from query_api.cache import CacheMetrics
from query_api.canary import CanaryMetrics
from query_api.feedback import FeedbackMetrics
from query_api.generation.metrics import ModelMetrics
from query_api.health import start_health
from query_api.http.envelope import HttpMetrics
from query_api.metrics import QueryMetrics
from query_api.view import IndexView
from schemas.settings import Settings


class Described(NamedTuple):
    """A metric's kind (counter, gauge, histogram) and the names of its labels."""

    kind: str
    labels: tuple[str, ...]


class _NoView:
    """Only registered, never read."""

    def access_lag_s(self) -> float | None:
        return None


def registered_metrics() -> dict[str, Described]:
    """By name."""
    registry = CollectorRegistry(auto_describe=False)
    for register in (QueryMetrics, CacheMetrics, ModelMetrics, FeedbackMetrics, CanaryMetrics, HttpMetrics):
        register(registry)
    settings = Settings.model_validate({"observability": {"query_port": 0}})
    with closing(start_health(settings, registry, cast(IndexView, _NoView()))):
        pass
    assert metrics.EVENTS is not None  # imported, hence registered
    return {name: about for source in (registry, REGISTRY) for name, about in _described(source) if name.startswith("rag_")}


def _described(registry: CollectorRegistry) -> Iterator[tuple[str, Described]]:
    for collector in list(cast(Any, registry)._collector_to_names):
        for family in getattr(collector, "describe", list)():
            suffix = "_total" if family.type == "counter" else ""
            yield family.name + suffix, Described(family.type, tuple(getattr(collector, "_labelnames", ())))
